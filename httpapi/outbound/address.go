package outbound

import (
	"net/netip"
	"slices"
)

// special are the blocks that are not for everybody's use, of the addresses that could be: IPv4, and IPv6 in 2000::/3. They are those of
// the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), whether or not these call them globally reachable, and multicast.
var special = prefixes(
	"0.0.0.0/8",         // this network
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // shared, behind carriers' NAT; metadata of Alibaba Cloud
	"127.0.0.0/8",       // loopback
	"168.63.129.16/32",  // not in the registry: the platform's own server on every machine of Azure
	"169.254.0.0/16",    // link-local, metadata of most clouds
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // protocol assignments, metadata of Oracle Cloud
	"192.0.2.0/24",      // documentation
	"192.31.196.0/24",   // AS112
	"192.52.193.0/24",   // AMT
	"192.88.99.0/24",    // 6to4 relays
	"192.168.0.0/16",    // private
	"192.175.48.0/24",   // AS112
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/4",       // multicast
	"240.0.0.0/4",       // reserved, and the broadcast address
	"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID and others
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4, which wraps IPv4 addresses
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

// unicast is all of IPv6 that has been given out as global unicast addresses. What wraps IPv4 addresses for NAT64, and everything local,
// lies outside.
var unicast = netip.MustParsePrefix("2000::/3")

func prefixes(blocks ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(blocks))
	for i, b := range blocks {
		out[i] = netip.MustParsePrefix(b)
	}
	return out
}

// Public reports whether an address is an ordinary one of the public Internet. It denies by default: of IPv6 only what has been given out
// as global unicast is public, and of that and of IPv4 no block with a special purpose. An IPv4 address within an IPv6 one (::ffff:0:0/96) is
// taken for itself; all other wrappings, addresses with a zone and the zero Addr are not public.
func Public(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if !a.Is4() && !unicast.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

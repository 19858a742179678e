package callbacks

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"strings"
)

func one[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

// insides are blocks that nobody may make us connect to.
var insides = []netip.Prefix{}

func init() {
	for _, p := range []string{
		"127.0.0.0/8", "127.0.0.1/32", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.169.254/32", "169.254.0.0/16", "100.64.0.0/10",
		"0.0.0.0/8", "0.0.0.0/32",
		"192.0.0.0/24", "198.18.0.0/15", "168.63.129.16/32", "240.0.0.0/4",
		"::1/128", "::/128", "fc00::/7", "fe80::/10", "fec0::/10", "64:ff9b::/96", "64:ff9b:1::/48", "2001:db8::/32", "2001::/32", "2002::/16",
		"100::/64", "5f00::/16", "4000::/3", "::/96",
	} {
		insides = append(insides, netip.MustParsePrefix(p))
	}
}

// within returns an address in a block.
func within(rnd *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		b[bit/8] |= byte(rnd.IntN(2)) << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func inside(rnd *rand.Rand) netip.Addr {
	if rnd.IntN(3) == 0 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return within(rnd, one(rnd, insides...))
}

// outside returns a public address.
func outside(rnd *rand.Rand) netip.Addr {
	return within(rnd, one(rnd, netip.MustParsePrefix("93.184.216.0/24"), netip.MustParsePrefix("1.1.1.0/24"), netip.MustParsePrefix("2606:4700::/48"),
		netip.MustParsePrefix("2a00:1450::/40")))
}

// wrapped returns an IPv4 address within an IPv6 one, as relays and translators take it.
func wrapped(rnd *rand.Rand, a netip.Addr) netip.Addr {
	if !a.Is4() {
		return a
	}
	v4 := a.As4()
	at := func(prefix string, place int, b [4]byte) netip.Addr {
		p := netip.MustParseAddr(prefix).As16()
		copy(p[place:], b[:])
		return netip.AddrFrom16(p)
	}
	not := [4]byte{^v4[0], ^v4[1], ^v4[2], ^v4[3]}
	return one(rnd,
		at("::ffff:0:0", 12, v4), at("::", 12, v4), at("::ffff:0:0:0", 12, v4), at("64:ff9b::", 12, v4), at("64:ff9b:1::", 12, v4), at("64:ff9b:1:1::",
			12, v4),
		at("2002::", 2, v4), at("2001::", 4, v4), at("2001::", 12, not), at("fe80::5efe:0:0", 12, v4))
}

// spelled returns a way to write an address in a URL: such as inet_aton takes too, in other digits, with a zone.
func spelled(rnd *rand.Rand, a netip.Addr) string {
	if a.Is6() {
		text := a.String()
		if a.Is4In6() && rnd.IntN(2) == 0 {
			v4 := a.Unmap().As4()
			text = fmt.Sprintf("::ffff:%x:%x", binary.BigEndian.Uint16(v4[:]), binary.BigEndian.Uint16(v4[2:]))
		}
		switch rnd.IntN(5) {
		case 0:
			text = a.StringExpanded()
		case 1:
			text = strings.ToUpper(text)
		case 2:
			text += one(rnd, "%25lo", "%25", "%lo", "%251")
		}
		return "[" + text + "]"
	}
	b := a.As4()
	n := binary.BigEndian.Uint32(b[:])
	number := func(v uint32) string {
		return fmt.Sprintf(one(rnd, "%d", "%d", "0x%x", "0X%08X", "0%o", "%011d"), v)
	}
	return one(rnd,
		a.String(), a.String(), a.String()+".", number(n), number(n>>24)+"."+number(n&0xffffff), number(n>>24)+"."+number(n>>16&255)+"."+number(n&0xffff),
		number(n>>24)+"."+number(n>>16&255)+"."+number(n>>8&255)+"."+number(n&255), strings.ReplaceAll(a.String(), ".", "。"),
		strings.ReplaceAll(a.String(), "1", "１"),
		url.PathEscape(a.String()), strings.ReplaceAll(a.String(), "1", "%31"), fmt.Sprintf("%d.%d.%d.%d", uint(b[0])+256, b[1], b[2], b[3]))
}

// trick returns a URL whose host is not the one that a hasty reader takes it for.
func trick(rnd *rand.Rand, good, evil string) string {
	scheme := one(rnd, "http", "http", "https", "HTTP", "ftp", "gopher", "file", "javascript", "")
	return one(rnd,
		scheme+"://"+good+"@"+evil+"/", scheme+"://"+evil+"#@"+good+"/", scheme+"://"+good+"#@"+evil+"/", scheme+"://"+evil+"\\@"+good+"/",
		scheme+"://"+good+"\\@"+evil+"/",
		scheme+"://"+good+":80@"+evil+":80/", scheme+":"+evil+"/", scheme+":/"+evil+"/", scheme+":///"+evil+"/", scheme+"://"+evil+"\t/",
		" "+scheme+"://"+evil+"/",
		scheme+"://"+good+"\r\nHost: "+evil+"/", scheme+"://"+evil+"%00."+good+"/", scheme+"://"+evil+"%2f"+good+"/", scheme+"://"+good+"/@"+evil,
		scheme+"://"+evil+":/",
		scheme+"://"+evil+":99999/", scheme+"://"+evil+":080/", scheme+"://"+evil+":-1/", scheme+"://"+evil+"?@"+good,
		scheme+"://"+strings.ToUpper(evil)+"/%2e%2e/", "//"+evil+"/",
		scheme+"://[::]:80@"+evil+"/", scheme+"://"+evil)
}

// Package outbound makes the requests that a server sends to addresses which strangers named: callbacks, files to be fetched, status
// endpoints.
//
// A stranger who names an address wants, at worst, that the server connects to what only the server can reach: its own loopback, the
// machines beside it, the metadata service of its cloud. Filters of URLs do not help against that, since a name may resolve to anything, and
// to something else a moment later. The client of [NewClient] checks the address that is dialled, after the name was resolved and at every
// dial, and denies by default: see [Public]. It follows no redirects and knows no proxy.
//
//	client := outbound.NewClient(nil)
//	body, contentType, err := outbound.Fetch(ctx, client, url, 10<<20)
//	if err != nil {
//		log.Print(err)                      // for the operator
//		return errors.New(outbound.Problem(err)) // for the stranger
//	}
//
// What it cannot know: that a public address is routed to something inside, by a NAT64 prefix of one's own or by a machine's public address
// that it reaches without passing the firewall. Where that is so, have the network refuse it, too.
package outbound

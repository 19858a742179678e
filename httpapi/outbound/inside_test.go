package outbound_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
)

// spellings returns ways to write an IPv4 address that some resolver or parser takes for it: those of inet_aton, IPv6 addresses that wrap
// it, and names.
func spellings(r *rand.Rand, a netip.Addr) []string {
	b := a.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	number := func(v uint32) string {
		switch r.IntN(6) {
		case 0:
			return fmt.Sprintf("0x%x", v)
		case 1:
			return fmt.Sprintf("0X%08X", v)
		case 2:
			return fmt.Sprintf("0%o", v)
		case 3:
			return fmt.Sprintf("%0*o", 2+r.IntN(12), v)
		default:
			return fmt.Sprint(v)
		}
	}
	hi, lo := n>>16, n&0xffff
	not := ^n
	names := []string{
		a.String(), number(n),
		number(n>>24) + "." + number(n&0xffffff),
		number(n>>24) + "." + number(n>>16&0xff) + "." + number(n&0xffff),
		number(n>>24) + "." + number(n>>16&0xff) + "." + number(n>>8&0xff) + "." + number(n&0xff),
		a.String() + ".", strings.ReplaceAll(a.String(), ".", "-") + ".nip.test", a.String() + ".nip.test",
		fmt.Sprintf("%d.%d.%d.%d", uint64(b[0])+256, b[1], b[2], b[3]), // overflows
	}
	for _, wrapped := range []string{
		fmt.Sprintf("::ffff:%s", a), fmt.Sprintf("::ffff:%x:%x", hi, lo), fmt.Sprintf("0:0:0:0:0:FFFF:%04X:%04x", hi, lo),
		fmt.Sprintf("::%x:%x", hi, lo), fmt.Sprintf("::ffff:0:%x:%x", hi, lo), fmt.Sprintf("64:ff9b::%x:%x", hi, lo),
		fmt.Sprintf("64:ff9b:1:%x::%x:%x", r.IntN(1<<16), hi, lo), fmt.Sprintf("2002:%x:%x::%x", hi, lo, r.IntN(1<<16)),
		fmt.Sprintf("2001:0:%x:%x::%x", hi, lo, r.IntN(1<<16)), fmt.Sprintf("2001::%x:0:%x:%x", r.IntN(1<<16), not>>16, not&0xffff),
		fmt.Sprintf("fe80::5efe:%x:%x%%25lo", hi, lo), fmt.Sprintf("::ffff:%x:%x%%25lo", hi, lo), "::1", "::", "0:0:0:0:0:0:0:1", "::1%25lo",
	} {
		names = append(names, "["+wrapped+"]")
	}
	for i, s := range names {
		if r.IntN(4) == 0 {
			names[i] = strings.ToUpper(s)
		}
	}
	return append(names, "localhost", "LocalHost", "localhost.", "a.localhost", "ip6-localhost", "localhost.localdomain", "metadata.google.internal",
		"１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "%31%32%37.0.0.1")
}

// A listener on loopback sees no connection, however its address is written and whatever names resolve to.
func TestNoSpellingOfAnInsideAddressIsConnectedTo(t *testing.T) {
	v4, v6 := newTripwire(t, "127.0.0.1"), newTripwire(t, "::1")
	dns := &names{fn: func(string) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::ffff:127.0.0.1")}
	}}
	c := outbound.NewClient(&outbound.Options{AllowHTTP: true, Resolver: dns.resolver()})
	defer c.CloseIdleConnections()
	r := rand.New(rand.NewPCG(1, 2))
	wires := []*tripwire{v4}
	if v6 != nil {
		wires = append(wires, v6)
	}
	tried := make(map[string]bool)
	enough := 10_000
	if testing.Short() {
		enough = 1000
	}
	for round := 0; len(tried) < enough; round++ {
		a := netip.AddrFrom4([4]byte{127, byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))})
		switch round % 4 {
		case 0:
			a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		case 1:
			a = netip.AddrFrom4([4]byte{0, 0, 0, 0})
		}
		for _, host := range spellings(r, a) {
			for _, w := range wires {
				target := fmt.Sprintf("http://%s:%d/", host, w.addr.Port())
				if tried[target] {
					continue
				}
				tried[target] = true
				req, err := http.NewRequest("GET", target, nil)
				if err != nil {
					continue // not even a URL
				}
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
					t.Errorf("%s: got %s", target, resp.Status)
				}
				var noName *net.DNSError
				if !errors.Is(err, outbound.ErrForbidden) && !errors.As(err, &noName) {
					t.Errorf("%s: got %v, want ErrForbidden or a name that does not exist", target, err)
				}
			}
		}
	}
	t.Logf("%d addresses, %d names asked for", len(tried), len(dns.asks))
	for _, w := range wires {
		if n := w.count.Load(); n != 0 {
			t.Errorf("%v: got %d connections, want none", w.addr, n)
		}
	}

	// The listener would have seen it.
	open := outbound.NewClient(&outbound.Options{AllowHTTP: true, AllowPrivate: true, Resolver: dns.resolver()})
	defer open.CloseIdleConnections()
	for _, host := range []string{"127.0.0.1", "rebinding.test"} {
		resp, err := open.Get(fmt.Sprintf("http://%s:%d/", host, v4.addr.Port()))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if n := v4.count.Load(); n != 2 {
		t.Errorf("where it is allowed: got %d connections, want 2", n)
	}
}

// Whoever looks first and dials then is told something else the second time.
func TestANameThatChangesItsAddressIsFoundOutAtTheDial(t *testing.T) {
	wire := newTripwire(t, "127.0.0.1")
	public, loopback := netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("127.0.0.1")
	var dns names
	dns.fn = func(name string) []netip.Addr {
		dns.mu.Lock()
		defer dns.mu.Unlock()
		if dns.asks[name] <= 2 { // for A and for AAAA
			return []netip.Addr{public}
		}
		return []netip.Addr{loopback}
	}
	resolver := dns.resolver()
	first, err := resolver.LookupNetIP(t.Context(), "ip", "rebinding.test")
	if err != nil || len(first) != 1 || !outbound.Public(first[0]) {
		t.Fatalf("got %v, %v, want a public address at first", first, err)
	}
	c := outbound.NewClient(&outbound.Options{AllowHTTP: true, Resolver: resolver})
	for range 3 {
		_, err = c.Get(fmt.Sprintf("http://rebinding.test:%d/", wire.addr.Port()))
		if !errors.Is(err, outbound.ErrForbidden) || !strings.Contains(err.Error(), "127.0.0.1 is not public") {
			t.Errorf("got %v, want ErrForbidden with the address, for the operator", err)
		}
		if got := outbound.Problem(err); strings.Contains(got, "127") {
			t.Errorf("got %q, want nothing about where the name leads", got)
		}
	}
	if n := wire.count.Load(); n != 0 {
		t.Errorf("got %d connections, want none", n)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	wire := newTripwire(t, "127.0.0.1")
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, _ := serve(t, &outbound.Options{AllowHTTP: true}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://"+wire.addr.String()+"/")
			w.WriteHeader(status)
		}))
		resp, err := c.Post("http://public.test/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("got %d, want the %d itself", resp.StatusCode, status)
		}
	}
	if n := wire.count.Load(); n != 0 {
		t.Errorf("got %d connections, want none", n)
	}
}

// net/http reads the environment once: it must be there before any test.
func init() {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		os.Setenv(name, "http://proxy.invalid")
	}
}

// A proxy would be asked to connect to whatever it is told, where no check of ours is.
func TestNoProxyIsUsed(t *testing.T) {
	c, _ := serve(t, &outbound.Options{AllowHTTP: true}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.IsAbs() {
			t.Errorf("got a request for a proxy: %v", r.URL)
		}
	}))
	resp, err := c.Get("http://public.test/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestWhatTheURLSaysIsCheckedWithoutADial(t *testing.T) {
	dialled := false
	for _, c := range []struct{ name, url string }{
		{"plain HTTP", "http://93.184.216.34/"},
		{"a user", "https://user:password@93.184.216.34/"},
		{"another scheme", "ftp://93.184.216.34/"},
		{"an address inside", "https://169.254.169.254/latest/meta-data/"},
		{"a wrapped address inside", "https://[::ffff:169.254.169.254]/"},
		{"a zone", "https://[fe80::1%25eth0]/"},
		{"no host", "https:///path"},
	} {
		client := outbound.NewClient(nil)
		outbound.DialWith(client, func(ctx ctx) (net.Conn, error) {
			dialled = true
			return nil, errors.New("dialled")
		})
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		body := &closed{Reader: strings.NewReader("x")}
		_, err = client.Transport.RoundTrip(&http.Request{Method: "POST", URL: u, Body: body, Header: http.Header{}})
		if !errors.Is(err, outbound.ErrForbidden) || dialled || !body.closed {
			t.Errorf("%s: got %v, dialled %v, body closed %v, want ErrForbidden without a dial", c.name, err, dialled, body.closed)
		}
	}
	client := outbound.NewClient(&outbound.Options{Timeout: time.Minute})
	outbound.DialWith(client, func(ctx ctx) (net.Conn, error) { return nil, errors.New("dialled") })
	if _, err := client.Get("https://93.184.216.34/"); err == nil || errors.Is(err, outbound.ErrForbidden) {
		t.Errorf("a good URL: got %v, want the error of the dial", err)
	}
}

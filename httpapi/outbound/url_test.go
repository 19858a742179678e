package outbound_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi/outbound"
)

func TestURLsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ url, why string }{
		{"", "empty"},
		{"https://example.com/" + strings.Repeat("a", outbound.MaxURL), "more than 2048 bytes"},
		{"https://example.com/a b", "encoded"},
		{" https://example.com/", "encoded"},
		{"https://example.com/\r\nHost: inside", "encoded"},
		{"https://example.com/\x00", "encoded"},
		{"https://exämple.com/", "encoded"},
		{"https://１２７.０.０.１/", "encoded"},
		{"https://example.com/#part", "fragment"},
		{"https://example.com#@inside/", "fragment"},
		{"https://example.com/#", "fragment"},
		{"https://user@example.com/", "user"},
		{"https://user:password@example.com/", "user"},
		{"https://example.com@inside/", "user"},
		{"https://@example.com/", "user"},
		{"http://example.com/", "not https"},
		{"HTTP://example.com/", "not https"},
		{"ftp://example.com/", "absolute"},
		{"file:///etc/passwd", "absolute"},
		{"gopher://inside:70/", "absolute"},
		{"javascript:alert(1)", "absolute"},
		{"example.com/path", "absolute"},
		{"//example.com/path", "absolute"},
		{"/path", "absolute"},
		{"https:///path", "no host"},
		{"https:example.com", "no host"},
		{"https://:443/", "no host"},
		{"https://[]/", "parsed"},
		{"https://example.com:/", "port"},
		{"https://example.com:0/", "port"},
		{"https://example.com:65536/", "port"},
		{"https://example.com:99999999999999999999/", "port"},
		{"https://example.com:http/", "parsed"},
		{"https://[fe80::1%25eth0]/", "zone"},
		{"https://exam%70le.com/", "parsed"},
		{"https://ex%c3%a4mple.com/", "encoded"},
		{"https://a%bb/", "encoded"},
		{"https://exam%20ple.com/", "parsed"},
		{`https://example.com\@inside/`, "parsed"},
		{"https://[::1/", "parsed"},
		{"https://example.com/%zz", "parsed"},
		{":", "parsed"},
	} {
		u, err := outbound.CheckURL(c.url, false)
		if !errors.Is(err, outbound.ErrForbidden) || !strings.Contains(err.Error(), c.why) || outbound.Problem(err) != err.Error() {
			t.Errorf("%.60q: got %v, %v, want an error that says %q", c.url, u, err, c.why)
		}
	}
}

func TestURLsThatAreTaken(t *testing.T) {
	for _, s := range []string{
		"https://example.com", "https://example.com/", "HTTPS://EXAMPLE.com/hook?a=b&c=%20", "https://example.com:8443/a/b", "https://xn--exmple-cua.com/",
		"https://93.184.216.34/", "https://[2606:4700::1111]:443/", "https://example.com/" + strings.Repeat("a", outbound.MaxURL-20),
	} {
		if u, err := outbound.CheckURL(s, false); err != nil || u.Hostname() == "" {
			t.Errorf("%.60q: got %v, %v", s, u, err)
		}
	}
	if _, err := outbound.CheckURL("http://example.com/", true); err != nil {
		t.Errorf("plain HTTP where it is allowed: got %v", err)
	}
}

// What is taken is a URL of ordinary form, of which a second parser could not think otherwise.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{
		"https://example.com/a?b=c", "http://[::1]:80/", "https://a@b", "https://a#b", `https://a\b`, "https://a%00b/", "https://1.2.3.4:5", "https://a%bb",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := outbound.CheckURL(s, true)
		if err != nil {
			if !errors.Is(err, outbound.ErrForbidden) {
				t.Fatalf("%q: got %v, want an error that matches ErrForbidden", s, err)
			}
			return
		}
		rest, ok := strings.CutPrefix(strings.ToLower(s), u.Scheme+"://")
		if !ok {
			t.Fatalf("%q: got scheme %q", s, u.Scheme)
		}
		host := rest
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			host = rest[:i]
		}
		if host != strings.ToLower(u.Host) || strings.ContainsAny(host, "@\\#% ") {
			t.Fatalf("%q: got host %q, want %q", s, u.Host, host)
		}
		again, err := outbound.CheckURL(u.String(), true)
		if err != nil && len(u.String()) <= outbound.MaxURL || err == nil && again.Host != u.Host {
			t.Fatalf("%q: parsed again got %v, %v", s, again, err)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.Zone() != "" {
			t.Fatalf("%q: got a host with a zone", s)
		}
	})
}

package outbound_test

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
)

// reserved are addresses that no request may reach, as shell scripts would match them: a second list, by bytes and not by prefixes, of the same
// registries.
func reserved(a netip.Addr) bool {
	if a.Zone() != "" {
		return true
	}
	b := a.As16()
	if b[0] == 0 && b[1] == 0 && b[2] == 0 && b[3] == 0 && b[4] == 0 && b[5] == 0 && b[6] == 0 && b[7] == 0 && b[8] == 0 && b[9] == 0 && b[10] == 0xff && b[11] == 0xff {
		b := b[12:]
		switch b[0] {
		case 0, 10, 127:
			return true
		case 100:
			return b[1] >= 64 && b[1] < 128
		case 168:
			return b[1] == 63 && b[2] == 129 && b[3] == 16
		case 169:
			return b[1] == 254
		case 172:
			return b[1] >= 16 && b[1] < 32
		case 192:
			return b[1] == 168 || b[1] == 0 && (b[2] == 0 || b[2] == 2) || b[1] == 31 && b[2] == 196 || b[1] == 52 && b[2] == 193 || b[1] == 88 && b[2] == 99 || b[1] == 175 && b[2] == 48
		case 198:
			return b[1] == 18 || b[1] == 19 || b[1] == 51 && b[2] == 100
		case 203:
			return b[1] == 0 && b[2] == 113
		}
		return b[0] >= 224
	}
	switch {
	case b[0] != 0x20 && b[0]>>5 != 1: // not in 2000::/3
		return true
	case b[0] == 0x20 && b[1] == 0x01:
		return b[2] < 2 || b[2] == 0x0d && b[3] == 0xb8
	case b[0] == 0x20 && b[1] == 0x02:
		return true
	case b[0] == 0x26 && b[1] == 0x20:
		return b[2] == 0 && b[3] == 0x4f && b[4] == 0x80 && b[5] == 0
	case b[0] == 0x3f && b[1] == 0xff:
		return b[2]>>4 == 0
	}
	return false
}

// FuzzPublic looks for an address that is called public and is not, or the other way round, by a second list and by what package net says of it
// (threat: SSRF to metadata/LAN, IPv6 wrappers).
func FuzzPublic(f *testing.F) {
	for _, s := range []string{
		"127.0.0.1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "2606:4700::1111", "8.8.8.8",
		"fe80::1%eth0", "fc00::1", "ff02::1", "::127.0.0.1", "3fff::1", "4000::1", "2620:4f:8000::1", "192.0.0.192", "198.20.0.1", "223.255.255.255", "224.0.0.1", "168.63.129.16", "::ffff:8.8.8.8%1",
	} {
		a := netip.MustParseAddr(s)
		b := a.As16()
		f.Add(b[:], a.Zone())
		if a.Is4() {
			f.Add(b[12:], "")
		}
	}
	f.Fuzz(func(t *testing.T, p []byte, zone string) {
		a, ok := netip.AddrFromSlice(p)
		if !ok {
			if outbound.Public(a) {
				t.Fatal("no address is public")
			}
			return
		}
		if zone != "" && a.Is6() {
			a = a.WithZone(zone)
		}
		got := outbound.Public(a)
		if got == reserved(a) {
			t.Fatalf("%v: got public: %v", a, got)
		}
		ip := net.IP(p)
		if got && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || !ip.IsGlobalUnicast()) {
			t.Fatalf("%v is called public", a)
		}
		if a.Is4() && outbound.Public(netip.AddrFrom16(a.As16())) != got {
			t.Fatalf("%v within IPv6 is another", a)
		}
	})
}

// FuzzRetryAfter looks for a Retry-After that stops somebody for longer than the bound, or a number or date of it that is read otherwise than net/http
// reads dates (threat: Callback storm, from the other side).
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{
		"", "0", "120", "-1", "+1", "1.5", "99999999999999999999", "18446744073709551615", "9223372037", "Fri, 31 Dec 9999 23:59:59 GMT", "Sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", " 7 ", "7 s", "0x7", "٣", "Mon, 01 Jan 0000 00:00:00 GMT",
	} {
		f.Add(s, "", int64(time.Hour))
		f.Add(s, "Sun, 06 Nov 1994 08:49:00 GMT", int64(24*time.Hour))
	}
	f.Fuzz(func(t *testing.T, value, date string, bound int64) {
		most := time.Duration(bound)
		if most < 0 {
			return
		}
		h := http.Header{}
		h.Set("Retry-After", value)
		h.Set("Date", date)
		got := outbound.RetryAfter(h, most)
		if got < 0 || got > most {
			t.Fatalf("%q, %q, at most %v: got %v", value, date, most, got)
		}
		at, err := http.ParseTime(value)
		now, err2 := http.ParseTime(date)
		if err == nil && err2 == nil {
			seconds := at.Unix() - now.Unix()
			if want := max(seconds, 0); seconds < int64(most/time.Second) && got != time.Duration(want)*time.Second || seconds > int64(most/time.Second) && got != most {
				t.Fatalf("%q, %q, at most %v: got %v, want %d s", value, date, most, got, seconds)
			}
		}
	})
}

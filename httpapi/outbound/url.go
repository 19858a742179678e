package outbound

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// MaxURL is how long a URL may be, in bytes.
const MaxURL = 2048

// ErrForbidden is matched by errors which say that a URL or the address behind it is not allowed. Nothing was sent to it.
var ErrForbidden = errors.New("forbidden address")

// A forbidden error says what is not allowed.
type forbidden struct {
	what string
	addr netip.Addr // which has been found to be not public; the zero Addr if the URL itself is the fault
}

func (f *forbidden) Error() string {
	if f.addr.IsValid() {
		return ErrForbidden.Error() + ": " + f.addr.String() + " is not public"
	}
	return ErrForbidden.Error() + ": " + f.what
}

func (f *forbidden) Unwrap() error { return ErrForbidden }

// CheckURL parses a URL that a stranger named, once and strictly: it has at most MaxURL bytes of printable ASCII, and is absolute, of
// the scheme https (or http, where that is allowed), with a host, and without user and fragment. The error matches ErrForbidden and says
// what is wrong, for whoever named it. Which address is behind the host is found out only when it is dialled.
func CheckURL(s string, allowHTTP bool) (*url.URL, error) {
	if s == "" {
		return nil, &forbidden{what: "the URL is empty"}
	}
	if len(s) > MaxURL {
		return nil, &forbidden{what: "the URL has more than " + strconv.Itoa(MaxURL) + " bytes"}
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return nil, &forbidden{what: "the URL has a character that has to be encoded"}
		}
	}
	if strings.Contains(s, "#") {
		return nil, &forbidden{what: "the URL has a fragment"}
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, &forbidden{what: "the URL cannot be parsed: " + errors.Unwrap(err).Error()} // without the URL itself
	}
	if err := checkParsed(u, allowHTTP); err != nil {
		return nil, err
	}
	return u, nil
}

// checkParsed is what can be checked of a URL however it came to be.
func checkParsed(u *url.URL, allowHTTP bool) error {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return &forbidden{what: "the URL is not absolute, of the scheme https"}
	case u.Scheme == "http" && !allowHTTP:
		return &forbidden{what: "the URL's scheme is not https"}
	case u.User != nil:
		return &forbidden{what: "the URL has a user"}
	case u.Fragment != "":
		return &forbidden{what: "the URL has a fragment"}
	case u.Hostname() == "" || u.Opaque != "":
		return &forbidden{what: "the URL has no host"}
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '%' }):
		return &forbidden{what: "the URL's host has a zone or is encoded"}
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && (err != nil || port == 0):
		return &forbidden{what: "the URL's port is not from 1 to 65535"}
	}
	return nil
}

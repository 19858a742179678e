package outbound

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Options are the settings of a client. The zero value and nil mean the defaults.
type Options struct {
	AllowPrivate bool          // any address may be dialled: for addresses that the operator named, and for tests
	AllowHTTP    bool          // plain HTTP may be spoken, too
	Timeout      time.Duration // of a request with the whole of its answer; 15 s, negative: none
	MaxHeader    int64         // bytes of the header of an answer; 64 KiB
	Resolver     *net.Resolver // of names; nil: the system's
	TLS          *tls.Config   // for certificates of one's own; nil: the system's. At least TLS 1.2 is spoken
}

const (
	defaultTimeout   = 15 * time.Second
	defaultMaxHeader = 64 << 10
	dialTimeout      = 10 * time.Second // of one connection, and again of its TLS handshake
	idleTimeout      = 30 * time.Second // of connections kept for the next request
)

// NewClient returns a client for URLs that strangers named. Each request and each dial is checked as the package documentation says; what is
// not allowed is an error that matches ErrForbidden. The client follows no redirects (the answer is the redirect itself), uses no proxy,
// accepts no compression, stores no cookies and speaks HTTP/1.1. It does not bound the body of an answer except by its Timeout: whoever
// reads it does. The caller may call its CloseIdleConnections when it is needed no more.
func NewClient(o *Options) *http.Client {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.MaxHeader == 0 {
		opts.MaxHeader = defaultMaxHeader
	}
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: opts.Resolver}
	if !opts.AllowPrivate {
		dialer.Control = control
	}
	config := opts.TLS.Clone() // nil of nil
	if config == nil {
		config = &tls.Config{}
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Client{
		Timeout:       max(opts.Timeout, 0),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &guard{opts: opts, transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    dialTimeout,
			DisableCompression:     true,
			MaxIdleConns:           100,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: opts.MaxHeader,
			Protocols:              &protocols,
		}},
	}
}

// control is called with each address that is about to be connected to, which is never a name any more.
func control(network, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return &forbidden{what: network + " " + address + " is not an address of TCP"}
	}
	return checkAddr(a.Addr())
}

func checkAddr(a netip.Addr) error {
	if !Public(a) {
		return &forbidden{addr: a}
	}
	return nil
}

// A guard refuses what can be told from the URL, before anything is dialled.
type guard struct {
	opts      Options
	transport *http.Transport
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	return g.transport.RoundTrip(r)
}

func (g *guard) check(r *http.Request) error {
	if err := checkParsed(r.URL, g.opts.AllowHTTP); err != nil {
		return err
	}
	if a, err := netip.ParseAddr(r.URL.Hostname()); err == nil && !g.opts.AllowPrivate {
		return checkAddr(a)
	}
	return nil
}

// CloseIdleConnections is called by the client's method of that name.
func (g *guard) CloseIdleConnections() { g.transport.CloseIdleConnections() }

package outbound_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi/outbound"
)

func TestTLS(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	srv := httptest.NewUnstartedServer(hello)
	srv.Config.ErrorLog = discard
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	old := httptest.NewUnstartedServer(hello)
	old.Config.ErrorLog = discard
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	plain := httptest.NewServer(hello)
	defer plain.Close()

	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig
	trusting := outbound.NewClient(&outbound.Options{AllowPrivate: true, TLS: roots})
	defer trusting.CloseIdleConnections()
	body, _, err := outbound.Fetch(t.Context(), trusting, srv.URL, 100)
	if string(body) != "HTTP/1.1" || err != nil {
		t.Errorf("with its certificate: got %q, %v, want HTTP/1.1", body, err)
	}
	strict := outbound.NewClient(&outbound.Options{AllowPrivate: true})
	for _, tt := range []struct {
		name, url string
		c         *http.Client
		problem   string
	}{
		{"an unknown certificate", srv.URL, strict, "the host's certificate is not valid"},
		{"TLS 1.1", old.URL, trusting, "no TLS connection came about"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), strict, "no TLS connection came about"},
	} {
		if _, _, err := outbound.Fetch(t.Context(), tt.c, tt.url, 100); err == nil || outbound.Problem(err) != tt.problem {
			t.Errorf("%s: got %v (%s), want %s", tt.name, err, outbound.Problem(err), tt.problem)
		}
	}
}

// The words for strangers have nothing of what the other side sent, nor of where names lead.
func TestProblemsTellNothing(t *testing.T) {
	const secret = "SSH-2.0-secret"
	for _, tt := range []struct {
		name string
		fn   func(net.Conn)
	}{
		{"no HTTP", func(c net.Conn) { io.WriteString(c, secret+"\r\n") }},
		{"a bad header", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"+secret+"\r\n\r\n") }},
		{"a bad length", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: "+secret+"\r\n\r\n") }},
		{"another reason phrase", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 500 "+secret+"\r\nContent-Length: 0\r\n\r\n") }},
		{"an early end", func(c net.Conn) {}},
	} {
		c := raw(t, &outbound.Options{AllowHTTP: true}, tt.fn)
		_, _, err := outbound.Fetch(t.Context(), c, "http://public.test/", 100)
		if got := outbound.Problem(err); err == nil || strings.Contains(got, "secret") {
			t.Errorf("%s: got %q of %v", tt.name, got, err)
		}
	}
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	open := outbound.NewClient(&outbound.Options{AllowHTTP: true, AllowPrivate: true, Resolver: (&names{fn: nobody}).resolver()})
	for url, want := range map[string]string{
		"http://" + refused.Addr().String(): "the connection was refused",
		"http://nobody.test/":               "the host's name could not be resolved",
	} {
		if _, _, err := outbound.Fetch(t.Context(), open, url, 100); err == nil || outbound.Problem(err) != want {
			t.Errorf("%s: got %v (%s), want %s", url, err, outbound.Problem(err), want)
		}
	}
	if got := outbound.Problem(context.Canceled); got != "the request was interrupted" {
		t.Errorf("got %q", got)
	}
}

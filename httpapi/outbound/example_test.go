package outbound_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
)

// A server fetches what a stranger named, and is asked to look at itself.
func ExampleNewClient() {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "for nobody") }))
	defer inside.Close()

	c := outbound.NewClient(&outbound.Options{AllowHTTP: true})
	_, _, err := outbound.Fetch(context.Background(), c, inside.URL, 1<<20)
	fmt.Println(outbound.Problem(err))
	// Output: forbidden address: the host has no public address
}

// What the operator configured may be anywhere.
func ExampleFetch() {
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer files.Close()

	c := outbound.NewClient(&outbound.Options{AllowHTTP: true, AllowPrivate: true, Timeout: 5 * time.Second})
	defer c.CloseIdleConnections()
	body, contentType, err := outbound.Fetch(context.Background(), c, files.URL, 1<<20)
	fmt.Printf("%s, %s, %v\n", body, contentType, err)
	_, _, err = outbound.Fetch(context.Background(), c, files.URL, 4)
	fmt.Println(err)
	// Output:
	// hello, text/plain; charset=utf-8, <nil>
	// answer is too large
}

func ExampleCheckURL() {
	for _, s := range []string{"https://example.com/hook?id=7", "http://example.com/", "https://user@example.com/"} {
		_, err := outbound.CheckURL(s, false)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// forbidden address: the URL's scheme is not https
	// forbidden address: the URL has a user
}

func ExamplePublic() {
	for _, s := range []string{"93.184.216.34", "127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1"} {
		fmt.Println(s, outbound.Public(netip.MustParseAddr(s)))
	}
	// Output:
	// 93.184.216.34 true
	// 127.0.0.1 false
	// 169.254.169.254 false
	// 64:ff9b::7f00:1 false
}

func ExampleRetryAfter() {
	h := http.Header{"Retry-After": {"120"}}
	fmt.Println(outbound.RetryAfter(h, time.Hour), outbound.RetryAfter(h, time.Minute))
	// Output: 2m0s 1m0s
}

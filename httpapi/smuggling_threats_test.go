package httpapi_test

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/httpapi"
)

// Threat: Smuggling. Each request has something about its length that a proxy in front may have understood in another way. What follows it, which that
// proxy took for a part of it, must not be handled as a request of its own, and the connection must end.
func TestWhatFollowsARequestOfDoubtfulLengthIsNotHandled(t *testing.T) {
	const smuggled = "GET /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	long := strings.Repeat("x", 20_000)
	for _, c := range []struct {
		what, version, header, body string
		status                      []int // that may be answered
	}{
		{"two lengths", "1.1", "Content-Length: 1\r\nContent-Length: 2\r\n", "x", []int{400}},
		{"two lengths in a line", "1.1", "Content-Length: 1, 2\r\n", "x", []int{400}},
		{"a length with a sign", "1.1", "Content-Length: +1\r\n", "x", []int{400}},
		{"a negative length", "1.1", "Content-Length: -1\r\n", "x", []int{400}},
		{"a hexadecimal length", "1.1", "Content-Length: 0x1\r\n", "x", []int{400}},
		{"a length that is too large for 64 bits", "1.1", "Content-Length: 18446744073709551617\r\n", "x", []int{400}},
		{"an empty length", "1.1", "Content-Length: \r\n", "x", []int{400}},
		{"a length that is folded", "1.1", "Content-Length:\r\n 1\r\n 2\r\n", "x", []int{400}},
		{"a length, and chunks", "1.1", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n", []int{202}},
		{"chunks, and a length", "1.1", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "1\r\nx\r\n0\r\n\r\n", []int{202}},
		{"a length, and chunks in capitals", "1.1", "Content-Length: 1\r\ntransfer-encoding: CHUNKED\r\n", "1\r\nx\r\n0\r\n\r\n", []int{202}},
		{"a length, and chunks in a folded line", "1.1", "Content-Length: 1\r\nTransfer-Encoding:\r\n chunked\r\n", "1\r\nx\r\n0\r\n\r\n", []int{202}},
		{"a length, and chunks in an old version", "1.0", "Connection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", "2a\r\n", []int{202}},
		{"chunks in an old version", "1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", "", []int{202}},
		{"an encoding that is none", "1.1", "Transfer-Encoding: xchunked\r\n", "1\r\nx\r\n0\r\n\r\n", []int{501}},
		{"an encoding, and chunks", "1.1", "Transfer-Encoding: gzip, chunked\r\n", "1\r\nx\r\n0\r\n\r\n", []int{501}},
		{"chunks, and an encoding", "1.1", "Transfer-Encoding: chunked, identity\r\n", "1\r\nx\r\n0\r\n\r\n", []int{501}},
		{"chunks twice", "1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n", []int{400, 501}},
		{"chunks behind a vertical tab", "1.1", "Transfer-Encoding: \x0bchunked\r\n", "1\r\nx\r\n0\r\n\r\n", []int{400, 501}},
		{"a name with a space behind", "1.1", "Transfer-Encoding : chunked\r\n", "1\r\nx\r\n0\r\n\r\n", []int{400}},
		{"a name with a space in front", "1.1", "X: y\r\nContent-Length: 1\r\n\tTransfer-Encoding: chunked\r\n", "x", []int{400}},
		{"two hosts", "1.1", "Host: y\r\nContent-Length: 1\r\n", "x", []int{400}},
		{"a NUL in a header", "1.1", "X: a\x00b\r\nContent-Length: 1\r\n", "x", []int{400}},
		{"a carriage return in a header", "1.1", "X: a\rContent-Length: 9\r\nContent-Length: 1\r\n", "x", []int{400}},
		{"a line feed alone at the end of a chunk's line", "1.1", "Transfer-Encoding: chunked\r\n", "1\nx\r\n0\r\n\r\n", []int{400}},
		{"a chunk's line with a very long extension", "1.1", "Transfer-Encoding: chunked\r\n", "1;" + long + "\r\nx\r\n0\r\n\r\n", []int{400}},
		{"very many chunks' extensions", "1.1", "Transfer-Encoding: chunked\r\n", strings.Repeat("1;"+long[:3000]+"\r\nx\r\n", 20) + "0\r\n\r\n", []int{400}},
		{"a chunk that is longer than it says", "1.1", "Transfer-Encoding: chunked\r\n", "1\r\nxyz\r\n0\r\n\r\n", []int{400}},
		{"a chunk with a sign", "1.1", "Transfer-Encoding: chunked\r\n", "+1\r\nx\r\n0\r\n\r\n", []int{400}},
		{"a chunk with a prefix", "1.1", "Transfer-Encoding: chunked\r\n", "0x1\r\nx\r\n0\r\n\r\n", []int{400}},
		{"a chunk of more than 64 bits", "1.1", "Transfer-Encoding: chunked\r\n", "10000000000000001\r\nx\r\n0\r\n\r\n", []int{400}},
		{"a length in the trailer", "1.1", "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\nContent-Length: 50\r\n\r\n", []int{202, 400}},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var handled []string
				w := newWorld(t, &setup{wrap: func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						mu.Lock()
						handled = append(handled, r.URL.Path)
						mu.Unlock()
						h.ServeHTTP(w, r)
					})
				}, options: httpapi.Options{AllowAnonymous: true}})
				conn, err := w.net.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go io.WriteString(conn, "POST /v1/queues/q/jobs HTTP/"+c.version+"\r\nHost: x\r\nContent-Type: text/plain\r\n"+c.header+"\r\n"+c.body+smuggled)
				r := bufio.NewReader(conn)
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				if !slices.Contains(c.status, resp.StatusCode) {
					t.Errorf("got %s with %s, want %d", resp.Status, body, c.status)
				}
				if again, err := http.ReadResponse(r, nil); err == nil {
					t.Errorf("the connection goes on after that, and was answered %s too", again.Status)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(handled) > 1 || slices.Contains(handled, "/v1/smuggled") {
					t.Errorf("got these handled: %q", handled)
				}
			})
		})
	}
}

package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi"
)

// BenchmarkCycle is a submit, a poll and an ack, without a network.
func BenchmarkCycle(b *testing.B) {
	broker := newBrokerFor(b)
	h, err := httpapi.New(broker, &httpapi.Options{AllowAnonymous: true})
	if err != nil {
		b.Fatal(err)
	}
	send := func(method, path, body, token string) http.Header {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Lease-Token", token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 300 {
			b.Fatal(w.Code, w.Body)
		}
		return w.Header()
	}
	body := `{"payload":"` + strings.Repeat("x", 256) + `"}`
	b.ReportAllocs()
	for b.Loop() {
		job := send("POST", "/v1/queues/q/jobs", body, "").Get("Location")
		token := send("GET", "/v1/queues/q/poll", "", "").Get("Lease-Token")
		send("POST", job+"/ack", "", token)
	}
}

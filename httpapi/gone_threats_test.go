package httpapi_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// vanishing is the context of a request whose client goes at a moment that nobody is told of.
type vanishing struct {
	context.Context
	at time.Time
}

func (v vanishing) Err() error {
	if time.Now().Before(v.at) {
		return nil
	}
	return context.Canceled
}

// A wait that is over at the very moment at which its client goes is no failure of the server (promise 9: found by raw requests whose clients closed
// their half of the connection).
func TestAWaitThatIsOverAsItsClientGoesIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		h := must(httpapi.New(b, &httpapi.Options{AllowAnonymous: true}))
		j := must(b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{}))
		for _, target := range []string{"GET /v1/jobs/" + j.ID.String() + "?wait=1", "GET /v1/queues/none/poll?timeout=1", "POST /v1/queues/none/poll?timeout=1"} {
			method, path, _ := strings.Cut(target, " ")
			r := httptest.NewRequestWithContext(vanishing{context.Background(), time.Now().Add(time.Second)}, method, path, nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s: got %d %s", target, w.Code, w.Body)
			}
		}
	})
}

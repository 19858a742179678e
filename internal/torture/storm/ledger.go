package storm

import (
	"net/http"
	"sync/atomic"
)

// A ledger stands in front of the API and keeps count of what its connections took: a lease whose answer was written without an error is out there, also
// if nobody read it; every other has to be back in the queue.
type ledger struct {
	api http.Handler

	inside atomic.Int64 // requests that are being handled
	taken  atomic.Int64 // leases whose answer the connection took
	busy   atomic.Int64 // requests answered 429
	failed atomic.Int64 // requests answered 5xx
}

func newLedger(api http.Handler) *ledger { return &ledger{api: api} }

// ServeHTTP implements http.Handler.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.inside.Add(1)
	defer l.inside.Add(-1)
	watched := &watchedWriter{ResponseWriter: w}
	l.api.ServeHTTP(watched, r)
	switch {
	case watched.err == nil && watched.status == http.StatusOK && w.Header().Get("Lease-Token") != "":
		l.taken.Add(1)
	case watched.status == http.StatusTooManyRequests:
		l.busy.Add(1)
	case watched.status >= 500:
		l.failed.Add(1)
	}
}

// A watchedWriter remembers the status, and the first error of the connection.
type watchedWriter struct {
	http.ResponseWriter
	status int
	err    error
}

func (w *watchedWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.note(err)
	return n, err
}

// FlushError is what http.ResponseController looks for.
func (w *watchedWriter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.note(err)
	return err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watchedWriter) note(err error) {
	if w.err == nil {
		w.err = err
	}
}

package storm

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// patience is how long is waited for what must come: a machine that is busy with other things is no broken promise.
const patience = 30 * time.Second

// A stage is a broker behind the API.
type stage struct {
	run    *attack.Run
	clock  *memstore.Clock
	store  *memstore.Store
	broker *jobqueue.Broker
	api    *httpapi.Handler
	ledger *ledger
}

func newStage(r *attack.Run, o httpapi.Options, maxPayload int64) (*stage, error) {
	s := &stage{run: r, clock: memstore.NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	s.store = memstore.New(&memstore.Options{Clock: s.clock})
	var err error
	if s.broker, err = jobqueue.New(s.store, &jobqueue.Options{Retention: -1, Tombstone: -1, MaxPayload: maxPayload}); err != nil {
		return nil, err
	}
	o.AllowAnonymous = true
	if s.api, err = httpapi.New(s.broker, &o); err != nil {
		return nil, err
	}
	s.ledger = newLedger(s.api)
	return s, nil
}

func (s *stage) close() {
	s.broker.Shutdown(context.Background())
	s.store.Close()
}

// A server serves a stage on a socket and on pipes.
type server struct {
	http   *http.Server
	addr   string
	pipes  *pipenet.Listener
	served chan error
}

// serve starts srv, whose Handler is the stage's ledger. wrap, if not nil, changes the listener.
func (s *stage) serve(srv *http.Server, wrap func(net.Listener) net.Listener) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	out := &server{http: srv, addr: l.Addr().String(), pipes: pipenet.Listen(), served: make(chan error, 2)}
	srv.Handler = s.ledger
	if wrap != nil {
		l = wrap(l)
	}
	go func() { out.served <- srv.Serve(l) }()
	go func() { out.served <- srv.Serve(out.pipes) }()
	return out, nil
}

// close ends the server and waits for it.
func (s *server) close() {
	s.http.Close()
	<-s.served
	<-s.served
}

// until waits until something is so, and reports whether it came to be.
func until(r *attack.Run, so func() bool) bool {
	for began := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience || r.Over() {
			return false
		}
	}
	return true
}

// settled tells of goroutines that are left, once all has been closed, beyond the number there was before (threat: leaks of goroutines, I19).
func settled(r *attack.Run, before int, what string) {
	if until(r, func() bool { return runtime.NumGoroutine() <= before }) || r.Over() {
		return
	}
	var text strings.Builder
	pprof.Lookup("goroutine").WriteTo(&text, 1)
	r.Bad("%s: %d goroutines are left, there were %d before:\n%.3000s", what, runtime.NumGoroutine(), before, text.String())
}

// heap returns how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold outlives one
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// sockets returns how many connections over sockets, both of whose ends are ours, the limit of open files allows, at most want. It raises the limit if it
// may.
func sockets(want int) int {
	const spare = 500 // for all else
	need := uint64(2*want + spare)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return min(want, 200)
	}
	if limit.Cur < need {
		raised := syscall.Rlimit{Cur: need, Max: max(need, limit.Max)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) != nil {
			raised = syscall.Rlimit{Cur: limit.Max, Max: limit.Max}
			syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised)
		}
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	return max(0, min(want, (int(limit.Cur)-spare)/2))
}

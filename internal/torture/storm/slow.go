package storm

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
)

// Slow lets thousands of clients be as slow as they can in every part of an exchange: they send nothing, or a header, a body, a form of chunks byte by byte
// or without an end, announce what they never send, and take an answer byte by byte or not at all, also on HTTP/2. The server has the settings that
// package httpapi tells its users, with shorter times.
//
// Every one of them must be ended by the server (threats: Slowloris/slow body, Memory blow-up), and clients that behave must be served all the while. How
// much longer these wait than before is told as a figure, and is the machine's too: slow and good clients share its processors with the server.
var Slow = &attack.Technique{
	Name:    "slow",
	Promise: "slow clients are ended, and others served meanwhile (I19; threats: Slowloris/slow body, Memory blow-up)",
	Unit:    "clients",
	CI:      300,
	Release: 30_000,
	Control: 300,
	Minutes: 1.5,
	Run:     runSlow,
}

const (
	slowTimes  = time.Second      // what the server allows for a header, and for a body
	slowIdle   = 4 * slowTimes    // what it allows between requests
	slowBody   = 256 << 10        // the most that a body may have, and the size of the answer that is taken slowly
	slowEnough = 25 * time.Second // by then all must be ended, on a busy machine too
	slowMemory = 128 << 10        // what one of them may take, on the average, beside the server
)

func runSlow(r *attack.Run) {
	before := runtime.NumGoroutine()
	s, err := newStage(r, httpapi.Options{Patience: slowTimes, MaxBody: slowBody}, slowBody)
	if err != nil {
		r.Bad("set up: %v", err)
		return
	}
	for round := 0; round*most < r.N && !r.Over(); round++ {
		n := min(most, r.N-round*most)
		s.slowRound(round, n)
		r.Done(n)
		settled(r, before+1, fmt.Sprintf("round %d", round)) // the broker has one of its own
	}
	s.close()
	settled(r, before, "after all slow clients")
}

func (s *stage) slowRound(round, n int) {
	r := s.run
	open := &opened{conns: make(map[net.Conn]bool)}
	srv := &http.Server{
		ReadHeaderTimeout: slowTimes, IdleTimeout: slowIdle, MaxHeaderBytes: 16 << 10, ConnState: open.note, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{SendPingTimeout: slowTimes, PingTimeout: slowTimes},
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	on, err := s.serve(srv, func(l net.Listener) net.Listener { return smallBuffers{l} })
	if err != nil {
		r.Bad("serve: %v", err)
		return
	}
	defer on.close()
	large, err := s.broker.Queue("large").Enqueue(context.WithoutCancel(r.Context()), jobqueue.NewJob{Payload: make([]byte, slowBody)})
	if err != nil {
		r.Bad("enqueue: %v", err)
		return
	}

	good := newGood(on)
	defer good.stop()
	calm := good.watch(func() { pause(r, time.Second) })
	ctx, end := context.WithCancel(r.Context())
	defer end()
	rnd := r.Rand(round)
	var slow sync.WaitGroup
	defer slow.Wait()
	defer end()
	peak, dialing, at := int64(0), make(chan struct{}, 64), &working{n: make(map[string]int)}
	storm := good.watch(func() {
		step := max(100*time.Millisecond, time.Duration(n)*40*time.Microsecond)
		onSockets := sockets(n)
		ended := make(chan struct{})
		for i := range n {
			k := kinds[rnd.IntN(len(kinds))]
			pipe := i >= onSockets
			slow.Go(func() {
				at.add(k.what, 1)
				defer at.add(k.what, -1)
				if err := k.run(ctx, on, pipe, dialing, step, large.ID.String()); err != nil && ctx.Err() == nil {
					r.Bad("a client that %s: %v", k.what, err)
				}
			})
		}
		go func() {
			slow.Wait()
			close(ended)
		}()
		limit := time.After(slowEnough)
		for {
			select {
			case <-ended: // what clients can see; the rest is the server's to see
				if open.wait(r, workers, slowEnough) {
					return
				}
				if !r.Over() {
					r.Bad("round %d: %d connections are open, %d are those of good clients", round, open.count(), workers)
				}
				return
			case <-limit:
				if !r.Over() {
					r.Bad("round %d: after %v clients are still served that %s", round, slowEnough, strings.Join(at.list(), "; "))
				}
				return
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, int64(m.HeapInuse))
			}
		}
	})
	if r.Over() {
		return
	}
	if limit := int64(n)*slowMemory + 128<<20; peak > limit {
		r.Bad("round %d: %d bytes were in use, more than %d", round, peak, limit)
	}
	good.stop()
	if good.err != nil {
		r.Bad("round %d: a client that behaves was not served: %v", round, good.err)
	}
	if len(storm) == 0 || len(calm) == 0 {
		r.Bad("round %d: clients that behave were served %d times before and %d times during the storm", round, len(calm), len(storm))
		return
	}
	r.Highest("p99 before, us", percentile(calm).Microseconds())
	r.Highest("p99 during, us", percentile(storm).Microseconds())
	r.Highest("heap at most, MiB", peak>>20)
	r.Count("good requests meanwhile", int64(len(storm)))
}

// pause waits, unless the run ends.
func pause(r *attack.Run, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// smallBuffers has the kernel hold little of what clients do not take.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(4 << 10)
	}
	return c, err
}

// opened are the connections that a server has.
type opened struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
}

// note is an http.Server's ConnState. A connection that turns to HTTP/2 is told of as StateHijacked on the way, and is then another's business.
func (o *opened) note(c net.Conn, state http.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(o.conns, c)
	} else {
		o.conns[c] = true
	}
}

func (o *opened) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

// wait waits until no more than some are open.
func (o *opened) wait(r *attack.Run, most int, limit time.Duration) bool {
	for began := time.Now(); time.Since(began) < limit; pause(r, time.Millisecond) {
		if o.count() <= most || r.Over() {
			return true
		}
	}
	return false
}

const workers = 4 // good clients

// good are clients that behave: they enqueue, poll, and ack.
type good struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu    sync.Mutex // guards what follows
	times []time.Duration
	err   error
}

func newGood(on *server) *good {
	ctx, cancel := context.WithCancel(context.Background())
	g := &good{cancel: cancel}
	for i := range workers {
		client := &http.Client{Transport: new(http.Transport)}
		g.all.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				if err := g.cycle(ctx, client, "http://"+on.addr, fmt.Sprint("/v1/queues/good-", i)); err != nil && ctx.Err() == nil {
					g.mu.Lock()
					g.err = err
					g.mu.Unlock()
					return
				}
				select { // they leave room: what is measured is waiting, not throughput
				case <-time.After(2 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	return g
}

func (g *good) stop() {
	g.cancel()
	g.all.Wait()
}

// watch returns how long requests took while fn ran.
func (g *good) watch(fn func()) []time.Duration {
	g.mu.Lock()
	g.times = nil
	g.mu.Unlock()
	fn()
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.times
	g.times = nil
	return out
}

func (g *good) cycle(ctx context.Context, client *http.Client, base, queue string) error {
	token, id := "", ""
	for _, step := range []struct {
		method, path string
		want         int
	}{{"POST", queue + "/jobs", 202}, {"GET", queue + "/poll", 200}, {"POST", "/ack", 200}} {
		var header http.Header
		if step.path == "/ack" {
			step.path, header = "/v1/jobs/"+id+"/ack", http.Header{"Lease-Token": {token}}
		}
		began := time.Now()
		status, got, body, err := do(ctx, client, step.method, base+step.path, header)
		if err != nil || status != step.want {
			return fmt.Errorf("%s %s: %d %.200q, %v", step.method, step.path, status, body, err)
		}
		g.mu.Lock()
		g.times = append(g.times, time.Since(began))
		g.mu.Unlock()
		token, id = got.Get("Lease-Token"), field(body, "id")
	}
	return nil
}

// percentile returns the 99th.
func percentile(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)*99/100]
}

// working counts the slow clients at work, by what they do.
type working struct {
	mu sync.Mutex
	n  map[string]int
}

func (w *working) add(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n[what] += n; w.n[what] == 0 {
		delete(w.n, what)
	}
}

func (w *working) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for what, n := range w.n {
		out = append(out, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(out)
	return out
}

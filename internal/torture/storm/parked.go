package storm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
)

// Parked parks polls by thousands and lets all their clients vanish in the midst of the jobs that are enqueued and released for them: they close or reset
// the connection, close only their half of it, reset the stream (HTTP/2), or go while the answer is on its way. Beside them streams of HTTP/2 are opened and
// reset as fast as a connection takes it. A few survivors poll and ack.
//
// When all is quiet, and before any lease can have lapsed, the jobs that are still leased must be exactly those whose answer a connection took; no job
// may wait while survivors do (I10); nothing parked, no goroutine and no memory may be left (I11, threat: Parked-poll exhaustion). That there are as many
// places as before shows when the next round takes all of them. Then the leases lapse, and each job must have been acked by a survivor exactly once
// (I7), with as many deliveries counted as answers were taken.
//
// It cannot find what only a real network does: hosts that go silent are left to the server's own timeouts.
var Parked = &attack.Technique{
	Name:    "parked",
	Promise: "a parked poll whose client vanishes takes no job along and leaves nothing behind (I7, I10, I11; threats: Parked-poll exhaustion, HTTP/2)",
	Unit:    "polls",
	CI:      2_000,
	Release: 60_000,
	Control: 2_000,
	Minutes: 1.5,
	Run:     runParked,
}

const (
	most      = 10_000 // parked at the same time
	survivors = 8
)

func runParked(r *attack.Run) {
	before := runtime.NumGoroutine()
	size := max(1, min(most, r.N/2)) // so that there is a round after the first, which needs the places of that
	s, err := newStage(r, httpapi.Options{MaxPolls: size + survivors, MaxWait: time.Hour}, 0)
	if err != nil {
		r.Bad("set up: %v", err)
		return
	}
	first := int64(0)
	for round := 0; round*size < r.N && !r.Over(); round++ {
		n := min(size, r.N-round*size)
		if !s.storm(round, n) {
			break
		}
		r.Done(n)
		now := heap()
		if round == 0 {
			first = now
		} else if grown := now - first; grown > 8<<20 && grown > int64(size)<<10 {
			r.Bad("round %d: %d bytes are in use, %d after the first round of %d polls", round, now, first, size)
		}
	}
	s.close()
	settled(r, before, "after the storm")
}

// storm is one round: n polls are parked, and vanish. It reports whether the next may come.
func (s *stage) storm(round, n int) bool {
	r := s.run
	rnd := r.Rand(round)
	before := runtime.NumGoroutine()
	srv := &http.Server{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	on, err := s.serve(srv, nil)
	if err != nil {
		r.Bad("serve: %v", err)
		return false
	}
	ok := s.stormOn(on, round, n, rnd)
	on.close()
	settled(r, before, fmt.Sprintf("after round %d", round))
	return ok && !r.Over()
}

func (s *stage) stormOn(on *server, round, n int, rnd *rand.Rand) bool {
	r := s.run
	queue := s.broker.Queue(fmt.Sprint("round-", round))
	bystander, err := s.broker.Queue("bystanders").Enqueue(r.Context(), jobqueue.NewJob{}) // a job whose status is waited for
	if err != nil {
		r.Bad("enqueue: %v", err)
		return false
	}
	// Half of the jobs are leased already, and will be released.
	held := make([]*jobqueue.Delivery, n/2)
	for i := range held {
		if _, err = queue.Enqueue(r.Context(), jobqueue.NewJob{Payload: make([]byte, rnd.IntN(jobqueue.InlineLimit))}); err == nil {
			held[i], err = queue.TryReceive(r.Context(), &jobqueue.ReceiveOptions{Lease: jobqueue.MaxLease})
		}
		if err != nil {
			r.Bad("round %d: enqueue and receive: %v", round, err)
			return false
		}
	}
	taken, busy := s.ledger.taken.Load(), s.ledger.busy.Load()

	c := &crowd{on: on, path: "/v1/queues/" + queue.Name().Name + "/poll", bystander: "/v1/jobs/" + bystander.ID.String() + "?wait=3600"}
	defer c.close()
	if err := c.park(n, rnd); err != nil {
		r.Bad("round %d: park: %v", round, err)
		return false
	}
	if !until(r, func() bool { return s.ledger.inside.Load() == int64(n) || s.ledger.busy.Load() > busy }) || s.ledger.busy.Load() > busy {
		if !r.Over() {
			r.Bad("round %d: of %d polls, for which there are places, %d are parked and %d were refused", round, n, s.ledger.inside.Load(), s.ledger.busy.Load()-busy)
		}
		return false
	}
	alive := newSurvivors(on, c.path)
	defer alive.stop()
	if !until(r, func() bool { return s.broker.Stats().Receivers >= survivors+n-c.statuses }) {
		r.Bad("round %d: %d wait for jobs, want %d", round, s.broker.Stats().Receivers, survivors+n-c.statuses)
		return false
	}

	// The storm: all vanish while jobs come.
	jobs := len(held) + n/2
	var work sync.WaitGroup
	fresh := make([]int, n/2)
	for i := range fresh {
		fresh[i] = rnd.IntN(jobqueue.InlineLimit)
	}
	for i := range 2 {
		work.Go(func() {
			for _, size := range fresh[i*len(fresh)/2 : (i+1)*len(fresh)/2] {
				if _, err := queue.Enqueue(context.WithoutCancel(r.Context()), jobqueue.NewJob{Payload: make([]byte, size)}); err != nil {
					r.Bad("round %d: enqueue: %v", round, err)
				}
			}
		})
		work.Go(func() {
			for _, d := range held[i*len(held)/2 : (i+1)*len(held)/2] {
				if err := d.Release(context.WithoutCancel(r.Context()), &jobqueue.ReleaseOptions{Uncounted: true}); err != nil {
					r.Bad("round %d: release: %v", round, err)
				}
			}
		})
	}
	flood := rand.New(rand.NewPCG(rnd.Uint64(), 0))
	work.Go(func() {
		streams, conns := c.flood(n, flood)
		r.Count("streams reset at once", int64(streams))
		r.Count("connections of those", int64(conns))
	})
	c.vanish(rnd, round%2 == 0)
	work.Wait()

	// What the jobs are at rest, before any lease has lapsed.
	counts := func() jobqueue.Counts {
		info, err := queue.Info(context.WithoutCancel(r.Context()))
		if err != nil {
			r.Bad("round %d: info: %v", round, err)
			return jobqueue.Counts{}
		}
		return info.Counts
	}
	quiet := func() bool {
		return s.ledger.inside.Load() == survivors && s.broker.Stats().Receivers == survivors && counts()[jobqueue.Pending] == 0
	}
	if !until(r, quiet) {
		if !r.Over() {
			r.Bad("round %d: all clients but %d have vanished, and there is no rest (I10, I11): %d requests are handled, %d wait for jobs, jobs by state %v",
				round, survivors, s.ledger.inside.Load(), s.broker.Stats().Receivers, counts())
		}
		return false
	}
	out := s.ledger.taken.Load() - taken
	running := int64(counts()[jobqueue.Running])
	if lost := out - alive.acked.Load(); running != lost {
		r.Bad("round %d: %d jobs are leased; connections took %d answers and %d were acked, so it should be %d: leases of vanished clients were not given back",
			round, running, out, alive.acked.Load(), lost)
		return false
	}
	r.Count("answers nobody read", running)
	r.Count("jobs", int64(jobs))

	// Now they lapse.
	s.clock.Advance(jobqueue.DefaultLease)
	if !until(r, func() bool { return alive.acked.Load() >= int64(jobs) }) {
		if !r.Over() {
			r.Bad("round %d: of %d jobs %d were acked after all leases have lapsed: %v", round, jobs, alive.acked.Load(), counts())
		}
		return false
	}
	alive.stop()
	if err := alive.wrong(jobs); err != nil {
		r.Bad("round %d: %v", round, err)
	}
	if out = s.ledger.taken.Load() - taken; alive.attempts.Load() != out {
		r.Bad("round %d: %d answers were taken and %d deliveries counted", round, out, alive.attempts.Load())
	}
	if n := s.ledger.failed.Load(); n > 0 {
		r.Bad("round %d: %d requests were answered 5xx", round, n)
	}
	return true
}

// newSurvivors starts the clients that stay.
func newSurvivors(on *server, path string) *alive {
	ctx, cancel := context.WithCancel(context.Background())
	a := &alive{cancel: cancel, acks: make(map[string]int)}
	for range survivors {
		client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
		a.all.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				a.poll(ctx, client, "http://"+on.addr, path)
			}
		})
	}
	return a
}

// alive are clients that ack what they get.
type alive struct {
	cancel   context.CancelFunc
	all      sync.WaitGroup
	acked    atomic.Int64
	attempts atomic.Int64 // the deliveries of the acked jobs

	mu   sync.Mutex // guards what follows
	acks map[string]int
	errs []error
}

func (a *alive) stop() {
	a.cancel()
	a.all.Wait()
}

// wrong tells of jobs that were not acked exactly once.
func (a *alive) wrong(jobs int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, n := range a.acks {
		if n != 1 {
			a.errs = append(a.errs, fmt.Errorf("job %s was acked %d times (I7)", id, n))
		}
	}
	if len(a.acks) != jobs {
		a.errs = append(a.errs, fmt.Errorf("%d different jobs were acked, want %d", len(a.acks), jobs))
	}
	return errors.Join(a.errs...)
}

func (a *alive) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.errs) < 5 {
		a.errs = append(a.errs, err)
	}
}

// poll takes a job and acks it.
func (a *alive) poll(ctx context.Context, client *http.Client, base, path string) {
	status, header, body, err := do(ctx, client, "GET", base+path, nil)
	if err != nil || status == http.StatusNoContent {
		if ctx.Err() == nil && err != nil {
			a.note(fmt.Errorf("a survivor's poll: %w", err))
		}
		return
	}
	token, id := header.Get("Lease-Token"), field(body, "id")
	if status != http.StatusOK || token == "" || id == "" {
		a.note(fmt.Errorf("a survivor's poll: %d %.200q", status, body))
		return
	}
	// Once begun the ack is seen through.
	status, _, body, err = do(context.WithoutCancel(ctx), client, "POST", base+"/v1/jobs/"+id+"/ack", http.Header{"Lease-Token": {token}})
	if err != nil || status != http.StatusOK || field(body, "outcome") != "acked" {
		a.note(fmt.Errorf("a survivor's ack: %d %.200q, %v", status, body, err))
		return
	}
	a.mu.Lock()
	a.acks[id]++
	a.mu.Unlock()
	var attempt int64
	fmt.Sscan(header.Get("Delivery-Attempt"), &attempt)
	a.attempts.Add(attempt)
	a.acked.Add(1)
}

// do sends a request without a body.
func do(ctx context.Context, client *http.Client, method, url string, header http.Header) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body, err
}

// dial connects to a server, over a socket or a pipe.
func (s *server) dial(ctx context.Context, pipe bool) (net.Conn, error) {
	if pipe {
		return s.pipes.Dial(ctx)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", s.addr)
}

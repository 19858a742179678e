package storm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
)

// Proxy puts nginx between clients and the API, as it comes and as is recommended (nginx.conf here), and has polls answered, given up by the client, given
// up by nginx, and cut by the death of nginx; payloads of up to 64 MiB go in and out, whole, in ranges, and broken off in the middle.
//
// Who vanishes behind a proxy takes no job along (I11), nginx that gives up or dies neither, what is enqueued is whole (I2) and nothing of what was broken
// off is (I1). What other proxies do it cannot know.
var Proxy = &attack.Technique{
	Name:    "proxy",
	Promise: "a proxy between that buffers, gives up or dies loses no job and no byte (I1, I2, I11; threat: Parked-poll exhaustion)",
	Unit:    "exchanges",
	CI:      35,
	Release: 3_000,
	Control: 70,
	Minutes: 4,
	Needs:   []string{"nginx"},
	Run:     runProxy,
}

// A proxied is a stage behind nginx.
type proxied struct {
	*stage
	on     *server
	front  *nginx
	client *http.Client
}

// exchanges are what the units do in turn.
var exchanges = []struct {
	what string
	do   func(p *proxied, unit int, rnd *rand.Rand) error
}{
	{"a poll is answered", (*proxied).answered},
	{"a client vanishes while its poll is parked", (*proxied).vanishes},
	{"nginx gives up before the poll ends", (*proxied).givenUp},
	{"a payload goes in and out", (*proxied).inAndOut},
	{"a client vanishes while it sends a payload", (*proxied).brokenOff},
	{"a client vanishes while it takes a payload", (*proxied).untaken},
	{"nginx is killed", (*proxied).killed},
}

func runProxy(r *attack.Run) {
	before := runtime.NumGoroutine()
	s, err := newStage(r, httpapi.Options{MaxPolls: killedPolls + survivors, MaxWait: time.Hour}, 64<<20)
	if err != nil {
		r.Bad("set up: %v", err)
		return
	}
	p := &proxied{stage: s, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	if p.on, err = s.serve(new(http.Server), nil); err != nil {
		r.Bad("serve: %v", err)
		return
	}
	if p.front, err = startNginx(r.Context(), r.Dir, p.on.addr); err != nil {
		r.Bad("%v", err)
		return
	}
	r.Each(1, func(unit int, rnd *rand.Rand) {
		e := exchanges[unit%len(exchanges)]
		if err := e.do(p, unit, rnd); err != nil && !r.Over() {
			r.Bad("exchange %d, %s: %v", unit, e.what, err)
		}
		r.Count(e.what, 1)
	})
	p.front.kill()
	p.client.CloseIdleConnections()
	p.on.close()
	s.close()
	settled(r, before, "after all exchanges")
}

// ways are the locations of nginx.conf that serve well.
var ways = []string{"/plain", "/tuned"}

// at returns a queue of the unit's own, and its path through nginx.
func (p *proxied) at(unit int, rnd *rand.Rand) (*jobqueue.Queue, string) {
	q := p.broker.Queue(fmt.Sprint("exchange-", unit))
	return q, ways[rnd.IntN(len(ways))] + "/v1/queues/" + q.Name().Name
}

// quiet waits until no request is handled any more.
func (p *proxied) quiet() error {
	if !until(p.run, func() bool { return p.ledger.inside.Load() == 0 && p.broker.Stats().Receivers == 0 }) {
		return fmt.Errorf("%d requests are still handled and %d wait for jobs, and nobody is there", p.ledger.inside.Load(), p.broker.Stats().Receivers)
	}
	return nil
}

// parked waits until so many polls wait.
func (p *proxied) parked(n int) error {
	if !until(p.run, func() bool { return p.broker.Stats().Receivers == n }) {
		return fmt.Errorf("%d polls are parked, want %d", p.broker.Stats().Receivers, n)
	}
	return nil
}

// take polls through nginx and acks, and wants the first delivery.
func (p *proxied) take(path string) error {
	status, header, body, err := do(p.run.Context(), p.client, "GET", p.front.url+path+"/poll", nil)
	if err != nil || status != 200 {
		return fmt.Errorf("poll: %d %.200q, %v", status, body, err)
	}
	if got := header.Get("Delivery-Attempt"); got != "1" {
		return fmt.Errorf("got delivery %s, want the first", got)
	}
	status, _, body, err = do(p.run.Context(), p.client, "POST", p.front.url+"/plain/v1/jobs/"+field(body, "id")+"/ack", http.Header{"Lease-Token": header["Lease-Token"]})
	if err != nil || field(body, "outcome") != "acked" {
		return fmt.Errorf("ack: %d %.200q, %v", status, body, err)
	}
	return nil
}

func (p *proxied) answered(unit int, rnd *rand.Rand) error {
	q, path := p.at(unit, rnd)
	done := make(chan error, 1)
	go func() { done <- p.take(path) }()
	err := p.parked(1)
	if err == nil {
		_, err = q.Enqueue(p.run.Context(), jobqueue.NewJob{Payload: make([]byte, rnd.IntN(jobqueue.InlineLimit))})
	}
	if err != nil {
		p.client.CloseIdleConnections()
		return err
	}
	return <-done
}

func (p *proxied) vanishes(unit int, rnd *rand.Rand) error {
	q, path := p.at(unit, rnd)
	conn, err := net.Dial("tcp", p.front.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, requests[rnd.IntN(len(requests))], path+"/poll")
	if err := p.parked(1); err != nil {
		return err
	}
	if rnd.IntN(2) == 0 {
		conn.(*net.TCPConn).SetLinger(0)
	}
	conn.Close()
	if err := p.quiet(); err != nil {
		return err
	}
	if _, err := q.Enqueue(p.run.Context(), jobqueue.NewJob{}); err != nil {
		return err
	}
	return p.take(path)
}

func (p *proxied) givenUp(unit int, rnd *rand.Rand) error {
	q, path := p.at(unit, rnd)
	status, _, body, err := do(p.run.Context(), p.client, "GET", p.front.url+"/short/v1/queues/"+q.Name().Name+"/poll", nil)
	if err != nil || status != http.StatusGatewayTimeout {
		return fmt.Errorf("got %d %.200q, %v; want 504 from nginx", status, body, err)
	}
	if err := p.quiet(); err != nil {
		return err
	}
	if _, err := q.Enqueue(p.run.Context(), jobqueue.NewJob{}); err != nil {
		return err
	}
	return p.take(path)
}

func (p *proxied) inAndOut(unit int, rnd *rand.Rand) error {
	q, path := p.at(unit, rnd)
	size := rnd.IntN(4 << 20)
	if unit%140 < 7 { // one in twenty
		size = 64 << 20
	}
	payload := noise(rnd, size)
	var body io.Reader = bytes.NewReader(payload)
	if rnd.IntN(2) == 0 {
		body = io.MultiReader(body) // of a length that is not told: in chunks
	}
	req, err := http.NewRequestWithContext(p.run.Context(), "POST", p.front.url+path+"/jobs", body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("submit of %d bytes: %s %.200q, %v", size, resp.Status, answer, err)
	}
	from := p.front.url + ways[rnd.IntN(len(ways))] + "/v1/jobs/" + field(answer, "id") + "/payload"
	status, _, got, err := do(p.run.Context(), p.client, "GET", from, nil)
	if err != nil || status != http.StatusOK || sha256.Sum256(got) != sha256.Sum256(payload) {
		return fmt.Errorf("payload of %d bytes: %d with %d bytes, %v; they should be those that were sent", size, status, len(got), err)
	}
	if size > 0 {
		a := rnd.IntN(size)
		b := a + rnd.IntN(size-a)
		status, _, got, err = do(p.run.Context(), p.client, "GET", from, http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", a, b)}})
		if err != nil || status != http.StatusPartialContent || !bytes.Equal(got, payload[a:b+1]) {
			return fmt.Errorf("bytes %d to %d of %d: %d with %d bytes, %v", a, b, size, status, len(got), err)
		}
	}
	_, err = q.Purge(p.run.Context())
	return err
}

func (p *proxied) brokenOff(unit int, rnd *rand.Rand) error {
	q, path := p.at(unit, rnd)
	conn, err := net.Dial("tcp", p.front.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	size := 1 + rnd.IntN(4<<20)
	head := fmt.Sprintf("Content-Length: %d\r\n\r\n", size+1+rnd.IntN(1000))
	if rnd.IntN(2) == 0 {
		head = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size)
	}
	fmt.Fprintf(conn, "POST %s/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n%s", path, head)
	conn.Write(noise(rnd, size))
	conn.Close()
	if _, _, _, err := do(p.run.Context(), p.client, "GET", p.front.url+path, nil); err != nil { // nginx has seen the end when it has answered this
		return err
	}
	if err := p.quiet(); err != nil {
		return err
	}
	if info, err := q.Info(p.run.Context()); !errors.Is(err, jobqueue.ErrNotFound) {
		return fmt.Errorf("of a payload that was broken off something is left: %+v, %v", info, err)
	}
	return nil
}

func (p *proxied) untaken(unit int, rnd *rand.Rand) error {
	q, _ := p.at(unit, rnd)
	j, err := q.Enqueue(p.run.Context(), jobqueue.NewJob{Payload: noise(rnd, 8<<20)})
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", p.front.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s/v1/jobs/%s/payload HTTP/1.1\r\nHost: x\r\n\r\n", ways[rnd.IntN(len(ways))], j.ID)
	if _, err := io.CopyN(io.Discard, conn, int64(rnd.IntN(1<<20))); err != nil {
		return err
	}
	conn.Close()
	if err := p.quiet(); err != nil {
		return err
	}
	_, err = q.Purge(p.run.Context())
	return err
}

const killedPolls = 64 // are parked when nginx dies

func (p *proxied) killed(unit int, rnd *rand.Rand) error {
	ctx := context.WithoutCancel(p.run.Context())
	q, path := p.at(unit, rnd)
	taken := p.ledger.taken.Load()
	var polls sync.WaitGroup
	defer polls.Wait()
	for range killedPolls {
		polls.Go(func() { do(ctx, p.client, "GET", p.front.url+path+"/poll", nil) }) // nobody acks what comes
	}
	if err := p.parked(killedPolls); err != nil {
		p.front.kill()
		return err
	}
	jobs := 1 + rnd.IntN(2*killedPolls)
	at := rnd.IntN(jobs)
	for i := range jobs {
		if i == at {
			polls.Go(p.front.kill)
		}
		if _, err := q.Enqueue(ctx, jobqueue.NewJob{Payload: make([]byte, rnd.IntN(jobqueue.InlineLimit))}); err != nil {
			return err
		}
	}
	polls.Wait()
	if err := p.quiet(); err != nil {
		return err
	}
	info, err := q.Info(ctx)
	if err != nil {
		return err
	}
	out := p.ledger.taken.Load() - taken
	if running := int64(info.Counts[jobqueue.Running]); running != out {
		return fmt.Errorf("%d jobs are leased, and connections took %d answers (I11)", running, out)
	}
	p.run.Count("answers lost with nginx", out)
	p.clock.Advance(jobqueue.DefaultLease)
	alive := newSurvivors(p.on, "/v1/queues/"+q.Name().Name+"/poll")
	done := until(p.run, func() bool { return alive.acked.Load() >= int64(jobs) })
	alive.stop()
	if !done {
		return fmt.Errorf("%d of %d jobs were acked after all leases have lapsed", alive.acked.Load(), jobs)
	}
	if err := alive.wrong(jobs); err != nil {
		return err
	}
	if err := p.quiet(); err != nil {
		return err
	}
	p.front, err = startNginx(p.run.Context(), p.run.Dir, p.on.addr)
	return err
}

// noise returns random bytes.
func noise(rnd *rand.Rand, n int) []byte {
	p := make([]byte, n)
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rnd.Uint32())
	}
	rand.NewChaCha8(seed).Read(p)
	return p
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func init() { children["pollers"] = pollers }

// pollers is a child: the clients that poll. They tell of each answer on standard output, and poll again until a line on standard input says
// that the next answer is each one's last. The end of the input ends the child.
func pollers(args []string) error {
	if len(args) != 2 {
		return errors.New("want a URL and a number")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := needFiles(uint64(n) + 100); err != nil {
		return err
	}
	const dials = 64 // at once: more than the listener's backlog would wait for TCP to try again
	slots := make(chan struct{}, dials)
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: n,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			slots <- struct{}{}
			defer func() { <-slots }()
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last atomic.Bool
	out := make(chan pollAnswered)
	go func() {
		in := bufio.NewReader(os.Stdin)
		if _, err := in.ReadString('\n'); err == nil {
			last.Store(true)
			out <- pollAnswered{} // so that the server knows
			io.Copy(io.Discard, in)
		}
		cancel()
	}()
	failed := make(chan error, n)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for more := true; more; more = !last.Load() {
				a, err := pollOnce(ctx, client, args[0])
				if err != nil {
					if ctx.Err() == nil {
						failed <- err
					}
					return
				}
				out <- a
			}
		})
	}
	go func() {
		all.Wait()
		close(out)
	}()
	w := json.NewEncoder(os.Stdout)
	for {
		select {
		case err := <-failed:
			return err
		case a, ok := <-out:
			if !ok {
				return nil
			}
			if err := w.Encode(a); err != nil {
				return err
			}
		}
	}
}

// A pollAnswered is what the clients tell of an answer.
type pollAnswered struct {
	ID   string
	Took int64 // nanoseconds since the time in the job's payload
}

func pollOnce(ctx context.Context, client *http.Client, url string) (pollAnswered, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/v1/queues/bench/poll?timeout=3600", nil)
	if err != nil {
		return pollAnswered{}, err
	}
	body, err := do(client, r)
	at := time.Now().UnixNano()
	if err != nil {
		return pollAnswered{}, err
	}
	id, ok := member(body, "id")
	_, after, okAt := bytes.Cut(body, []byte(`"at":`))
	text, _, okEnd := bytes.Cut(after, []byte(","))
	sent, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if !ok || !okAt || !okEnd || err != nil {
		return pollAnswered{}, fmt.Errorf("a poll was answered %s", body)
	}
	return pollAnswered{ID: id, Took: at - sent}, nil
}

// An httpCrowd waits in polls of another process.
type httpCrowd struct {
	url     string
	waiting func() int
	// enqueue brings a job with that payload, or what takes the place of one, and returns its id.
	enqueue func(payload []byte) (string, error)
	calls   func() uint64 // of the store, so far
	stop    func() error

	n       int
	clients *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func newPollCrowd() (crowd, error) {
	store := memstore.New(nil)
	p, err := newPollack(store, noRetention, func() {})
	if err != nil {
		return nil, err
	}
	return pollCrowdOn(p, func() uint64 { s := store.Stats(); return s.Views + s.Updates })
}

func pollCrowdOn(p *pollack, calls func() uint64) (crowd, error) {
	url, stop, err := serve(p.broker)
	if err != nil {
		return nil, err
	}
	return &httpCrowd{
		url:     url,
		waiting: func() int { return p.broker.Stats().Receivers },
		enqueue: func(payload []byte) (string, error) {
			j, err := p.queue.Enqueue(context.Background(), jobqueue.NewJob{Payload: payload, ContentType: "application/json"})
			if err != nil {
				return "", err
			}
			return j.ID.String(), nil
		},
		calls: calls,
		stop: func() error {
			stop()
			return p.close()
		},
	}, nil
}

func newBareCrowd() (crowd, error) {
	b, err := newBare()
	if err != nil {
		return nil, err
	}
	parked := &bareParked{answer: b.poll}
	url, stop, err := listen(parked, nil)
	if err != nil {
		return nil, err
	}
	return &httpCrowd{
		url:     url,
		waiting: func() int { return int(parked.waiting.Load()) },
		enqueue: parked.wake,
		stop: func() error {
			stop()
			return nil
		},
	}, nil
}

// A bareParked parks requests on a channel each. It answers, longest waiting first, what httpapi once did, with another payload and id.
type bareParked struct {
	answer  recorded
	waiting atomic.Int64

	mu    sync.Mutex // guards what follows
	line  []chan []byte
	woken int
}

// ServeHTTP implements http.Handler.
func (b *bareParked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	ch := make(chan []byte, 1)
	b.mu.Lock()
	b.line = append(b.line, ch)
	b.mu.Unlock()
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	select {
	case body := <-ch:
		answer := b.answer
		answer.body = body
		answer.write(w)
	case <-r.Context().Done():
	}
}

func (b *bareParked) wake(payload []byte) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.woken++
	old, _ := member(b.answer.body, "id")
	id := fmt.Sprintf("%0*d", len(old), b.woken)
	at := bytes.Index(b.answer.body, []byte(`{"at":`))
	if len(b.line) == 0 || at < 0 {
		return "", errors.New("nobody waits, or there is nothing to answer")
	}
	body := bytes.Replace(b.answer.body, []byte(old), []byte(id), 1)
	copy(body[at:], payload)
	ch := b.line[0]
	b.line[0] = nil
	b.line = b.line[1:]
	ch <- body
	return id, nil
}

func (c *httpCrowd) park(n int) error {
	if err := needFiles(uint64(n) + 100); err != nil {
		return err
	}
	c.n = n
	c.clients = newChild("pollers", c.url, strconv.Itoa(n))
	var err error
	if c.in, err = c.clients.StdinPipe(); err != nil {
		return err
	}
	out, err := c.clients.StdoutPipe()
	if err != nil {
		return err
	}
	c.answers = json.NewDecoder(out)
	if err := c.clients.Start(); err != nil {
		return err
	}
	return c.settle()
}

// wake's time goes from one process to the other: both read the same clock of the machine.
func (c *httpCrowd) wake() (time.Duration, error) {
	id, err := c.enqueue(jsonPayload(time.Now().UnixNano()))
	if err != nil {
		return 0, err
	}
	var a pollAnswered
	if err := c.answers.Decode(&a); err != nil {
		return 0, err
	}
	if a.ID != id {
		return 0, fmt.Errorf("a poll got job %s, want %s", a.ID, id)
	}
	return time.Duration(a.Took), nil
}

func (c *httpCrowd) settle() error {
	err := until(func() bool { return c.waiting() == c.n })
	yield()
	return err
}

// end has each poll answered once more, all at once: so many jobs for so many polls, and one store call each.
func (c *httpCrowd) end() error {
	if c.clients == nil {
		return c.stop()
	}
	err := c.answerAll()
	c.in.Close()
	return errors.Join(err, c.clients.Wait(), c.stop())
}

func (c *httpCrowd) answerAll() error {
	if _, err := fmt.Fprintln(c.in, "last"); err != nil {
		return err
	}
	var known pollAnswered
	if err := c.answers.Decode(&known); err != nil || known.ID != "" {
		return fmt.Errorf("the clients said %v, %v; want that they know", known, err)
	}
	var before uint64
	if c.calls != nil {
		before = c.calls()
	}
	want := map[string]bool{}
	for range c.n {
		id, err := c.enqueue(jsonPayload(time.Now().UnixNano()))
		if err != nil {
			return err
		}
		want[id] = true
	}
	for range c.n {
		var a pollAnswered
		if err := c.answers.Decode(&a); err != nil {
			return err
		}
		if !want[a.ID] {
			return fmt.Errorf("a poll got job %s, which was not enqueued or was got before", a.ID)
		}
		delete(want, a.ID)
	}
	if c.calls != nil {
		if n := c.calls() - before; n != uint64(c.n) {
			return fmt.Errorf("%d enqueues for as many polls that waited took %d store calls, want one each", c.n, n)
		}
	}
	return nil
}

package kill

// Technique stale: clients that are stopped (SIGSTOP) for longer than their leases, and then go on as if nothing had been.
//
// A server is here. The child is a consumer: it takes some jobs with leases of a second over HTTP and extends them all the time. It is
// stopped at a random moment, also while a request of its is under way. Its leases lapse, the jobs are delivered again here, and some of
// them settled in each way there is. In half of the units the store is then closed and opened again, since tokens outlive it. Then the
// child goes on: with its old tokens it tries all that a consumer can do. Each try must be refused, and each job be as it was, to the
// version (I6). What is tried with a token that has lapsed but was not superseded is not this technique's: that may still ack.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/syscalls/ram"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

const staleName = "stale"

// Stale stops clients for longer than their leases.
var Stale = &attack.Technique{
	Name:    staleName,
	Promise: "a client that was stopped for longer than its leases changes nothing with its old tokens (I6)",
	Unit:    "stops",
	CI:      24,
	Release: 1000,
	Control: 12,
	Minutes: 2,
	Run:     stale,
	Child:   sleeper,
}

const jobsOfSleeper = 9

func stale(r *attack.Run) {
	dir, remove := ram.Dir(r)
	defer remove()
	r.Each(12, func(unit int, rnd *rand.Rand) { // they wait for most of their time
		s := &stop{Run: r, unit: unit, rnd: rnd, path: filepath.Join(dir, fmt.Sprint("stale", unit))}
		defer os.Remove(s.path)
		if err := s.do(); err != nil && !r.Over() {
			r.Bad("unit %d: %v", unit, err)
		}
	})
}

// A stop is one unit.
type stop struct {
	*attack.Run
	unit    int
	rnd     *rand.Rand
	path    string
	store   *boltstore.Store
	broker  *jobqueue.Broker
	handler atomic.Pointer[httpapi.Handler]
}

func (s *stop) open() (err error) {
	if s.store, err = boltstore.Open(s.path, nil); err != nil {
		return err
	}
	if s.broker, err = jobqueue.New(s.store, nil); err != nil {
		return err
	}
	h, err := httpapi.New(s.broker, &httpapi.Options{AllowAnonymous: true, House: true})
	s.handler.Store(h)
	return err
}

func (s *stop) close() error {
	return errors.Join(s.broker.Shutdown(context.WithoutCancel(s.Context())), s.store.Close())
}

func (s *stop) do() error {
	ctx := s.Context()
	if err := s.open(); err != nil {
		return err
	}
	defer func() { s.close() }()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.Load().ServeHTTP(w, r) }))
	defer server.Close()
	jobs := make([]jobqueue.NewJob, jobsOfSleeper)
	for i := range jobs {
		jobs[i] = jobqueue.NewJob{Payload: []byte(fmt.Sprint("job ", i))}
	}
	if _, err := s.broker.Queue("q").EnqueueMany(ctx, jobs); err != nil {
		return err
	}

	cmd := attack.Command(ctx, staleName, server.URL)
	goOn, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	told := bufio.NewReader(out)
	if line, err := told.ReadString('\n'); line != "holds\n" {
		return fmt.Errorf("the client told %q, %w", line, err)
	}
	select {
	case <-time.After(time.Duration(s.rnd.Int64N(int64(20 * time.Millisecond)))): // a random moment
	case <-ctx.Done():
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	before, err := s.takeOver()
	if err != nil {
		return err
	}
	if s.rnd.IntN(2) == 0 {
		if err := errors.Join(s.close(), s.open()); err != nil {
			return err
		}
	}
	if _, err := goOn.Write([]byte("\n")); err != nil {
		return err
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	line, err := told.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the client told %q, %w", line, err)
	}
	var answers []answer
	if err := json.Unmarshal([]byte(line), &answers); err != nil {
		return err
	}
	s.judge(before, answers)
	return nil
}

// takeOver receives all jobs once the client's leases have lapsed, settles some, and returns all as they are then.
func (s *stop) takeOver() (map[string]*jobqueue.Job, error) {
	ctx := s.Context()
	jobs := make(map[string]*jobqueue.Job)
	for i := range jobsOfSleeper {
		d, err := s.broker.Queue("q").Receive(ctx, &jobqueue.ReceiveOptions{Wait: patience, Lease: time.Hour})
		if err != nil {
			return nil, fmt.Errorf("the leases of the client that is stopped do not lapse: %w", err)
		}
		switch i {
		case 0:
			err = d.Ack(ctx)
		case 1:
			err = d.Complete(ctx, jobqueue.NewResult{Data: []byte(`"new"`), ContentType: "application/json"})
		case 2:
			err = d.Fail(ctx, "broken", "by the second")
		case 3:
			err = d.Release(ctx, &jobqueue.ReleaseOptions{Delay: time.Hour})
		case 4:
			err = d.Progress(ctx, 0.5, "by the second")
		case 5:
			_, err = s.broker.Cancel(ctx, d.ID)
		}
		if err != nil {
			return nil, err
		}
		jobs[d.ID.String()] = nil
	}
	return jobs, s.look(jobs)
}

// look reads jobs anew.
func (s *stop) look(jobs map[string]*jobqueue.Job) error {
	for text := range jobs {
		id, err := jobqueue.ParseID(text)
		if err != nil {
			return err
		}
		if jobs[text], err = s.broker.Job(s.Context(), id); err != nil {
			return err
		}
	}
	return nil
}

// An answer is what the client was told with an old token.
type answer struct {
	ID, Call string
	Refusal  string // "" if it was accepted
}

func (s *stop) judge(before map[string]*jobqueue.Job, answers []answer) {
	if want := jobsOfSleeper * 6; len(answers) != want && !s.Over() {
		s.Bad("unit %d: the client tried %d calls, not %d", s.unit, len(answers), want)
	}
	for _, a := range answers {
		s.Count("calls refused", 1)
		if !strings.Contains(a.Refusal, "lease_lost") && !s.Over() {
			s.Bad("unit %d: %s of job %s with a superseded token was answered %q (I6)", s.unit, a.Call, a.ID, a.Refusal)
		}
	}
	after := make(map[string]*jobqueue.Job)
	for id := range before {
		after[id] = nil
	}
	if err := s.look(after); err != nil {
		if !s.Over() {
			s.Bad("unit %d: %v", s.unit, err)
		}
		return
	}
	for id, was := range before {
		if now := after[id]; !reflect.DeepEqual(was, now) && !s.Over() {
			s.Bad("unit %d: job %s was %+v and is %+v, after calls with a superseded token (I6)", s.unit, id, *was, *now)
		}
	}
}

// sleeper is the client: its argument is the server's URL.
func sleeper(args []string) int {
	if err := sleep(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

func sleep(url string) error {
	ctx := context.Background()
	c, err := client.New(url, &client.Options{Retries: -1, Timeout: patience})
	if err != nil {
		return err
	}
	held, err := c.Poll(ctx, "q", &client.PollOptions{Max: jobsOfSleeper, Lease: time.Second})
	if err != nil || len(held) != jobsOfSleeper {
		return fmt.Errorf("it got %d jobs: %w", len(held), err)
	}
	fmt.Println("holds")
	goOn := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		goOn <- err
	}()
	for n := 0; ; n++ {
		select {
		case err := <-goOn:
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(try(ctx, c, held))
		default:
			d := held[n%len(held)]
			c.Extend(ctx, d.ID, d.LeaseToken, time.Second) // refused once it is too late
		}
	}
}

// try tries all that a consumer can do with a token, the harmless first.
func try(ctx context.Context, c *client.Client, held []*client.Delivery) (answers []answer) {
	for _, d := range held {
		tell := func(call string, err error) {
			a := answer{ID: d.ID, Call: call}
			if err != nil {
				a.Refusal = err.Error()
			}
			answers = append(answers, a)
		}
		_, err := c.Extend(ctx, d.ID, d.LeaseToken, time.Minute)
		tell("extend", err)
		_, err = c.Progress(ctx, d.ID, d.LeaseToken, 0.9, "by the first")
		tell("progress", err)
		_, err = c.Release(ctx, d.ID, d.LeaseToken, nil)
		tell("release", err)
		_, err = c.Fail(ctx, d.ID, d.LeaseToken, client.Failure{Code: "old"})
		tell("fail", err)
		_, err = c.Complete(ctx, d.ID, d.LeaseToken, "old")
		tell("complete", err)
		_, err = c.Ack(ctx, d.ID, d.LeaseToken)
		tell("ack", err)
	}
	return answers
}

package kill

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/torture/life"
)

// A book is a ledger that is kept here, by the clients of a server that is going to be killed.
type book struct {
	mu    sync.Mutex // guards what follows
	lines *bytes.Buffer
	n     int
	wait  int    // so many lines until
	full  func() // is called once
}

func (b *book) write(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.lines, format, args...)
	if b.n++; b.n == b.wait {
		b.full()
	}
}

// clients has the load's callers talk to the server that tells where it listens, until it is killed at its moment.
func (f *file) clients(told *bufio.Reader, l life.Load, when moment, cmd *exec.Cmd, ledger *bytes.Buffer) {
	end := func() { time.AfterFunc(when.then, func() { cmd.Process.Kill() }) }
	if when.lines == 0 {
		end()
	}
	address, err := told.ReadString('\n')
	if err != nil {
		return // it was killed before
	}
	b := &book{lines: ledger, wait: when.lines, full: end}
	c, err := client.New("http://"+strings.TrimSpace(address), &client.Options{Retries: -1, Timeout: patience})
	if err != nil {
		f.Bad("%v", err)
		cmd.Process.Kill()
		return
	}
	defer c.CloseIdle()
	if l.Lease == 0 {
		l.Lease = time.Hour
	}
	var wg sync.WaitGroup
	for i := range l.Callers {
		wg.Go(func() {
			k := &caller{book: b, Client: c, lease: l.Lease, rnd: rand.New(rand.NewPCG(l.Seed, uint64(i))), number: l.First + i, callers: l.Callers}
			for k.step(f.Context()) && !f.Over() {
			}
		})
	}
	wg.Wait()
}

// A caller is one client. It plays a smaller load than package life does, since that plays on brokers.
type caller struct {
	*book
	*client.Client
	lease   time.Duration
	rnd     *rand.Rand
	number  int // of the next operation
	callers int
	held    []*client.Delivery
}

// step does one operation and reports whether the server is still there.
func (k *caller) step(ctx context.Context) bool {
	q := fmt.Sprint("q", k.rnd.IntN(3))
	if len(k.held) > 0 && k.rnd.IntN(5) > 1 {
		return k.settle(ctx, q)
	}
	if k.rnd.IntN(2) == 0 {
		return k.do("receive", q, func(int) (string, error) {
			ds, err := k.Poll(ctx, q, &client.PollOptions{Wait: -1, Lease: k.lease, NoPayload: true})
			return k.hold(ds), err
		})
	}
	size, key := k.rnd.IntN(3000), "-"
	if k.rnd.IntN(4) == 0 {
		key = fmt.Sprint("k", k.number)
	}
	return k.do("enqueue", fmt.Sprintf("%s 1 %d 0 %s 0 0 0", q, size, key), func(n int) (string, error) {
		j := client.NewJob{Name: fmt.Sprint(n, ".0"), Payload: life.Fill(n, 0, size), Key: strings.TrimPrefix(key, "-")}
		out, err := k.Submit(ctx, q, j)
		if err != nil {
			return "", err
		}
		return " " + out.ID, nil
	})
}

// settle does something with a delivery in hand.
func (k *caller) settle(ctx context.Context, q string) bool {
	i := k.rnd.IntN(len(k.held))
	d := k.held[i]
	drop := func() { k.held = append(k.held[:i], k.held[i+1:]...) }
	args := fmt.Sprintf("%s %s", d.ID, d.LeaseToken)
	switch m := k.rnd.IntN(10); {
	case m < 3:
		drop()
		return k.do("ack", args, func(int) (string, error) {
			_, err := k.Ack(ctx, d.ID, d.LeaseToken)
			return "", err
		})
	case m < 5:
		drop()
		return k.do("acknext", args, func(int) (string, error) {
			results, ds, err := k.AckReceive(ctx, q, []client.Ack{{ID: d.ID, Token: d.LeaseToken}}, &client.PollOptions{Wait: -1, Lease: k.lease, NoPayload: true})
			if len(results) == 1 {
				err = results[0].Err
			}
			return k.hold(ds), err
		})
	case m < 7:
		drop()
		size := k.rnd.IntN(2000)
		return k.do("complete", fmt.Sprintf("%s %d", args, size), func(n int) (string, error) {
			_, err := k.CompleteWith(ctx, d.ID, d.LeaseToken, client.NewResult{Data: life.Fill(n, 0, size)})
			return "", err
		})
	case m < 8:
		drop()
		return k.do("fail", args, func(int) (string, error) {
			_, err := k.Fail(ctx, d.ID, d.LeaseToken, client.Failure{Code: "broken"})
			return "", err
		})
	case m < 9:
		drop()
		return k.do("release", args, func(int) (string, error) {
			_, err := k.Release(ctx, d.ID, d.LeaseToken, nil)
			return "", err
		})
	}
	return k.do("extend", args, func(int) (string, error) {
		_, err := k.Extend(ctx, d.ID, d.LeaseToken, k.lease)
		return "", err
	})
}

// hold takes deliveries in hand, and returns how a ledger tells of the first, which is all there are.
func (k *caller) hold(ds []*client.Delivery) string {
	if len(ds) == 0 {
		return ""
	}
	d := ds[0]
	k.held = append(k.held, d)
	return fmt.Sprintf(" %s %s %d %d %d", d.ID, d.LeaseToken, d.Deliveries, d.Started.UnixMicro(), d.LeaseExpires.UnixMicro())
}

// do does an operation between its two lines in the ledger. One that the server did not answer has the first only, and is the last.
func (k *caller) do(kind, args string, op func(n int) (string, error)) bool {
	n := k.number
	k.number += k.callers
	k.write("b %d %s %s\n", n, kind, args)
	told, err := op(n)
	var answer *client.Error
	switch {
	case err == nil:
		k.write("e %d ok%s\n", n, told)
	case errors.As(err, &answer), errors.Is(err, client.ErrEmpty):
		k.write("e %d no %s\n", n, strings.ReplaceAll(err.Error(), "\n", " "))
	default:
		return false
	}
	return true
}

package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
)

// Duel has two polls wait for one job: the first in line vanishes in the very moment in which the job comes, by being enqueued or released. However that
// goes, the second must get the job, if need be after the lease of an answer that the first's connection took: a wake-up that went to who has left must go
// to the next (I10), and what was handed over must come back (I11). In a crowd such a loss is hidden by the next who comes and looks; here nobody comes.
//
// It finds races by repetition only. Which way they went is counted.
var Duel = &attack.Technique{
	Name:    "duel",
	Promise: "a job that comes while the first in line vanishes goes to the next (I10, I11)",
	Unit:    "duels",
	CI:      2_000,
	Release: 100_000,
	Control: 10_000,
	Minutes: 1,
	Run:     runDuel,
}

func runDuel(r *attack.Run) {
	before := runtime.NumGoroutine()
	s, err := newStage(r, httpapi.Options{MaxPolls: 2, MaxWait: time.Hour}, 0)
	if err != nil {
		r.Bad("set up: %v", err)
		return
	}
	on, err := s.serve(new(http.Server), nil)
	if err != nil {
		r.Bad("serve: %v", err)
		return
	}
	second := &http.Client{Transport: new(http.Transport)}
	r.Each(1, func(unit int, rnd *rand.Rand) {
		if err := s.duel(on, second, unit, rnd); err != nil && !r.Over() {
			r.Bad("duel %d: %v", unit, err)
		}
	})
	second.CloseIdleConnections()
	on.close()
	s.close()
	settled(r, before, "after the duels")
}

func (s *stage) duel(on *server, second *http.Client, unit int, rnd *rand.Rand) error {
	ctx := context.WithoutCancel(s.run.Context())
	queue := s.broker.Queue(fmt.Sprint("duel-", unit%100))
	come := func() error {
		_, err := queue.Enqueue(ctx, jobqueue.NewJob{})
		return err
	}
	if rnd.IntN(2) == 0 {
		if err := come(); err != nil {
			return err
		}
		held, err := queue.TryReceive(ctx, nil)
		if err != nil {
			return err
		}
		come = func() error { return held.Release(ctx, nil) }
	}
	taken := s.ledger.taken.Load()
	path := "/v1/queues/" + queue.Name().Name + "/poll"
	first, err := on.dial(ctx, false)
	if err != nil {
		return err
	}
	defer first.Close()
	fmt.Fprintf(first, requests[rnd.IntN(len(requests))], path)
	waiting := func(n int) bool { return until(s.run, func() bool { return s.broker.Stats().Receivers == n }) }
	if !waiting(1) {
		return errors.New("the first poll is not parked: perhaps the place of one before is not free")
	}
	reach, giveUp := context.WithCancel(ctx)
	defer giveUp()
	answered := make(chan error, 1)
	go func() { answered <- ackOne(reach, second, "http://"+on.addr, path) }()
	if !waiting(2) {
		giveUp()
		<-answered
		return errors.New("the second poll is not parked")
	}

	pause := time.Duration(rnd.IntN(200)) * time.Microsecond // until the server has noticed, more or less
	first.Close()
	for began := time.Now(); time.Since(began) < pause; { // too short to sleep
	}
	if err := come(); err != nil {
		return err
	}

	const enough = 15 * time.Second
	for began := time.Now(); ; {
		select {
		case err := <-answered:
			return err
		case <-time.After(200 * time.Microsecond):
		}
		switch {
		case s.ledger.inside.Load() == 1 && s.ledger.taken.Load() > taken:
			s.run.Count("first's connection took it", 1)
			taken = s.ledger.taken.Load()
			s.clock.Advance(jobqueue.DefaultLease)
		case time.Since(began) > enough || s.run.Over():
			giveUp()
			<-answered
			info, err := queue.Info(ctx)
			return fmt.Errorf("the first has vanished and the second waits in vain for the job (I10): %+v, %v", info.Counts, err)
		}
	}
}

// ackOne polls for a job and acks it.
func ackOne(ctx context.Context, client *http.Client, base, path string) error {
	status, header, body, err := do(ctx, client, "GET", base+path, nil)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("poll: %d %.200q, %w", status, body, err)
	}
	status, _, body, err = do(ctx, client, "POST", base+"/v1/jobs/"+field(body, "id")+"/ack", http.Header{"Lease-Token": header["Lease-Token"]})
	if err != nil || field(body, "outcome") != "acked" {
		return fmt.Errorf("ack: %d %.200q, %v", status, body, err)
	}
	return nil
}

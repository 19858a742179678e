package callback_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

var minutes = []time.Duration{time.Minute, time.Minute, time.Minute}

// same demands that all requests have the id of the job.
func (l *lab) same(job *jobqueue.Job, attempts int) {
	l.Helper()
	got := l.requests()
	if len(got) != attempts {
		l.Errorf("got %d attempts, want %d", len(got), attempts)
	}
	for i, r := range got {
		if r.id != job.ID.String() {
			l.Errorf("attempt %d: got id %s, want %v", i, r.id, job.ID)
		}
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(says(503))
		l.send(callback.Options{Delays: minutes, Jitter: -1})
		job := l.add(jobqueue.NewJob{})
		l.pass(90 * time.Second) // two attempts
		l.close()
		l.pass(time.Hour)
		l.same(job, 2)
		l.open()
		l.send(callback.Options{Delays: minutes, Jitter: -1})
		began := time.Now()
		job = l.ended(job.ID, callback.CodeFailed)
		l.same(job, 4)
		if at := l.requests()[2].at.Sub(began); at != 0 {
			l.Errorf("the attempt that was due came %v after the restart, want at once", at)
		}
		if at := l.requests()[3].at.Sub(began); at != time.Minute {
			l.Errorf("the next one came %v after the restart, want after 1m", at)
		}
	})
}

func TestAnAttemptThatDiedWithItsProcessCounts(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(says(503))
		job := l.add(jobqueue.NewJob{})
		for range 2 { // taken by a process that was killed before it could say anything
			if _, err := l.queue().Receive(l.Context(), &jobqueue.ReceiveOptions{Lease: 10 * time.Second}); err != nil {
				l.Fatal(err)
			}
		}
		l.send(callback.Options{Delays: minutes, Jitter: -1})
		job = l.ended(job.ID, callback.CodeFailed)
		l.same(job, 2)
	})
}

func TestALastAttemptThatDiedWithItsProcessIsTheLast(t *testing.T) {
	inLab(t, func(l *lab) {
		job := l.add(jobqueue.NewJob{})
		for range 4 {
			if _, err := l.queue().Receive(l.Context(), &jobqueue.ReceiveOptions{Lease: 10 * time.Second}); err != nil {
				l.Fatal(err)
			}
		}
		l.send(callback.Options{Delays: minutes})
		l.same(l.ended(job.ID, callback.CodeFailed), 0)
	})
}

func TestAnInterruptedAttemptDoesNotCount(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(hijacks("", func(c net.Conn) { io.Copy(io.Discard, c) }))
		job := l.add(jobqueue.NewJob{})
		for range 5 {
			l.send(callback.Options{Delays: minutes, Jitter: -1})
			l.pass(time.Second)
			began := time.Now()
			if err := l.stop(); err != nil || time.Since(began) > 0 {
				l.Errorf("got %v after %v, want the end of Send at once", err, time.Since(began))
			}
		}
		l.answers(says(503))
		l.send(callback.Options{Delays: minutes, Jitter: -1})
		l.same(l.ended(job.ID, callback.CodeFailed), 5+4)
	})
}

func TestGraceLetsAnAttemptEnd(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(hijacks("", func(c net.Conn) {
			time.Sleep(5 * time.Second)
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}))
		job := l.add(jobqueue.NewJob{})
		l.send(callback.Options{Grace: 10 * time.Second})
		l.pass(time.Second)
		if err := l.stop(); err != nil {
			l.Error(err)
		}
		l.same(l.ended(job.ID, "succeeded"), 1)
	})
}

func TestACanceledCallbackIsInterrupted(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(hijacks("", func(c net.Conn) { io.Copy(io.Discard, c) }))
		job := l.add(jobqueue.NewJob{})
		l.send(callback.Options{})
		l.pass(time.Second)
		if _, err := l.broker.Cancel(l.Context(), job.ID); err != nil {
			l.Fatal(err)
		}
		l.answers(says(204))
		next := l.add(jobqueue.NewJob{})
		l.ended(next.ID, "succeeded")
		l.ended(job.ID, "canceled")
	})
}

func TestADeadLetterCanBeRedriven(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(says(503))
		l.send(callback.Options{Delays: minutes[:1], Jitter: -1})
		job := l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
		if _, err := l.broker.Redrive(context.Background(), job.ID); err != nil {
			l.Fatal(err)
		}
		l.ended(job.ID, callback.CodeFailed) // with all its attempts again
		l.answers(says(204))
		if _, err := l.broker.Redrive(context.Background(), job.ID); err != nil {
			l.Fatal(err)
		}
		l.same(l.ended(job.ID, "succeeded"), 2+2+1)
	})
}

package jobqueue

import (
	"context"
	"errors"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A keeper extends a lease while its handler runs, and ends the handler's context when the lease is lost.
type keeper struct {
	p      *pool
	d      *Delivery
	cancel context.CancelCauseFunc
	over   <-chan struct{} // closed when the handler has returned
	watch  *watch
	absent bool // the job's record is gone, and nobody has said how it ended
}

// goneGrace is how long after a job's record has gone its end may still be about to be told, if it ended in this process.
const goneGrace = time.Second

// run returns when the handler has, or when there is no lease to keep any more.
func (k *keeper) run() {
	b := k.p.q.b
	var err error
	if k.watch, err = b.watches.add(k.d.ID); err == nil {
		defer b.watches.remove(k.d.ID, k.watch)
		k.watch.poke() // to look once: something may have happened since the delivery
	} else {
		k.watch = newWatch() // the broker is shutting down: extending goes on
	}
	lease := k.p.opts.Lease
	// As long as the lease cannot be extended, for whatever reason, it will be over in time; then somebody else may have the job.
	lapse := time.AfterFunc(lease, func() { k.cancel(&LeaseLostError{LeaseLapsed}) })
	defer lapse.Stop()
	timer := time.NewTimer(lease / 3)
	defer timer.Stop()
	for {
		select {
		case <-k.over:
			return
		case <-timer.C:
			if k.absent { // another process ended it, and nobody is left to ask how
				k.cancel(&LeaseLostError{JobGone})
				return
			}
			begun := time.Now()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(k.p.work), lease)
			err := k.d.Extend(ctx, lease)
			cancel()
			if err == nil {
				lapse.Reset(lease - time.Since(begun))
			} else if k.lost(err) {
				return
			}
			timer.Reset(k.rest())
		case <-k.watch.changed:
			if err := k.look(); err != nil && k.lost(err) {
				return
			}
			if k.absent {
				timer.Reset(k.rest())
			}
		}
	}
}

// rest is how long to wait for news.
func (k *keeper) rest() time.Duration {
	if k.absent {
		return goneGrace
	}
	return k.p.opts.Lease / 3
}

// look returns nil if the lease still holds.
func (k *keeper) look() error {
	b := k.d.broker()
	return b.view(context.WithoutCancel(k.p.work), storage.Reads{Jobs: []ID{k.d.ID}}, func(r storage.Reader) error {
		j, err := b.find(r, k.d.ID)
		if err != nil {
			return err
		}
		return k.judge(j)
	})
}

// errSettled says that the handler has settled the job itself.
var errSettled = errors.New("settled by its handler")

// judge returns why the lease does not hold, nil if it does.
func (k *keeper) judge(j *storage.Job) error {
	if settledBy(j, k.d.Token) {
		return errSettled
	}
	return holds(j, k.d.Token)
}

// lost reports whether err says that the lease is over, and ends the handler's context if that was not the handler's own doing.
func (k *keeper) lost(err error) bool {
	// How the job ended says more than what has become of it since: it may have been deleted, or redriven.
	if end, _, _ := k.p.q.b.watches.last(k.watch); end != nil {
		err = k.judge(end.job)
	} else if errors.Is(err, ErrLeaseLost) {
		err = k.look()
	}
	switch {
	case errors.Is(err, errSettled):
		return true
	case errors.Is(err, ErrGone), errors.Is(err, ErrNotFound):
		k.absent = true
		return false
	case errors.Is(err, ErrLeaseLost):
		k.cancel(err)
		return true
	case err != nil:
		k.p.log.Warn("a lease could not be extended", "job", k.d.ID, "error", err)
	}
	return false
}

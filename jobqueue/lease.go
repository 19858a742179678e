package jobqueue

import (
	"context"
	"time"

	"github.com/pollackq/pollack/storage"
)

// ReleaseOptions say how a job is given back.
type ReleaseOptions struct {
	Delay     time.Duration // not to be delivered again before that has passed
	Uncounted bool          // the delivery does not count: it never really happened
}

// Release gives a job back before its lease ends, to be delivered again, and ends the token. A job that has no delivery left fails
// instead. It needs an unlapsed lease.
func (b *Broker) Release(ctx context.Context, id ID, t Token, o *ReleaseOptions) (*Job, error) {
	var opts ReleaseOptions
	if o != nil {
		opts = *o
	}
	if opts.Delay < 0 || opts.Delay > yearLimit {
		return nil, invalid("delay", "%v is not from 0 to 100 years", opts.Delay)
	}
	return b.change(ctx, id, func(s *step, j *storage.Job) (*storage.Job, error) {
		if err := holds(j, t); err != nil {
			return nil, err
		}
		st := j.Status
		st.Lease = storage.Released
		if opts.Uncounted && st.Deliveries > 0 {
			st.Deliveries--
		}
		at := time.Time{}
		if opts.Delay > 0 {
			at = s.now.Add(opts.Delay).Truncate(time.Microsecond)
		}
		return s.again(j.With(st), at, !opts.Uncounted)
	})
}

// Extend has the lease end a time from now, whatever was left of it: from MinLease to MaxLease, 0 for the job's usual one. It needs an
// unlapsed lease.
func (b *Broker) Extend(ctx context.Context, id ID, t Token, d time.Duration) (*Job, error) {
	if d != 0 {
		if err := checkLease(d); err != nil {
			return nil, err
		}
	}
	return b.change(ctx, id, func(s *step, j *storage.Job) (*storage.Job, error) {
		if err := holds(j, t); err != nil {
			return nil, err
		}
		q, err := s.queueOf(j.Spec)
		if err != nil {
			return nil, err
		}
		st := j.Status
		st.Version++
		st.LeaseExpires = s.now.Add(first(d, s.limitsFor(j.Spec, q).Lease)).Truncate(time.Microsecond)
		st.Due = earliest(st.LeaseExpires, st.Deadline)
		return s.changed(j.With(st))
	})
}

// A Progress says how far a job is.
type Progress struct {
	Fraction    float64 // 0 to 1
	Message     string  // for people; at most MaxText bytes
	MessageOnly bool    // leave the fraction as it is
}

// Progress tells those who watch the job how far it is. It needs an unlapsed lease and does not extend it.
func (b *Broker) Progress(ctx context.Context, id ID, t Token, p Progress) (*Job, error) {
	if !(p.Fraction >= 0 && p.Fraction <= 1) {
		return nil, invalid("progress", "%v is not from 0 to 1", p.Fraction)
	}
	if err := checkText("message", p.Message); err != nil {
		return nil, err
	}
	return b.change(ctx, id, func(s *step, j *storage.Job) (*storage.Job, error) {
		if err := holds(j, t); err != nil {
			return nil, err
		}
		st := j.Status
		st.Version++
		if !p.MessageOnly {
			st.Progress = &p.Fraction
		}
		st.HasResult = p.Message != ""
		var err error
		if st.HasResult {
			err = s.tx.SetResult(j, (&beside{message: p.Message}).encode())
		} else if j.HasResult {
			err = s.tx.DeleteResult(j)
		}
		if err != nil {
			return nil, err
		}
		return s.changed(j.With(st))
	})
}

// change does one thing to one job and returns the job as it is then.
func (b *Broker) change(ctx context.Context, id ID, do func(*step, *storage.Job) (*storage.Job, error)) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out Outcome
	err := b.update(ctx, storage.Reads{Jobs: []ID{id}, Results: true, Ends: true}, func(s *step) error {
		j, err := s.load(b, id)
		if err == nil {
			j, err = do(s, j)
		}
		if err == nil {
			out, err = s.outcome(j, false)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out.Job, nil
}

// changed writes a job's new status and notes that there is one.
func (s *step) changed(j *storage.Job) (*storage.Job, error) {
	s.note(changed, j)
	return j, s.set(j)
}

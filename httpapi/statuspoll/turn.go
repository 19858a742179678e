package statuspoll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/pollackq/pollack/jobqueue"
)

// errResting has the job delivered again when there is something to do.
var errResting = errors.New("nothing to do yet")

// A turn is what is done with an order in one delivery of its job: one request at most, but for the retry of a check.
type turn struct {
	p     *Poller
	d     *jobqueue.Delivery
	began time.Time
	m     memory
}

// handle does what is due. It depends on nothing but the job and the time, so it does not matter why the job has been delivered.
func (p *Poller) handle(ctx context.Context, d *jobqueue.Delivery) error {
	t := &turn{p: p, d: d, began: time.Now()}
	var err error
	if t.m, err = readMemory(d.Job); err != nil {
		return t.fail(ctx, CodeUnreadable, "The order cannot be followed any more.", "")
	}
	if t.m.Started.IsZero() {
		return t.start(ctx)
	}
	switch now := t.now(); {
	case !now.Before(t.m.CutOff):
		return t.timeOut(ctx)
	case t.m.Next.IsZero() || now.Before(t.m.Next):
		return jobqueue.RetryAfter(t.untilNext(), errResting)
	}
	return t.check(ctx)
}

// now is the store's time: never later than it, so that what is put off until some time does not come before that.
func (t *turn) now() time.Time {
	return t.d.Started.Add(time.Since(t.began)).Truncate(time.Microsecond)
}

// unknownTries is how many tries of the webhook may have ended with their process, so that nobody knows what came of them.
const unknownTries = 2

// start hands the order to the webhook. Where the time for that is over, because no poller ran, an order is tried all the same that never was, or whose
// latest try may have got through.
func (t *turn) start(ctx context.Context) error {
	const refused = "The order could not be handed over."
	eta, known := t.p.opts.ETAs[t.d.Tags[etaTag]]
	if !known {
		return t.fail(ctx, CodeStartFailed, refused, "the ETA is not known any more")
	}
	until := t.d.Created.Add(t.p.opts.StartFor)
	limit := t.p.opts.AnswerLimit
	if left := until.Sub(t.now()); left > 0 {
		limit = min(limit, left)
	} else if unknown := t.d.Deliveries - 1 - t.m.Tries; unknown > unknownTries || unknown == 0 && t.m.Tries > 0 {
		return t.fail(ctx, CodeStartFailed, refused, t.m.Problem)
	}
	body, err := t.d.Open(ctx)
	if err != nil {
		return err
	}
	err = t.p.post(ctx, body, limit)
	if err == nil {
		now := t.now()
		t.m = memory{Started: now, CutOff: now.Add(eta)}
		t.m.Next = t.nextCheck(now)
		return t.rest(ctx, nil)
	}
	if ctx.Err() != nil {
		return t.d.Release(context.WithoutCancel(ctx), nil) // it counts, since it may have got through
	}
	t.p.opts.Logger.Warn("the webhook has not taken an order", "order", t.d.Key, "error", detail(err))
	problem := clip("webhook: " + err.Error())
	left := until.Sub(t.now())
	if left <= 0 || !worthRetrying(err) {
		return t.fail(ctx, CodeStartFailed, refused, problem)
	}
	t.m.Tries, t.m.Problem = t.d.Deliveries, problem
	return t.remember(ctx, nil, min(left, t.p.startPause(t.d.Deliveries)))
}

// startPause returns the pause after a try of the webhook: it doubles with each, up to a minute.
func (p *Poller) startPause(tries int) time.Duration {
	pause := p.opts.RetryPause
	for i := 1; i < tries && pause < time.Minute; i++ {
		pause *= 2
	}
	return min(pause, max(time.Minute, p.opts.RetryPause))
}

// nextCheck returns the first check of the schedule after a time; the zero time if the cut-off comes first.
func (t *turn) nextCheck(after time.Time) time.Time {
	next := t.m.Started.Add(t.p.opts.FirstCheck)
	if gone := after.Sub(next); gone >= 0 {
		next = next.Add((gone/t.p.opts.Interval + 1) * t.p.opts.Interval)
	}
	if !next.Before(t.m.CutOff) {
		return time.Time{}
	}
	return next
}

// check asks the status endpoint and does what it answers.
func (t *turn) check(ctx context.Context) error {
	at := t.now()
	within, cancel := context.WithTimeout(ctx, t.m.CutOff.Sub(at))
	defer cancel()
	a, body, problem := t.p.ask(within, t.d.Key)
	defer body.release()
	if problem != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if !t.now().Before(t.m.CutOff) { // what comes then is ignored
		t.m.Checks++
		if problem != nil {
			t.m.Problem = clip(problem.Error())
		}
		if err := t.write(ctx, nil); err != nil {
			return err
		}
		return t.timeOut(ctx)
	}
	if problem == nil && a.Status == Completed {
		if problem = t.accept(ctx, a); passing(problem) {
			return problem
		}
	}
	said, progress := "", (*float64)(nil)
	switch {
	case problem != nil:
		said = clip(problem.Error())
		t.p.opts.Logger.Warn("a check came to nothing", "order", t.d.Key, "error", detail(problem))
	case a.Status == Completed:
		return t.d.Complete(context.WithoutCancel(ctx), jobqueue.NewResult{ContentType: "application/json", Data: body.Bytes()})
	case a.Status == Failed:
		return t.fail(ctx, CodeOrderFailed, a.ErrorMessage, a.Problem)
	default:
		progress = a.Progress
	}
	t.m.Checks, t.m.Next, t.m.Problem = t.m.Checks+1, t.nextCheck(at), said
	return t.rest(ctx, progress)
}

// accept asks the hooks.
func (t *turn) accept(ctx context.Context, a *Answer) error {
	for i, f := range a.Files {
		field := fileField(i, ".object_key")
		if t.p.opts.ObjectKey == nil {
			return broken(RuleObjectKey, field, "was not prepared: there are no uploads")
		}
		if err := t.p.opts.ObjectKey(ctx, t.d.Key, f); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	if t.p.opts.Accepted == nil {
		return nil
	}
	return t.p.opts.Accepted(ctx, t.d.Key, a)
}

// rest writes down what is known, and gives the job back until the next check or the cut-off. nil leaves the progress as it is.
func (t *turn) rest(ctx context.Context, progress *float64) error {
	return t.remember(ctx, progress, t.untilNext())
}

// untilNext returns how long there is nothing to do.
func (t *turn) untilNext() time.Duration {
	until := t.m.Next
	if until.IsZero() {
		until = t.m.CutOff
	}
	return until.Sub(t.now())
}

// remember writes down what is known, and gives the job back for a while. Between the two the process may die: then the job is delivered early, and
// given back again.
func (t *turn) remember(ctx context.Context, progress *float64, pause time.Duration) error {
	if err := t.write(ctx, progress); err != nil {
		return err
	}
	return jobqueue.RetryAfter(pause, errResting)
}

func (t *turn) write(ctx context.Context, progress *float64) error {
	text, err := json.Marshal(&t.m)
	if err != nil {
		return err
	}
	p := jobqueue.Progress{Message: string(text), MessageOnly: progress == nil}
	if progress != nil {
		p.Fraction = *progress
	}
	_, err = t.p.broker.Progress(context.WithoutCancel(ctx), t.d.ID, t.d.Token, p)
	return err
}

func (t *turn) timeOut(ctx context.Context) error {
	message := fmt.Sprintf("There was no final answer within %v.", t.m.CutOff.Sub(t.m.Started))
	return t.fail(ctx, CodeTimedOut, message, t.m.Problem)
}

// fail ends the order. The problem is written down first; where the process dies between the two, what led here is done again.
func (t *turn) fail(ctx context.Context, code, message, problem string) error {
	if problem != t.m.Problem {
		t.m.Problem = problem
		if err := t.write(ctx, nil); err != nil {
			return err
		}
	}
	return t.d.Fail(context.WithoutCancel(ctx), code, message)
}

// passing reports whether an error of a hook says nothing of the answer.
func passing(err error) bool {
	for _, e := range []error{
		jobqueue.ErrBusy, jobqueue.ErrStoreFailed, jobqueue.ErrStoreFull, jobqueue.ErrOutcomeUnknown, jobqueue.ErrShutdown,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

const maxProblem = 500 // characters

// clip makes a problem one line of bounded length.
func clip(s string) string {
	return firstRunes(strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), " "), maxProblem)
}

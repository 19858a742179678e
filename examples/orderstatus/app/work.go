package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
)

// A state is what is known of an order between two deliveries. It is the progress message of its job, so the next process goes on from it.
type state struct {
	Worked time.Duration `json:"worked"` // how long it has been worked on
	At     time.Time     `json:"at"`     // when that was noted
	Upload *upload       `json:"upload,omitempty"`
}

// The failure codes of orders.
const (
	codeFailed = "order_failed"  // it was to fail
	codeOutput = "output_broken" // its output breaks a rule
	codeUpload = "upload_failed" // the platform did not take its output
)

// work does one step on an order and gives it back, so that no worker is held by an order that takes a day; or it ends the order. Released deliveries
// are not counted: the job fails by what comes of it, however often the process died.
func (a *App) work(ctx context.Context, o order, d *jobqueue.Delivery) error {
	if o.Want == wantNever {
		return d.Release(ctx, &jobqueue.ReleaseOptions{Delay: never, Uncounted: true})
	}
	var s state
	json.Unmarshal([]byte(d.ProgressMessage), &s) // there is none at the first delivery
	total := time.Duration(o.Seconds * float64(time.Second))
	if left := s.pass(total, time.Now().UTC()); left > 0 {
		return s.rest(ctx, d, o, min(left, step(total)))
	}
	switch {
	case o.Want == wantFailed:
		return fail(ctx, d, codeFailed, cmp.Or(strings.TrimSpace(o.Message), "Unable to process the provided input"))
	case o.Want == wantVideo && a.config.PrepareURL != "":
		return a.sendAhead(ctx, o, d, &s)
	}
	return a.finish(ctx, o, d)
}

// finish makes an order's output and ends the order.
func (a *App) finish(ctx context.Context, o order, d *jobqueue.Delivery) error {
	leave, err := a.enterLarge(ctx, o)
	if err != nil {
		return err
	}
	defer leave()
	answer, err := outputs[o.Want](a, o, d.Key)
	if err != nil {
		return err
	}
	return complete(ctx, d, answer)
}

// complete ends an order with its answer, or fails it if the answer breaks a rule: it would do so the next time, too.
func complete(ctx context.Context, d *jobqueue.Delivery, answer *statuspoll.Answer) error {
	err := statuspoll.Complete(ctx, d, answer)
	if bad := new(statuspoll.RuleError); errors.As(err, &bad) {
		return fail(ctx, d, codeOutput, "The output cannot be delivered: "+bad.Error()+".")
	}
	return err
}

// enterLarge waits for the place of a large output, of which one at a time is in memory.
func (a *App) enterLarge(ctx context.Context, o order) (leave func(), err error) {
	const large = 1 << 20
	if o.Size < large {
		return func() {}, nil
	}
	select {
	case a.large <- struct{}{}:
		return func() { <-a.large }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pass counts the time since the last note as worked, but at most a step: no work was done while there was no process. It returns what is left.
func (s *state) pass(total time.Duration, now time.Time) time.Duration {
	if !s.At.IsZero() {
		s.Worked += min(max(now.Sub(s.At), 0), step(total))
	}
	s.Worked, s.At = min(s.Worked, total), now
	return total - s.Worked
}

// step is how long is worked on an order between two notes of its progress: a hundredth of its time, within reason.
func step(total time.Duration) time.Duration {
	return min(max(total/100, 250*time.Millisecond), time.Minute)
}

// note keeps the state, and tells how far the order is. What has not ended is not at 100 %.
func (s *state) note(ctx context.Context, d *jobqueue.Delivery, o order) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	const most = 0.99
	fraction := most
	if o.Seconds > 0 {
		fraction = min(s.Worked.Seconds()/o.Seconds, most)
	}
	return d.Progress(ctx, fraction, string(text))
}

// rest notes the state and gives the order back for a time. If the process dies between the two, the order is delivered again when the lease ends.
func (s *state) rest(ctx context.Context, d *jobqueue.Delivery, o order, pause time.Duration) error {
	if err := s.note(ctx, d, o); err != nil {
		return err
	}
	return d.Release(ctx, &jobqueue.ReleaseOptions{Delay: pause, Uncounted: true})
}

// fail ends an order with a message for people, which is cut to what an answer may have.
func fail(ctx context.Context, d *jobqueue.Delivery, code, message string) error {
	message = strings.ReplaceAll(message, "\x00", "\uFFFD") // which no message of a job may have
	if most := statuspoll.Writing().MaxError; utf8.RuneCountInString(message) > most {
		message = string([]rune(message)[:most])
	}
	return d.Fail(ctx, code, message)
}

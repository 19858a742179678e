package callback

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

// The codes of failures that Send gives to the jobs of its queue.
const (
	CodeFailed    = "callback_failed"   // the attempts are used up; the message says what was wrong with the last one
	CodeGone      = "gone"              // the receiver answered 410
	CodeForbidden = "forbidden_address" // the URL or the address behind it is not allowed
	CodeInvalid   = "invalid_message"   // the Message cannot be sent: it has no secret, say
)

// readAnswer is how much of an answer's body is read, bytes: enough to use the connection again after all ordinary ones.
const readAnswer = 64 << 10

// Send has workers receive the jobs of a queue and send the message of each, until ctx ends (it returns nil), the broker shuts down
// (jobqueue.ErrShutdown) or the queue is done (jobqueue.ErrDone), like Queue.Consume. It returns when all attempts have ended. Several calls,
// in several processes, may serve one queue; PerHost is then of each of them.
func Send(ctx context.Context, q *jobqueue.Queue, o *Options) error {
	opts, err := o.withDefaults()
	if err != nil {
		return err
	}
	if o.Client == nil {
		defer opts.Client.CloseIdleConnections()
	}
	s := &sender{opts: opts, hosts: newHosts(opts.PerHost)}
	return q.Consume(ctx, s.handle, &jobqueue.ConsumeOptions{
		Workers: opts.Workers, Lease: opts.Lease, Grace: opts.Grace, Backoff: s.pause,
	})
}

// A sender is one call of Send.
type sender struct {
	opts  Options
	hosts *hosts
}

// handle makes the next attempt of a callback. What it returns says what becomes of its job.
func (s *sender) handle(ctx context.Context, d *jobqueue.Delivery) error {
	a := &attempt{sender: s, d: d, log: s.opts.Logger.With("job", d.ID, "attempt", d.Deliveries)}
	if d.Deliveries > len(s.opts.Delays)+1 {
		return a.giveUp(CodeFailed, errors.New("the process ended during the last attempt"))
	}
	m, err := s.opts.Message(ctx, d)
	if err != nil {
		return a.unmade(err)
	}
	if m == nil {
		return nil
	}
	u, err := m.check()
	switch {
	case errors.Is(err, outbound.ErrForbidden):
		return a.giveUp(CodeForbidden, err)
	case err != nil:
		return a.giveUp(CodeInvalid, err)
	}
	body := m.Body
	if body == nil {
		if body, err = d.Payload(ctx); err != nil {
			return a.unmade(err)
		}
	}
	wait, ok := s.hosts.enter(u.Hostname())
	if !ok {
		return d.Release(ctx, &jobqueue.ReleaseOptions{Delay: wait, Uncounted: true})
	}
	began := time.Now()
	defer func() { s.hosts.leave(u.Hostname(), time.Since(began)) }()
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	r, err := m.request(limited, u, d.ID.String(), body, began)
	if err != nil {
		return a.giveUp(CodeInvalid, err)
	}
	a.log = a.log.With("host", u.Host)
	return a.send(ctx, r)
}

// pause returns how long to wait after so many attempts.
func (s *sender) pause(attempts int) time.Duration {
	if len(s.opts.Delays) == 0 {
		return 0
	}
	d := s.opts.Delays[min(attempts, len(s.opts.Delays))-1]
	return d + time.Duration(max(s.opts.Jitter, 0)*(2*rand.Float64()-1)*float64(d))
}

// An attempt is one delivery of a callback's job.
type attempt struct {
	*sender
	d   *jobqueue.Delivery
	log *slog.Logger
}

// send sends the request. ctx is that of the attempt without its time limit.
func (a *attempt) send(ctx context.Context, r *http.Request) error {
	resp, err := a.opts.Client.Do(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx) // interrupted
	case errors.Is(err, outbound.ErrForbidden):
		return a.giveUp(CodeForbidden, newProblem(err))
	case err != nil:
		return a.retry(newProblem(err), 0)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 { // else the connection has become something that need not end
		io.CopyN(io.Discard, resp.Body, readAnswer) // the status has been said, whatever becomes of the rest
	}
	answered := errors.New("answered " + outbound.StatusText(resp.StatusCode))
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusGone:
		return a.giveUp(CodeGone, answered)
	}
	return a.retry(answered, outbound.RetryAfter(resp.Header, maxRetryAfter))
}

// retry has the callback tried again after the pause that is due, or after asked if that is longer, unless this was the last attempt.
func (a *attempt) retry(err error, asked time.Duration) error {
	if a.last() {
		return a.giveUp(CodeFailed, err)
	}
	pause := max(a.pause(a.d.Deliveries), asked)
	a.log.Info("a callback failed; it will be tried again", "error", err, "pause", pause)
	return jobqueue.RetryAfter(pause, err)
}

func (a *attempt) giveUp(code string, err error) error {
	a.log.Warn("a callback failed for good", "error", err, "code", code)
	return jobqueue.Permanent(code, err)
}

// unmade has the making of the message tried again, unless the error says otherwise or this was the last attempt.
func (a *attempt) unmade(err error) error {
	a.log.Warn("the message of a callback could not be made", "error", err)
	if a.last() {
		return &final{err, jobqueue.Permanent(CodeFailed, err)}
	}
	return err
}

func (a *attempt) last() bool { return a.d.Deliveries > len(a.opts.Delays) }

// A problem is why an attempt failed: its text is for the job, whose account may read it, its cause for the log.
type problem struct {
	text  string
	cause error
}

// newProblem makes one of an error of the client. The URL is left out: its query may be secret.
func newProblem(err error) *problem {
	p := &problem{outbound.Problem(err), err}
	if e, ok := errors.AsType[*url.Error](err); ok {
		p.cause = e.Err
	}
	return p
}

func (p *problem) Error() string        { return p.text }
func (p *problem) LogValue() slog.Value { return slog.AnyValue(p.cause) }

// A final error is permanent, with a verdict of its own unless the error is permanent itself.
type final struct {
	error
	verdict error
}

func (f *final) Unwrap() []error { return []error{f.error, f.verdict} }

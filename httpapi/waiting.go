package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Why a wait ended other than by what it waited for.
var (
	errDrained = errors.New("httpapi: drained")
	errTimeUp  = errors.New("httpapi: time is up")
)

// beforeTimeout is how long before a timeout that cannot be moved a wait ends, so that the answer can still be written.
const beforeTimeout = time.Second

// hold prepares the connection for a wait of d and returns how long it can be: the server's timeouts are moved or, where a wrapper of the
// ResponseWriter hides the connection, heeded. The body has been read.
func (c *call) hold(d time.Duration) time.Duration {
	srv, _ := c.r.Context().Value(http.ServerContextKey).(*http.Server)
	if srv == nil {
		srv = new(http.Server)
	}
	c.ctl.SetReadDeadline(time.Time{}) // one that is set and passes ends the request's context (golang/go#70834); the server's own does not
	if c.ctl.SetWriteDeadline(time.Now().Add(d+c.h.opts.Patience)) != nil {
		d = short(d, srv.WriteTimeout)
	}
	if at, ok := c.r.Context().Deadline(); ok { // set by middleware
		if left := time.Until(at); left > 0 {
			d = short(d, left)
		}
	}
	return d
}

// short returns d, cut to be over well before the timeout, if there is one.
func short(d, timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return d
	}
	return min(d, max(timeout-beforeTimeout, timeout/2))
}

// untilDrained returns a context that also ends with Drain.
func (c *call) untilDrained(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.h.drained, func() { cancel(errDrained) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// park runs a wait for something of a job, d at most. The job it returns is nil if the time was up, or the waiting was ended by Drain or a shutdown.
func (c *call) park(d time.Duration, wait func(ctx context.Context) (*jobqueue.Job, error)) (*jobqueue.Job, error) {
	if err := c.finish(); err != nil {
		return nil, err
	}
	if !c.h.parked.enter(c.account) {
		return nil, errTooMany
	}
	defer c.h.parked.leave(c.account)
	ctx, cancel := c.untilDrained(c.r.Context())
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, c.hold(d), errTimeUp)
	defer stop()
	j, err := wait(ctx)
	if errors.Is(err, jobqueue.ErrShutdown) || err != nil && ctx.Err() != nil && !c.gone() {
		return nil, nil // not an error: the job is as it was
	}
	return j, err
}

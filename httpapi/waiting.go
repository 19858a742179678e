package httpapi

import (
	"context"
	"errors"
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

// longest returns how long a wait of d can be: the server's WriteTimeout is moved or, where a wrapper of the ResponseWriter hides the connection, heeded.
func (c *call) longest(d time.Duration) time.Duration {
	if srv := serverOf(c.r); srv == nil || srv.WriteTimeout > 0 {
		if err := c.ctl.SetWriteDeadline(time.Now().Add(d + c.h.opts.Patience)); err != nil && srv != nil {
			d = short(d, srv.WriteTimeout)
		}
	}
	if at, ok := c.r.Context().Deadline(); ok { // set by middleware
		if left := time.Until(at); left > 0 {
			d = short(d, left)
		}
	}
	return d
}

// hold prepares the connection for a wait. The body has been read. A read deadline that is set and passes ends the request's context (golang/go#70834);
// the server's own does not.
func (c *call) hold() { c.ctl.SetReadDeadline(time.Time{}) }

// short returns d, cut to be over well before the timeout, if there is one.
func short(d, timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return d
	}
	return min(d, max(timeout-beforeTimeout, timeout/2))
}

// sit takes a place among the requests that wait, unless the call has one.
func (c *call) sit() error {
	if !c.seated && !c.h.parked.enter(c.account) {
		return errTooMany
	}
	c.seated = true
	return nil
}

// rise leaves that place.
func (c *call) rise() {
	if c.seated {
		c.h.parked.leave(c.account)
	}
	c.seated = false
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
	if err := c.sit(); err != nil {
		return nil, err
	}
	defer c.rise()
	ctx, cancel := c.untilDrained(c.r.Context())
	defer cancel(nil)
	c.hold()
	ctx, stop := context.WithTimeoutCause(ctx, c.longest(d), errTimeUp)
	defer stop()
	j, err := wait(ctx)
	if errors.Is(err, jobqueue.ErrShutdown) || err != nil && ctx.Err() != nil && !c.gone() {
		return nil, nil // not an error: the job is as it was
	}
	return j, err
}

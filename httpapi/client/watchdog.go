package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A watchdog cancels a request on which nothing moves. It watches only while it is the other side's turn: not while the caller's reader
// is asked for more to send, nor while the caller has not asked for more of what came.
type watchdog struct {
	timeout time.Duration
	cancel  context.CancelCauseFunc

	mu       sync.Mutex
	timer    *time.Timer // guarded by mu
	answered bool        // guarded by mu: the sending side has no say any more
}

// watch begins with a request that is answered in timeout and wait.
func watch(ctx context.Context, timeout, wait time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{timeout: timeout, cancel: cancel}
	w.timer = time.AfterFunc(timeout+wait, func() { cancel(fmt.Errorf("%w: nothing moved for %v", ErrStalled, timeout)) })
	return ctx, w
}

// within gives the other side so long for its next move. It is for the sending side.
func (w *watchdog) within(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.answered {
		w.timer.Reset(d)
	}
}

// rest stops watching while it is this side's turn to send.
func (w *watchdog) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.answered {
		w.timer.Stop()
	}
}

// answer says that the head of the answer is there.
func (w *watchdog) answer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = true
	w.timer.Stop()
}

// stop ends the request and what is left of its answer.
func (w *watchdog) stop() {
	w.answer()
	w.cancel(nil)
}

// A watchedBody is the body of an answer. Its read errors say when it was the watchdog.
type watchedBody struct {
	io.ReadCloser
	ctx context.Context
	dog *watchdog
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.dog.timer.Reset(b.dog.timeout)
	n, err := b.ReadCloser.Read(p)
	b.dog.timer.Stop()
	return n, stalled(b.ctx, err)
}

// stalled returns the watchdog's error instead of err if that ended the request.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && err != io.EOF && errors.Is(cause, ErrStalled) {
		return cause
	}
	return err
}

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// errorBody is how much of an error's body is read, bytes.
const errorBody = 64 << 10

// A call is one request of the API, made as often as it takes.
type call struct {
	method string
	path   string
	query  url.Values
	signed string // the whole URL instead, which needs no credentials and stands in no error
	header http.Header
	body   *upload       // nil for none
	wait   time.Duration // how long the server is asked to wait before it answers
	once   bool          // a repetition could do it twice: only if certainly nothing has happened
	single bool          // the caller does its own repeating
}

// An answer is a good one: its status is 2xx or 304, and its body has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask makes the call and decodes its answer into out, unless that is nil or there is none.
func (c *Client) ask(ctx context.Context, l call, out any) (*answer, error) {
	var a *answer
	err := c.repeat(ctx, l, func() (err error) {
		resp, finish, err := c.attempt(ctx, l)
		if err != nil {
			return err
		}
		defer finish()
		a = &answer{status: resp.StatusCode, header: resp.Header}
		if a.body, err = readAll(resp.Body, c.opts.MaxAnswer); err != nil {
			return fmt.Errorf("client: %s %s: answer: %w", l.method, l.path, err)
		}
		if out == nil || len(a.body) == 0 || a.status == http.StatusNoContent || a.status == http.StatusNotModified {
			return nil
		}
		if err := json.Unmarshal(a.body, out); err != nil {
			return fmt.Errorf("client: %s %s: answer: %w", l.method, l.path, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// repeat tries until it succeeds, the error is final or the options allow no more.
func (c *Client) repeat(ctx context.Context, l call, try func() error) error {
	b := backoff{first: c.opts.FirstPause, most: c.opts.MaxPause}
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		asked := askedFor(err)
		if n >= c.opts.Retries || l.single || asked > c.opts.MaxPause || !repeatable(l, err) || l.body != nil && l.body.rewind() != nil {
			return err
		}
		d := b.next(asked)
		c.opts.Logger.DebugContext(ctx, "request is repeated", "method", l.method, "path", l.path, "error", err, "pause", d)
		if err := pause(ctx, d); err != nil {
			return err
		}
	}
}

// repeatable says whether it makes sense, and can do no harm, to make the call again.
func repeatable(l call, err error) bool {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.nothingHappened() || !l.once && e.Temporary() && e.Status != http.StatusInternalServerError
	case errors.As(err, new(*final)), errors.Is(err, ErrAnswerTooLarge):
		return false
	}
	return !l.once
}

// A final error comes from this side: another attempt would get it again.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// askedFor returns the Retry-After of the answer that an error stands for.
func askedFor(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// attempt sends the request and returns a good answer, which the caller reads and then finishes. Everything but 2xx and 304 is an *Error.
func (c *Client) attempt(ctx context.Context, l call) (*http.Response, func(), error) {
	watched, dog := watch(ctx, c.opts.Timeout, l.wait)
	finish := func() error {
		dog.stop()
		if l.body == nil {
			return nil
		}
		return l.body.settle()
	}
	req, err := c.request(watched, l, dog)
	if err != nil {
		finish()
		return nil, nil, &final{err}
	}
	resp, err := c.opts.HTTPClient.Do(req)
	if err != nil {
		err = fmt.Errorf("client: %w", stalled(watched, l.hidden(err)))
		if mine := finish(); mine != nil {
			err = &final{fmt.Errorf("client: body of %s %s: %w", l.method, l.path, mine)}
		}
		return nil, nil, err
	}
	dog.answer()
	resp.Body = &watchedBody{resp.Body, watched, dog}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotModified {
		return resp, func() { resp.Body.Close(); finish() }, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, errorBody)) // what can be had of it
	resp.Body.Close()
	finish()
	return nil, nil, errorOf(resp.StatusCode, resp.Header, text)
}

func (c *Client) request(ctx context.Context, l call, dog *watchdog) (*http.Request, error) {
	target := c.base + l.path
	if len(l.query) > 0 {
		target += "?" + l.query.Encode()
	}
	if l.signed != "" {
		target = l.signed
	}
	req, err := http.NewRequestWithContext(ctx, l.method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("client: %w", l.hidden(err))
	}
	for k, v := range l.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Token != "" && l.signed == "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	if c.opts.Header != nil && l.signed == "" {
		if err := c.opts.Header(ctx, req.Header); err != nil {
			return nil, err
		}
	}
	if l.body != nil {
		l.body.attach(req, dog, c.opts.Timeout+l.wait)
	}
	return req, nil
}

// hidden returns an error without the URL that was signed.
func (l *call) hidden(err error) error {
	if e := (*url.Error)(nil); l.signed != "" && errors.As(err, &e) {
		e.URL = l.path
	}
	return err
}

// readAll reads a body of at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrAnswerTooLarge, limit)
	}
	return b.Bytes(), nil
}

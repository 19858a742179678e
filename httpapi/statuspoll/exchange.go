package statuspoll

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

// An unanswered error says that no whole answer came. Its text is for the order's problem.
type unanswered struct{ err error }

func (e *unanswered) Error() string { return outbound.Problem(e.err) }
func (e *unanswered) Unwrap() error { return e.err }

// detail returns an error as the operator is to see it in the log.
func detail(err error) error {
	if none := new(unanswered); errors.As(err, &none) {
		return none.err
	}
	return err
}

// worthRetrying reports whether the webhook may take an order later that it has not taken now.
func worthRetrying(err error) bool {
	status := new(outbound.StatusError)
	return !errors.As(err, &status) || status.Status >= http.StatusInternalServerError
}

// post hands an order to the webhook. Its error is a *outbound.StatusError or says that no answer came.
func (p *Poller) post(ctx context.Context, body *jobqueue.Content, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := p.send(ctx, http.MethodPost, p.opts.WebhookURL, body)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return &outbound.StatusError{Status: resp.StatusCode}
	}
	return nil
}

// ask gets an order's answer, which is also returned as it came, to be released. If none comes it asks once more. The error says what is wrong with the
// answer.
func (p *Poller) ask(ctx context.Context, orderID string) (*Answer, *body, error) {
	url := p.status.URL(orderID)
	b, err := p.get(ctx, url)
	if none := new(unanswered); errors.As(err, &none) && pause(ctx, p.opts.RetryPause) {
		p.opts.Logger.Warn("a status endpoint gave no answer; asking once more", "order", orderID, "error", detail(err))
		b.release()
		b, err = p.get(ctx, url)
	}
	if err != nil {
		return nil, b, err
	}
	a, err := p.opts.Rules.Read(b.Bytes())
	return a, b, err
}

const (
	smallBody   = 1 << 20 // bytes; answers of more
	largeBodies = 4       // are held in memory by so many checks at once
)

// A body is an answer in memory.
type body struct {
	bytes.Buffer
	large chan struct{} // holds one for this body, if not nil
}

// release lets another large body into memory. It may be repeated.
func (b *body) release() {
	if b.large != nil {
		<-b.large
		b.large = nil
	}
}

// get gets a body, which is bounded in size and in time, and is to be released also after an error.
func (p *Poller) get(ctx context.Context, url string) (*body, error) {
	b := new(body)
	ctx, cancel := context.WithTimeout(ctx, p.opts.AnswerLimit)
	defer cancel()
	resp, err := p.send(ctx, http.MethodGet, url, nil)
	if err != nil {
		return b, err
	}
	defer resp.Body.Close()
	most := p.opts.Rules.MaxBody
	switch {
	case resp.StatusCode != http.StatusOK:
		return b, &outbound.StatusError{Status: resp.StatusCode}
	case resp.ContentLength > most:
		return b, p.opts.Rules.bodyTooLarge()
	}
	n, err := b.ReadFrom(io.LimitReader(resp.Body, smallBody))
	if err == nil && n == smallBody {
		select {
		case p.large <- struct{}{}:
			b.large = p.large
			_, err = b.ReadFrom(io.LimitReader(resp.Body, most+1-n))
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return b, &unanswered{err}
	}
	return b, nil
}

// send makes a request with the configured header. Each has a connection of its own: they are minutes apart, and net/http would repeat one by itself
// that failed on a connection kept from before.
func (p *Poller) send(ctx context.Context, method, url string, body *jobqueue.Content) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, &unanswered{err}
	}
	req.Close = true
	req.Header.Set("User-Agent", outbound.UserAgent)
	req.Header.Set("Accept", "application/json")
	for name, values := range p.opts.Header {
		req.Header[name] = values
	}
	if body != nil {
		// net/http may still read it when the answer is there, and close it twice at once. There is nothing to be closed: it is in memory.
		req.Body, req.ContentLength = io.NopCloser(body), body.Size()
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.opts.Client.Do(req)
	if err != nil {
		return nil, &unanswered{err}
	}
	return resp, nil
}

// pause waits. It returns false if the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

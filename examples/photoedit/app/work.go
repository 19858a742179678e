package app

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

// The codes of failures, besides jobqueue's.
const (
	codeImage   = "invalid_image"
	codeFetch   = "fetch_failed"
	codeAddress = "forbidden_address"
)

const maxFetch = 24 << 20 // bytes of an image at an image_url: as much as can be sent in base64

// fetchPauses are the pauses between tries to fetch an image. Each may take as long as the job has.
var fetchPauses = []time.Duration{time.Second, 4 * time.Second}

// A task is the payload of a job.
type task struct {
	Operation string `json:"operation"`
	Prompt    string `json:"prompt"`
	Image     []byte `json:"image,omitempty"`
	ImageURL  string `json:"image_url,omitempty"`
}

// make does a job: the same task makes the same image, so it does no harm if it is done twice. ctx ends with the job's deadline.
func (a *App) make(ctx context.Context, t task, d *jobqueue.Delivery) error {
	if t.ImageURL != "" {
		var err error
		if t.Image, err = a.fetch(ctx, t.ImageURL, d.Deliveries); err != nil {
			return err
		}
	}
	select { // not too many in memory at once
	case a.editing <- struct{}{}:
		defer func() { <-a.editing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p, contentType, err := render(ctx, t)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return jobqueue.Permanent(codeImage, err)
	}
	return d.Complete(ctx, jobqueue.NewResult{Data: p, ContentType: contentType})
}

// fetch gets the image at a URL. What may be better later is tried again.
func (a *App) fetch(ctx context.Context, url string, try int) ([]byte, error) {
	p, _, err := outbound.Fetch(ctx, a.config.FetchClient, url, maxFetch)
	var answered *outbound.StatusError
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	reason := errors.New("image_url: " + outbound.Problem(err))
	switch {
	case errors.Is(err, outbound.ErrForbidden):
		return nil, jobqueue.Permanent(codeAddress, reason)
	case errors.Is(err, outbound.ErrTooLarge), errors.As(err, &answered) && answered.Status < 500 && answered.Status != http.StatusTooManyRequests,
		try > len(fetchPauses):
		return nil, jobqueue.Permanent(codeFetch, reason)
	}
	return nil, jobqueue.RetryAfter(fetchPauses[try-1], reason)
}

package callback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

// Options are the settings of a sender. Message must be set; of the others the zero value means the default.
type Options struct {
	// Message says what to send for a job of the queue, and to whom. It is called for each attempt, and again when a job has waited for its
	// turn at a host: secrets may have changed meanwhile, the body should be the same. nil, nil: nobody is to be told, the job has
	// succeeded. An error counts as an attempt: it is tried again later, or given up if it is a jobqueue.Permanent.
	Message func(ctx context.Context, d *jobqueue.Delivery) (*Message, error)

	Client  *http.Client    // nil: outbound.NewClient's, for HTTPS and public addresses only. Its redirects are never followed
	Delays  []time.Duration // pauses between attempts, of which there is one more; nil: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h
	Jitter  float64         // by up to which part each pause is made longer or shorter, at most 1; 0: 0.2, negative: none
	Timeout time.Duration   // of an attempt; 15 s
	Workers int             // attempts at once; 8
	// PerHost is how many attempts at one host there are at once, so that a slow one does not take all workers; 0: 2, negative: no limit.
	// Callbacks over the limit wait for their turn in the queue.
	PerHost int
	Lease   time.Duration // the workers' own, extended while they work; 0: as Queue.Consume has it
	Grace   time.Duration // how long attempts may go on once ctx ends; 0: they are interrupted, and not counted
	Logger  *slog.Logger  // of failed attempts; nil: none
}

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = 24 * time.Hour

var defaultDelays = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour,
}

// withDefaults returns the options that are meant.
func (o *Options) withDefaults() (Options, error) {
	if o == nil || o.Message == nil {
		return Options{}, errors.New("callback: Options.Message is not set")
	}
	opts := *o
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"Delays", slices.ContainsFunc(o.Delays, func(d time.Duration) bool { return d < 0 })},
		{"Jitter", !(o.Jitter <= 1)},
		{"Timeout", o.Timeout < 0},
		{"Workers", o.Workers < 0},
		{"Grace", o.Grace < 0},
	} {
		if f.bad {
			return Options{}, fmt.Errorf("callback: Options.%s is out of bounds", f.name)
		}
	}
	if opts.Delays == nil {
		opts.Delays = defaultDelays
	}
	if opts.Jitter == 0 {
		opts.Jitter = 0.2
	}
	if opts.Timeout == 0 {
		opts.Timeout = 15 * time.Second
	}
	if opts.Workers == 0 {
		opts.Workers = 8
	}
	if opts.PerHost == 0 {
		opts.PerHost = 2
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Client == nil {
		opts.Client = outbound.NewClient(&outbound.Options{Timeout: opts.Timeout})
	}
	client := *opts.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	opts.Client = &client
	return opts, nil
}

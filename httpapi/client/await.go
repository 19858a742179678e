package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
)

// AwaitOptions say how to follow a status URL. The zero value of each field, and a nil *AwaitOptions, mean the defaults.
type AwaitOptions struct {
	// HTTPClient makes the requests: http.DefaultClient unless set. Redirects are its business.
	HTTPClient *http.Client
	// Token is sent as a bearer token, to whatever host the URL names.
	Token string
	// Header, if set, is called for every request and adds to its header. Its error ends Await.
	Header func(ctx context.Context, h http.Header) error

	// Decode reads an answer of a status 2xx and sets the State; it may set the other fields too. An error ends Await. The
	// default is DecodeWords.
	Decode func(s *Status) error
	// OnStatus, if set, is told of every answer that was decoded, also of the last one.
	OnStatus func(s *Status)

	// First is the shortest first pause, 1 second by default: it lasts anything from First to twice that. Each further one is half as
	// long again, up to Most, 30 seconds by default. A Retry-After is waited for exactly, with up to a tenth more.
	First, Most time.Duration
	// Timeout bounds one request with its answer: 30 seconds by default.
	Timeout time.Duration
	// MaxBody is the largest answer, in bytes: 8 MiB by default.
	MaxBody int64

	// Logger is told of failures that were waited out; nil discards it.
	Logger *slog.Logger
}

func (o *AwaitOptions) withDefaults() AwaitOptions {
	var out AwaitOptions
	if o != nil {
		out = *o
	}
	if out.HTTPClient == nil {
		out.HTTPClient = http.DefaultClient
	}
	if out.Decode == nil {
		out.Decode = DecodeWords
	}
	if out.First <= 0 {
		out.First = time.Second
	}
	if out.Most <= 0 {
		out.Most = 30 * time.Second
	}
	if out.Timeout <= 0 {
		out.Timeout = 30 * time.Second
	}
	if out.MaxBody <= 0 {
		out.MaxBody = 8 << 20
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

// A Status is one answer of a status URL.
type Status struct {
	State    State    // what it means: Await ends with Succeeded, Failed or Canceled, and takes anything else for unfinished
	Word     string   // what the server calls it
	Progress *float64 // 0 to 1, nil if not told
	Code     int      // of the HTTP answer
	Header   http.Header
	Body     []byte
}

// Await reads the status at a URL, of any system, until it is Succeeded, Failed or Canceled, and returns that; a failed job is no error of Await. It
// takes as long as the context lives: failures of the network and the answers 408, 425, 429 and 5xx are waited out, and a status it does not know is
// taken for unfinished. Any other 4xx ends it with an *Error. When the context ends, the latest status seen comes with the context's error, or nil if
// there was none.
func Await(ctx context.Context, url string, o *AwaitOptions) (*Status, error) {
	opts := o.withDefaults()
	p := pacer{least: opts.First, most: opts.Most}
	var last *Status
	for {
		if err := ctx.Err(); err != nil {
			return last, err
		}
		s, err := opts.look(ctx, url)
		if ctx.Err() != nil {
			return last, ctx.Err()
		}
		var asked time.Duration
		switch {
		case err == nil:
			last = s
			if opts.OnStatus != nil {
				opts.OnStatus(s)
			}
			if s.State.Ended() {
				return s, nil
			}
			asked = retryAfter(s.Header)
		case !passing(err):
			return last, err
		default:
			asked = askedFor(err)
			opts.Logger.WarnContext(ctx, "awaiting goes on", "url", url, "error", err)
		}
		if err := pause(ctx, p.next(asked)); err != nil {
			return last, err
		}
	}
}

// look makes one request.
func (o *AwaitOptions) look(ctx context.Context, url string) (*Status, error) {
	within, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, http.MethodGet, url, nil)
	if err != nil {
		return nil, &final{fmt.Errorf("client: %w", err)}
	}
	req.Header.Set("User-Agent", "pollack-client")
	req.Header.Set("Accept", "application/json")
	if o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+o.Token)
	}
	if o.Header != nil {
		if err := o.Header(within, req.Header); err != nil {
			return nil, &final{err}
		}
	}
	if s := req.URL.Scheme; s != "http" && s != "https" || req.URL.Host == "" {
		return nil, &final{fmt.Errorf("client: await %q: want http://host or https://host", req.URL.Redacted())}
	}
	resp, err := o.HTTPClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified:
		return &Status{Code: resp.StatusCode, Header: resp.Header}, nil
	case resp.StatusCode/100 != 2:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, errorBody)) // what can be had of it
		return nil, errorOf(resp.StatusCode, resp.Header, text)
	}
	body, err := readAll(resp.Body, o.MaxBody)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	s := &Status{Code: resp.StatusCode, Header: resp.Header, Body: body}
	if err := o.Decode(s); err != nil {
		return nil, &final{err}
	}
	return s, nil
}

// A pacer paces looks at somebody's server.
type pacer struct{ least, most time.Duration }

func (p *pacer) next(asked time.Duration) time.Duration {
	d := p.least + rand.N(p.least+1)
	p.least = min(p.least+p.least/2, p.most/2)
	if asked > 0 {
		return asked + rand.N(asked/10+1)
	}
	return min(d, p.most)
}

// passing says whether Await waits an error out: those of the network, the temporary ones and all 5xx.
func passing(err error) bool {
	var e *Error
	return temporary(err) || errors.As(err, &e) && e.Status >= 500
}

package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// MaxPollJobs is how many jobs one poll may ask for.
const MaxPollJobs = 100

// Options of a Handler. Either Authenticate or AllowAnonymous is required; the zero value of everything else means the default.
type Options struct {
	// Authenticate says whose request it is. What it may return is described at Authenticator; BearerTokens, BasicAuth and AnyOf make some.
	Authenticate Authenticator
	// AllowAnonymous lets everybody in, as the house. It says in so many words what a forgotten Authenticate must not.
	AllowAnonymous bool
	// House lets Authenticate return the empty account, which is the house: it has the house's queues, and sees and settles the jobs of every
	// account. Without it such a request is refused with 401, so that a forgotten header does not make somebody an operator.
	House bool
	// Authorize, if set, may refuse what an authenticated caller wants to do with a queue; queue is "" where none is concerned (listing the queues).
	// A *Problem is answered as it is, any other error as 403 "forbidden". It is asked after it is known that a job exists and is the caller's.
	Authorize func(r *http.Request, account string, a Action, queue string) error

	// Prefix is the path under which the Handler is mounted: "/some/path", without a slash at its end. BaseURL is what stands before it:
	// "https://example.com". They are used for what the Handler says of itself (Location, put_url, the OpenAPI document); without BaseURL it says
	// paths. The routes are found with the Prefix in the request's path as well as without it, as http.StripPrefix leaves it.
	Prefix, BaseURL string

	// ShapeJob, if set, returns what is encoded as JSON where a job is answered, in place of the job's own form; lease fields and payload are added
	// to it in a poll's answer. ShapePolled, if set, returns the whole of what a poll answers for a job. An error is answered instead: a *Problem as
	// it is.
	ShapeJob    func(r *http.Request, j *jobqueue.Job) (any, error)
	ShapePolled func(r *http.Request, d *jobqueue.Delivery) (any, error)
	// WriteError, if set, writes the answer for a refusal in place of application/problem+json. The header has Retry-After and the like already.
	WriteError func(w http.ResponseWriter, r *http.Request, p *Problem)
	// AckStatus is the status of a successful ack, complete or fail: 200, with the outcome (the default), or 204, without a body.
	AckStatus int
	// AnyToken has calls without a lease token settle the latest delivery, for protocols that know no tokens. A token that is sent must still be the
	// right one.
	AnyToken bool
	// IDPrefix stands before the id of each job in paths, bodies and Location: "img_".
	IDPrefix string
	// JobURL returns the URL of a job's status for Location. The default is the one of this Handler's own routes.
	JobURL func(r *http.Request, j *jobqueue.Job) string

	// SigningKey, of at least 16 bytes, signs the URLs that uploads are sent to. Several processes that serve one store need the same one. nil: a random
	// one, so that the URLs that this process gave out end with it, and the uploads have to be prepared again.
	SigningKey []byte

	// MaxBody is the largest JSON body, in bytes: 4 MiB. Raw payloads and results are bounded by the broker's MaxPayload and MaxResult, and never
	// held in memory whole.
	MaxBody int64
	// MaxWait is the longest that a request waits; longer ones are cut to it. 30 seconds. A poll that does not say waits that long.
	MaxWait time.Duration
	// MaxPolls bounds how many requests wait at the same time in all, 10,000, and MaxPollsPerAccount those of one account, 1,000 (no bound with
	// AllowAnonymous). More are answered 429. Negative: no bound.
	MaxPolls, MaxPollsPerAccount int
	// Patience is how long a client may take to send a body, and to take an answer: 30 seconds, and a second more for every 16 KiB. Where the
	// server has a ReadTimeout, that holds for bodies instead. It replaces the server's WriteTimeout.
	Patience time.Duration
	// RetryAfter is what clients are told in Retry-After, in whole seconds: 2 seconds.
	RetryAfter time.Duration

	// Logger gets what an operator must know: refusals that are the server's fault. nil discards it.
	Logger *slog.Logger
}

// withDefaults returns the options with everything set.
func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	switch {
	case out.Authenticate == nil && !out.AllowAnonymous:
		return out, errors.New("httpapi: Options.Authenticate is required; say AllowAnonymous if everybody may do everything")
	case out.Authenticate != nil && out.AllowAnonymous:
		return out, errors.New("httpapi: Options.Authenticate and AllowAnonymous contradict each other")
	}
	if p := out.Prefix; p != "" && (p[0] != '/' || p == "/" || path.Clean(p) != p || (&url.URL{Path: p}).EscapedPath() != p) {
		return out, fmt.Errorf("httpapi: Options.Prefix %q: want a path like /some/path", p)
	}
	if out.BaseURL != "" {
		u, err := url.Parse(out.BaseURL)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return out, fmt.Errorf("httpapi: Options.BaseURL %q: want scheme and host, the path is the Prefix", out.BaseURL)
		}
	}
	if strings.ContainsFunc(out.IDPrefix, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`/?#%"\`, c) }) {
		return out, fmt.Errorf("httpapi: Options.IDPrefix %q cannot stand in a path", out.IDPrefix)
	}
	switch out.AckStatus {
	case 0:
		out.AckStatus = http.StatusOK
	case http.StatusOK, http.StatusNoContent:
	default:
		return out, fmt.Errorf("httpapi: Options.AckStatus %d: want 200 or 204", out.AckStatus)
	}
	setDefault(&out.MaxBody, 4<<20)
	setDefault(&out.MaxWait, 30*time.Second)
	setDefault(&out.Patience, 30*time.Second)
	setDefault(&out.RetryAfter, 2*time.Second)
	if out.MaxPolls == 0 {
		out.MaxPolls = 10_000
	}
	if out.MaxPollsPerAccount == 0 {
		out.MaxPollsPerAccount = 1_000
		if out.AllowAnonymous {
			out.MaxPollsPerAccount = -1 // all are of one
		}
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out, nil
}

func setDefault[T int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

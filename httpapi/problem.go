package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// A Problem is a refusal as clients get it: an RFC 9457 problem of type about:blank. It is an error too: hooks (Authenticate, Authorize, the shapes,
// and the broker's Admit) return one to say what is to be answered.
type Problem struct {
	Status int    `json:"status"`           // of the answer
	Title  string `json:"title"`            // of the status; set where it is empty
	Code   string `json:"code"`             // for programs: one of the table, or the hook's own
	Detail string `json:"detail,omitempty"` // for people
	Reason string `json:"reason,omitempty"` // of lease_lost

	Header http.Header `json:"-"` // sent with it
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Code
	}
	return p.Code + ": " + p.Detail
}

// Refusals that are not jobqueue's.
var (
	errUnknownPath  = &Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "there is nothing at this path"}
	errForbidden    = &Problem{Status: http.StatusForbidden, Code: "forbidden", Detail: "this caller may not do that"}
	errTooMany      = &Problem{Status: http.StatusTooManyRequests, Code: "too_many_polls", Detail: "too many requests are waiting already"}
	errBodyTooSlow  = &Problem{Status: http.StatusRequestTimeout, Code: "request_timeout", Detail: "the body took too long"}
	errBodyCut      = &Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: "the body could not be read to its end"}
	errRange        = &Problem{Status: http.StatusRequestedRangeNotSatisfiable, Code: "range_not_satisfiable", Detail: "there are no such bytes"}
	errPrecondition = &Problem{Status: http.StatusPreconditionFailed, Code: "precondition_failed", Detail: "a condition of the request does not hold"}
	errBadSignature = &Problem{Status: http.StatusForbidden, Code: "bad_signature", Detail: "the URL's signature is missing or wrong"}
	errURLExpired   = &Problem{Status: http.StatusGone, Code: "url_expired", Detail: "the URL is no longer good"}
	errNoUpload     = &Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "object_key: there is no such upload, or it has expired or been used"}
	errGone         = &Problem{Status: 499, Title: "Client Closed Request", Code: "client_gone", Detail: "the client closed the connection, or its half of it: it may or may not have happened"}
	errInternal     = &Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "the server failed"}
)

// problems is what each error of jobqueue is to a client. Details say nothing of others' jobs: one that is somebody else's and one that never was are
// told alike. Where the caller can do something about it jobqueue's own words are better than those here, if it has any: see ownWords.
var problems = []struct {
	err     error
	problem Problem
}{
	{jobqueue.ErrInvalid, Problem{Status: 400, Code: "invalid_request"}},
	{jobqueue.ErrRefused, Problem{Status: 403, Code: "refused", Detail: "the job was refused"}},
	{jobqueue.ErrNotFound, Problem{Status: 404, Code: "not_found", Detail: "there is no such thing"}},
	{jobqueue.ErrLeaseLost, Problem{Status: 409, Code: "lease_lost", Detail: "the lease token is no longer good for this"}},
	{jobqueue.ErrNotDelivered, Problem{Status: 409, Code: "not_delivered", Detail: "the job has not been delivered"}},
	{jobqueue.ErrQueueClosed, Problem{Status: 409, Code: "queue_closed", Detail: "the queue takes no more jobs"}},
	{jobqueue.ErrWrongState, Problem{Status: 409, Code: "wrong_state", Detail: "that is not possible in the state it is in"}},
	{jobqueue.ErrGone, Problem{Status: 410, Code: "job_gone", Detail: "the job is no longer kept"}},
	{jobqueue.ErrPayloadGone, Problem{Status: 410, Code: "payload_gone", Detail: "the payload is no longer kept"}},
	{jobqueue.ErrDone, Problem{Status: 410, Code: "queue_done", Detail: "the queue is closed and all its jobs have ended"}},
	{jobqueue.ErrTooLarge, Problem{Status: 413, Code: "too_large", Detail: "it is larger than allowed"}},
	{jobqueue.ErrKeyReused, Problem{Status: 422, Code: "idempotency_key_reused", Detail: "the key was used for another request"}},
	{jobqueue.ErrBacklogFull, Problem{Status: 429, Code: "backlog_full", Detail: "as many jobs wait as the queue allows"}},
	{jobqueue.ErrShutdown, Problem{Status: 503, Code: "shutting_down", Detail: "the server is shutting down"}},
	{jobqueue.ErrOutcomeUnknown, Problem{Status: 503, Code: "outcome_unknown", Detail: "it may or may not have happened: ask again with the same key or token"}},
	{jobqueue.ErrStoreFull, Problem{Status: 507, Code: "store_full", Detail: "the store has no room for more"}},
	{jobqueue.ErrStoreFailed, Problem{Status: 503, Code: "store_failed", Detail: "the store failed"}},
	{jobqueue.ErrBusy, Problem{Status: 503, Code: "busy", Detail: "the store is busy"}},
	{jobqueue.ErrCorrupt, Problem{Status: 500, Code: "corrupt", Detail: "the record is damaged"}},
	{context.DeadlineExceeded, Problem{Status: 503, Code: "busy", Detail: "it took too long"}},
}

func invalid(detail string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: detail}
}

func bodyTooLarge(limit int64) *Problem {
	return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: fmt.Sprintf("the body is too large: it has more than %d bytes", limit)}
}

// problemOf returns a copy of the problem that an error is to a client.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		out := *p
		return &out
	}
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) { // of a body that a user's function reads
		return bodyTooLarge(large.Limit)
	}
	for i := range problems {
		if !errors.Is(err, problems[i].err) {
			continue
		}
		out := problems[i].problem
		var lost *jobqueue.LeaseLostError
		var bad *jobqueue.InvalidError
		switch {
		case errors.As(err, &lost):
			out.Reason = string(lost.Reason)
		case errors.As(err, &bad):
			out.Detail = bad.Field + ": " + bad.Problem
		case problems[i].err == jobqueue.ErrWrongState || problems[i].err == jobqueue.ErrTooLarge:
			if text := ownWords(err, problems[i].err); text != "" {
				out.Detail = text
			}
		}
		return &out
	}
	out := *errInternal
	return &out
}

// ownWords returns what an error says more than the sentinel that it matches, "" if nothing: the text of the error next to the sentinel, without what
// has been wrapped around that on the way. The text of a store's error, which jobqueue puts in parentheses, is not for clients, nor is that of
// several errors in one.
func ownWords(err, sentinel error) string {
	for {
		next := errors.Unwrap(err)
		_, several := err.(interface{ Unwrap() []error })
		switch {
		case err == sentinel || several:
			return ""
		case next == nil: // a type that matches the sentinel
			return err.Error()
		case next == sentinel:
			if !strings.HasPrefix(err.Error(), sentinel.Error()+": ") {
				return ""
			}
			return err.Error()
		}
		err = next
	}
}

// asSent returns an error of jobqueue with the invalid field called what it is in the request.
func (c *call) asSent(err error) error {
	var p *Problem
	var bad *jobqueue.InvalidError
	if errors.As(err, &p) || !errors.As(err, &bad) {
		return err
	}
	field := bad.Field
	switch field {
	case "key":
		if c.keyInHeader {
			field = "Idempotency-Key"
		}
	case "delay", "lease", "retention", "tombstone":
		if c.inJSON {
			field += "_seconds"
		}
	}
	return &jobqueue.InvalidError{Field: field, Problem: bad.Problem}
}

// problem returns the whole of the problem that an error is to a client, and logs it if the server is at fault.
func (h *Handler) problem(r *http.Request, err error) *Problem {
	p := problemOf(err)
	if p.Status < 400 || p.Status > 599 {
		p.Status = http.StatusInternalServerError
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	if p.Status >= 500 && p.Code != "shutting_down" {
		h.opts.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "code", p.Code, "error", err)
	}
	return p
}

// refuse answers an error.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := h.problem(r, err)
	for k, v := range p.Header {
		w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	if (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable) && w.Header().Get("Retry-After") == "" {
		h.retryAfter(w)
	}
	if h.opts.WriteError != nil {
		h.opts.WriteError(w, r, p)
		return
	}
	body, err := json.Marshal(p)
	if err != nil { // it is made of strings
		panic(err)
	}
	writeBody(w, p.Status, "application/problem+json", body)
}

func (h *Handler) unknownPath(w http.ResponseWriter, r *http.Request) {
	h.newCall(w, r).guard()
	h.refuse(w, r, errUnknownPath)
}

func (h *Handler) wrongMethod(w http.ResponseWriter, r *http.Request, allowed string) {
	h.newCall(w, r).guard()
	h.refuse(w, r, &Problem{
		Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Detail: "allowed here: " + allowed, Header: http.Header{"Allow": {allowed}},
	})
}

// retryAfter says when it is worth asking again.
func (h *Handler) retryAfter(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(float64(h.opts.RetryAfter)/float64(time.Second))), 10))
}

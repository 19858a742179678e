package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Errors that callers act on. An *Error matches the one that its code stands for; compare with errors.Is.
var (
	// ErrNotFound says that there is no such job or queue, or that it belongs to another account, or that a job has no result (yet).
	ErrNotFound = errors.New("not found")
	// ErrGone says that the job existed and its retention is over.
	ErrGone = errors.New("job is gone")
	// ErrPayloadGone says that the job's payload is no longer kept: it succeeded.
	ErrPayloadGone = errors.New("payload is gone")
	// ErrEmpty says that no job came while a poll waited. It is no *Error.
	ErrEmpty = errors.New("queue is empty")
	// ErrDone says that the queue is closed and all its jobs have ended: there will never be another one.
	ErrDone = errors.New("queue is done")
	// ErrQueueClosed says that the queue takes no more jobs.
	ErrQueueClosed = errors.New("queue is closed")
	// ErrLeaseLost says that the lease token is no longer good for what was asked; Error.Reason says why.
	ErrLeaseLost = errors.New("lease lost")
	// ErrNotDelivered says that the job has not been delivered yet, so there is nothing to settle.
	ErrNotDelivered = errors.New("job has not been delivered")
	// ErrWrongState says that what was asked is not possible in the state the job or queue is in.
	ErrWrongState = errors.New("wrong state")
	// ErrKeyReused says that the key names a job that was submitted by another request.
	ErrKeyReused = errors.New("key was used for another request")
	// ErrBacklogFull says that as many jobs wait as the queue's backlog allows.
	ErrBacklogFull = errors.New("backlog is full")
	// ErrTooManyPolls says that the server has as many polls parked as it allows.
	ErrTooManyPolls = errors.New("too many polls")
	// ErrRefused says that the server's admission refused the job, or its authorization the call, or that a URL is not as it was signed.
	ErrRefused = errors.New("refused")
	// ErrUnauthorized says that the credentials are missing or wrong.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrInvalid says that the request is not valid; Error.Detail says what is wrong.
	ErrInvalid = errors.New("invalid request")
	// ErrTooLarge says that the body is larger than the server takes.
	ErrTooLarge = errors.New("too large")
	// ErrShutdown says that the server is shutting down and takes no new work.
	ErrShutdown = errors.New("server is shutting down")
	// ErrOutcomeUnknown says that the change may or may not have happened. Ask again with the same key or token, or look.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrStoreFull says that the server has no room for more. Acks still work, and make room.
	ErrStoreFull = errors.New("store is full")
	// ErrExpired says that the URL of an upload is no longer good: its time is over, or it has been used.
	ErrExpired = errors.New("URL has expired")
	// ErrAnswerTooLarge says that an answer was larger than the options allow. It is no *Error.
	ErrAnswerTooLarge = errors.New("answer is too large")
	// ErrStalled says that no byte moved for as long as Options.Timeout allows. It is no *Error.
	ErrStalled = errors.New("connection stalled")
)

// sentinels says which error a problem's code stands for.
var sentinels = map[string]error{
	"not_found": ErrNotFound, "job_gone": ErrGone, "payload_gone": ErrPayloadGone, "queue_done": ErrDone, "queue_closed": ErrQueueClosed,
	"lease_lost": ErrLeaseLost, "not_delivered": ErrNotDelivered, "wrong_state": ErrWrongState, "idempotency_key_reused": ErrKeyReused,
	"backlog_full": ErrBacklogFull, "too_many_polls": ErrTooManyPolls, "refused": ErrRefused, "forbidden": ErrRefused,
	"bad_signature": ErrRefused, "url_expired": ErrExpired,
	"unauthorized": ErrUnauthorized, "invalid_request": ErrInvalid, "too_large": ErrTooLarge, "shutting_down": ErrShutdown,
	"outcome_unknown": ErrOutcomeUnknown, "store_full": ErrStoreFull,
}

// byStatus does the same for answers without a code, such as those of a proxy, where the status alone is clear enough.
var byStatus = map[int]error{
	http.StatusUnauthorized: ErrUnauthorized, http.StatusForbidden: ErrRefused, http.StatusNotFound: ErrNotFound,
	http.StatusRequestEntityTooLarge: ErrTooLarge, http.StatusInsufficientStorage: ErrStoreFull,
}

// An Error is an answer that says no: a problem as of RFC 9457 where the server sent one.
type Error struct {
	Status     int           // of the HTTP answer
	Code       string        // for programs, such as "lease_lost"; "" if the answer had none
	Title      string        // for people
	Detail     string        // for people, what is wrong with this very request
	Reason     string        // of a lost lease: redelivered, lapsed, released, succeeded, failed, canceled or expired
	RetryAfter time.Duration // how long the server wants to be left alone, 0 if it did not say
}

func (e *Error) Error() string {
	text := fmt.Sprintf("server answered %d", e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " " + name
	}
	for _, more := range []string{e.Code, e.Reason} {
		if more != "" {
			text += ", " + more
		}
	}
	switch {
	case e.Detail != "":
		text += ": " + e.Detail
	case e.Title != "":
		text += ": " + e.Title
	}
	return text
}

// Is says whether the error's code, or if it has none its status, stands for target.
func (e *Error) Is(target error) bool {
	if e.Code != "" {
		return sentinels[e.Code] == target && target != nil
	}
	return byStatus[e.Status] == target && target != nil
}

// Temporary says whether the same request may well succeed later: the status is 408, 425, 429, 500, 502, 503 or 504.
func (e *Error) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// nothingHappened says that the server refused the request before doing any of it.
func (e *Error) nothingHappened() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable && e.Code != "" && e.Code != "outcome_unknown"
}

// errorOf reads an answer that says no. body is the beginning of it, whatever it is.
func errorOf(status int, h http.Header, body []byte) *Error {
	var p wireProblem
	if json.Unmarshal(body, &p) != nil {
		p = wireProblem{}
	}
	e := p.problem()
	e.Status, e.RetryAfter = status, retryAfter(h)
	return e
}

// wireProblem is a problem as the wire has it.
type wireProblem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Reason string `json:"reason"`
}

func (p *wireProblem) problem() *Error {
	return &Error{Status: p.Status, Code: p.Code, Title: p.Title, Detail: p.Detail, Reason: p.Reason}
}

// temporary says whether an error is one of the network, or an answer after which the same request may well succeed later.
func temporary(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Temporary()
	}
	return !errors.As(err, new(*final)) && !errors.Is(err, ErrAnswerTooLarge)
}

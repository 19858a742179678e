package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

const (
	maxPrompt      = 2000 // bytes
	tagCallbackURL = "callback_url"
)

// fields are the members of a request's body. They are read one by one, so that a repeat is recognised whatever the others are.
type fields map[string]json.RawMessage

// A request is what a body asks for.
type request struct {
	task
	async, urls bool
	callbackURL string
}

// unprocessable is the refusal of a field.
func unprocessable(field, format string, a ...any) *httpapi.Problem {
	return &httpapi.Problem{Status: http.StatusUnprocessableEntity, Code: "invalid_field", Detail: field + ": " + fmt.Sprintf(format, a...)}
}

// text returns a string, "" if it is absent or null.
func (f fields) text(name string) (s string, err error) {
	if p := f[name]; p != nil && json.Unmarshal(p, &s) != nil {
		return "", unprocessable(name, "must be a string")
	}
	return s, nil
}

// given reports whether a field is there and not null.
func (f fields) given(name string) bool { return f[name] != nil && string(f[name]) != "null" }

// requestID returns the client_request_id, "" if there is none.
func (f fields) requestID() (string, error) {
	id, err := f.text("client_request_id")
	if err == nil && f.given("client_request_id") && (id == "" || len(id) > jobqueue.MaxName || strings.ContainsFunc(id, unicode.IsControl)) {
		err = unprocessable("client_request_id", "must have 1 to %d bytes and no control characters", jobqueue.MaxName)
	}
	return id, err
}

// request reads the other fields.
func (f fields) request(operation string, c Config) (*request, error) {
	r := &request{task: task{Operation: operation}}
	if f.given("async") && json.Unmarshal(f["async"], &r.async) != nil {
		return nil, unprocessable("async", "must be true or false")
	}
	if err := f.readMode(r); err != nil {
		return nil, err
	}
	if err := f.readCallback(r, c.AllowPrivateCallbacks); err != nil {
		return nil, err
	}
	var err error
	if r.Prompt, err = f.text("prompt"); err != nil {
		return nil, err
	}
	if len(r.Prompt) > maxPrompt {
		return nil, unprocessable("prompt", "has %d bytes, at most %d are allowed", len(r.Prompt), maxPrompt)
	}
	if _, err := parse(r.Prompt); err != nil {
		return nil, unprocessable("prompt", "%v", err)
	}
	return r, f.readImage(r)
}

// readMode reads response_mode.
func (f fields) readMode(r *request) error {
	mode, err := f.text("response_mode")
	if err != nil {
		return err
	}
	if f.given("response_mode") && !slices.Contains([]string{"bytes", "urls"}, mode) {
		return unprocessable("response_mode", `must be "bytes" or "urls"`)
	}
	r.urls = mode == "urls"
	if r.async && !r.urls {
		return unprocessable("response_mode", `must be "urls" with async`)
	}
	return nil
}

// readCallback reads callback_url, which is kept as a tag of the job.
func (f fields) readCallback(r *request, allowHTTP bool) error {
	var err error
	if r.callbackURL, err = f.text("callback_url"); err != nil || !f.given("callback_url") {
		return err
	}
	if !r.async {
		return unprocessable("callback_url", "is for requests with async only")
	}
	if _, err := outbound.CheckURL(r.callbackURL, allowHTTP); err != nil {
		return unprocessable("callback_url", "%v", err)
	}
	if len(r.callbackURL) > jobqueue.MaxTagValue {
		return unprocessable("callback_url", "has %d bytes, at most %d are allowed", len(r.callbackURL), jobqueue.MaxTagValue)
	}
	return nil
}

// readImage reads the image: exactly one of image and image_url. generate draws one of its own, and looks at neither. Whether an image can be read is
// found out by the worker.
func (f fields) readImage(r *request) error {
	if r.Operation == generate {
		return nil
	}
	inline, err := f.text("image")
	if err != nil {
		return err
	}
	if r.ImageURL, err = f.text("image_url"); err != nil {
		return err
	}
	switch hasInline, hasURL := f.given("image"), f.given("image_url"); {
	case hasInline && hasURL:
		return unprocessable("image", "there is an image_url, too")
	case hasURL:
		if _, err := outbound.CheckURL(r.ImageURL, true); err != nil {
			return unprocessable("image_url", "%v", err)
		}
		return nil
	case !hasInline:
		return unprocessable("image", "is missing: send one in base64, or an image_url")
	}
	if head, rest, ok := strings.Cut(inline, ","); ok && strings.HasPrefix(head, "data:") {
		if !strings.HasSuffix(head, ";base64") {
			return unprocessable("image", "a data: URL must be one in base64")
		}
		inline = rest
	}
	if r.Image, err = base64.StdEncoding.DecodeString(inline); err != nil {
		return unprocessable("image", "is not standard base64")
	}
	return nil
}

// original returns the job that a client_request_id stands for, or only its tombstone.
func (a *App) original(ctx context.Context, b *jobqueue.Broker, requestID string) (*jobqueue.Job, error) {
	j, err := b.JobByKey(ctx, a.images.Name(), requestID)
	if !errors.Is(err, jobqueue.ErrGone) {
		return j, err
	}
	// The tombstone's id is told to those who enqueue with its key again. Where it has been forgotten meanwhile, nothing comes of that: the job's
	// deadline has passed before it began.
	account, _ := b.Account()
	j, err = a.images.Enqueue(ctx, jobqueue.NewJob{Key: requestID, AnyRequest: true, Account: account, Deadline: time.Unix(1<<30, 0)})
	if errors.Is(err, jobqueue.ErrInvalid) {
		err = jobqueue.ErrNotFound
	}
	return j, err
}

// enqueue makes the job. A client_request_id that another request has brought meanwhile gets that one's, Replayed.
func (a *App) enqueue(ctx context.Context, b *jobqueue.Broker, requestID string, r *request) (*jobqueue.Job, error) {
	account, _ := b.Account()
	n := &jobqueue.NewJob{
		Account: account, Key: requestID, AnyRequest: true, Name: r.Operation, Once: true,
		Deadline: time.Now().Add(syncTime), Outbox: []string{queueBilling},
	}
	if r.async {
		n.Deadline = time.Now().Add(asyncTime)
	}
	if r.callbackURL != "" {
		n.Tags = map[string]string{tagCallbackURL: r.callbackURL}
		n.Outbox = append(n.Outbox, queueCallbacks)
	}
	return jobqueue.JSON[task](a.images).Enqueue(ctx, r.task, n)
}

// abandon cancels a job that nobody can ask for any more.
func (a *App) abandon(ctx context.Context, id jobqueue.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := a.broker.Cancel(ctx, id); err != nil && !errors.Is(err, jobqueue.ErrWrongState) {
		a.config.Log.Warn("a job that nobody waits for could not be canceled", "job", id, "error", err)
	}
}

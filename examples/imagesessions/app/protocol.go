package app

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// Ids are ULIDs behind these.
const (
	sessionPrefix = "sess_"
	imagePrefix   = "img_"
)

// routes are the paths of the protocol, each under both prefixes. Polling, downloading and acknowledging is what httpapi does with queues and jobs
// anyway, so those endpoints are its own; the path values "queue" and "id" are those that it reads.
func (a *App) routes() map[string]http.HandlerFunc {
	routes := make(map[string]http.HandlerFunc)
	for _, v1 := range []string{"/api/v1", "/v1"} {
		routes["POST "+v1+"/sessions"] = a.api.Func(a.open)
		routes["POST "+v1+"/sessions/{queue}/images"] = a.api.Func(a.add)
		routes["GET "+v1+"/sessions/{queue}/poll"] = a.poll // 200 with an image, 204 without, 410 when the session is done
		routes["POST "+v1+"/sessions/{queue}/close"] = a.api.Func(a.close)
		routes["GET "+v1+"/images/{id}/download"] = a.api.Payload // 410 after the ack
		routes["POST "+v1+"/images/{id}/ack"] = a.api.Func(a.ack) // 204; 409 lease_lost with a Lease-Token that is superseded
	}
	return routes
}

// open serves POST /sessions: {"tags": {"name": "value"}}, which may be left out, and answers 201 {"session_id"}.
func (a *App) open(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := a.api.ReadJSON(w, r, &in); err != nil {
		return err
	}
	id := sessionPrefix + storage.NewID(time.Now()).String()
	if _, _, err := b.Queue(id).Configure(r.Context(), jobqueue.Settings{Tags: in.Tags}); err != nil {
		return err
	}
	return a.api.WriteJSON(w, r, http.StatusCreated, struct {
		ID string `json:"session_id"`
	}{id})
}

// add serves POST /sessions/{id}/images: the image is the body, or the field "file" of a multipart form, and its name what ?filename says, or the form.
// It answers 201 {"image_id", "image_index"}; 409 queue_closed if the session takes no more, 413 over MaxImage.
func (a *App) add(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	s, err := session(r, b)
	if err != nil {
		return err
	}
	switch info, err := s.Info(r.Context()); { // before the client sends for nothing
	case err != nil:
		return err
	case !info.Closed.IsZero():
		return jobqueue.ErrQueueClosed
	}
	u, err := a.openUpload(w, r)
	if err != nil {
		return err
	}
	j, err := s.Enqueue(r.Context(), jobqueue.NewJob{Body: u, ContentType: u.mimeType, Name: u.name, Limits: a.kept})
	if err != nil {
		return inWords(err)
	}
	return a.api.WriteJSON(w, r, http.StatusCreated, struct {
		ID    string `json:"image_id"`
		Index uint64 `json:"image_index"`
	}{imagePrefix + j.ID.String(), j.Position})
}

// poll serves GET /sessions/{id}/poll?timeout=N, the one parameter that this protocol has of those that httpapi knows: N whole seconds, 30 without
// it and at most.
func (a *App) poll(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead { // it would lease an image and not say which
		a.refuse(&httpapi.Problem{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Detail: "allowed here: GET", Header: http.Header{"Allow": {http.MethodGet}},
		})(w, r)
		return
	}
	if _, err := session(r, a.broker); err != nil {
		a.refuse(err)(w, r)
		return
	}
	if q, err := url.ParseQuery(r.URL.RawQuery); err == nil { // else httpapi refuses it
		r = r.Clone(r.Context())
		r.URL.RawQuery = url.Values{"timeout": q["timeout"]}.Encode()
	}
	a.api.Poll(w, r)
}

// A polledImage is what a poll answers. Lease-Token, Lease-Expires-In and Delivery-Attempt stand in the header.
type polledImage struct {
	ID       string            `json:"image_id"`
	Index    uint64            `json:"image_index"` // from 0, in the order of adding; it stays the same when the image comes back
	Filename string            `json:"filename"`
	MIMEType string            `json:"mime_type"`
	Size     int64             `json:"size_bytes"`
	Status   string            `json:"session_status"` // "uploading" until the session is closed, then "closed"
	Tags     map[string]string `json:"tags"`           // of the session; {} if it has none
}

func (a *App) polled(r *http.Request, d *jobqueue.Delivery) (any, error) {
	s, err := a.broker.In(d.Queue.Account).Queue(d.Queue.Name).Info(r.Context())
	if err != nil {
		return nil, err
	}
	out := polledImage{
		ID: imagePrefix + d.ID.String(), Index: d.Position, Filename: d.Name, MIMEType: d.ContentType, Size: d.Size, Status: "uploading", Tags: s.Tags,
	}
	if !s.Closed.IsZero() {
		out.Status = "closed"
	}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	return out, nil
}

// ack serves POST /images/{id}/ack. It may be repeated for as long as the image is remembered: only its ack can have ended it.
func (a *App) ack(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	text, ok := strings.CutPrefix(r.PathValue("id"), imagePrefix)
	if id, err := jobqueue.ParseID(text); ok && err == nil {
		if _, err := b.Job(r.Context(), id); errors.Is(err, jobqueue.ErrGone) {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
	}
	a.api.Ack(w, r)
	return nil
}

// close serves POST /sessions/{id}/close: nothing more goes in, and the session is done once all its images are acknowledged. It answers 204, and may
// be repeated.
func (a *App) close(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	s, err := session(r, b)
	if err != nil {
		return err
	}
	if err := s.Close(r.Context()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// session returns the session that the path names, whether or not there is one. What is no id of a session names none.
func session(r *http.Request, b *jobqueue.Broker) (*jobqueue.Queue, error) {
	name := r.PathValue("queue")
	id, ok := strings.CutPrefix(name, sessionPrefix)
	if _, err := jobqueue.ParseID(id); !ok || err != nil {
		return nil, jobqueue.ErrNotFound
	}
	return b.Queue(name), nil
}

// refuse answers an error to whoever has the credentials to see it.
func (a *App) refuse(err error) http.HandlerFunc {
	return a.api.Func(func(http.ResponseWriter, *http.Request, *jobqueue.Broker) error { return err })
}

// inWords returns an error of adding an image in the words of this protocol, in which there are neither payloads nor jobs.
func inWords(err error) error {
	var problem *httpapi.Problem
	var bad *jobqueue.InvalidError
	switch {
	case errors.As(err, &problem): // of the upload
		return problem
	case errors.Is(err, jobqueue.ErrTooLarge):
		return errTooLarge
	case errors.As(err, &bad) && bad.Field == "name":
		return &jobqueue.InvalidError{Field: "filename", Problem: bad.Problem}
	case errors.As(err, &bad) && bad.Field == "content_type":
		return &jobqueue.InvalidError{Field: "Content-Type", Problem: bad.Problem}
	}
	return err
}

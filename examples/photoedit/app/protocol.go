package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// The paths, besides POST /v1/phota/{edit,generate,enhance,remix}.
const (
	pathImages  = "/v1/phota/"
	pathJobs    = "/v1/phota/jobs/"
	pathFiles   = "/v1/phota/files/"
	pathBalance = "/v1/phota/balance"
	pathSecret  = "/v1/phota/webhook-secret"
)

const (
	syncTime  = 30 * time.Second // from a synchronous request to its answer, in the queue and at work; then 504
	asyncTime = 10 * time.Minute // from an asynchronous one to the end of its job; then it has failed
	pollAgain = "2"              // seconds, for Retry-After
	maxBody   = 32 << 20         // bytes of a request
)

// A handle is what an asynchronous submit is answered with: 202, with Location and Retry-After. A repeated submit gets the same one, whatever has
// become of the job.
type handle struct {
	JobID  string `json:"job_id"`
	Status string `json:"status"` // "pending"
}

// A result is the answer to a synchronous request, and a member of a job's status.
type result struct {
	Images       [][]byte `json:"images"`        // in base64; none unless response_mode is "bytes"
	DownloadURLs []string `json:"download_urls"` // signed, to be fetched without a token, for as long as the job can be polled
}

// A jobStatus is the answer to a poll, and the body of a callback.
type jobStatus struct {
	JobID  string    `json:"job_id"`
	Status string    `json:"status"`           // "pending", "running", "succeeded" or "failed"
	Result *result   `json:"result,omitempty"` // of a job that succeeded
	Error  *jobError `json:"error,omitempty"`  // of a job that failed
}

type jobError struct {
	Code    string `json:"code"` // see statusOf; deliveries_exhausted if the work kept breaking down
	Message string `json:"message"`
}

// statusOf is the HTTP status of a synchronous request whose job failed with a code. Others are 500.
var statusOf = map[string]int{
	codeImage:             http.StatusUnprocessableEntity, // the image cannot be read, or is too large
	codeFetch:             http.StatusUnprocessableEntity, // image_url has none
	codeAddress:           http.StatusUnprocessableEntity, // image_url is an address that must not be fetched
	jobqueue.CodeDeadline: http.StatusGatewayTimeout,
}

// routes lays out the paths. All but the files are for callers with a token.
func (a *App) routes() http.Handler {
	routes := map[string]http.HandlerFunc{
		"GET " + pathJobs + "{id}":  a.api.Func(a.poll),
		"GET " + pathBalance:        a.api.Func(a.balance),
		"GET " + pathSecret:         a.api.Func(a.secret),
		"GET " + pathFiles + "{id}": a.files.Func(a.file),
	}
	for _, operation := range operations {
		routes["POST "+pathImages+operation] = a.api.Func(func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
			return a.submit(w, r, b, operation)
		})
	}
	return a.api.Routes(routes)
}

// submit takes a request for an image. A repeat is answered before anything else of it is looked at; then come validation (422), the balance (402, by
// way of the broker's Admit) and the job.
func (a *App) submit(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker, operation string) error {
	var fields fields
	if err := a.api.ReadJSON(w, r, &fields); err != nil {
		return err
	}
	id, err := fields.requestID()
	if err != nil {
		return err
	}
	if id != "" {
		switch j, err := a.original(r.Context(), b, id); {
		case err == nil:
			return a.answerHandle(w, r, j)
		case !errors.Is(err, jobqueue.ErrNotFound):
			return err
		}
	}
	req, err := fields.request(operation, a.config)
	if err != nil {
		return err
	}
	j, err := a.enqueue(r.Context(), b, id, req)
	switch {
	case err != nil:
		return err
	case req.async || j.Replayed: // somebody else with the same client_request_id was faster
		return a.answerHandle(w, r, j)
	}
	return a.answerImage(w, r, b, j, req, id)
}

func (a *App) answerHandle(w http.ResponseWriter, r *http.Request, j *jobqueue.Job) error {
	w.Header().Set("Location", a.config.BaseURL+pathJobs+j.ID.String())
	w.Header().Set("Retry-After", pollAgain)
	return a.api.WriteJSON(w, r, http.StatusAccepted, handle{j.ID.String(), "pending"})
}

// answerImage answers a synchronous request when its job has ended. Whoever hangs up, and has no client_request_id to ask for the job with, wants it
// no more: it is canceled.
func (a *App) answerImage(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker, j *jobqueue.Job, req *request, id string) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.drained, cancel)()
	ended, err := b.WaitEnd(ctx, j.ID)
	switch {
	case err == nil:
	case a.drained.Err() != nil || errors.Is(err, jobqueue.ErrShutdown):
		return &httpapi.Problem{
			Status: http.StatusServiceUnavailable, Code: "shutting_down", Detail: "the server is shutting down; the image will be at Location",
			Header: http.Header{"Location": {a.config.BaseURL + pathJobs + j.ID.String()}},
		}
	case r.Context().Err() != nil && id == "":
		a.abandon(r.Context(), j.ID)
		return err
	default:
		return err
	}
	if f := ended.Failure; ended.State != jobqueue.Succeeded {
		p := &httpapi.Problem{Status: http.StatusInternalServerError, Code: "failed", Detail: "the job was canceled"}
		if f != nil {
			p.Code, p.Detail = f.Code, f.Message
			if s := statusOf[f.Code]; s != 0 {
				p.Status = s
			}
		}
		return p
	}
	out := a.resultOf(ended)
	if !req.urls {
		p, err := b.Result(r.Context(), ended.ID)
		if err != nil {
			return err
		}
		defer p.Close()
		data, err := io.ReadAll(p)
		if err != nil {
			return err
		}
		out = &result{Images: [][]byte{data}, DownloadURLs: []string{}}
	}
	return a.api.WriteJSON(w, r, http.StatusOK, out)
}

// poll answers where a job stands: 404 for one that is another account's or never was, 410 when its retention is over, however long others are
// still being told of it.
func (a *App) poll(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	id, err := jobqueue.ParseID(r.PathValue("id"))
	if err != nil {
		return jobqueue.ErrNotFound
	}
	j, err := b.Job(r.Context(), id)
	switch {
	case err != nil:
		return err
	case j.Queue != a.images.Name(): // a callback's
		return jobqueue.ErrNotFound
	case j.State.Ended() && !time.Now().Before(a.goodUntil(j)):
		return jobqueue.ErrGone
	case !j.State.Ended():
		w.Header().Set("Retry-After", pollAgain)
	}
	return a.api.WriteJSON(w, r, http.StatusOK, a.statusOf(j))
}

// statusOf returns what a poll answers for a job.
func (a *App) statusOf(j *jobqueue.Job) *jobStatus {
	s := &jobStatus{JobID: j.ID.String(), Status: "pending"}
	switch {
	case j.State == jobqueue.Succeeded:
		s.Status, s.Result = "succeeded", a.resultOf(j)
	case j.State == jobqueue.Canceled:
		s.Status, s.Error = "failed", &jobError{"canceled", "the job was canceled"}
	case j.State == jobqueue.Failed:
		s.Status, s.Error = "failed", &jobError{j.Failure.Code, j.Failure.Message}
	case j.Deliveries > 0: // also while it rests before it is tried again
		s.Status = "running"
	}
	return s
}

// resultOf returns the result of a job that succeeded, with its image at a URL. It is always the same one: its time is the job's.
func (a *App) resultOf(j *jobqueue.Job) *result {
	id := j.ID.String()
	query := a.signer.Sign(signedFile(id), a.goodUntil(j).Add(time.Second-1)) // it counts whole seconds; with the job the image is gone anyway
	return &result{Images: [][]byte{}, DownloadURLs: []string{a.config.BaseURL + pathFiles + id + "?" + query.Encode()}}
}

// goodUntil returns when a job that has ended, and its image, can no longer be had.
func (a *App) goodUntil(j *jobqueue.Job) time.Time { return j.Finished.Add(a.config.Retention) }

func signedFile(id string) string { return "GET " + pathFiles + id }

// file answers an image to whoever has its signed URL: 403 if that is forged, 410 when its time is over.
func (a *App) file(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		query = nil // is not what was signed
	}
	if err := a.signer.Check(signedFile(r.PathValue("id")), query); err != nil {
		return err
	}
	a.files.Result(w, r)
	return nil
}

// balance answers {"balance": N}. Whoever has seen a job end sees it settled.
func (a *App) balance(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	account, _ := b.Account()
	if err := a.settleEnded(r.Context(), account); err != nil {
		return err
	}
	n, err := a.ledger.Balance(account)
	if err != nil {
		return err
	}
	return a.api.WriteJSON(w, r, http.StatusOK, map[string]int64{"balance": n})
}

// secret answers {"secret": "whsec_..."}, which callbacks to the account are signed with.
func (a *App) secret(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	account, _ := b.Account()
	s, err := a.ledger.Secret(account)
	if err != nil {
		return err
	}
	return a.api.WriteJSON(w, r, http.StatusOK, map[string]string{"secret": string(s)})
}

// encode returns v as JSON in which the & of URLs stands as it is.
func encode(v any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

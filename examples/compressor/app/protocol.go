package app

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

const (
	maxInput  = 64 << 20 // bytes of a file, uploaded or fetched
	maxOutput = 65 << 20 // what cannot be compressed grows a little
	queueName = "compress"
)

// The paths. Whoever submits and asks has a bearer token or a login, and sees the jobs of the own account only; whoever has the URL of an output may
// fetch it. Errors are problems, but for failed jobs and bodies that are not JSON.
func (a *App) routes() http.Handler {
	return a.api.Routes(map[string]http.HandlerFunc{
		"POST /1.0/compress":        a.api.Func(a.submit),
		"GET /1.0/jobs/{id}":        a.api.Func(a.status),
		"GET /{digits}/{id}/{name}": a.files.Func(a.download),
	})
}

func (a *App) jobURL(_ *http.Request, j *jobqueue.Job) string {
	return a.config.BaseURL + "/1.0/jobs/" + j.Key
}

// The status words.
const (
	enqueued   = "enqueued"
	processing = "processing" // once it has been begun, also while it waits to be tried again
	completed  = "completed"
	failed     = "failed"
)

// unfinished is the whole body of a job that has not ended.
type unfinished struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// completedJob is the whole body of a job that has succeeded.
type completedJob struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	URL    string `json:"url"` // of the output
	files
}

// files are what went in and what came out.
type files struct {
	Input  fileInfo `json:"input"`
	Output fileInfo `json:"output"`
}

// A fileInfo describes a file.
type fileInfo struct {
	Name   string `json:"name"`
	Type   string `json:"type"`   // image, video, audio, document, archive or other
	Format string `json:"format"` // the usual extension: jpg
	MIME   string `json:"mime"`
	Size   int64  `json:"size"` // bytes
	SHA1   string `json:"sha1"` // 40 lower-case hexadecimal digits
}

// failedJob is the whole body of a job that has failed, answered with 200, or with 400 where the submit itself was at fault.
type failedJob struct {
	Success bool   `json:"success"` // false
	ID      string `json:"id"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

// shape returns the body that stands for a job. What the files are is in the progress message, which the worker that completed the job wrote under the
// same lease.
func (a *App) shape(r *http.Request, j *jobqueue.Job) (any, error) {
	switch {
	case j.State == jobqueue.Succeeded:
		f, err := filesOf(j)
		if err != nil {
			return nil, err
		}
		return &completedJob{ID: j.Key, Status: completed, URL: a.outputURL(j, f), files: *f}, nil
	case j.State.Ended():
		return &failedJob{ID: j.Key, Status: failed, Message: messageOf(j)}, nil
	case j.Started.IsZero(), r.Method == http.MethodPost: // a waiting worker has the job as soon as it is there: an acknowledgement says enqueued all the same
		return &unfinished{j.Key, enqueued}, nil
	}
	return &unfinished{j.Key, processing}, nil
}

func filesOf(j *jobqueue.Job) (*files, error) {
	f := new(files)
	return f, json.Unmarshal([]byte(j.ProgressMessage), f)
}

// A job whose submit was refused has the reason in a tag: it is canceled as soon as it is there, and if the process dies in between, a worker fails it.
const refusedTag = "refused"

const notJSON = "Incoming request body does not contain a valid JSON data"

func messageOf(j *jobqueue.Job) string {
	switch {
	case j.Failure != nil:
		return j.Failure.Message
	case j.Tags[refusedTag] != "":
		return j.Tags[refusedTag]
	}
	return "The job was canceled"
}

// submit takes POST /1.0/compress: multipart/form-data with a "file" (File Upload), or {"url": "..."} (File Fetch). It answers 202 with the job as
// unfinished and its URL in Location; with "Prefer: wait=N" 200 with the result if there is one in time. What is not JSON is answered 400, with the
// body, and the id, of a failed job.
func (a *App) submit(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	n, err := a.read(w, r)
	if errors.Is(err, errNotJSON) {
		return a.refuse(w, r, b)
	}
	if err != nil {
		return err
	}
	n.Key = newID()
	a.api.SubmitFunc(func(*http.Request, *jobqueue.Broker) (*jobqueue.Queue, jobqueue.NewJob, error) {
		return a.queue, n, nil
	})(w, r)
	return nil
}

// refuseDelay keeps a refused job from the workers for as long as it takes to cancel it.
const refuseDelay = time.Minute

func (a *App) refuse(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	account, _ := b.Account()
	j, err := a.queue.Enqueue(r.Context(), jobqueue.NewJob{
		Key: newID(), Account: account, Tags: map[string]string{refusedTag: notJSON}, Delay: refuseDelay, Once: true,
	})
	if err != nil {
		return err
	}
	if j, err = a.broker.Cancel(r.Context(), j.ID); err != nil {
		return err
	}
	v, err := a.shape(r, j)
	if err != nil {
		return err
	}
	w.Header().Set("Location", a.jobURL(r, j))
	return a.api.WriteJSON(w, r, http.StatusBadRequest, v)
}

// status answers GET /1.0/jobs/{id}: 200 in all states, with Retry-After until the job has ended; 404 for what is not the caller's, and 410 for a week
// after the retention.
func (a *App) status(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	id := r.PathValue("id")
	if !isID(id) {
		return jobqueue.ErrNotFound
	}
	j, err := b.JobByKey(r.Context(), a.queue.Name(), id)
	if err != nil {
		return err
	}
	r.SetPathValue("id", j.ID.String())
	a.api.Status(w, r)
	return nil
}

// download answers GET of an output's URL, which is good for as long as the job is kept; 410 and 404 are as for the status. Range, HEAD and conditional
// requests work.
func (a *App) download(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
	j, err := a.find(r)
	if err != nil {
		return err
	}
	f, err := filesOf(j)
	if err != nil {
		return err
	}
	if r.PathValue("digits") != digits(j) || r.PathValue("name") != f.Output.Name {
		return jobqueue.ErrNotFound
	}
	r.SetPathValue("id", j.ID.String())
	a.files.Result(w, r)
	return nil
}

// find returns the completed job that a URL names. The same id in two accounts is as unlikely as guessing one, so the URL need not say whose it is.
func (a *App) find(r *http.Request) (*jobqueue.Job, error) {
	id := r.PathValue("id")
	if !isID(id) {
		return nil, jobqueue.ErrNotFound
	}
	for _, account := range a.accounts {
		j, err := a.broker.In(account).JobByKey(r.Context(), a.queue.Name(), id)
		switch {
		case errors.Is(err, jobqueue.ErrNotFound):
			continue
		case err == nil && j.State != jobqueue.Succeeded:
			return nil, jobqueue.ErrNotFound
		}
		return j, err
	}
	return nil, jobqueue.ErrNotFound
}

// outputURL returns BASE/DIGITS/ID/NAME.
func (a *App) outputURL(j *jobqueue.Job, f *files) string {
	return a.config.BaseURL + "/" + digits(j) + "/" + j.Key + "/" + url.PathEscape(f.Output.Name)
}

// digits say until when an output is kept: in seconds since 1970, rounded down to five minutes.
func digits(j *jobqueue.Job) string { return strconv.FormatInt(j.Expires.Unix()/300*300, 10) }

// The refusals of a submit, besides those of package jobqueue.
var (
	errNotJSON = errors.New("the body is not JSON")

	errKind = &httpapi.Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
		Detail: `send multipart/form-data with a "file", or application/json with a "url"`}
)

func invalid(detail string) *httpapi.Problem {
	return &httpapi.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: detail}
}

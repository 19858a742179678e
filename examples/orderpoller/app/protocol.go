package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
)

// etaBuckets are how long an order may take, from t = 0, when the webhook has taken it. Checks are made 5 minutes after that and every 15 minutes from
// then on (Config.FirstCheck, Interval); each answer may take 8 seconds (AnswerLimit), and one that does not come is asked for once more.
var etaBuckets = map[string]time.Duration{"under_2_min": 10 * time.Minute, "under_1_hr": 90 * time.Minute, "within_24_hr": 24 * time.Hour}

const (
	startFor   = 5 * time.Minute // for how long a webhook that does not answer is tried
	maxOrderID = 100             // bytes
)

// What the seller is asked, and what it may answer, is in package statuspoll: POST {"order_id","inputs"} to the webhook, GET of the status URL.
func (a *App) routes() http.Handler {
	return a.customers.Routes(map[string]http.HandlerFunc{
		"POST /orders":           a.customers.Func(a.order),
		"GET /orders/{id}":       a.customers.Func(a.show),
		"GET /orders/{id}/files": a.customers.Func(a.file), // ?object_key=
		"POST /prepare":          a.sellers.Func(a.prepare),
		"PUT " + putPath:         a.sellers.PutUpload, // the URL is signed; 204
	})
}

const putPath = "/uploads"

// order takes POST /orders and answers 202 with the order as GET has it. The same order again is the same order; another one of that id is 422
// idempotency_key_reused.
func (a *App) order(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
	var body struct {
		OrderID string          `json:"order_id"`
		ETA     string          `json:"eta_bucket"`
		Inputs  json.RawMessage `json:"inputs"`
	}
	if err := a.customers.ReadJSON(w, r, &body); err != nil {
		return err
	}
	if !soundOrderID(body.OrderID) {
		return errOrderID
	}
	j, err := a.poller.Start(r.Context(), statuspoll.Order{ID: body.OrderID, ETA: body.ETA, Inputs: body.Inputs})
	if err != nil {
		return inBody(err)
	}
	s, err := a.poller.Order(r.Context(), body.OrderID)
	if err != nil {
		return err
	}
	w.Header().Set("Location", a.config.BaseURL+"/orders/"+pathSegment(body.OrderID))
	if j.Replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	return a.answer(w, r, http.StatusAccepted, s)
}

// show answers GET /orders/{id}.
func (a *App) show(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
	s, err := a.poller.Order(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, s)
}

// An orderView is an order as customers see it. All fields are always there.
type orderView struct {
	OrderID  string     `json:"order_id"`
	State    string     `json:"state"`         // processing, completed, failed or timed_out
	Checks   int        `json:"checks"`        // that have been made; a retry is none
	Progress *float64   `json:"progress"`      // 0 to 1, as the seller said last; null if it said nothing
	Problem  *string    `json:"problem"`       // what was wrong with the last answer; null if nothing
	Next     *time.Time `json:"next_check_at"` // null if there is no further check
	Result   any        `json:"result"`        // the answer that was accepted, as it came; see resultOf
}

// A failedResult is the result of an order whose seller said that it failed. What else can fail, such as the webhook, is told by the problem alone.
type failedResult struct {
	Status       string `json:"status"`
	ErrorMessage string `json:"error_message"`
}

func viewOf(s *statuspoll.OrderStatus) *orderView {
	v := &orderView{OrderID: s.ID, State: s.State, Checks: s.Checks, Progress: s.Progress}
	if s.Problem != "" {
		v.Problem = &s.Problem
	}
	if !s.NextCheck.IsZero() {
		v.Next = &s.NextCheck
	}
	if s.Code == statuspoll.CodeOrderFailed {
		v.Result = &failedResult{statuspoll.Failed, s.ErrorMessage}
	}
	return v
}

// answer writes an order, with the result of a completed one, which may have 50 MiB, as it is read from the store.
func (a *App) answer(w http.ResponseWriter, r *http.Request, status int, s *statuspoll.OrderStatus) error {
	v := viewOf(s)
	head, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var result io.Reader = strings.NewReader("")
	size, tail := int64(0), ""
	if s.State == statuspoll.OrderCompleted {
		content, err := a.broker.Result(r.Context(), s.Job.ID)
		if err != nil {
			return err
		}
		defer content.Close()
		head, tail = bytes.TrimSuffix(head, []byte("null}")), "}" // result comes last
		result, size = content, content.Size()
	}
	body := io.MultiReader(bytes.NewReader(head), result, strings.NewReader(tail))
	stream(w, r, status, "application/json", int64(len(head))+size+int64(len(tail)), body)
	return nil
}

// stream writes an answer of a size that is known before.
func stream(w http.ResponseWriter, r *http.Request, status int, contentType string, size int64, body io.Reader) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		copySlowly(w, body)
	}
}

// copySlowly gives a client that takes 16 KiB per second, after 30 s, the time for it. If it fails the client sees that the answer was cut off.
func copySlowly(w http.ResponseWriter, r io.Reader) {
	const patience, slowest = 30 * time.Second, 16 << 10
	ctl, start := http.NewResponseController(w), time.Now()
	chunk := make([]byte, 64<<10)
	for sent := int64(0); ; {
		n, err := r.Read(chunk)
		ctl.SetWriteDeadline(start.Add(patience + time.Duration(sent/slowest)*time.Second))
		if _, werr := w.Write(chunk[:n]); werr != nil || err != nil {
			return
		}
		sent += int64(n)
	}
}

// notifyDelays are the pauses between the deliveries of an event, of which there are some for a week: whoever is to be told may be away for days.
var notifyDelays = append([]time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour},
	slices.Repeat([]time.Duration{12 * time.Hour}, 12)...)

// notify sends each event as a signed callback: {"type","timestamp","data"} with the order as GET has it in data, but for a result of more than 64 KiB,
// which is left out. Where nobody is to be told the events are done with.
func (a *App) notify(ctx context.Context) error {
	return callback.Send(ctx, a.broker.Queue(eventQueue), &callback.Options{
		Message: a.message, Client: a.config.Client, Delays: notifyDelays, PerHost: -1, Lease: workerLease, Logger: a.config.Logger, // there is one host
	})
}

func (a *App) message(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
	if a.config.NotifyURL == "" {
		return nil, nil
	}
	e, err := statuspoll.ReadEvent(ctx, a.broker, d)
	if err != nil {
		return nil, err
	}
	s, err := a.poller.Order(ctx, e.OrderID)
	if err != nil {
		return nil, err
	}
	v := viewOf(s)
	var data any = v
	switch {
	case e.Result != nil:
		v.Result = e.Result
	case s.State == statuspoll.OrderCompleted:
		data = struct {
			*orderView
			Result any `json:"result,omitempty"`
		}{orderView: v}
	}
	body, err := json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      any       `json:"data"`
	}{e.Type, e.Timestamp, data})
	if err != nil {
		return nil, err
	}
	return &callback.Message{URL: a.config.NotifyURL, Body: body, Secrets: []callback.Secret{a.config.NotifySecret}}, nil
}

// inBody says what is wrong with an order in the words of the request.
func inBody(err error) error {
	var bad *jobqueue.InvalidError
	switch {
	case errors.As(err, &bad) && bad.Field == "eta":
		return &jobqueue.InvalidError{Field: "eta_bucket", Problem: bad.Problem}
	case errors.Is(err, jobqueue.ErrKeyReused):
		const detail = "order_id: there is another order of that id; what is ordered anew needs an id of its own"
		return &httpapi.Problem{Status: http.StatusUnprocessableEntity, Code: "idempotency_key_reused", Detail: detail}
	}
	return err
}

// soundOrderID reports whether an order can have that id: it must be possible to ask for it, and to name its uploads after it.
func soundOrderID(s string) bool {
	return strings.Trim(s, "/") != "" && len(s) <= maxOrderID && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// pathSegment returns an id as it stands in a path. Dots are escaped too, since a segment of nothing else leads elsewhere.
func pathSegment(id string) string { return strings.ReplaceAll(url.PathEscape(id), ".", "%2E") }

func conflict(code, detail string) error {
	return &httpapi.Problem{Status: http.StatusConflict, Code: code, Detail: detail}
}

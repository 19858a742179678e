package app

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
)

// The same credentials are demanded at both endpoints of the platform. Errors are problems of RFC 9457.
func (a *App) routes() http.Handler {
	return a.platform.Routes(map[string]http.HandlerFunc{
		"POST /webhook":                 a.platform.Func(a.webhook),
		"GET /orders/{order_id}/status": a.platform.Func(statuspoll.Endpoint(orderQueue)), // from the stored status, with one store read
		"GET " + resultPath + "{name}":  a.public.Func(a.page),                            // the URL is signed
	})
}

// The platform may want these. What has no output is for tests of the platform.
const (
	wantFailed = "failed"
	wantNever  = "never"
	wantVideo  = "video"
)

const (
	maxOrderID = 255                // bytes
	maxSeconds = 24 * 60 * 60       // as long as the platform waits at most
	maxSize    = 40_000_000         // bytes, more than may be written
	maxMessage = jobqueue.MaxText   // bytes
	never      = 7 * 24 * time.Hour // how long an order that never ends rests at a time
)

// An order is what the inputs of an order say: which output it wants, and how long the work on it takes. It is a job's payload.
type order struct {
	Want    string  `json:"want"`              // an output type, "failed" or "never"
	Seconds float64 `json:"seconds,omitempty"` // of work: 0 to maxSeconds; 0
	Size    int     `json:"size,omitempty"`    // bytes that the output has at least: 0 to maxSize; 0. Not for url, xlsx, failed and never
	Message string  `json:"message,omitempty"` // of a failed order
}

// webhook takes POST /webhook {"order_id","inputs":{"want","seconds"}} and answers 202 {"order_id","status":"processing"} once the order is stored, with
// its status endpoint in Location. The same order_id again is the same order, whatever its inputs then say: 202, with Idempotent-Replayed. A bad
// order_id or input is 400 invalid_request; nothing is stored then.
func (a *App) webhook(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	var body struct {
		OrderID string `json:"order_id"`
		Inputs  order  `json:"inputs"`
	}
	if err := a.platform.ReadJSON(w, r, &body); err != nil {
		return err
	}
	if !soundOrderID(body.OrderID) {
		return invalid("order_id", "must be a text of 1 to %d bytes, without control characters, that is not only slashes", maxOrderID)
	}
	if err := body.Inputs.check(); err != nil {
		return err
	}
	account, _ := b.Account()
	j, err := jobqueue.JSON[order](a.broker.Queue(orderQueue.Name)).Enqueue(r.Context(), body.Inputs,
		&jobqueue.NewJob{Key: body.OrderID, AnyRequest: true, Account: account})
	if err != nil {
		return err
	}
	h := w.Header()
	if j.Replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	h.Set("Location", "/orders/"+pathSegment(body.OrderID)+"/status")
	return a.platform.WriteJSON(w, r, http.StatusAccepted, struct {
		OrderID string `json:"order_id"`
		Status  string `json:"status"`
	}{body.OrderID, statuspoll.Processing})
}

func (o *order) check() error {
	sized := slices.Contains(sizedTypes, o.Want)
	switch {
	case o.Want != wantFailed && o.Want != wantNever && outputs[o.Want] == nil:
		return invalid("inputs.want", `must be one of %s, "failed" or "never"`, quoted(outputTypes))
	case !(o.Seconds >= 0 && o.Seconds <= maxSeconds):
		return invalid("inputs.seconds", "must be a number from 0 to %d", maxSeconds)
	case o.Size < 0 || o.Size > maxSize:
		return invalid("inputs.size", "must be a whole number from 0 to %d", maxSize)
	case o.Size > 0 && !sized:
		return invalid("inputs.size", "goes with %s only", quoted(sizedTypes))
	case o.Message != "" && o.Want != wantFailed:
		return invalid("inputs.message", `goes with want "failed" only`)
	case len(o.Message) > maxMessage:
		return invalid("inputs.message", "must have at most %d bytes", maxMessage)
	}
	return nil
}

// resultPath is before the names of result pages, which the result_url of an order that wants a url names.
const resultPath = "/results/"

// resultURL returns the signed URL of an order's page. It is good as long as the order is kept.
func (a *App) resultURL(orderID string) string {
	query := a.signer.Sign(signed(orderID), time.Now().Add(retention))
	return a.config.PublicURL + resultPath + pathSegment(orderID) + "?" + query.Encode()
}

// page answers GET of such a URL: the result, for whoever has the URL. Otherwise it is 403 bad_signature, and 410 url_expired when its time is over.
func (a *App) page(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
	orderID := r.PathValue("name")
	if err := a.signer.Check(signed(orderID), r.URL.Query()); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	io.WriteString(w, htmlPage(orderID))
	return nil
}

// signed is what is signed for a page.
func signed(orderID string) string { return "GET " + resultPath + orderID }

func htmlPage(orderID string) string {
	return "<!DOCTYPE html>\n<html lang=\"en\"><title>Result</title><p>The result of order <b>" + html.EscapeString(orderID) + "</b>.</p></html>\n"
}

// soundOrderID reports whether an order can have that id: it must be possible to ask for it.
func soundOrderID(s string) bool {
	return strings.Trim(s, "/") != "" && len(s) <= maxOrderID && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// pathSegment returns an id as it stands in a path. Dots are escaped too, since a segment of nothing else leads elsewhere.
func pathSegment(id string) string { return strings.ReplaceAll(url.PathEscape(id), ".", "%2E") }

func invalid(field, format string, a ...any) error {
	return &jobqueue.InvalidError{Field: field, Problem: fmt.Sprintf(format, a...)}
}

func quoted(words []string) string { return `"` + strings.Join(words, `", "`) + `"` }

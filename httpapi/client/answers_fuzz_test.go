package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzProblem looks for an answer that says no and becomes an error that does not have its status, waits for longer than a day, stands for two
// things at once, or has what the problem does not say: it may come from any proxy.
func FuzzProblem(f *testing.F) {
	for _, body := range []string{
		`{"status":409,"title":"Conflict","code":"lease_lost","detail":"d","reason":"lapsed"}`, `{"code":"not_found"}`, `<html>`, ``, `null`, `[]`, `{"code":5}`, `{"status":"x","code":"busy"}`,
		`{"code":"lease_lost","reason":null}`, `{"CODE":"job_gone"}`, "\xff", `{"status":1e99}`, `{"detail":"\ud800"}`,
	} {
		for _, status := range []int{400, 404, 409, 429, 503, 302} {
			f.Add(status, body, "7")
		}
	}
	f.Add(503, "", "99999999999999999999")
	f.Add(503, "", "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Fuzz(func(t *testing.T, status int, body, after string) {
		h := http.Header{}
		h.Set("Retry-After", after)
		e := errorOf(status, h, []byte(body))
		var want wireProblem
		if json.Unmarshal([]byte(body), &want) != nil {
			want = wireProblem{}
		}
		if e.Status != status || e.Code != want.Code || e.Title != want.Title || e.Detail != want.Detail || e.Reason != want.Reason || e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
			t.Fatalf("%d %q: got %+v", status, body, e)
		}
		matched := 0
		for _, sentinel := range []error{
			ErrNotFound, ErrGone, ErrPayloadGone, ErrEmpty, ErrDone, ErrQueueClosed, ErrLeaseLost, ErrNotDelivered, ErrWrongState, ErrKeyReused, ErrBacklogFull, ErrTooManyPolls, ErrRefused,
			ErrUnauthorized, ErrInvalid, ErrTooLarge, ErrShutdown, ErrOutcomeUnknown, ErrStoreFull, ErrExpired, ErrAnswerTooLarge, ErrStalled,
		} {
			if errors.Is(e, sentinel) {
				matched++
			}
		}
		if matched > 1 || matched == 1 && e.Code != "" && sentinels[e.Code] == nil || e.Error() == "" {
			t.Fatalf("%d %q: %v matches %d errors", status, body, e, matched)
		}
		if e.nothingHappened() && (e.Code == "outcome_unknown" && status != http.StatusTooManyRequests || status/100 == 2) {
			t.Fatalf("%d %q: is said to have done nothing", status, body)
		}
	})
}

// FuzzWords looks for a status that is read as an end that it does not name, or with a progress that is none.
func FuzzWords(f *testing.F) {
	for _, body := range []string{
		`{"state":"done"}`, `{"status":"Timed Out","progress":"45%"}`, `{"state":null,"status":"failed","progress":0.5}`, `{"state":5,"status":"succeeded"}`, `{"progress":101}`, `{"progress":"NaN"}`,
		`{"progress":"1e-300 %"}`, `{"progress":1.0000001}`, `{"progress":-0}`, `{"progress":"0x1p4"}`, `{"progress":"Inf"}`, `null`, `[]`, ``, `{"state":" succeeded\u0000"}`, `{"state":"ſucceeded"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &Status{Code: 200, Body: body}
		err := DecodeWords(s)
		var model map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber() // one may be too large for a float64, where nobody asks for it
		if wrong := d.Decode(&model); wrong != nil || !json.Valid(body) {
			if err == nil {
				t.Fatalf("%q: got %+v, though %v", body, s, wrong)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if s.Progress != nil && !(*s.Progress >= 0 && *s.Progress <= 1) {
			t.Fatalf("%q: got progress %v", body, *s.Progress)
		}
		if s.State != "" && s.State != Succeeded && s.State != Failed && s.State != Canceled || s.State != StateOf(s.Word) {
			t.Fatalf("%q: got %q, %q", body, s.Word, s.State)
		}
		said := false
		for name, v := range model {
			if word, ok := v.(string); ok && (strings.EqualFold(name, "state") || strings.EqualFold(name, "status")) {
				said = said || word == s.Word
			}
		}
		if s.Word != "" && !said && len(model) < 2 {
			t.Fatalf("%q: got the word %q", body, s.Word)
		}
	})
}

// FuzzContentRange looks for a Content-Range of a server that is not well, which becomes a part with a negative place or length, or one beyond the
// whole.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{
		"bytes 0-9/20", "bytes 0-9/*", "bytes 5-3/10", "bytes 0-9223372036854775807/*", "bytes -5-3/10", "bytes 0--5/10", "bytes 3-9/5", "bytes */10", "", "bytes 1-2/-3", "bytes 1-2/99999999999999999999",
		"bytes  1 - 2 / 3", "items 0-1/2", "bytes 0-1/2 x", "bytes +0-1/2", "bytes 0x0-1/2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c := &Content{ReadCloser: io.NopCloser(strings.NewReader(""))}
		err := c.place(header)
		if err != nil {
			if repeatable(call{}, err) {
				t.Fatalf("%q: %v would be asked for again", header, err)
			}
			return
		}
		if c.Offset < 0 || c.Length < 0 || c.Size < -1 || c.Offset+c.Length < c.Offset || c.Size >= 0 && c.Offset+c.Length > c.Size {
			t.Fatalf("%q: got offset %d, length %d, size %d", header, c.Offset, c.Length, c.Size)
		}
	})
}

package requests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// A document is the OpenAPI document of the server under attack.
type document struct {
	*openapi3.T
	operations []*operation
	codes      map[string]bool // of problems
}

type operation struct {
	method, path string
	item         *openapi3.PathItem
	*openapi3.Operation
	params []*openapi3.Parameter
	body   *openapi3.Schema // of a JSON body; nil if it takes none
}

// readDocument reads what a server says of itself.
func readDocument(p []byte) (*document, error) {
	t, err := openapi3.NewLoader().LoadFromData(p)
	if err != nil {
		return nil, err
	}
	d := &document{T: t, codes: make(map[string]bool)}
	for _, path := range slices.Sorted(maps.Keys(t.Paths.Map())) {
		item := t.Paths.Value(path)
		methods := item.Operations()
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			o := &operation{method: method, path: path, item: item, Operation: methods[method]}
			for _, p := range append(slices.Clone(item.Parameters), o.Parameters...) {
				o.params = append(o.params, p.Value)
			}
			if o.RequestBody != nil {
				if m := o.RequestBody.Value.Content["application/json"]; m != nil {
					o.body = m.Schema.Value
				}
			}
			d.operations = append(d.operations, o)
		}
	}
	text := t.Components.Schemas["Problem"].Value.Properties["code"].Value.Description
	_, text, _ = strings.Cut(text, ": ")
	text, _, ok := strings.Cut(text, ", or the server's own")
	if !ok {
		return nil, fmt.Errorf("the document lists no codes of problems: %q", text)
	}
	for code := range strings.SplitSeq(text, ", ") {
		d.codes[code] = true
	}
	return d, nil
}

// A request is one of an operation, whose parts may break the document's rules.
type request struct {
	*operation
	path     map[string]string
	query    []string // name=value, encoded
	header   http.Header
	body     []byte
	kind     string   // the Content-Type
	broken   []string // the rules that are broken so that the server has to refuse it
	spoiling int      // the member or parameter to be spoiled; the body as a whole after the last
}

// newRequest returns a request that breaks a rule, or several, or seldom none.
func (w *world) newRequest(rnd *rand.Rand, o *operation) *request {
	q := &request{operation: o, path: make(map[string]string), header: http.Header{}}
	id := w.id(rnd)
	q.header.Set("Authorization", "Bearer "+token)
	spoilable := 0
	for _, p := range o.params {
		if p.Schema != nil && p.Name != "id" && p.Name != "filename" && p.Name != "tags" {
			spoilable++
		}
	}
	if o.body != nil {
		spoilable += 6 // most of what can be wrong is there
	}
	q.spoiling = rnd.IntN(spoilable + 1)
	for _, p := range o.params {
		q.parameter(rnd, w, p, id)
	}
	switch {
	case o.body != nil && (q.spoiling >= 0 || rnd.IntN(5) > 0):
		q.kind = one(rnd, "application/json", "application/json", "application/json; charset=utf-8")
		g := &generator{Rand: rnd, world: w, of: o.OperationID, id: id, spoil: q.spoiling >= 0}
		q.body = g.document(o.body)
		q.broken = append(q.broken, g.broken...)
	case o.RequestBody != nil:
		q.kind, q.body = one(rnd, "text/plain", "a/b; c=\"", ";", "multipart/form-data"), []byte(text(rnd))
	}
	return q
}

// parameter adds a parameter, or not, or one that breaks its rules.
func (q *request) parameter(rnd *rand.Rand, w *world, p *openapi3.Parameter, id string) {
	s := p.Schema.Value
	value, there := "", p.Required || rnd.IntN(4) == 0
	bad := false
	switch {
	case p.Name == "id":
		value = id
		if rnd.IntN(10) == 0 {
			value = text(rnd)
		}
	case p.Name == "filename" || p.Name == "upload" || p.Name == "signature":
		value = one(rnd, id, text(rnd))
	case p.Name == "tags":
		q.query = append(q.query, url.QueryEscape("tag."+text(rnd))+"="+url.QueryEscape(text(rnd)))
		return
	case q.spoiling == 0:
		value, bad = spoiledText(rnd, p, s)
		there = true
	case p.Name == "queue":
		value = one(rnd, w.queues...)
	case p.Name == "Lease-Token":
		value, there = w.tokens[id], w.tokens[id] != ""
	case p.Name == "after":
		value = one(rnd, id, "a")
	default:
		value = goodText(rnd, p.Name, s)
	}
	if p.Name != "id" && p.Name != "filename" {
		q.spoiling--
	}
	if !there {
		return
	}
	if bad && q.reads(p) {
		q.broken = append(q.broken, fmt.Sprintf("%s %.60q", p.Name, value))
	}
	switch p.In {
	case "path":
		q.path[p.Name] = value
	case "query":
		q.query = append(q.query, url.QueryEscape(p.Name)+"="+url.QueryEscape(value))
	case "header":
		q.header.Add(p.Name, value)
	}
}

// reads reports whether the server has to look at a parameter. Where a poll brings an ack that is refused, there is no look at the queue.
func (q *request) reads(p *openapi3.Parameter) bool {
	return q.OperationID != "pollPost" || p.Name != "queue" && p.Name != "lease"
}

func goodText(rnd *rand.Rand, name string, s *openapi3.Schema) string {
	switch {
	case len(s.Enum) > 0:
		return fmt.Sprint(one(rnd, s.Enum...))
	case name == "wait" || name == "timeout":
		return "0"
	case name == "lease" || name == "delay":
		return "40000"
	case s.Type.Is("integer"):
		return "2"
	case s.Format == "date-time":
		return "2100-01-01T00:00:00Z"
	case name == "Prefer":
		return "wait=0"
	}
	return one(rnd, "a", "k", `"1"`)
}

// spoiledText returns a value of a parameter that breaks its rules, and whether a server must refuse it.
func spoiledText(rnd *rand.Rand, p *openapi3.Parameter, s *openapi3.Schema) (string, bool) {
	switch {
	case len(s.Enum) > 0:
		return one(rnd, "x", "", fmt.Sprint(s.Enum[0])+"x", strings.ToUpper(fmt.Sprint(s.Enum[0]))), true
	case s.Type.Is("integer"):
		bad := []string{"", "x", "1.5", "1e3", "0x1", "٣", "NaN", "1 ", "-", "1,2"}
		if s.Min != nil {
			bad = append(bad, fmt.Sprintf("%.0f", *s.Min-1), "-99999999999999999999")
		}
		if s.Max != nil {
			bad = append(bad, fmt.Sprintf("%.0f", *s.Max+1), "99999999999999999999")
		}
		return one(rnd, bad...), true
	case s.Format == "date-time":
		return one(rnd, "", "now", "2100-13-01T00:00:00Z", "2100-01-01", "99999999-01-01T00:00:00Z", "2100-01-01T00:00:00"), true
	case s.Pattern != "":
		return one(rnd, "x", strings.Repeat("0", 31), strings.Repeat("g", 32), strings.Repeat("0", 33)), true
	case s.MaxLength != nil && rnd.IntN(2) == 0:
		return strings.Repeat("x", int(*s.MaxLength)+1+rnd.IntN(10)*1000), true
	}
	v := text(rnd)
	if p.In == "header" { // what net/http lets through
		v = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, strings.TrimSpace(v))
	}
	if p.In == "path" && v == "" {
		v = "%"
	}
	return v, false
}

// target returns the request's path and query.
func (q *request) target() string {
	path := q.operation.path
	for name, value := range q.path {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	if len(q.query) > 0 {
		path += "?" + strings.Join(q.query, "&")
	}
	return path
}

func (q *request) String() string {
	return fmt.Sprintf("%s %.300q %.300v %s %.400q", q.method, q.target(), q.header, q.kind, q.body)
}

// serve has the world serve the request, and demands that it is refused if it has to be. One in some answers is held against the document.
func (w *world) serve(d *document, q *request, validate bool) {
	target, err := url.ParseRequestURI(q.target())
	if err != nil || target.Path == "" {
		return // net/http would not have it
	}
	r := httptest.NewRequest(q.method, "/", nil)
	r.URL, r.RequestURI = target, q.target()
	r.Header = q.header
	if q.kind != "" {
		r.Header.Set("Content-Type", q.kind)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
	if q.body == nil {
		r.Body = http.NoBody
	}
	w.now = q.String
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	if len(q.broken) > 0 && (rec.Code < 400 || rec.Code > 499) {
		w.bad("got %d %.200s, though %v: %v", rec.Code, rec.Body, q.broken, q)
	}
	if validate {
		w.validate(d, q, r, rec)
	}
}

// validate holds an answer against the document.
func (w *world) validate(d *document, q *request, r *http.Request, rec *httptest.ResponseRecorder) {
	if q.method == "HEAD" || q.Responses.Value(fmt.Sprint(rec.Code)) == nil && rec.Code < 400 {
		w.bad("the document has no answer %d: %v", rec.Code, q)
		return
	}
	route := &routers.Route{Spec: d.T, Path: q.operation.path, PathItem: q.item, Method: q.method, Operation: q.Operation}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: q.path, Route: route, Options: options},
		Status:                 rec.Code, Header: rec.Header(), Options: options,
	}
	answer.SetBodyBytes(rec.Body.Bytes())
	if err := openapi3filter.ValidateResponse(context.Background(), answer); err != nil {
		w.bad("the answer %d %.300s is not what the document says: %v: %v", rec.Code, rec.Body, err, q)
	}
}

// compact returns v as JSON.
func compact(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

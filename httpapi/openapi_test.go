package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// document is as much of an OpenAPI document as the tests look at.
type document struct {
	OpenAPI    string
	Servers    []struct{ URL string }
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Parameters map[string]parameter
		Schemas    map[string]struct {
			Required   []string
			Properties map[string]struct{ Description string }
		}
	}
}

type parameter struct {
	Ref      string `json:"$ref"`
	Name, In string
	Required bool
}

type operation struct {
	ID         string `json:"operationId"`
	Parameters []parameter
	Responses  map[string]json.RawMessage
}

func readDocument(t *testing.T, o httpapi.Options) document {
	t.Helper()
	h, _ := newHandler(t, o)
	w := serve(h, "GET", "/v1/openapi.json", "")
	var d document
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 200 {
		t.Fatalf("got %d, %v", w.Code, err)
	}
	return d
}

// parameters returns an operation's, its path's included.
func (d *document) parameters(t *testing.T, path string, op operation) []parameter {
	var all []parameter
	if err := json.Unmarshal(append([]byte(nil), orNull(d.Paths[path]["parameters"])...), &all); err != nil {
		t.Fatal(err)
	}
	all = append(all, op.Parameters...)
	for i, p := range all {
		if p.Ref != "" {
			all[i] = d.Components.Parameters[p.Ref[strings.LastIndex(p.Ref, "/")+1:]]
		}
	}
	return all
}

func orNull(p json.RawMessage) json.RawMessage {
	if p == nil {
		return json.RawMessage("null")
	}
	return p
}

// operations returns all operations by "METHOD path".
func (d *document) operations(t *testing.T) map[string]operation {
	out := make(map[string]operation)
	for path, members := range d.Paths {
		for method, p := range members {
			if method == "parameters" {
				continue
			}
			var op operation
			if err := json.Unmarshal(p, &op); err != nil {
				t.Fatal(err)
			}
			out[strings.ToUpper(method)+" "+path] = op
		}
	}
	return out
}

func TestTheDocumentHasTheRoutesAndNoOthers(t *testing.T) {
	d := readDocument(t, httpapi.Options{})
	got := make(map[string]string)
	for at, op := range d.operations(t) {
		got[at] = op.ID
	}
	if want := httpapi.Operations(); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestTheDocumentSaysWhereItIsMounted(t *testing.T) {
	for _, c := range []struct {
		o    httpapi.Options
		want string
	}{
		{httpapi.Options{}, "/"},
		{httpapi.Options{Prefix: "/q"}, "/q"},
		{httpapi.Options{BaseURL: "https://example.com"}, "https://example.com"},
		{httpapi.Options{BaseURL: "https://example.com", Prefix: "/a/b"}, "https://example.com/a/b"},
	} {
		d := readDocument(t, c.o)
		if len(d.Servers) != 1 || d.Servers[0].URL != c.want || d.OpenAPI != "3.1.0" {
			t.Errorf("%+v: got %v, want %s", c.o, d.Servers, c.want)
		}
	}
}

// The code reads each query parameter that the document has, as it refuses two of them, and the document has each that the code reads.
func TestTheDocumentHasTheParametersAndNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := readDocument(t, httpapi.Options{})
		w := newWorld(t, nil)
		id := w.enqueue("q", jobqueue.NewJob{}).ID.String()
		token := w.receive("q").Token.String()
		documented := map[string]bool{}
		for at, op := range d.operations(t) {
			method, path, _ := strings.Cut(at, " ")
			inPath := regexp.MustCompile(`\{(\w+)\}`).FindAllString(path, -1)
			for _, p := range d.parameters(t, path, op) {
				switch {
				case p.Name == "":
					t.Errorf("%s: a parameter has no name", at)
				case p.In == "path":
					if i := slices.Index(inPath, "{"+p.Name+"}"); p.Required && i >= 0 {
						inPath = slices.Delete(inPath, i, i+1)
					} else {
						t.Errorf("%s: has a parameter %s", at, p.Name)
					}
				case p.In == "query" && op.ID == "putUpload": // whatever is wrong with them is a wrong signature
					good := w.prepare(`{"filename":"f"}`).text("put_url")
					value := regexp.MustCompile(p.Name + "=([^&]+)").FindStringSubmatch(good)
					for _, url := range []string{good + "&" + value[0], strings.Replace(good, value[0], "", 1), strings.Replace(good, value[1], "x"+value[1], 1)} {
						w.do(method, url, "x").wantProblem(403, "bad_signature")
					}
				case p.In == "query":
					name := p.Name
					if documented[name] = true; name == "tags" {
						name = "tag.x"
					}
					url := strings.NewReplacer("{queue}", "q", "{id}", id).Replace(path) + "?" + name + "=1&" + name + "=1"
					a := w.do(method, url, "x", "Content-Type: text/plain", "Lease-Token: "+token)
					if method == "GET" {
						a = w.do(method, url, "")
					}
					if a.wantProblem(400, "invalid_request"); !strings.HasPrefix(a.text("detail"), name+":") {
						t.Errorf("%s: %s twice: got %s", at, name, a.body)
					}
				}
			}
			if len(inPath) > 0 {
				t.Errorf("%s: %v are not described", at, inPath)
			}
		}
		files, err := fs.Glob(os.DirFS("."), "*.go")
		if err != nil {
			t.Fatal(err)
		}
		var read []string
		for _, file := range files {
			p, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?:\bq\.(?:one|text|count|wholeSeconds)\(|c\.wait\(q, )"(\w+)"`).FindAllStringSubmatch(string(p), -1) {
				read = append(read, m[1])
			}
		}
		slices.Sort(read)
		if read = append(slices.Compact(read), "tags"); !maps.Equal(documented, setOf(read)) {
			t.Errorf("the document has %v, the code reads %v", slices.Sorted(maps.Keys(documented)), read)
		}
	})
}

func setOf(names []string) map[string]bool {
	out := make(map[string]bool)
	for _, n := range names {
		out[n] = true
	}
	return out
}

// Every error of package jobqueue has a line in the table, and every code stands in the document.
func TestTheErrorTable(t *testing.T) {
	d := readDocument(t, httpapi.Options{})
	codes := d.Components.Schemas["Problem"].Properties["code"].Description
	for _, c := range []struct {
		err    error
		status int
		code   string
		again  string // Retry-After
	}{
		{jobqueue.ErrInvalid, 400, "invalid_request", ""},
		{jobqueue.ErrRefused, 403, "refused", ""},
		{fmt.Errorf("%w: %w", jobqueue.ErrRefused, &httpapi.Problem{Status: 402, Code: "refused"}), 402, "refused", ""},
		{jobqueue.ErrNotFound, 404, "not_found", ""},
		{jobqueue.ErrLeaseLost, 409, "lease_lost", ""},
		{jobqueue.ErrNotDelivered, 409, "not_delivered", ""},
		{jobqueue.ErrQueueClosed, 409, "queue_closed", ""},
		{jobqueue.ErrWrongState, 409, "wrong_state", ""},
		{jobqueue.ErrGone, 410, "job_gone", ""},
		{jobqueue.ErrPayloadGone, 410, "payload_gone", ""},
		{jobqueue.ErrDone, 410, "queue_done", ""},
		{jobqueue.ErrTooLarge, 413, "too_large", ""},
		{jobqueue.ErrKeyReused, 422, "idempotency_key_reused", ""},
		{jobqueue.ErrBacklogFull, 429, "backlog_full", "2"},
		{jobqueue.ErrShutdown, 503, "shutting_down", "2"},
		{jobqueue.ErrOutcomeUnknown, 503, "outcome_unknown", "2"},
		{jobqueue.ErrStoreFailed, 503, "store_failed", "2"},
		{jobqueue.ErrStoreFull, 507, "store_full", ""},
		{jobqueue.ErrBusy, 503, "busy", "2"},
		{jobqueue.ErrCorrupt, 500, "corrupt", ""},
		{fmt.Errorf("surprise %s", "secret"), 500, "internal", ""},
	} {
		h, _ := newHandler(t, httpapi.Options{})
		w := serve(h.Func(func(http.ResponseWriter, *http.Request, *jobqueue.Broker) error {
			return fmt.Errorf("wrapped: %w", c.err)
		}), "GET", "/", "")
		a := &answer{t, w.Code, w.Header(), w.Body.String()}
		a.wantProblem(c.status, c.code).wantHeader("Retry-After", c.again)
		if strings.Contains(a.body, "wrapped") || strings.Contains(a.body, "secret") {
			t.Errorf("%v: got %s, which tells of the inside", c.err, a.body)
		}
		if !strings.Contains(codes, c.code) {
			t.Errorf("the document has no code %s", c.code)
		}
	}
	source, err := os.ReadFile("../jobqueue/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(Err\w+) += errors.New`).FindAllStringSubmatch(string(source), -1) {
		if m[1] != "ErrEmpty" && !strings.Contains(string(table), "jobqueue."+m[1]+",") { // an empty queue is 204
			t.Errorf("the table has no %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`Code: "(\w+)"`).FindAllStringSubmatch(string(table), -1) {
		if !strings.Contains(codes, m[1]) {
			t.Errorf("the document has no code %s", m[1])
		}
	}
}

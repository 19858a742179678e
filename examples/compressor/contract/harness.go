package contract

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"maps"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/compressor/app"
	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/storage"
)

const (
	base  = "https://compressor.example"
	ada   = "Bearer ada-token"
	bob   = "Bearer bob-token"
	limit = time.Minute // within which any job here ends, in virtual time
)

// A world is a compressor on a network.
type world struct {
	*contract.Client // ada's
	t                *testing.T
	net              *pipenet.Network
	stop             func()
}

func config(n *pipenet.Network) app.Config {
	return app.Config{
		Tokens:  map[string]string{"ada-token": "ada", "bob-token": "bob"},
		Logins:  map[httpapi.Login]string{{User: "ada", Password: "lovelace"}: "ada"},
		BaseURL: base, Client: n.Client(),
	}
}

// begin serves a compressor on a new store.
func begin(t *testing.T, open contract.Opener, change ...func(c *app.Config)) *world {
	t.Helper()
	return beginOn(t, open(t), new(pipenet.Network), change...)
}

func beginOn(t *testing.T, store storage.Store, n *pipenet.Network, change ...func(c *app.Config)) *world {
	t.Helper()
	c := config(n)
	for _, f := range change {
		f(&c)
	}
	a, err := app.New(store, c)
	if err != nil {
		t.Fatal(err)
	}
	stop := contract.Serve(t, n, "compressor.example", a)
	return &world{contract.NewClient(n, base, "Authorization", ada), t, n, stop}
}

// upload submits a file.
func (w *world) upload(name string, p []byte, header ...string) *contract.Answer {
	w.t.Helper()
	body, kind := form(w.t, "file", name, p)
	return w.Do(w.t, "POST", "/1.0/compress", body, append([]string{"Content-Type", kind}, header...)...)
}

// refused makes a submit that need not be read to its end to be refused. The connection may then be closed while the rest is being sent, before the client
// has looked at the answer: it asks again.
func (w *world) refused(body any, header ...string) *contract.Answer {
	w.t.Helper()
	for range 20 {
		if a, err := w.Try(w.t.Context(), "POST", "/1.0/compress", body, header...); err == nil {
			return a
		}
	}
	w.t.Fatal("got no answer to a submit that is to be refused")
	return nil
}

// fetch submits a URL.
func (w *world) fetch(url string, header ...string) *contract.Answer {
	w.t.Helper()
	return w.Do(w.t, "POST", "/1.0/compress", map[string]any{"url": url}, header...)
}

func form(t *testing.T, field, name string, p []byte) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	f := multipart.NewWriter(&b)
	if err := f.WriteField("comment", "what is not known is ignored"); err != nil {
		t.Fatal(err)
	}
	part, err := f.CreateFormFile(field, name)
	if err != nil {
		t.Fatal(err)
	}
	part.Write(p)
	f.Close()
	return b.Bytes(), f.FormDataContentType()
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// accepted checks the acknowledgement of a submit and returns the id.
func (w *world) accepted(a *contract.Answer) string {
	w.t.Helper()
	a.Want(w.t, http.StatusAccepted)
	id := textOf(a.JSON(w.t), "id")
	if !uuid.MatchString(id) {
		w.t.Errorf("got id %q, want a UUID of version 4", id)
	}
	if got, want := string(a.Body), `{"id":"`+id+`","status":"enqueued"}`; got != want {
		w.t.Errorf("got %s, want %s", got, want)
	}
	if got, want := a.Header.Get("Location"), base+"/1.0/jobs/"+id; got != want {
		w.t.Errorf("got Location %q, want %q", got, want)
	}
	return id
}

func (w *world) status(id string, header ...string) *contract.Answer {
	w.t.Helper()
	return w.Do(w.t, "GET", "/1.0/jobs/"+id, nil, header...).Want(w.t, http.StatusOK)
}

// ended asks for a job until it has ended.
func (w *world) ended(id string) *contract.Answer {
	w.t.Helper()
	for began := time.Now(); ; time.Sleep(time.Second) {
		a := w.status(id)
		switch s := textOf(a.JSON(w.t), "status"); {
		case s == "completed" || s == "failed":
			return a
		case time.Since(began) > limit:
			w.t.Fatalf("job %s has not ended: %s", id, a.Body)
		}
	}
}

// word returns the status of a job.
func (w *world) word(id string) string {
	w.t.Helper()
	return textOf(w.status(id).JSON(w.t), "status")
}

// completed returns the body of a job that must have completed, and the bytes at its URL.
func (w *world) completed(id string) (body map[string]any, output []byte) {
	w.t.Helper()
	body = w.ended(id).JSON(w.t)
	if body["status"] != "completed" {
		w.t.Fatalf("got %v, want it completed", body)
	}
	return body, w.With().Do(w.t, "GET", textOf(body, "url"), nil).Want(w.t, http.StatusOK).Body
}

// failed checks the body of a job that must have failed, and returns its message.
func (w *world) failed(a *contract.Answer) string {
	w.t.Helper()
	body := a.JSON(w.t)
	wantMembers(w.t, body, "id", "message", "status", "success")
	if body["success"] != false || body["status"] != "failed" || textOf(body, "message") == "" {
		w.t.Errorf("got %s, want success false, status failed and a message", a.Body)
	}
	if got := a.Header.Get("Retry-After"); got != "" {
		w.t.Errorf("got Retry-After %q on a failed job", got)
	}
	return textOf(body, "message")
}

func wantMembers(t *testing.T, body map[string]any, want ...string) {
	t.Helper()
	if got := slices.Sorted(maps.Keys(body)); !slices.Equal(got, want) {
		t.Errorf("got members %q, want %q", got, want)
	}
}

func textOf(body map[string]any, name string) string {
	s, _ := body[name].(string)
	return s
}

// describes checks what is said of a file.
func describes(t *testing.T, v any, name, class, format, mime string, p []byte) {
	t.Helper()
	got, _ := v.(map[string]any)
	wantMembers(t, got, "format", "mime", "name", "sha1", "size", "type")
	sum := sha1.Sum(p)
	want := map[string]any{
		"name": name, "type": class, "format": format, "mime": mime, "size": float64(len(p)), "sha1": hex.EncodeToString(sum[:]),
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A source is a server that files are fetched from. Each answers what is put into its channel.
type source chan func(w http.ResponseWriter)

// sourceAt serves at a host. Requests wait for an answer.
func sourceAt(w *world, host string) source {
	w.t.Helper()
	s, over := make(source), make(chan struct{})
	contract.Listen(w.t, w.net, host, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		select {
		case answer := <-s:
			answer(rw)
		case <-r.Context().Done():
		case <-over:
			panic(http.ErrAbortHandler)
		}
	}))
	w.t.Cleanup(func() { close(over) })
	return s
}

func bytesOf(p []byte) func(http.ResponseWriter) { return func(w http.ResponseWriter) { w.Write(p) } }

func statusOf(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

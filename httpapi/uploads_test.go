package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// prepare announces an upload of alice's.
func (w *world) prepare(body string) *answer {
	w.t.Helper()
	return w.do("POST", "/v1/uploads", body).want(201)
}

// put sends content to a signed URL, without credentials.
func (w *world) put(url, content string, headers ...string) *answer {
	w.t.Helper()
	return w.do("PUT", url, content, append(headers, "Authorization: ")...)
}

// sent returns the object key of an upload of alice's that has been written.
func (w *world) sent(body, content string) string {
	w.t.Helper()
	a := w.prepare(body)
	w.put(a.text("put_url"), content).want(204)
	return a.text("object_key")
}

// held leases a new job of alice's and returns its path and its token.
func (w *world) held() (path, token string) {
	w.t.Helper()
	w.enqueue("q", jobqueue.NewJob{})
	d := w.receive("q")
	return "/v1/jobs/" + d.ID.String(), "Lease-Token: " + d.Token.String()
}

func completing(key string) string { return object("object_key", key) }

// object returns a JSON object with one member.
func object(name, value string) string {
	return string(must(json.Marshal(map[string]string{name: value})))
}

func TestContentIsSentAheadAndBecomesAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		path, token := w.held()
		a := w.prepare(`{"filename":"cat & dog.png","content_type":"image/png","size":4,"unknown":1}`)
		key := a.text("object_key")
		if id, name, _ := strings.Cut(key, "/"); len(id) != 26 || name != "cat & dog.png" {
			t.Errorf("got object key %q", key)
		}
		if got, want := a.text("expires_at"), time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("got expires_at %q, want %q", got, want)
		}
		if len(a.object()) != 3 {
			t.Errorf("got %s, want three members", a.body)
		}
		put := w.put(a.text("put_url"), "cat!", "Content-Type: image/png").want(204)
		if put.body != "" {
			t.Errorf("got a body %q", put.body)
		}
		w.do("POST", path+"/complete", completing(key), token).want(200).wantOutcome("acked")
		w.do("POST", path+"/complete", completing(key), token).want(200).wantOutcome("already_acked")
		w.do("POST", path+"/ack", "", token).want(200).wantOutcome("already_acked")
		result := w.do("GET", path+"/result", "").want(200).wantHeader("Content-Type", "image/png")
		if result.body != "cat!" {
			t.Errorf("got result %q", result.body)
		}

		path, token = w.held()
		key = w.sent(`{"content_type":"text/plain"}`, `"text"`)
		w.do("POST", path+"/complete", `{"content_type":"application/json","object_key":"`+key+`"}`, token).want(200)
		if got := w.do("GET", path, "").get("result"); got != "text" {
			t.Errorf("got result %v in the status, want it as JSON", got)
		}
	})
}

func (a *answer) wantOutcome(want string) *answer {
	a.t.Helper()
	if got := a.text("outcome"); got != want {
		a.t.Errorf("got outcome %q, want %q", got, want)
	}
	return a
}

func TestAnUploadIsWrittenOnceAndUsedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		a := w.prepare(`{"size":3}`)
		w.put(a.text("put_url"), "one").want(204)
		for _, content := range []string{"one", "two", "four"} {
			w.put(a.text("put_url"), content).wantProblem(409, "wrong_state")
		}
		path, token := w.held()
		w.do("POST", path+"/complete", completing(a.text("object_key")), token).want(200)
		w.put(a.text("put_url"), "one").wantProblem(410, "url_expired")
		other, otherToken := w.held()
		w.do("POST", other+"/complete", completing(a.text("object_key")), otherToken).wantProblem(404, "not_found")
		if got := w.do("GET", path+"/result", "").want(200).body; got != "one" {
			t.Errorf("got result %q, want what was sent first", got)
		}
	})
}

func TestWhatIsSentIsWhatWasPrepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{MaxPayload: 10}})
		for _, c := range []struct {
			prepared, content, kind string
			status                  int
			code                    string
		}{
			{`{"size":3}`, "abcd", "", 413, "too_large"},
			{`{"size":3}`, "ab", "", 400, "invalid_request"},
			{`{"size":3}`, "", "", 400, "invalid_request"},
			{`{"size":0}`, "a", "", 413, "too_large"},
			{`{"size":0}`, "", "", 204, ""},
			{`{"size":10}`, "0123456789", "", 204, ""},
			{`{}`, "0123456789", "", 204, ""},
			{`{}`, "0123456789a", "", 413, "too_large"},
			{`{}`, "", "", 204, ""},
			{`{"content_type":"image/png"}`, "a", "image/jpeg", 400, "invalid_request"},
			{`{"content_type":"image/png"}`, "a", "image/png; q=1", 400, "invalid_request"},
			{`{"content_type":"image/png"}`, "a", "image/png, image/png", 400, "invalid_request"},
			{`{"content_type":"image/png"}`, "a", "IMAGE/png", 204, ""},
			{`{"content_type":"image/png"}`, "a", "", 204, ""},
			{`{"content_type":"text/plain; charset=UTF-8"}`, "a", `text/plain;charset="UTF-8"`, 204, ""},
			{`{"content_type":"no type"}`, "a", "no type", 204, ""},
			{`{}`, "a", "image/png", 204, ""},
		} {
			for _, chunked := range []bool{false, true} {
				a := w.prepare(c.prepared)
				r := httptest.NewRequest("PUT", a.text("put_url"), strings.NewReader(c.content))
				if c.kind != "" {
					r.Header.Set("Content-Type", c.kind)
				}
				if chunked {
					r.ContentLength = -1
				}
				rec := httptest.NewRecorder()
				w.h.ServeHTTP(rec, r)
				got := &answer{t, rec.Code, rec.Header(), rec.Body.String()}
				if c.status == 204 {
					got.want(204)
					continue
				}
				got.wantProblem(c.status, c.code)
				if size := w.upload(a); size.Written {
					t.Errorf("%+v: it was written", c)
				}
			}
		}
		r := httptest.NewRequest("PUT", w.prepare(`{"content_type":"image/png"}`).text("put_url"), strings.NewReader("a"))
		r.Header["Content-Type"] = []string{"image/png", "image/png"}
		rec := httptest.NewRecorder()
		if w.h.ServeHTTP(rec, r); rec.Code != 400 {
			t.Errorf("two Content-Types: got %d, want 400", rec.Code)
		}
	})
}

// What the head of the request gives away is refused before the body comes.
func TestWhatIsPlainlyWrongIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{MaxPayload: 1 << 20}})
		for _, c := range []struct {
			prepared string
			length   int64
			kind     string
			status   int
		}{
			{`{"size":3}`, 4, "", 413}, {`{"size":3}`, 2, "", 400}, {`{}`, 1<<20 + 1, "", 413}, {`{"size":3,"content_type":"a/b"}`, 3, "a/c", 400},
		} {
			r := httptest.NewRequest("PUT", w.prepare(c.prepared).text("put_url"), unread{t})
			r.ContentLength = c.length
			r.Header.Set("Content-Type", c.kind)
			rec := httptest.NewRecorder()
			if w.h.ServeHTTP(rec, r); rec.Code != c.status {
				t.Errorf("%+v: got %d %s", c, rec.Code, rec.Body)
			}
		}
	})
}

// unread is a body that nobody should read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// upload returns what is known of an upload that was prepared.
func (w *world) upload(a *answer) *jobqueue.Upload {
	w.t.Helper()
	text, _, _ := strings.Cut(a.text("object_key"), "/")
	id, err := jobqueue.ParseID(text)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := w.broker.Upload(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func TestAnUploadCanOnlyBeSentInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, c := range []struct {
			body string
			want time.Duration
		}{{`{}`, time.Hour}, {`{"expires_seconds":1}`, time.Second}, {`{"expires_seconds":90.5}`, 90500 * time.Millisecond}, {`{"expires_seconds":604800}`, 7 * 24 * time.Hour}} {
			time.Sleep(time.Millisecond) // not at a full second
			in, late := w.prepare(c.body), w.prepare(c.body)
			time.Sleep(c.want - time.Microsecond)
			w.put(in.text("put_url"), "x").want(204)
			time.Sleep(time.Microsecond)
			w.put(late.text("put_url"), "x").wantProblem(410, "url_expired")
			path, token := w.held()
			w.do("POST", path+"/complete", completing(in.text("object_key")), token).wantProblem(404, "not_found")
			time.Sleep(time.Hour)
			w.put(late.text("put_url"), "x").wantProblem(410, "url_expired")
		}
	})
}

func TestASignedURLIsGoodForNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		a, b := w.prepare(`{"filename":"a b"}`), w.prepare(`{"filename":"b"}`)
		good, other := must(url.Parse(a.text("put_url"))), must(url.Parse(b.text("put_url")))
		// with returns the URL with a parameter that has other values.
		with := func(name string, values ...string) string {
			u := *good
			q := u.Query()
			q[name] = values
			u.RawQuery = q.Encode()
			return u.String()
		}
		q := good.Query()
		for what, bad := range map[string]string{
			"the path of another upload":      strings.Replace(good.String(), good.EscapedPath(), other.EscapedPath(), 1),
			"the path of its own id":          strings.Replace(good.String(), "a%20b", "c", 1),
			"a path with a slash in it":       strings.Replace(good.String(), "a%20b", "a%2Fb", 1),
			"the id of another upload":        with("upload", other.Query().Get("upload")),
			"no id":                           with("upload"),
			"an id that is none":              with("upload", "x"),
			"two ids":                         with("upload", q.Get("upload"), q.Get("upload")),
			"two ids, of different uploads":   with("upload", other.Query().Get("upload"), q.Get("upload")),
			"another time":                    with("expires", "99999999999"),
			"two times":                       with("expires", q.Get("expires"), q.Get("expires")),
			"the signature of another upload": with("signature", other.Query().Get("signature")),
			"two signatures":                  with("signature", q.Get("signature"), q.Get("signature")),
			"no signature":                    with("signature"),
			"no query":                        good.Path,
			"a query that cannot be read":     good.String() + "&%zz",
		} {
			a := w.put(bad, "x")
			if a.status == 400 && what == "a query that cannot be read" { // net/http's client sends it as it is
				continue
			}
			if a.status != 403 {
				t.Errorf("%s: got %d %s, want 403", what, a.status, a.body)
				continue
			}
			a.wantProblem(403, "bad_signature")
		}
		for _, method := range []string{"GET", "POST", "HEAD", "DELETE"} {
			w.do(method, good.String(), "", "Authorization: ").want(405).wantHeader("Allow", "PUT")
		}
		w.do("PUT", good.String()+"&more=1", "x", "Authorization: Bearer bob-token").want(204) // whoever has it, and what is not signed does not matter
		if w.upload(b).Written {
			t.Error("the other upload was written")
		}
	})
}

func TestAnUploadIsItsAccountsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{
			Authenticate: tokens, House: true,
			Authorize: func(r *http.Request, account string, a httpapi.Action, queue string) error {
				if account == "bob" && (a == httpapi.ActionSubmit && queue == "uploads") {
					return errors.New("no")
				}
				return nil
			},
		}})
		w.do("POST", "/v1/uploads", `{}`, "Authorization: Bearer bob-token").wantProblem(403, "forbidden")
		key := w.sent(`{}`, "x")
		if _, err := w.broker.In("bob").Queue("q").Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
			t.Fatal(err)
		}
		a := w.do("GET", "/v1/queues/q/poll?timeout=0", "", "Authorization: Bearer bob-token").want(200)
		w.do("POST", "/v1/jobs/"+a.text("id")+"/complete", completing(key), "Authorization: Bearer bob-token", "Lease-Token: "+a.text("lease_token")).wantProblem(404, "not_found")
		path, token := w.held()
		w.do("POST", path+"/complete", completing(key), token, "Authorization: Bearer house-token").want(200)
	})
}

func TestACompleteThatNamesNoGoodUploadIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{MaxResult: 5}})
		path, token := w.held()
		written, prepared := w.sent(`{"filename":"f"}`, "x"), w.prepare(`{}`).text("object_key")
		id, _, _ := strings.Cut(written, "/")
		for key, want := range map[string]int{
			prepared: 409, w.sent(`{}`, "123456"): 413, "": 404, "/": 404, id: 404, id + "/": 404, id + "/g": 404, id + "/f/": 404, strings.ToLower(written): 404,
			"../" + written: 404, "x/f": 404, strings.TrimPrefix(path, "/v1/jobs/") + "/f": 404, "01ARZ3NDEKTSV4RRFFQ69G5FAV/f": 404,
		} {
			a := w.do("POST", path+"/complete", completing(key), token)
			a.wantProblem(want, map[int]string{404: "not_found", 409: "wrong_state", 413: "too_large"}[want])
			if detail := a.text("detail"); want == 404 && !strings.HasPrefix(detail, "object_key: ") || strings.Contains(detail, "(") {
				t.Errorf("%s: got %q", key, detail)
			}
		}
		for _, body := range []string{`{"object_key":"` + written + `","result":1}`, `{"object_key":"` + written + `","result_base64":""}`, `{"object_key":1}`} {
			w.do("POST", path+"/complete", body, token).wantProblem(400, "invalid_request")
		}
		w.do("POST", path+"/complete", completing(written)).wantProblem(400, "invalid_request") // no token
		w.do("POST", path+"/complete", completing(written), "Lease-Token: 00000000000000000000000000000001").wantProblem(409, "lease_lost")
		w.do("POST", path+"/complete", completing(written), token).want(200)
	})
}

func TestSignedURLsOutliveTheProcessThatHasAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		server := func(key string) *httpapi.Handler {
			o := &httpapi.Options{AllowAnonymous: true, Prefix: "/p", BaseURL: "https://example.com"}
			if key != "" {
				o.SigningKey = []byte(key)
			}
			return must(httpapi.New(b, o))
		}
		put := func(h *httpapi.Handler, prepared *httptest.ResponseRecorder) int {
			at := (&answer{t, prepared.Code, prepared.Header(), prepared.Body.String()}).text("put_url")
			if !strings.HasPrefix(at, "https://example.com/p/v1/uploads/") {
				t.Errorf("got put_url %q", at)
			}
			return serve(h, "PUT", at, "x").Code
		}
		prepared := serve(server("0123456789abcdef"), "POST", "/p/v1/uploads", "{}")
		if got := put(server("0123456789abcdeX"), prepared); got != 403 {
			t.Errorf("with another key: got %d, want 403", got)
		}
		if got := put(server("0123456789abcdef"), prepared); got != 204 {
			t.Errorf("with the same key: got %d, want 204", got)
		}
		if got := put(server(""), serve(server(""), "POST", "/v1/uploads", "{}")); got != 403 {
			t.Errorf("with random keys: got %d, want 403", got)
		}
	})
}

func TestUploadsOnPathsOfTheUsersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		mux := http.NewServeMux()
		mux.HandleFunc("/files/{id}/{filename}", w.h.PutUpload) // whatever the values mean there
		prepare := func() *jobqueue.Upload {
			return must(w.queue("orders").Prepare(t.Context(), jobqueue.NewUpload{Key: "orders/17", Name: "a/b", Size: 1}))
		}
		u := prepare()
		at := w.h.UploadURL(u, "/files/17/x%20y")
		if !strings.HasPrefix(at, "/files/17/x%20y?") {
			t.Errorf("got %q", at)
		}
		for method, want := range map[string]int{"POST": 403, "GET": 403} {
			if got := serve(mux, method, at, "x").Code; got != want {
				t.Errorf("%s: got %d, want %d", method, got, want)
			}
		}
		if got := serve(w.h, "PUT", at, "x").Code; got != 404 {
			t.Errorf("on the handler itself: got %d, want 404", got)
		}
		if got := serve(http.StripPrefix("/outside", mux), "PUT", "/outside"+at, "x").Code; got != 204 {
			t.Errorf("behind a prefix: got %d, want 204", got)
		}
		path, token := w.held()
		w.do("POST", path+"/complete", completing(u.ID.String()+"/a/b"), token).want(200)
		again := must(w.queue("orders").Prepare(t.Context(), jobqueue.NewUpload{Key: "orders/17"}))
		w.do("PUT", w.h.UploadURL(again, "/v1/uploads/"+again.ID.String()+"/x"), "").wantProblem(403, "bad_signature") // that is another's path
	})
}

func TestABodyThatIsCutOrTooSlowWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{Patience: time.Minute}})
		const size = 3 << 20
		a := w.prepare(fmt.Sprintf(`{"size":%d}`, size))
		send := func(body io.Reader, length int64) (*http.Response, error) {
			r := must(http.NewRequest("PUT", "http://test"+a.text("put_url"), body))
			r.ContentLength = length
			return w.client.Do(r)
		}
		cut, broken := io.Pipe()
		go func() {
			io.CopyN(broken, zeros{}, 2<<20)
			broken.CloseWithError(errors.New("cut"))
		}()
		if resp, err := send(cut, size); err == nil {
			t.Errorf("a body that is cut: got %d", resp.StatusCode)
		}
		slow, stalled := io.Pipe()
		go io.CopyN(stalled, zeros{}, 2<<20)
		resp, err := send(slow, size)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		slow.Close()
		if resp.StatusCode != 408 {
			t.Errorf("a body that stops: got %d, want 408", resp.StatusCode)
		}
		synctest.Wait()
		info := must(w.queue("uploads").Info(t.Context()))
		if u := w.upload(a); u.Written || info.Counts.Total() != 1 {
			t.Errorf("got %+v and counts %v, want one upload as it was", u, info.Counts)
		}
		if resp, err := send(io.LimitReader(zeros{}, size), size); err != nil || resp.StatusCode != 204 {
			t.Errorf("the whole: got %v, %v", resp, err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestABodyThatIsStillComingWhenTheURLExpiresIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{Patience: time.Hour}})
		a := w.prepare(`{"size":3145728,"expires_seconds":60}`)
		body, rest := io.Pipe()
		go func() {
			io.CopyN(rest, zeros{}, 2<<20)
			time.Sleep(2 * time.Minute)
			io.CopyN(rest, zeros{}, 1<<20)
			rest.Close()
		}()
		r := must(http.NewRequest("PUT", "http://test"+a.text("put_url"), body))
		r.ContentLength = 3 << 20
		resp, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		p := must(io.ReadAll(resp.Body))
		(&answer{t, resp.StatusCode, resp.Header, string(p)}).wantProblem(410, "url_expired")
		body.Close()
		if info := must(w.queue("uploads").Info(t.Context())); info.Counts.Total() != 0 {
			t.Errorf("got counts %v, want nothing left", info.Counts)
		}
	})
}

func TestOfManyWhoSendAtOnceOneIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		const size = 2 << 20
		a := w.prepare(fmt.Sprintf(`{"size":%d}`, size))
		var all sync.WaitGroup
		var mu sync.Mutex
		winner := ""
		for i := range 10 {
			all.Go(func() {
				content := strings.Repeat(fmt.Sprint(i), size)
				got := w.put(a.text("put_url"), content)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case got.status == 409:
					got.wantProblem(409, "wrong_state")
				case got.status != 204 || winner != "":
					t.Errorf("got %d %s", got.status, got.body)
				default:
					winner = content
				}
			})
		}
		all.Wait()
		path, token := w.held()
		w.do("POST", path+"/complete", completing(a.text("object_key")), token).want(200)
		if got := w.do("GET", path+"/result", "").want(200).body; got != winner || winner == "" {
			t.Errorf("got %d bytes, want those of the one who was answered 204", len(got))
		}
	})
}

func TestUploadsGoOnWhileTheServerDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		a := w.prepare(`{}`)
		w.h.Drain()
		w.put(a.text("put_url"), "x").want(204)
		w.broker.Shutdown(t.Context())
		w.do("POST", "/v1/uploads", `{}`).wantProblem(503, "shutting_down")
	})
}

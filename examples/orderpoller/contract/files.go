package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

// A prepared file is what POST /prepare answers.
type prepared struct {
	ObjectKey string    `json:"object_key"`
	PutURL    string    `json:"put_url"`
	Expires   time.Time `json:"expires_at"`
}

func (m *market) prepare(id, filename, kind string, size int) prepared {
	m.t.Helper()
	a := m.maker.Do(m.t, "POST", "/prepare", file(id, filename, kind, size)).Want(m.t, 200)
	var p prepared
	if err := json.Unmarshal(a.Body, &p); err != nil {
		m.t.Fatal(err)
	}
	return p
}

func file(id, filename, kind string, size any) map[string]any {
	return map[string]any{"order_id": id, "filename": filename, "mime_type": kind, "size": size}
}

// put uploads, without credentials.
func (m *market) put(p prepared, content []byte, header ...string) *contract.Answer {
	m.t.Helper()
	return m.maker.With().Do(m.t, "PUT", p.PutURL, content, header...)
}

// withFile returns the answer that has one file of that key.
func withFile(key string) string {
	return done("video", fmt.Sprintf(`,"files":[{"object_key":%q,"filename":"final-video.mp4","mime_type":"video/mp4"}]`, key))
}

func init() {
	suite.Case("a large file is prepared, uploaded and named by its key", "S2-09 S4-14 S4-21 D-S4-14", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("order-uuid", "under_2_min")
		content := bytes.Repeat([]byte("frame "), 1<<20)
		p := m.prepare("order-uuid", "final-video.mp4", "video/mp4", len(content))
		form := `^orders/order-uuid/` + time.Now().UTC().Format("20060102") + `-[0-9a-f]{6}-final-video\.mp4$`
		if !regexp.MustCompile(form).MatchString(p.ObjectKey) || !strings.HasPrefix(p.PutURL, "https://market.example/") || !p.Expires.After(time.Now()) {
			t.Errorf("got %+v, want a key like %s", p, form)
		}
		q := m.prepare("order-uuid", "final-video.mp4", "video/mp4", 4)
		if q.ObjectKey == p.ObjectKey {
			t.Errorf("got the same key %s twice", p.ObjectKey)
		}
		m.put(p, content, "Content-Type", "video/mp4").Want(t, 204)
		m.put(q, []byte("more")).Want(t, 204)
		both := done("video", fmt.Sprintf(`,"files":[{"object_key":%q,"filename":"final-video.mp4","mime_type":"video/mp4"},{"object_key":%q,"filename":"b.mp4","mime_type":"video/mp4"}]`,
			p.ObjectKey, q.ObjectKey))
		m.onStatus(answers(both))
		m.until(6)
		var want any
		json.Unmarshal([]byte(both), &want)
		wantEqual(t, "result", m.get("order-uuid", "completed")["result"], want)
		m.wantEvent("order-uuid", "order.completed", 5)
		m.until(7 * 24 * 60) // the files are kept as long as the order
		path := func(p prepared) string { return "/orders/order-uuid/files?object_key=" + url.QueryEscape(p.ObjectKey) }
		a := m.customer.Do(t, "GET", path(p), nil).Want(t, 200)
		if !bytes.Equal(a.Body, content) || a.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("got %d bytes of %s, want the %d that were sent", len(a.Body), a.Header.Get("Content-Type"), len(content))
		}
		wantEqual(t, "the other file", string(m.customer.Do(t, "GET", path(q), nil).Want(t, 200).Body), "more")
		m.maker.Do(t, "GET", path(p), nil).Want(t, 401)
		m.customer.Do(t, "GET", path(p)+"x", nil).Problem(t, 404, "not_found")
	})

	suite.Case("files of an order are only delivered once they have been accepted, and with that order", "D-S2/S4 D-S4-14", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			body := completed
			if orderOf(r) == "open" {
				body = processing
			}
			io.WriteString(w, body)
		})
		m.order("open", "under_1_hr")
		m.order("other", "under_1_hr")
		p, unwritten := m.prepare("open", "v.mp4", "video/mp4", 1), m.prepare("other", "v.mp4", "video/mp4", 1)
		m.put(p, []byte("x")).Want(t, 204)
		m.until(6)
		for _, path := range []string{
			"/orders/open/files?object_key=" + url.QueryEscape(p.ObjectKey), "/orders/other/files?object_key=" + url.QueryEscape(p.ObjectKey),
			"/orders/other/files?object_key=" + url.QueryEscape(unwritten.ObjectKey), "/orders/none/files", "/orders/other/files",
		} {
			m.customer.Do(t, "GET", path, nil).Problem(t, 404, "not_found")
		}
	})

	suite.Case("a key that is not exactly one of this order's uploads is a broken body", "S4-14 D-S4-14", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("other", "under_1_hr")
		theirs := m.prepare("other", "v.mp4", "video/mp4", 1)
		m.put(theirs, []byte("x")).Want(t, 204)
		keys := map[string]string{ // by order
			"forged": "orders/forged/20241109-ab12cd-final-video.mp4", "stolen": theirs.ObjectKey, "control": "a\nb", "long": strings.Repeat("k", 300),
		}
		for _, id := range []string{"forged", "stolen", "control", "long", "empty", "upper", "space", "cut"} {
			m.order(id, "under_1_hr")
			p := m.prepare(id, "v.mp4", "video/mp4", 1)
			if id != "empty" {
				m.put(p, []byte("x")).Want(t, 204)
			}
			switch id {
			case "empty": // never uploaded
				keys[id] = p.ObjectKey
			case "upper":
				keys[id] = strings.ToUpper(p.ObjectKey)
			case "space":
				keys[id] = p.ObjectKey + " "
			case "cut":
				keys[id] = strings.TrimSuffix(p.ObjectKey, "4")
			}
		}
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			if key, ok := keys[orderOf(r)]; ok {
				io.WriteString(w, withFile(key))
				return
			}
			io.WriteString(w, withFile(theirs.ObjectKey))
		})
		m.until(6)
		for id := range keys {
			m.wantProblem(id, "files[0].object_key")
			wantEqual(t, id+" events", len(m.told(id)), 0)
		}
		m.get("other", "completed")
	})

	suite.Case("a file that is uploaded after a check is there at the next", "S4-14 D-S2/S4", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("o-1", "within_24_hr")
		p := m.prepare("o-1", "v.mp4", "video/mp4", 1)
		m.onStatus(answers(withFile(p.ObjectKey)))
		m.until(23 * 60)
		m.wantProblem("o-1", "uploaded")
		m.put(p, []byte("x")).Want(t, 204)
		m.until(23*60 + 15)
		m.get("o-1", "completed")
	})

	suite.Case("only what can be a result is prepared, for orders that take files", "D-S4-14 S4-50 D-all", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(answers(completed))
		m.order("ended", "under_2_min")
		m.until(6)
		m.order("o-1", "under_2_min")
		for _, kind := range append(mimeTypes, "text/plain; charset=utf-8", "IMAGE/PNG") {
			m.prepare("o-1", "a", kind, 1)
		}
		m.prepare("o-1", "a.mp4", "video/mp4", 512<<20)
		for _, c := range []struct {
			body   any
			status int
			code   string
		}{
			{file("o-2", "a", "text/plain", 1), 404, "not_found"},
			{file("ended", "a", "text/plain", 1), 409, "order_ended"},
			{file("", "a", "text/plain", 1), 400, "invalid_request"},
			{file("o-1", "", "text/plain", 1), 400, "invalid_request"},
			{file("o-1", "a", "application/x-sh", 1), 400, "invalid_request"},
			{file("o-1", "a", "", 1), 400, "invalid_request"},
			{file("o-1", "a", "text/plain", 0), 400, "invalid_request"},
			{file("o-1", "a", "text/plain", -1), 400, "invalid_request"},
			{file("o-1", "a", "text/plain", 1.5), 400, "invalid_request"},
			{file("o-1", "a", "text/plain", 1<<40), 413, "too_large"},
			{map[string]any{}, 400, "invalid_request"},
			{`{"order_id"`, 400, "invalid_request"},
		} {
			m.maker.Do(t, "POST", "/prepare", c.body).Problem(t, c.status, c.code)
		}
	})

	suite.Case("an object key is a plain path, whatever the file is called", "S4-14", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("o-1", "under_2_min")
		for name, want := range map[string]string{
			"../../etc/passwd": "passwd", `C:\Temp\ä b.pdf`: "ä-b.pdf", "..": "file", "a\x00b": "a-b", "a?b#c%2F": "a-b-c-2F",
			strings.Repeat("x", 300) + ".mp4": strings.Repeat("x", 96) + ".mp4", strings.Repeat("é", 300): strings.Repeat("é", 50),
		} {
			p := m.prepare("o-1", name, "text/plain", 1)
			if _, got, _ := strings.Cut(strings.TrimPrefix(p.ObjectKey, "orders/o-1/")[9:], "-"); got != want {
				t.Errorf("%q: got %s, want %s at the end", name, p.ObjectKey, want)
			}
		}
	})

	suite.Case("a PUT is what was prepared, once, in its time, with its signature", "D-S4-14 S2-09", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("o-1", "within_24_hr")
		p, other := m.prepare("o-1", "a.txt", "text/plain", 3), m.prepare("o-1", "b.txt", "text/plain", 3)
		m.put(p, []byte("ab")).Problem(t, 400, "invalid_request")
		m.put(p, []byte("abcd")).Problem(t, 413, "too_large")
		m.put(p, []byte("abc"), "Content-Type", "text/html").Problem(t, 400, "invalid_request")
		m.put(prepared{PutURL: strings.Replace(p.PutURL, "signature=", "signature=0", 1)}, []byte("abc")).Problem(t, 403, "bad_signature")
		m.put(prepared{PutURL: strings.Replace(p.PutURL, "expires=", "expires=9", 1)}, []byte("abc")).Problem(t, 403, "bad_signature")
		m.maker.Do(t, "GET", p.PutURL, nil).Problem(t, 405, "method_not_allowed")
		m.put(p, []byte("abc")).Want(t, 204)
		m.put(p, []byte("abc")).Problem(t, 409, "wrong_state")
		time.Sleep(time.Until(other.Expires))
		m.put(other, []byte("abc")).Problem(t, 410, "url_expired")
	})

	suite.Case("a put_url survives a restart", "D-S4-14", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("o-1", "under_2_min")
		p := m.prepare("o-1", "a.mp4", "video/mp4", 3)
		m.stop()
		m.open(nil)
		m.put(p, []byte("abc")).Want(t, 204)
		m.onStatus(answers(withFile(p.ObjectKey)))
		m.until(6)
		m.get("o-1", "completed")
	})
}

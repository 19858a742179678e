package contract

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

// A body is an answer of the seller's, and what comes of it.
type body struct {
	text  string
	about string // what the problem is about; "": there is none, the answer is taken
}

// hold has an order for each body, and fails the test unless all come to what they should after the first check.
func hold(t *testing.T, open contract.Opener, bodies []body) {
	t.Helper()
	m := newMarket(t, open, nil)
	m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
		i := 0
		fmt.Sscanf(orderOf(r), "o-%d", &i)
		io.WriteString(w, bodies[i].text)
	})
	for i := range bodies {
		m.order(fmt.Sprintf("o-%d", i), "under_1_hr")
	}
	m.until(6)
	for i, b := range bodies {
		id := fmt.Sprintf("o-%d", i)
		if b.about != "" {
			m.wantProblem(id, b.about)
			wantEqual(t, id+" events", len(m.told(id)), 0)
			continue
		}
		var want any
		if err := json.Unmarshal([]byte(b.text), &want); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, id+" result", m.get(id, "completed")["result"], want)
		m.wantEvent(id, "order.completed", 5)
	}
}

// done returns a completed answer with those members.
func done(outputType, members string) string {
	return fmt.Sprintf(`{"status":"completed","output_type":%q%s}`, outputType, members)
}

const (
	asText   = `,"result_text":"Your analysis results go here..."`
	asURL    = `,"result_url":"https://storage.example/path/to/result.pdf"`
	asBase64 = `,"file_base64":"aGVsbG8=","filename":"report.pdf","mime_type":"application/pdf"`
)

func init() {
	suite.Case("status is one of three words", "S4-10", func(t *testing.T, open contract.Opener) {
		hold(t, open, []body{
			{`{"output_type":"text","result_text":"x"}`, "status"}, {`{"status":"done"}`, "status"}, {`{"status":"Completed","output_type":"text","result_text":"x"}`, "status"},
			{`{"status":1}`, "status"}, {`{"status":null}`, "status"}, {`[]`, "JSON object"}, {``, "JSON"}, {`<html>`, "JSON"}, {completed + "x", "JSON"},
			{`{"status":"completed","output_type":"text","result_text":"x"`, "JSON"}, {completed, ""},
		})
	})

	suite.Case("each output_type goes with its carriers, of which there is exactly one", "S4-12 S4-13 S4-15 S4-17 D-S4-12", func(t *testing.T, open contract.Opener) {
		var bodies []body
		for _, kind := range []string{"text", "html", "json", "csv"} {
			bodies = append(bodies, body{done(kind, asText), ""}, body{done(kind, asURL), ""}, body{done(kind, asBase64), "file_base64"})
		}
		for _, kind := range []string{"file", "xlsx", "video"} {
			bodies = append(bodies, body{done(kind, asText), "result_text"}, body{done(kind, asURL), ""}, body{done(kind, asBase64), ""})
		}
		hold(t, open, append(bodies,
			body{done("url", asURL), ""}, body{done("url", asText), "result_text"}, body{done("url", asBase64), "file_base64"},
			body{done("image", asText), "output_type"}, body{done("Text", asText), "output_type"}, body{`{"status":"completed","result_text":"x"}`, "output_type"},
			body{done("text", ""), "no output"}, body{done("text", asText+asURL), "one of them"}, body{done("file", asBase64+asURL), "one of them"},
			body{done("text", `,"result_text":""`), "no output"}, body{done("text", `,"result_text":{}`), "result_text"},
		))
	})

	suite.Case("what stands beside a carrier is demanded, and what nobody knows is ignored", "S4-20 S4-21 D-S2/S4", func(t *testing.T, open contract.Opener) {
		hold(t, open, []body{
			{done("file", `,"file_base64":"aGVsbG8=","mime_type":"text/plain"`), "filename"},
			{done("file", `,"file_base64":"aGVsbG8=","filename":"a"`), "mime_type"},
			{done("file", `,"file_base64":"a*b","filename":"a","mime_type":"text/plain"`), "base64"},
			{done("file", `,"files":[]`), "files"},
			{done("file", `,"files":{}`), "files"},
			{done("file", `,"files":[{"filename":"a","mime_type":"text/plain"}]`), "files[0].object_key"},
			{done("file", `,"files":[{"object_key":"k","mime_type":"text/plain"}]`), "files[0].filename"},
			{done("file", `,"files":[{"object_key":"k","filename":"a"}]`), "files[0].mime_type"},
			{done("text", asText+`,"extra":{"deep":[1,2]},"progress":true`), ""},
		})
	})

	suite.Case("a result_url is public, and HTTPS, for every output_type", "S2-08 S4-19 S4-52", func(t *testing.T, open contract.Opener) {
		var bodies []body
		for _, kind := range []string{"text", "html", "json", "csv", "file", "url", "xlsx", "video"} {
			bodies = append(bodies, body{done(kind, `,"result_url":"http://storage.example/x"`), "https"}, body{done(kind, asURL), ""})
		}
		for _, url := range []string{"//storage.example/x", "/x", "ftp://storage.example/x", "https:///x", "https://127.0.0.1/x", "https://10.0.0.1/x", "https://[::1]/x", "https://a:b@storage.example/x"} {
			bodies = append(bodies, body{done("url", fmt.Sprintf(`,"result_url":%q`, url)), "result_url"})
		}
		hold(t, open, bodies)
	})

	suite.Case("files are of 23 types, whatever their parameters and case", "S4-50 D-S2/S4", func(t *testing.T, open contract.Opener) {
		var bodies []body
		file := func(kind string) string {
			return done("file", fmt.Sprintf(`,"file_base64":"aGVsbG8=","filename":"a","mime_type":%q`, kind))
		}
		for _, kind := range mimeTypes {
			bodies = append(bodies, body{file(kind), ""})
		}
		for _, kind := range []string{"text/plain; charset=utf-8", "Text/CSV", "application/PDF;version=1.7"} {
			bodies = append(bodies, body{file(kind), ""})
		}
		for _, kind := range []string{"application/x-sh", "text/javascript", "application/octet-stream", "text/plain2", "text", "image/*", "application/msword"} {
			bodies = append(bodies, body{file(kind), "mime_type"})
		}
		hold(t, open, bodies)
	})

	suite.Case("progress is a percentage or a fraction", "S4-11 D-S2/S4", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		forms := []struct {
			form     string
			progress any // nil: the body is broken
		}{
			{`"45%"`, 0.45}, {`0.45`, 0.45}, {`45`, 0.45}, {`"45"`, 0.45}, {`1`, 1.0}, {`"1"`, 0.01}, {`0`, 0.0}, {`100`, 1.0}, {`"100%"`, 1.0}, {`1.5`, 0.015},
			{`101`, nil}, {`-1`, nil}, {`"101%"`, nil}, {`"-1%"`, nil}, {`"half"`, nil}, {`true`, nil}, {`[]`, nil},
		}
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			i := 0
			fmt.Sscanf(orderOf(r), "o-%d", &i)
			fmt.Fprintf(w, `{"status":"processing","progress":%s}`, forms[i].form)
		})
		for i := range forms {
			m.order(fmt.Sprintf("o-%d", i), "under_1_hr")
		}
		m.until(6)
		for i, f := range forms {
			id := fmt.Sprintf("o-%d", i)
			wantEqual(t, f.form, m.get(id, "processing")["progress"], f.progress)
			if f.progress == nil {
				m.wantProblem(id, "progress")
			}
		}
	})

	suite.Case("a failed answer always fails the order, with a message", "S4-16 S4-22 D-S4-22", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		long := strings.Repeat("é", 1024)
		cases := []struct {
			body, message string
			problem       string
		}{
			{`{"status":"failed","error_message":"no \"luck\""}`, `no "luck"`, ""},
			{`{"status":"failed","error_message":"` + long + `"}`, long, ""},
			{`{"status":"failed","error_message":"` + long + `é"}`, long, "1024"},
			{`{"status":"failed"}`, "The order failed. No reason was given.", "missing"},
			{`{"status":"failed","error_message":17}`, "The order failed. No reason was given.", "string"},
			{`{"status":"failed","error_message":"x","output_type":17,"result_text":"y"}`, "x", ""},
		}
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			i := 0
			fmt.Sscanf(orderOf(r), "o-%d", &i)
			io.WriteString(w, cases[i].body)
		})
		for i := range cases {
			m.order(fmt.Sprintf("o-%d", i), "under_2_min")
		}
		m.until(6)
		for i, c := range cases {
			id := fmt.Sprintf("o-%d", i)
			v := m.get(id, "failed")
			wantEqual(t, id, v["result"], any(map[string]any{"status": "failed", "error_message": c.message}))
			p, _ := v["problem"].(string)
			if (p == "") != (c.problem == "") || !strings.Contains(p, c.problem) {
				t.Errorf("%s: got problem %q, want one about %q", id, p, c.problem)
			}
			wantEqual(t, id+" data", m.wantEvent(id, "order.failed", 5), v)
		}
	})

	suite.Case("10 MB of text are the most, and are streamed whole", "S4-18 D-S2/S4", func(t *testing.T, open contract.Opener) {
		const most = 10 << 20
		hold1(t, open, done("text", `,"result_text":"`+strings.Repeat("x", most)+`"`), "")
		hold1(t, open, done("text", `,"result_text":"`+strings.Repeat("x", most+1)+`"`), "result_text has 10485761 bytes")
	})

	suite.Case("50 MB of base64 are the most, and are streamed whole", "S2-07 S4-51 D-S2/S4", func(t *testing.T, open contract.Opener) {
		const most = 50 << 20
		file := func(characters int) string {
			text := base64.StdEncoding.EncodeToString(make([]byte, characters/4*3))
			return done("file", `,"file_base64":"`+text+`","filename":"a.zip","mime_type":"application/zip"`)
		}
		hold1(t, open, file(most), "")
		hold1(t, open, file(most+4), fmt.Sprintf("file_base64 has %d characters", most+4))
	})
}

// hold1 is hold for one large body, which is not decoded.
func hold1(t *testing.T, open contract.Opener, text, about string) {
	t.Helper()
	m := newMarket(t, open, nil)
	m.onStatus(answers(text))
	m.order("o-1", "under_1_hr")
	m.until(6)
	if about != "" {
		m.wantProblem("o-1", about)
		wantEqual(t, "events", len(m.told("o-1")), 0)
		return
	}
	got := m.customer.Do(t, "GET", "/orders/o-1", nil).Want(t, 200)
	_, after, _ := strings.Cut(string(got.Body), `"result":`)
	if after != text+"}" || got.Header.Get("Content-Length") != fmt.Sprint(len(got.Body)) {
		t.Errorf("got %d bytes, want them to end with the answer of %d bytes", len(got.Body), len(text))
	}
	head := m.customer.Do(t, "HEAD", "/orders/o-1", nil).Want(t, 200)
	wantEqual(t, "length for HEAD", head.Header.Get("Content-Length"), got.Header.Get("Content-Length"))
	data := m.wantEvent("o-1", "order.completed", -1)
	if _, there := data["result"]; there || data["state"] != "completed" || m.told("o-1")[0].size > 64<<10 {
		t.Errorf("got data %.300s, want it without the result", fmt.Sprint(data))
	}
}

var mimeTypes = []string{
	"application/pdf", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "text/plain", "text/html", "text/csv", "application/json",
	"image/jpeg", "image/jpg", "image/png", "image/gif", "image/webp", "image/svg+xml",
	"video/mp4", "video/quicktime", "video/webm", "video/x-msvideo", "audio/mpeg", "audio/wav", "audio/aac", "audio/ogg",
	"application/zip", "application/x-zip-compressed",
}

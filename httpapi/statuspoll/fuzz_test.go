package statuspoll_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/statuspoll"
)

// FuzzRead looks for a body that panics, that is read otherwise than encoding/json reads it, or that is sound and does not come back when it is written.
func FuzzRead(f *testing.F) {
	for _, body := range []string{
		`{"status":"processing","progress":"45%"}`, `{"status":"processing","progress":0.45,"x":[{"a":"]}\""}]}`, `{"status":"failed","error_message":5}`,
		`{"status":"completed","output_type":"text","result_text":"hello\u0000"}`,
		`{"status":"completed","output_type":"file","file_base64":"aGVsbG8=","filename":"a","mime_type":"Text/CSV; x"}`,
		`{"status":"completed","output_type":"video","files":[{"object_key":"a","filename":"b","mime_type":"video/mp4"} , {}]}`,
		`{"status":"completed","output_type":"url","result_url":"https://a.example/\u00fc"}`,
		`{ "st\u0061tus" : "failed" , "error_message" : null }`, `{"status":"failed","status":"failed"}`, `[]`, `{}`, `null`, "\xff", `{"":{"":[]}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := statuspoll.Reading()
		a, err := r.Read(body)
		if err != nil {
			if bad := new(statuspoll.RuleError); !errors.As(err, &bad) || bad.Rule == "" || bad.Problem == "" || a != nil {
				t.Fatalf("got %v, %#v", a, err)
			}
			return
		}
		var model map[string]any
		if err := json.Unmarshal(body, &model); err != nil || model["status"] != a.Status {
			t.Fatalf("got status %q of %q, want %v", a.Status, body, model["status"])
		}
		text := func(name string) string { s, _ := model[name].(string); return s }
		if a.Status == statuspoll.Completed && (a.ResultText != text("result_text") || a.ResultURL != text("result_url") || a.FileBase64 != text("file_base64")) {
			t.Fatalf("got %+v, want %v", a, model)
		}
		if files, _ := model["files"].([]any); a.Status == statuspoll.Completed && len(files) != len(a.Files) {
			t.Fatalf("got %+v, want %v", a, files)
		}
		if n := utf8.RuneCountInString(a.ErrorMessage); n > 1024 || a.Status == statuspoll.Failed && n == 0 {
			t.Fatalf("got a message of %d characters", n)
		}
		if err := r.Check(a); err != nil {
			t.Fatalf("%+v was read and must not be written: %v", a, err)
		}
		written, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		back, err := r.Read(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if p := a.Progress; p != nil && (back.Progress == nil || *back.Progress > *p+1e-9 || *back.Progress < *p-0.0101) {
			t.Fatalf("got progress %v, want %v", back.Progress, *p)
		}
		a.Progress, back.Progress, a.Problem = nil, nil, ""
		if fmt.Sprintf("%+v", back) != fmt.Sprintf("%+v", a) {
			t.Fatalf("got %+v, want %+v", back, a)
		}
	})
}

// FuzzTemplate looks for a template and an id whose URL is not the template's with the id in place of the placeholder.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"https://your-api.com/orders/{order_id}/status", "https://a.example/x{order_id}y?q=1", "http://[::1]:80/%41/{order_id}", "https://a.example//{order_id}//",
		"https://a.example/../{order_id}", "https://a.example/{order_id}%2F",
	} {
		for _, id := range oddIDs {
			f.Add(s, id)
		}
	}
	f.Fuzz(func(t *testing.T, s, id string) {
		tmpl, err := statuspoll.ParseTemplate(s, true)
		if err != nil {
			return
		}
		if tmpl.String() != s {
			t.Fatalf("got %s, want %s", tmpl, s)
		}
		wantSegment(t, tmpl, id)
	})
}

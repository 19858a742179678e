package statuspoll_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/statuspoll"
)

// read reads a body by the rules for reading.
func read(t *testing.T, body string) (*statuspoll.Answer, error) {
	t.Helper()
	r := statuspoll.Reading()
	a, err := r.Read([]byte(body))
	if (a == nil) == (err == nil) {
		t.Fatalf("%.100s: got %v and %v, want one of them", body, a, err)
	}
	return a, err
}

// wantBroken fails the test unless the error names that rule and field.
func wantBroken(t *testing.T, what string, err error, rule, field string) {
	t.Helper()
	var bad *statuspoll.RuleError
	if !errors.As(err, &bad) || bad.Rule != rule || bad.Field != field {
		t.Errorf("%.200s: got %#v, want rule %q of field %q", what, err, rule, field)
	} else if bad.Problem == "" || !utf8.ValidString(err.Error()) || len(err.Error()) > 300 {
		t.Errorf("%.200s: got %q, want some words", what, err)
	}
}

func TestStatusIsOneOfThree(t *testing.T) {
	for _, body := range []string{
		`{}`, `{"status":null}`, `{"status":""}`, `{"status":"done"}`, `{"status":"Completed"}`, `{"status":" completed"}`, `{"status":5}`,
		`{"status":true}`, `{"status":["completed"]}`, `{"status":{}}`, `{"Status":"processing"}`, `{"STATUS":"failed"}`, `{"x":{"status":"failed"}}`,
	} {
		_, err := read(t, body)
		wantBroken(t, body, err, statuspoll.RuleStatus, "status")
	}
	for _, body := range []string{
		`{"status":"processing"}`, " {\n\t\"status\" :\r\n \"processing\" } \n", `{"\u0073tatus":"process\u0069ng"}`,
		`{"Status":"failed","status":"processing"}`, `{"x":[{"status":"failed"},"}"],"status":"processing","y":{"a":[1,{"b":"]\\\""}]}}`,
		`{"status":"processing","output_type":7,"result_text":[],"files":"x","error_message":{}}`, // not a processing answer's
	} {
		if a, err := read(t, body); err != nil || a.Status != statuspoll.Processing || a.Progress != nil {
			t.Errorf("%s: got %+v, %v, want a processing answer", body, a, err)
		}
	}
}

func TestABodyIsOneWholeObject(t *testing.T) {
	deep := func(n int) string {
		return `{"status":"processing","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	for _, body := range []string{
		``, ` `, `null`, `"processing"`, `5`, `[]`, `[{"status":"processing"}]`, `{"status":"processing"`, `{"status":"processing",}`,
		`{"status":"processing"} x`, `{"status":"processing"}{}`, `{'status':'processing'}`, `{"status":"proc`, "{\"status\":\"processing\"}\x00",
		"\ufeff{\"status\":\"processing\"}", `{"status":NaN}`, `{"status":"processing","progress":NaN}`, `<html></html>`, deep(20_000), deep(2_000_000),
	} {
		_, err := read(t, body)
		wantBroken(t, body, err, statuspoll.RuleJSON, "")
	}
	if _, err := read(t, deep(9_000)); err != nil {
		t.Errorf("a deep field that nobody asks for: got %v, want nil", err)
	}
	_, err := read(t, "{\"status\":\"processing\",\"x\":\"\xff\"}")
	wantBroken(t, "invalid UTF-8", err, statuspoll.RuleUTF8, "")

	short := statuspoll.Reading()
	short.MaxBody = 30
	body := `{"status":"processing","x":""}`
	if _, err := short.Read([]byte(body)); err != nil || len(body) != 30 {
		t.Errorf("a body of the limit: got %v", err)
	}
	_, err = short.Read([]byte(body + " "))
	wantBroken(t, "a body over the limit", err, statuspoll.RuleBody, "")
}

func TestNoFieldStandsThereTwice(t *testing.T) {
	for body, field := range map[string]string{
		`{"status":"processing","status":"processing"}`:                                                                                   "status",
		`{"status":"failed","status":"completed"}`:                                                                                        "status",
		`{"status":"processing","status":null}`:                                                                                           "status",
		`{"status":"failed","\u0073tatus":"failed"}`:                                                                                      "status",
		`{"status":"processing","progress":1,"progress":2}`:                                                                               "progress",
		`{"status":"processing","progress":null,"progress":2}`:                                                                            "progress",
		`{"status":"completed","output_type":"text","result_text":"a","result_text":"a"}`:                                                 "result_text",
		`{"status":"completed","output_type":"file","files":[],"files":[]}`:                                                               "files",
		`{"status":"completed","output_type":"file","files":[{"object_key":"a","object_key":"b","filename":"f","mime_type":"text/csv"}]}`: "files[0].object_key",
	} {
		_, err := read(t, body)
		wantBroken(t, body, err, statuspoll.RuleTwice, field)
	}
	if _, err := read(t, `{"status":"processing","x":1,"x":2,"progress":3}`); err != nil {
		t.Errorf("a field that nobody asks for, twice: got %v, want nil", err)
	}
}

func TestProgressHasSeveralForms(t *testing.T) {
	for form, want := range map[string]float64{
		`"45%"`: 0.45, `"45"`: 0.45, `0.45`: 0.45, `45`: 0.45, `1`: 1, `1.0`: 1, `100`: 1, `"100%"`: 1, `0`: 0, `"0"`: 0, `"0%"`: 0, `-0`: 0,
		`1.5`: 0.015, `"1"`: 0.01, `"1%"`: 0.01, `"0.5%"`: 0.005, `4.5e1`: 0.45, `" 45 % "`: 0.45, `"45.5"`: 0.455, `1e-400`: 0, `"\u0034\u0035%"`: 0.45,
		`0.999999`: 0.999999, `100.0`: 1, `1.0000000001`: 0.010000000001,
	} {
		a, err := read(t, `{"status":"processing","progress":`+form+`}`)
		if err != nil || a.Progress == nil || math.Abs(*a.Progress-want) > 1e-12 {
			t.Errorf("progress %s: got %+v, %v, want %v", form, a, err, want)
		}
	}
	if a, err := read(t, `{"status":"processing","progress":null}`); err != nil || a.Progress != nil {
		t.Errorf("progress null: got %+v, %v, want none", a, err)
	}
	for _, form := range []string{`""`,
		`-1`, `-0.01`, `101`, `100.01`, `"101%"`, `"100.01"`, `"-1"`, `"-1%"`, `"abc"`, `true`, `false`, `"NaN"`, `"nan%"`, `"Inf"`, `"infinity"`, `1e400`, `"1e400"`,
		`[]`, `[45]`, `{}`, `{"percent":45}`, `"%"`, `" "`, `"45%%"`, `"%45"`, `"45 percent"`, `"0x10"`, `"1_0"`, `"4 5"`, `"45,5"`, `"e"`,
	} {
		_, err := read(t, `{"status":"processing","progress":`+form+`}`)
		wantBroken(t, "progress "+form, err, statuspoll.RuleProgress, "progress")
	}
}

func TestProgressIsWrittenInPercents(t *testing.T) {
	for fraction, want := range map[float64]string{0: "0%", 0.45: "45%", 0.29: "29%", 0.57: "57%", 0.999: "99%", 1: "100%", 0.004: "0%"} {
		p, err := json.Marshal(&statuspoll.Answer{Status: statuspoll.Processing, Progress: &fraction})
		if want := `{"status":"processing","progress":"` + want + `"}`; err != nil || string(p) != want {
			t.Errorf("%v: got %s, %v, want %s", fraction, p, err, want)
		}
	}
	r := statuspoll.Writing()
	for _, bad := range []float64{-0.01, 1.01, math.NaN(), math.Inf(1)} {
		wantBroken(t, fmt.Sprint(bad), r.Check(&statuspoll.Answer{Status: statuspoll.Processing, Progress: &bad}), statuspoll.RuleProgress, "progress")
	}
}

// carried are the fields of each carrier.
var carried = map[string]string{
	"result_text": `"result_text":"hello"`,
	"result_url":  `"result_url":"https://files.example/a.pdf?sig=1#p2"`,
	"file_base64": `"file_base64":"aGVsbG8=","filename":"a.pdf","mime_type":"application/pdf"`,
	"files":       `"files":[{"object_key":"orders/o/a","filename":"a.pdf","mime_type":"application/pdf"},{"object_key":"orders/o/b","filename":"b","mime_type":"text/csv"}]`,
}

func TestOutputTypesAndCarriers(t *testing.T) {
	allowed := map[string][]string{
		"text": {"result_text", "result_url"}, "html": {"result_text", "result_url"}, "json": {"result_text", "result_url"}, "csv": {"result_text", "result_url"},
		"file": {"file_base64", "files", "result_url"}, "xlsx": {"file_base64", "files", "result_url"}, "video": {"file_base64", "files", "result_url"},
		"url": {"result_url"},
	}
	for output, good := range allowed {
		head := `{"status":"completed","output_type":"` + output + `"`
		_, err := read(t, head+`}`)
		wantBroken(t, output+" without a carrier", err, statuspoll.RuleCarrier, "")
		for one, fields := range carried {
			a, err := read(t, head+`,`+fields+`}`)
			switch {
			case !slices.Contains(good, one):
				wantBroken(t, output+" in "+one, err, statuspoll.RuleCarrier, one)
			case err != nil || a.OutputType != output:
				t.Errorf("%s in %s: got %+v, %v, want it read", output, one, a, err)
			}
			for two, more := range carried {
				if one >= two {
					continue
				}
				_, err := read(t, head+`,`+fields+`,`+more+`}`)
				var bad *statuspoll.RuleError
				if !errors.As(err, &bad) || bad.Rule != statuspoll.RuleCarrier || bad.Field != one && bad.Field != two {
					t.Errorf("%s in %s and %s: got %v, want a broken rule about the carrier", output, one, two, err)
				}
			}
		}
	}
	for _, output := range []string{``, `,"output_type":null`, `,"output_type":""`, `,"output_type":"pdf"`, `,"output_type":"Text"`, `,"Output_Type":"text"`} {
		_, err := read(t, `{"status":"completed"`+output+`,"result_text":"x"}`)
		wantBroken(t, "output type"+output, err, statuspoll.RuleOutputType, "output_type")
	}
	for _, empty := range []string{`""`, `null`} { // counts as not there
		body := `{"status":"completed","output_type":"text","result_text":` + empty
		_, err := read(t, body+`}`)
		wantBroken(t, body, err, statuspoll.RuleCarrier, "")
		if _, err = read(t, body+`,"result_url":"https://a.example","files":null}`); err != nil {
			t.Errorf("%s with a URL: got %v, want nil", body, err)
		}
	}
}

func TestFieldsOfACompletedAnswerAreOfTheirTypes(t *testing.T) {
	for _, field := range []string{"output_type", "result_text", "result_url", "file_base64", "filename", "mime_type"} {
		for _, value := range []string{`5`, `true`, `{}`, `["x"]`} {
			_, err := read(t, `{"status":"completed","`+field+`":`+value+`}`)
			wantBroken(t, field+" "+value, err, statuspoll.RuleType, field)
		}
	}
}

func TestBase64HasANameAndAType(t *testing.T) {
	whole := map[string]string{"file_base64": "aGVsbG8=", "filename": "a", "mime_type": "text/csv"}
	body := func(field, value string) string {
		p := map[string]string{"status": "completed", "output_type": "file"}
		for k, v := range whole {
			p[k] = v
		}
		if delete(p, field); value != "" {
			p[field] = value
		}
		text, _ := json.Marshal(p)
		return string(text)
	}
	for _, field := range []string{"filename", "mime_type"} {
		_, err := read(t, body(field, ""))
		wantBroken(t, "without "+field, err, statuspoll.RuleCompanion, field)
	}
	for _, bad := range []string{"a", "a===", "aGVsbG8", "aGVsbG8==", "aGVsbG9=", "aGVs bG8=", "aGVs\nbG8=", "aGVsbG8=\r\n", "aG-sb_8=", "é", "aGVsbG8=aGVsbG8=", "=", "data:text/csv;base64,aGVsbG8="} {
		_, err := read(t, body("file_base64", bad))
		wantBroken(t, bad, err, statuspoll.RuleBase64, "file_base64")
	}
}

func TestMIMETypes(t *testing.T) {
	good := []string{
		"application/pdf", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "text/plain", "text/html", "text/csv", "application/json", "image/jpeg",
		"image/jpg", "image/png", "image/gif", "image/webp", "image/svg+xml", "video/mp4", "video/quicktime", "video/webm", "video/x-msvideo", "audio/mpeg",
		"audio/wav", "audio/aac", "audio/ogg", "application/zip", "application/x-zip-compressed",
	}
	if r := statuspoll.Reading(); len(good) != 23 || len(r.MIMETypes) != 23 {
		t.Errorf("got %d types, want 23", len(r.MIMETypes))
	}
	good = append(good, "Text/Plain", "text/csv; charset=utf-8", "text/csv;charset=UTF-8;header=present", " application/PDF ; x", "TEXT/HTML;")
	base64 := `{"status":"completed","output_type":"file","file_base64":"aGVsbG8=","filename":"a","mime_type":%s}`
	files := `{"status":"completed","output_type":"video","files":[{"object_key":"a","filename":"b","mime_type":"video/mp4"},{"object_key":"a","filename":"b","mime_type":%s}]}`
	for _, kind := range good {
		quoted, _ := json.Marshal(kind)
		for _, body := range []string{base64, files} {
			if a, err := read(t, fmt.Sprintf(body, quoted)); err != nil || a.MIMEType != kind && a.Files[1].MIMEType != kind {
				t.Errorf("%s: got %+v, %v, want it read as it is", kind, a, err)
			}
		}
	}
	for _, kind := range []string{
		"application/octet-stream", "application/x-msdownload", "text", "text/", "/plain", "text/plain2", "text/markdown", "charset=utf-8", "; text/plain",
		"text / plain", "text/plain, text/html", "application/pdf\u0000", "video/*", "*/*", "image/svg", " ",
	} {
		quoted, _ := json.Marshal(kind)
		_, err := read(t, fmt.Sprintf(base64, quoted))
		wantBroken(t, kind, err, statuspoll.RuleMIMEType, "mime_type")
		_, err = read(t, fmt.Sprintf(files, quoted))
		wantBroken(t, kind, err, statuspoll.RuleMIMEType, "files[1].mime_type")
	}
}

func TestFiles(t *testing.T) {
	file := `{"object_key":"k","filename":"f","mime_type":"text/csv"}`
	for _, c := range []struct{ files, rule, field string }{
		{`[]`, statuspoll.RuleFiles, "files"},
		{`{}`, statuspoll.RuleType, "files"},
		{`"k"`, statuspoll.RuleType, "files"},
		{file, statuspoll.RuleType, "files"},
		{`true`, statuspoll.RuleType, "files"},
		{`[null]`, statuspoll.RuleType, "files[0]"},
		{`["k"]`, statuspoll.RuleType, "files[0]"},
		{`[` + file + `, [] ]`, statuspoll.RuleType, "files[1]"},
		{`[{}]`, statuspoll.RuleFiles, "files[0].object_key"},
		{`[` + file + `,{"object_key":"k","mime_type":"text/csv"}]`, statuspoll.RuleFiles, "files[1].filename"},
		{`[{"object_key":"k","filename":"f"}]`, statuspoll.RuleFiles, "files[0].mime_type"},
		{`[{"filename":"f","mime_type":"text/csv"}]`, statuspoll.RuleFiles, "files[0].object_key"},
		{`[{"Object_Key":"k","filename":"f","mime_type":"text/csv"}]`, statuspoll.RuleFiles, "files[0].object_key"},
		{`[{"object_key":"","filename":"f","mime_type":"text/csv"}]`, statuspoll.RuleFiles, "files[0].object_key"},
		{`[{"object_key":null,"filename":"f","mime_type":"text/csv"}]`, statuspoll.RuleFiles, "files[0].object_key"},
		{`[{"object_key":5,"filename":"f","mime_type":"text/csv"}]`, statuspoll.RuleType, "files[0].object_key"},
		{`[` + strings.Repeat(file+",", 1000) + file + `]`, statuspoll.RuleFiles, "files"},
	} {
		_, err := read(t, `{"status":"completed","output_type":"file","files":`+c.files+`}`)
		wantBroken(t, c.files, err, c.rule, c.field)
	}
	a, err := read(t, `{"status":"completed","output_type":"file","files":[ `+file+` , {"size":5,"mime_type":"text/csv","filename":"ü","object_key":"a\/b"} ]}`)
	want := []statuspoll.File{{ObjectKey: "k", Filename: "f", MIMEType: "text/csv"}, {ObjectKey: "a/b", Filename: "ü", MIMEType: "text/csv"}}
	if err != nil || !slices.Equal(a.Files, want) {
		t.Errorf("got %+v, %v, want %+v", a, err, want)
	}
}

func TestResultURLs(t *testing.T) {
	body := func(u string) string {
		quoted, _ := json.Marshal(u)
		return `{"status":"completed","output_type":"url","result_url":` + string(quoted) + `}`
	}
	for _, u := range []string{
		"https://your-storage.com/path/to/result.pdf", "HTTPS://a.example", "https://a.example:8443/x y?z=ü#page=2", "https://93.184.216.34/x", "https://[2606:4700::1111]/",
		"https://a.example/" + strings.Repeat("x", 8192-18),
	} {
		if a, err := read(t, body(u)); err != nil || a.ResultURL != u {
			t.Errorf("%.100s: got %v, want nil", u, err)
		}
	}
	for _, u := range []string{
		"http://a.example/x", "HTTP://a.example/x", "ftp://a.example/x", "//a.example/x", "/x", "x", "https:", "https://", "https:///x", "https:a.example", "https://:443/x",
		"https://user@a.example/", "https://user:pw@a.example/", "javascript:alert(1)", "data:text/plain,x", "https://a.example/%zz", "https://a.example\x00/", "https://127.0.0.1/x",
		"https://10.1.2.3:8443/", "https://[::1]/", "https://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/", "https://0.0.0.0/", " https://a.example/",
		"https://localhost/x", "https://x.LOCALHOST./", "https://printer/", "https://nas.local/x", "https://metadata.google.internal/", "https://nas.home.arpa/",
	} {
		_, err := read(t, body(u))
		wantBroken(t, u, err, statuspoll.RuleURL, "result_url")
	}
	_, err := read(t, body("https://a.example/"+strings.Repeat("x", 8192-17)))
	wantBroken(t, "a URL over the limit", err, statuspoll.RuleSize, "result_url")
}

func TestAFailedAnswerIsNeverBroken(t *testing.T) {
	long := strings.Repeat("é€𝄞x", 256) // 1024 characters
	for _, c := range []struct{ message, want, problem string }{
		{`"Unable to process the provided input"`, "Unable to process the provided input", ""},
		{`"a\nb\u00e9"`, "a\nbé", ""},
		{quote(long), long, ""},
		{quote(long + "y"), long, "1025 characters"},
		{quote(strings.Repeat(long, 500)), long, "512000 characters"},
		{quote("\U0001F600" + long), "\U0001F600" + strings.TrimSuffix(long, "x"), "1025 characters"},
		{`null`, "", "missing"},
		{`""`, "", "missing"},
		{`" \n\t"`, "", "missing"},
		{`5`, "", "not a string"},
		{`{"text":"x"}`, "", "not a string"},
		{`["x"]`, "", "not a string"},
		{`false`, "", "not a string"},
		{`"first","error_message":"second"`, "second", "twice"},
		{`"first","error_message":null`, "first", "twice"},
		{"\"a\xffb\"", "a\ufffdb", ""},
		{`"\ud800"`, "\ufffd", ""},
		{`"a\u0000b"`, "a\ufffdb", ""},
		{`"x","progress":"abc","progress":7,"output_type":9,"result_text":[]`, "x", ""},
	} {
		a, err := read(t, `{"status":"failed","error_message":`+c.message+`}`)
		if err != nil {
			t.Errorf("%.60s: got %v, want nil", c.message, err)
			continue
		}
		if c.want != "" && a.ErrorMessage != c.want || c.want == "" && !strings.Contains(a.ErrorMessage, "failed") {
			t.Errorf("%.60s: got message %.60q, want %.60q", c.message, a.ErrorMessage, c.want)
		}
		if (a.Problem == "") != (c.problem == "") || !strings.Contains(a.Problem, c.problem) {
			t.Errorf("%.60s: got problem %q, want %q in it", c.message, a.Problem, c.problem)
		}
	}
	if a, err := read(t, `{"status":"failed"}`); err != nil || a.ErrorMessage == "" || !strings.Contains(a.Problem, "missing") {
		t.Errorf("no message: got %+v, %v", a, err)
	}
}

func quote(s string) string {
	p, _ := json.Marshal(s)
	return string(p)
}

func TestWhoWritesGetsNothingMended(t *testing.T) {
	r := statuspoll.Writing()
	for _, c := range []struct {
		a           statuspoll.Answer
		rule, field string
	}{
		{statuspoll.Answer{}, statuspoll.RuleStatus, "status"},
		{statuspoll.Answer{Status: "done"}, statuspoll.RuleStatus, "status"},
		{statuspoll.Answer{Status: "failed"}, statuspoll.RuleErrorMessage, "error_message"},
		{statuspoll.Answer{Status: "failed", ErrorMessage: " "}, statuspoll.RuleErrorMessage, "error_message"},
		{statuspoll.Answer{Status: "failed", ErrorMessage: strings.Repeat("é", 1025)}, statuspoll.RuleErrorMessage, "error_message"},
		{statuspoll.Answer{Status: "failed", ErrorMessage: "\xff"}, statuspoll.RuleUTF8, "error_message"},
		{statuspoll.Answer{Status: "completed", ResultText: "x"}, statuspoll.RuleOutputType, "output_type"},
		{statuspoll.Answer{Status: "completed", OutputType: "text"}, statuspoll.RuleCarrier, ""},
		{statuspoll.Answer{Status: "completed", OutputType: "text", ResultText: "\xff"}, statuspoll.RuleUTF8, "result_text"},
		{statuspoll.Answer{Status: "completed", OutputType: "file", Files: []statuspoll.File{}}, statuspoll.RuleFiles, "files"},
		{statuspoll.Answer{Status: "completed", OutputType: "file", FileBase64: "eA=="}, statuspoll.RuleCompanion, "filename"},
	} {
		wantBroken(t, fmt.Sprintf("%.100v", c.a), r.Check(&c.a), c.rule, c.field)
	}
	for _, a := range []statuspoll.Answer{
		{Status: "processing"}, {Status: "failed", ErrorMessage: strings.Repeat("é", 1024)},
		{Status: "completed", OutputType: "html", ResultText: "<b>&amp;</b>"},
		{Status: "completed", OutputType: "video", Files: []statuspoll.File{{ObjectKey: "k", Filename: "f", MIMEType: "video/mp4"}}},
	} {
		if err := r.Check(&a); err != nil {
			t.Errorf("%+v: got %v, want nil", a, err)
		}
		p, err := json.Marshal(a)
		back := new(statuspoll.Answer)
		if err2 := json.Unmarshal(p, back); err != nil || err2 != nil || fmt.Sprint(*back) != fmt.Sprint(a) {
			t.Errorf("%+v: got %s, %v, %v, want it to come back", a, p, err, err2)
		}
	}
	if err := json.Unmarshal([]byte(`{"status":5}`), new(statuspoll.Answer)); err == nil {
		t.Error("an answer without a status: got nil, want an error")
	}
}

// A set of rules belongs to whoever asked for it.
func TestRulesCanBeChanged(t *testing.T) {
	mine := statuspoll.Reading()
	mine.OutputTypes["pdf"] = []string{"result_url"}
	mine.MIMETypes[0] = "application/x-mine"
	if _, err := mine.Read([]byte(`{"status":"completed","output_type":"pdf","result_url":"https://a.example"}`)); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for _, others := range []statuspoll.Rules{statuspoll.Reading(), statuspoll.Writing()} {
		if len(others.OutputTypes) != 8 || slices.Contains(others.MIMETypes, "application/x-mine") {
			t.Errorf("got %v, want them unchanged", others.OutputTypes)
		}
	}
}

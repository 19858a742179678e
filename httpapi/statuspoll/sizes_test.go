package statuspoll_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi/statuspoll"
)

func TestSizesAtTheLimitAndOneOver(t *testing.T) {
	if testing.Short() {
		t.Skip("many megabytes are read")
	}
	reading, writing := statuspoll.Reading(), statuspoll.Writing()
	for _, limit := range []struct {
		got  int64
		want int64
	}{
		{int64(reading.MaxText), 10 << 20}, {int64(reading.MaxBase64), 50 << 20}, {int64(reading.MaxError), 1024}, {reading.MaxBody, 64 << 20},
		{int64(writing.MaxText), 10_000_000}, {int64(writing.MaxBase64), 50_000_000}, {int64(writing.MaxError), 1024}, {writing.MaxBody, 64_000_000},
	} {
		if limit.got != limit.want {
			t.Errorf("got a limit of %d, want %d", limit.got, limit.want)
		}
	}

	small := statuspoll.Reading()
	small.MaxText, small.MaxBase64 = 12_000, 12_000
	text := `{"status":"completed","output_type":"text","result_text":"`
	file := `{"status":"completed","output_type":"file","filename":"a","mime_type":"text/csv","file_base64":"`
	for name, c := range map[string]struct {
		rules  statuspoll.Rules
		before string
		unit   string // repeated up to the limit
		size   int    // of a unit, as it counts
		last   string // what is too much
	}{
		"text":                                   {small, text, "x", 1, "x"},
		"text of two bytes each":                 {small, text, "é", 2, "x"},
		"text of four bytes each":                {small, text, "𝄞", 4, "x"},
		"text of surrogate pairs":                {small, text, `\ud834\udd1e`, 4, "x"},
		"text with short escapes":                {small, text, `\n`, 1, `\n`},
		"base64 with escaped slashes":            {small, file, `aGV\/`, 4, "a"},
		"base64 with escaped pluses":             {small, file, `aG\u002bs`, 4, "a"},
		"the longest text, all of it escaped":    {reading, text, `\u0001`, 1, "x"},
		"the longest base64, with escapes in it": {reading, file, `aGV\/`, 4, "a"},
	} {
		rule, field, limit := statuspoll.RuleSize, "result_text", c.rules.MaxText
		if c.before == file {
			field, limit = "file_base64", c.rules.MaxBase64
		}
		full := c.before + strings.Repeat(c.unit, limit/c.size)
		a, err := c.rules.Read([]byte(full + `"}`))
		if err != nil || len(a.ResultText)+len(a.FileBase64) != limit {
			t.Errorf("%s at the limit: got %v, want nil", name, err)
		}
		_, err = c.rules.Read([]byte(full + c.last + `"}`))
		wantBroken(t, name+" one over the limit", err, rule, field)
	}
}

func TestSizesWhenWriting(t *testing.T) {
	r := statuspoll.Writing()
	text := &statuspoll.Answer{Status: statuspoll.Completed, OutputType: "text", ResultText: strings.Repeat("x", r.MaxText)}
	if err := r.Check(text); err != nil {
		t.Errorf("text at the limit: got %v", err)
	}
	text.ResultText += "x"
	wantBroken(t, "text over the limit", r.Check(text), statuspoll.RuleSize, "result_text")

	whole := base64.StdEncoding.EncodeToString(make([]byte, r.MaxBase64/4*3))
	file := &statuspoll.Answer{Status: statuspoll.Completed, OutputType: "file", Filename: "a", MIMEType: "text/csv", FileBase64: whole}
	if err := r.Check(file); err != nil || len(whole) != r.MaxBase64 {
		t.Errorf("base64 at the limit: got %v", err)
	}
	body, err := file.MarshalJSON()
	reading := statuspoll.Reading()
	if a, err2 := reading.Read(body); err != nil || err2 != nil || a.FileBase64 != whole {
		t.Errorf("what may be written must be readable: got %v, %v", err, err2)
	}
	file.FileBase64 += "A"
	wantBroken(t, "base64 over the limit", r.Check(file), statuspoll.RuleSize, "file_base64")
}

package jobqueue_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pollackq/pollack/jobqueue"
)

// FuzzIDs looks for a text that is taken for an id, or not, against the rule that its documentation gives, and for an id that does not come
// back from its text: two texts of one id would be two names of a job (I18: ids of others).
func FuzzIDs(f *testing.F) {
	for _, s := range []string{
		"01ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "00000000000000000000000000", "",
		"01ARZ3NDEKTSV4RRFFQ69G5FAU", "01ARZ3NDEKTSV4RRFFQ69G5FAVV", "0IARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5F\xffV",
	} {
		f.Add(s, []byte("0123456789abcdef"))
	}
	f.Fuzz(func(t *testing.T, s string, raw []byte) {
		const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's: without I, L, O and U
		sound := len(s) == 26 && strings.Trim(s, digits) == "" && s[0] <= '7' && strings.Trim(s, "0") != ""
		id, err := jobqueue.ParseID(s)
		if (err == nil) != sound || err != nil && (!errors.Is(err, jobqueue.ErrInvalid) || id != jobqueue.ID{}) {
			t.Fatalf("%q: got %v, %v, want sound: %v", s, id, err, sound)
		}
		if err == nil && id.String() != s {
			t.Fatalf("%q: got %v", s, id)
		}
		var some jobqueue.ID
		if copy(some[:], raw); some == (jobqueue.ID{}) {
			return
		}
		if back, err := jobqueue.ParseID(some.String()); err != nil || back != some {
			t.Fatalf("%x: got %x, %v", some[:], back[:], err)
		}
		if some.String() == s && some != id || id == some && s != some.String() {
			t.Fatalf("%q and %v are two texts of one id", s, some)
		}
	})
}

// FuzzTokens looks for a text that is taken for a lease token and is not 32 hexadecimal digits, and for a token that does not come back from
// its text (I6).
func FuzzTokens(f *testing.F) {
	for _, s := range []string{
		"00000000000000000000000000000001", "ffffffffffffffffffffffffffffffff", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "", "0", strings.Repeat("0", 31) + "g", strings.Repeat("a", 34),
		"0x000000000000000000000000000001", strings.Repeat("é", 16),
	} {
		f.Add(s, []byte("0123456789abcdef"))
	}
	f.Fuzz(func(t *testing.T, s string, raw []byte) {
		want, wrong := hex.DecodeString(s)
		sound := wrong == nil && len(s) == 32
		token, err := jobqueue.ParseToken(s)
		if (err == nil) != sound || err != nil && (!errors.Is(err, jobqueue.ErrInvalid) || token != jobqueue.Token{}) {
			t.Fatalf("%q: got %v, %v, want sound: %v", s, token, err, sound)
		}
		if sound && (!bytes.Equal(token[:], want) || token.String() != strings.ToLower(s)) {
			t.Fatalf("%q: got %v", s, token)
		}
		var some jobqueue.Token
		copy(some[:], raw)
		if back, err := jobqueue.ParseToken(some.String()); err != nil || back != some {
			t.Fatalf("%v: got %v, %v", some, back, err)
		}
	})
}

// FuzzInlineJSON looks for bytes that InlineJSON would have stand in a JSON document as they are, and that do not belong there: the
// document must stay sound, be no deeper than is promised, and have the same value in it (threat: memory blow-up; a payload that breaks out of
// its member would be injection).
func FuzzInlineJSON(f *testing.F) {
	for _, s := range []string{
		"{}", `{"a":[1,"]}\""]}`, "[", "nul", "null", "\"\xff\"", `"\ud800"`, "1e999", "", " 1 ", "1 2", `{"a":1,"a":2}`, strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		strings.Repeat("[", 1001) + strings.Repeat("]", 1001), strings.Repeat(`{"":`, 1001) + "0" + strings.Repeat("}", 1001), `"\\","x":"`, `"[[[[[\"[[["`,
	} {
		f.Add("application/json", []byte(s))
		f.Add("a/b+json; charset=utf-8", []byte(s))
	}
	f.Add("text/plain", []byte("{}"))
	f.Add("application/json;", []byte("{}"))
	f.Fuzz(func(t *testing.T, contentType string, p []byte) {
		kind, _, err := mime.ParseMediaType(contentType)
		sound := err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
		sound = sound && len(p) <= jobqueue.InlineLimit && utf8.Valid(p) && deepest(p) <= 1000
		if got := jobqueue.InlineJSON(contentType, p); got != sound {
			t.Fatalf("%q, %q: got %v, want %v", contentType, p, got, sound)
		}
		if !sound {
			return
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal([]byte(`{"before":1,"payload":`+string(p)+`,"after":2}`), &doc); err != nil || len(doc) != 3 ||
			string(doc["payload"]) != string(bytes.Trim(p, " \t\r\n")) {
			t.Fatalf("%q: got %q, %v", p, doc, err)
		}
	})
}

// deepest returns how deep one JSON value is nested, by the tokens of encoding/json; more than any if it is not exactly one.
func deepest(p []byte) int {
	const tooDeep = 1 << 30
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber() // of any size
	deepest, depth, values := 0, 0, 0
	for {
		token, err := d.Token()
		if err == io.EOF && depth == 0 && values == 1 && json.Valid(p) {
			return deepest
		}
		if err != nil {
			return tooDeep
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		if depth == 0 {
			values++
		}
	}
}

package statuspoll

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/outbound"
)

// Rules say which answers are sound. Reading and Writing return sets of them, each one's own to change.
type Rules struct {
	MaxBody   int64 // bytes of a whole answer
	MaxText   int   // bytes of result_text
	MaxBase64 int   // characters of file_base64
	MaxURL    int   // bytes of result_url
	MaxFiles  int   // entries of files
	MaxError  int   // characters of error_message

	// OutputTypes are the values of output_type, each with the carriers that it may have: "result_text", "result_url", "file_base64", "files".
	OutputTypes map[string][]string
	// MIMETypes are the values that mime_type may have, in lower case and without parameters.
	MIMETypes []string
}

// Reading returns the rules for the answers of others, with limits of 10 * 2^20 bytes of text and 50 * 2^20 characters of base64. A body may have 64 *
// 2^20 bytes: as much as the longest text takes where each of its characters is escaped.
func Reading() Rules { return limited(10<<20, 50<<20, 64<<20) }

// Writing returns the rules for answers of one's own, with limits of 10,000,000 bytes of text, 50,000,000 characters of base64 and 64,000,000 bytes of
// body, which every reader allows.
func Writing() Rules { return limited(10_000_000, 50_000_000, 64_000_000) }

func limited(text, base64 int, body int64) Rules {
	return Rules{
		MaxBody: body, MaxText: text, MaxBase64: base64, MaxURL: 8 << 10, MaxFiles: 1000, MaxError: 1024,
		OutputTypes: maps.Clone(outputTypes), MIMETypes: slices.Clone(mimeTypes),
	}
}

var (
	asText = []string{"result_text", "result_url"}
	asFile = []string{"file_base64", "files", "result_url"}
	asURL  = []string{"result_url"}
)

var outputTypes = map[string][]string{
	"text": asText, "html": asText, "json": asText, "csv": asText,
	"file": asFile, "xlsx": asFile, "video": asFile,
	"url": asURL,
}

var mimeTypes = []string{
	"application/pdf",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"text/plain", "text/html", "text/csv", "application/json",
	"image/jpeg", "image/jpg", "image/png", "image/gif", "image/webp", "image/svg+xml",
	"video/mp4", "video/quicktime", "video/webm", "video/x-msvideo",
	"audio/mpeg", "audio/wav", "audio/aac", "audio/ogg",
	"application/zip", "application/x-zip-compressed",
}

// carriers are what an output can be carried by, each with the fields that must stand beside it.
var carriers = []struct {
	name  string
	there func(a *Answer) bool
	with  []string // of completedTexts
	check func(r *Rules, a *Answer) error
}{
	{"result_text", func(a *Answer) bool { return a.ResultText != "" }, nil, (*Rules).checkText},
	{"result_url", func(a *Answer) bool { return a.ResultURL != "" }, nil, (*Rules).checkURL},
	{"file_base64", func(a *Answer) bool { return a.FileBase64 != "" }, []string{"filename", "mime_type"}, (*Rules).checkBase64},
	{"files", func(a *Answer) bool { return a.Files != nil }, nil, (*Rules).checkFiles},
}

// The values of RuleError.Rule.
const (
	RuleBody         = "body"          // the size of the whole
	RuleJSON         = "json"          // one object, whole and valid
	RuleUTF8         = "utf8"          // valid throughout
	RuleTwice        = "twice"         // no field stands there twice
	RuleType         = "type"          // the JSON type of a field
	RuleStatus       = "status"        // one of the three
	RuleProgress     = "progress"      // one of its forms, from 0 to 100 %
	RuleOutputType   = "output_type"   // one of those known
	RuleCarrier      = "carrier"       // exactly one, and one for that output_type
	RuleCompanion    = "companion"     // what must stand beside a carrier
	RuleSize         = "size"          // of a carrier
	RuleBase64       = "base64"        // valid: the standard alphabet, padded, without line breaks
	RuleURL          = "url"           // HTTPS and public
	RuleMIMEType     = "mime_type"     // one of those allowed
	RuleFiles        = "files"         // at least one, not too many, each with all of its fields
	RuleObjectKey    = "object_key"    // prepared for that order, and uploaded
	RuleErrorMessage = "error_message" // there and not too long, where it is written
)

// A RuleError says which rule an answer breaks.
type RuleError struct {
	Rule    string // a word for programs: one of the Rule constants, or a hook's own
	Field   string // as on the wire: "files[2].mime_type"; "" for the whole body
	Problem string // for people; nothing of the answer's content is in it
}

func (e *RuleError) Error() string {
	if e.Field == "" {
		return "the body " + e.Problem
	}
	return e.Field + " " + e.Problem
}

func broken(rule, field, format string, args ...any) error {
	return &RuleError{Rule: rule, Field: field, Problem: fmt.Sprintf(format, args...)}
}

// Read reads an answer. Its error is a *RuleError. A failed answer that can be read breaks no rule: an error_message over MaxError is cut, and one that
// is missing, or no text, is replaced; Answer.Problem then says so.
func (r *Rules) Read(body []byte) (*Answer, error) {
	if int64(len(body)) > r.MaxBody {
		return nil, r.bodyTooLarge()
	}
	a, err := decode(body, r.MaxFiles)
	switch {
	case err != nil:
		return nil, err
	case a.Status == Failed:
		r.mend(a)
		return a, nil
	case !utf8.Valid(body):
		return nil, broken(RuleUTF8, "", "must be valid UTF-8")
	}
	if err := r.Check(a); err != nil {
		return nil, err
	}
	return a, nil
}

func (r *Rules) bodyTooLarge() error {
	return broken(RuleBody, "", "has more than %d bytes", r.MaxBody)
}

const stockMessage = "The order failed. No reason was given."

// mend makes the message of a failed answer one that can be shown.
func (r *Rules) mend(a *Answer) {
	a.ErrorMessage = strings.ReplaceAll(a.ErrorMessage, "\x00", "\uFFFD")
	switch n := utf8.RuneCountInString(a.ErrorMessage); {
	case strings.TrimSpace(a.ErrorMessage) == "":
		a.ErrorMessage = stockMessage
		if a.Problem == "" {
			a.Problem = "error_message was missing"
		}
	case n > r.MaxError:
		a.ErrorMessage = firstRunes(a.ErrorMessage, r.MaxError)
		a.Problem = fmt.Sprintf("error_message had %d characters, and was cut to %d", n, r.MaxError)
	}
}

// firstRunes cuts a text to n characters.
func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// Check checks an answer that is to be written. Its error is a *RuleError. The message of a failed answer must be there and not be over MaxError.
func (r *Rules) Check(a *Answer) error {
	switch a.Status {
	case Processing:
		if p := a.Progress; p != nil && !(*p >= 0 && *p <= 1) {
			return broken(RuleProgress, "progress", "must be from 0 to 1")
		}
		return nil
	case Completed:
		return r.checkCompleted(a)
	case Failed:
		n := utf8.RuneCountInString(a.ErrorMessage)
		switch {
		case strings.TrimSpace(a.ErrorMessage) == "":
			return broken(RuleErrorMessage, "error_message", "must be there")
		case n > r.MaxError:
			return broken(RuleErrorMessage, "error_message", "has %d characters, at most %d are allowed", n, r.MaxError)
		case !utf8.ValidString(a.ErrorMessage):
			return broken(RuleUTF8, "error_message", "must be valid UTF-8")
		}
		return nil
	}
	return broken(RuleStatus, "status", mustBeStatus)
}

func (r *Rules) checkCompleted(a *Answer) error {
	allowed, known := r.OutputTypes[a.OutputType]
	if !known {
		return broken(RuleOutputType, "output_type", "must be one of %s", strings.Join(slices.Sorted(maps.Keys(r.OutputTypes)), ", "))
	}
	for _, t := range completedTexts {
		if !utf8.ValidString(*t.of(a)) {
			return broken(RuleUTF8, t.name, "must be valid UTF-8")
		}
	}
	carrier := -1
	for i, c := range carriers {
		switch {
		case !c.there(a):
			continue
		case carrier >= 0:
			return broken(RuleCarrier, c.name, "stands beside %s; there must be one of them", carriers[carrier].name)
		}
		carrier = i
	}
	want := strings.Join(allowed, ", ")
	if carrier < 0 {
		return broken(RuleCarrier, "", "has no output; for this output_type there must be one of %s", want)
	}
	c := carriers[carrier]
	if !slices.Contains(allowed, c.name) {
		return broken(RuleCarrier, c.name, "does not go with this output_type, for which there must be one of %s", want)
	}
	for _, t := range completedTexts {
		if slices.Contains(c.with, t.name) && *t.of(a) == "" {
			return broken(RuleCompanion, t.name, "must stand beside %s", c.name)
		}
	}
	return c.check(r, a)
}

func (r *Rules) checkText(a *Answer) error {
	if n := len(a.ResultText); n > r.MaxText {
		return broken(RuleSize, "result_text", "has %d bytes, at most %d are allowed", n, r.MaxText)
	}
	return nil
}

// checkURL demands an absolute HTTPS URL that is not plainly somebody's own. Whether there is something at it is found out by whoever fetches it.
func (r *Rules) checkURL(a *Answer) error {
	if n := len(a.ResultURL); n > r.MaxURL {
		return broken(RuleSize, "result_url", "has %d bytes, at most %d are allowed", n, r.MaxURL)
	}
	u, err := url.Parse(a.ResultURL)
	switch {
	case err != nil:
		return broken(RuleURL, "result_url", "is not a URL")
	case u.Scheme != "https" || u.Hostname() == "":
		return broken(RuleURL, "result_url", "must be an absolute URL with https")
	case u.User != nil:
		return broken(RuleURL, "result_url", "must not have a user")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err == nil && !outbound.Public(ip) || err != nil && !publicName(u.Hostname()) {
		return broken(RuleURL, "result_url", "must be publicly accessible")
	}
	return nil
}

// publicName reports whether a host's name may be one that everybody knows: of several parts, and under none of the domains for local use (RFC 6761,
// 6762 and 8375, and the one that ICANN has set aside).
func publicName(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last != name && !slices.Contains([]string{"localhost", "local", "internal"}, last) && !strings.HasSuffix(name, ".home.arpa")
}

func (r *Rules) checkBase64(a *Answer) error {
	if n := len(a.FileBase64); n > r.MaxBase64 {
		return broken(RuleSize, "file_base64", "has %d characters, at most %d are allowed", n, r.MaxBase64)
	}
	decoder := base64.NewDecoder(base64.StdEncoding.Strict(), strings.NewReader(a.FileBase64))
	if _, err := io.Copy(io.Discard, decoder); err != nil || strings.ContainsAny(a.FileBase64, "\r\n") {
		return broken(RuleBase64, "file_base64", "must be base64 of the standard alphabet, padded and without line breaks")
	}
	return r.checkMIMEType("mime_type", a.MIMEType)
}

// checkMIMEType demands a type that is allowed, whatever its parameters and its case.
func (r *Rules) checkMIMEType(field, value string) error {
	kind, _, _ := strings.Cut(value, ";")
	if !slices.Contains(r.MIMETypes, strings.ToLower(strings.TrimSpace(kind))) {
		return broken(RuleMIMEType, field, "must be one of the %d types that are allowed", len(r.MIMETypes))
	}
	return nil
}

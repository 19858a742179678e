package jobqueue

import (
	"encoding/json"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pollackq/pollack/storage"
)

// wireJob is a Job as JSON: every field is always there, null when unset.
type wireJob struct {
	ID              string            `json:"id"`
	Queue           string            `json:"queue"`
	Account         string            `json:"account"`
	State           string            `json:"state"`
	Priority        int               `json:"priority"`
	Position        *uint64           `json:"position"`
	Name            *string           `json:"name"`
	ContentType     *string           `json:"content_type"`
	Size            int64             `json:"size"`
	Tags            map[string]string `json:"tags"`
	Deliveries      int               `json:"deliveries"`
	Lapses          int               `json:"lapses"`
	Progress        *float64          `json:"progress"`
	ProgressMessage *string           `json:"progress_message"`
	Result          json.RawMessage   `json:"result"`
	Failure         *wireFailure      `json:"failure"`
	CreatedAt       *time.Time        `json:"created_at"`
	RunAt           *time.Time        `json:"run_at"`
	StartedAt       *time.Time        `json:"started_at"`
	FinishedAt      *time.Time        `json:"finished_at"`
	ExpiresAt       *time.Time        `json:"expires_at"`
	Version         uint64            `json:"version"`
}

type wireFailure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// MarshalJSON writes the job as a status read gives it: id, queue (its name), account, state, priority, position, name, content_type,
// size, tags, deliveries, lapses, progress, progress_message, result, failure {code, message}, created_at, run_at, started_at,
// finished_at, expires_at, version. Every field is always there, null when unset (tags: {}); times are RFC 3339 in UTC. result is
// there if it is JSON by its content type and at most InlineLimit bytes.
func (j *Job) MarshalJSON() ([]byte, error) {
	w := wireJob{
		ID: j.ID.String(), Queue: j.Queue.Name, Account: j.Account, State: j.KnownAs(), Priority: j.Priority,
		Name: set(j.Name), ContentType: set(j.ContentType), Size: j.Size, Tags: j.Tags, Deliveries: j.Deliveries, Lapses: j.Lapses,
		Progress: j.Progress, ProgressMessage: set(j.ProgressMessage), Version: j.Version,
		CreatedAt: set(j.Created), RunAt: set(j.RunAt), StartedAt: set(j.Started), FinishedAt: set(j.Finished), ExpiresAt: set(j.Expires),
	}
	if j.State != storage.Entering {
		w.Position = &j.Position
	}
	if w.Tags == nil {
		w.Tags = map[string]string{}
	}
	if j.Failure != nil {
		w.Failure = (*wireFailure)(j.Failure)
	}
	if r := j.Result; r != nil && InlineJSON(r.ContentType, r.Data) {
		w.Result = r.Data
	}
	return json.Marshal(&w)
}

// maxDepth is how deep JSON may be nested to stand within other JSON: decoders have limits, and Go's own is 10,000 in all.
const maxDepth = 1000

// InlineJSON reports whether a value can stand in a JSON document as it is: its content type is application/json or ends in +json, and
// it is valid JSON of valid UTF-8, at most InlineLimit bytes long and nested at most 1,000 deep. All others have to be encoded, or
// read by themselves.
func InlineJSON(contentType string, p []byte) bool {
	return isJSON(contentType) && len(p) <= InlineLimit && utf8.Valid(p) && json.Valid(p) && depth(p) <= maxDepth
}

// IsJSON reports whether the content type says that the result is JSON: application/json, or any with the suffix +json.
func (r *Result) IsJSON() bool { return isJSON(r.ContentType) }

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// depth returns how deep valid JSON is nested.
func depth(p []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}

// set returns nil for a zero value.
func set[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

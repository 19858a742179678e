package httpapi_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"testing/quick"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// pieces are parts of texts, plain and such as need escapes.
var pieces = []string{
	"mail", "a b", "~", "", `"`, `\`, "<", ">", "&", "/", "\x00", "\n", "\x1f", "\x7f", "ä", "\u2028", "\u2029", "𝄞", "\xff", "\xc3", "\xed\xa0\x80",
}

// randomJob returns a job in which everything is set as often as not.
func randomJob(r *rand.Rand) *jobqueue.Job {
	text := func() (s string) {
		for range r.IntN(4) {
			s += pieces[r.IntN(len(pieces))]
		}
		return s
	}
	at := func() time.Time {
		if r.IntN(2) == 0 {
			return time.Time{}
		}
		return time.Unix(r.Int64N(1<<37), r.Int64N(1e9)/[]int64{1, 1e3, 1e9}[r.IntN(3)]).In([]*time.Location{time.UTC, time.FixedZone("", 3600)}[r.IntN(2)])
	}
	j := &jobqueue.Job{
		Queue: jobqueue.QueueName{Account: text(), Name: text()}, Account: text(), State: jobqueue.State(r.IntN(12)), Priority: r.IntN(1<<16) - 1<<15,
		Position: r.Uint64(), Name: text(), ContentType: text(), Size: r.Int64(), Deliveries: r.Int(), Lapses: r.IntN(3), ProgressMessage: text(),
		Created: at(), RunAt: at(), Started: at(), Finished: at(), Expires: at(), Version: r.Uint64(),
	}
	for i := range j.ID {
		j.ID[i] = byte(r.Uint32())
	}
	for range r.IntN(3) {
		if j.Tags == nil {
			j.Tags = make(map[string]string)
		}
		j.Tags[text()] = text()
	}
	if r.IntN(2) == 0 {
		p := r.Float64()
		j.Progress = &p
	}
	if r.IntN(2) == 0 {
		j.Failure = &jobqueue.Failure{Code: text(), Message: text()}
	}
	if r.IntN(2) == 0 {
		data := []string{``, `{}`, `{ "a" : "<&>" }`, `{`, "null", `"` + text() + `"`}[r.IntN(6)]
		j.Result = &jobqueue.Result{ContentType: []string{"application/json", "text/plain", "a/b+json; charset=utf-8"}[r.IntN(3)], Data: []byte(data)}
	}
	return j
}

func TestAJobIsWrittenAsEncodingJSONWritesIt(t *testing.T) {
	for seed := range uint64(20_000) {
		j := randomJob(rand.New(rand.NewPCG(seed, 0)))
		want, failed := json.Marshal(j)
		got, err := httpapi.AppendJob([]byte("before"), j, "")
		if (err != nil) != (failed != nil) || err == nil && string(got) != "before"+string(want) {
			t.Fatalf("seed %d: got %s, %v\nwant %s, %v", seed, got, err, want, failed)
		}
	}
	written := func(name string, queue, account, message string, at int64) bool {
		j := &jobqueue.Job{Name: name, Queue: jobqueue.QueueName{Name: queue}, Account: account, ProgressMessage: message, Created: time.Unix(at%1e12, at)}
		want, failed := json.Marshal(j)
		got, err := httpapi.AppendJob(nil, j, "")
		return (err != nil) == (failed != nil) && (err != nil || string(got) == string(want))
	}
	if err := quick.Check(written, nil); err != nil {
		t.Error(err)
	}
}

package jobqueue_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// fuzzBroker returns a broker on an empty store.
func fuzzBroker(t *testing.T) *jobqueue.Broker {
	store := memstore.New(nil)
	b, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Shutdown(t.Context())
		store.Close()
	})
	return b
}

// FuzzEnqueue looks for a job that is neither refused as invalid, with nothing changed (promise 9), nor comes back from a status read and a
// delivery as it was enqueued (I2); and for a key that stands for two requests, or one request that is two with one key (promise 6).
func FuzzEnqueue(f *testing.F) {
	f.Add("q", "a", "key", "name", "text/plain", "tag", "value", "outbox", int64(0), int64(0), 3, []byte("payload"))
	f.Add("", "", "", "", "", "", "", "", int64(1e9), int64(0), 1<<15, []byte(nil))
	f.Add("q\x00", "a\n", "k\x7f", "\xff", "é", "", "\xed\xa0\x80", "o", int64(-1), int64(253402300800), -1<<15, []byte("{"))
	f.Add("q", "a", "k", "", "", "t", "", "", int64(1<<62), int64(-62135596800), 0, []byte("x"))
	f.Add("q", "a", "k", "", "", "", "", "", int64(5e9), int64(1e10), 0, []byte("x"))
	f.Fuzz(func(t *testing.T, queue, account, key, name, kind, tag, value, outbox string, delay, deadline int64, priority int, payload []byte) {
		b := fuzzBroker(t)
		q := b.In(account).Queue(queue)
		n := jobqueue.NewJob{Payload: payload, ContentType: kind, Name: name, Key: key, Priority: priority, Delay: time.Duration(delay)}
		if deadline != 0 {
			n.Deadline = time.Unix(deadline%(1<<40), 0)
		}
		if tag != "" || value != "" {
			n.Tags = map[string]string{tag: value}
		}
		if outbox != "" {
			n.Outbox = []string{outbox}
		}
		j, err := q.Enqueue(t.Context(), n)
		if err != nil {
			var bad *jobqueue.InvalidError
			if !errors.As(err, &bad) || bad.Field == "" || bad.Problem == "" {
				t.Fatalf("got %v", err)
			}
			if !utf8.ValidString(bad.Problem) {
				t.Fatalf("the error is not UTF-8: %q", bad.Problem)
			}
			if infos, err := b.Queues(t.Context(), "", 10); err != nil || len(infos) != 0 {
				t.Fatalf("after an enqueue that was refused: got %v, %v", infos, err)
			}
			return
		}
		if j.Queue != (jobqueue.QueueName{Account: account, Name: queue}) || j.Account != account || j.Key != key || j.Name != name || j.ContentType != kind ||
			j.Priority != priority || j.Size != int64(len(payload)) || !sameTags(j.Tags, n.Tags) || j.Replayed {
			t.Fatalf("got %+v of %+v", j, n)
		}
		read, err := b.Job(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		wantWritten(t, read)
		if key != "" && n.Delay == 0 { // else the two times to run at differ
			again, err := q.Enqueue(t.Context(), n)
			if err != nil || again.ID != j.ID || !again.Replayed {
				t.Fatalf("once more: got %+v, %v, want a replay of %v", again, err, j.ID)
			}
			other := n
			other.Payload = append(bytes.Clone(payload), 1)
			if _, err := q.Enqueue(t.Context(), other); !errors.Is(err, jobqueue.ErrKeyReused) {
				t.Fatalf("with another payload: got %v, want %v", err, jobqueue.ErrKeyReused)
			}
		}
		d, err := q.TryReceive(t.Context(), nil)
		if errors.Is(err, jobqueue.ErrEmpty) && (read.State == jobqueue.Scheduled || deadline != 0) {
			return
		}
		if err != nil || d.ID != j.ID {
			t.Fatalf("got %v, %v", d, err)
		}
		if p, err := d.Payload(t.Context()); err != nil || !bytes.Equal(p, payload) {
			t.Fatalf("got payload %q, %v, want %q", p, err, payload)
		}
	})
}

// sameTags compares tags; none are none.
func sameTags(a, b map[string]string) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// wantWritten demands that a job's JSON says what the job does, as another decoder reads it.
func wantWritten(t *testing.T, j *jobqueue.Job) {
	t.Helper()
	p, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		ID, Queue, Account, State string
		Name                      *string
		ContentType               *string `json:"content_type"`
		Size                      int64
		Priority                  int
		Tags                      map[string]string
		Deliveries                *int
		CreatedAt                 time.Time `json:"created_at"`
	}
	if err := json.Unmarshal(p, &w); err != nil {
		t.Fatal(err)
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	if w.ID != j.ID.String() || w.Queue != j.Queue.Name || w.Account != j.Account || w.State != j.KnownAs() || text(w.Name) != j.Name ||
		text(w.ContentType) != j.ContentType || w.Size != j.Size || w.Priority != j.Priority || !sameTags(w.Tags, j.Tags) || w.Deliveries == nil || !w.CreatedAt.Equal(j.Created) {
		t.Fatalf("got %s of %+v", p, j)
	}
}

// FuzzTyped looks for a payload that a Typed queue neither reads as encoding/json does nor fails its job for, with a text that can be stored.
func FuzzTyped(f *testing.F) {
	for _, s := range []string{
		`{"item":"nails","price":3}`, `{}`, `null`, `[]`, ``, `{"price":1e400}`, `{"price":"3"}`, `{"item":"\ud800"}`, "\xff", `{"item":"a","ITEM":"b"}`, `{"price":`, `{} {}`,
	} {
		f.Add([]byte(s))
	}
	type thing struct {
		Item   string
		Price  float64
		Parts  []int
		Nested *struct{ When time.Time }
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := fuzzBroker(t)
		q := b.Queue("q")
		j, err := q.Enqueue(t.Context(), jobqueue.NewJob{Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		var want thing
		bad := json.Unmarshal(payload, &want)
		got, d, err := jobqueue.JSON[thing](q).Receive(t.Context(), &jobqueue.ReceiveOptions{Wait: -1})
		if bad == nil {
			if err != nil || d.ID != j.ID || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: got %+v, %v, want %+v", payload, got, err, want)
			}
			return
		}
		j, e := b.Job(t.Context(), j.ID)
		if !errors.Is(err, jobqueue.ErrEmpty) || e != nil || j.State != jobqueue.Failed || j.Failure.Code != jobqueue.CodeInvalidPayload ||
			j.Failure.Message == "" || !utf8.ValidString(j.Failure.Message) {
			t.Fatalf("%q: got %v, %+v, %v, want a job that failed", payload, err, j, e)
		}
	})
}

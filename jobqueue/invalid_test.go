package jobqueue_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// Every bound of a new job, just within and just beyond.
func TestBoundsOfANewJob(t *testing.T) {
	name := func(n int) string { return strings.Repeat("n", n) }
	tags := func(n, value int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint(i)] = strings.Repeat("v", value)
		}
		return m
	}
	const century = 100 * 365 * 24 * time.Hour
	type job = jobqueue.NewJob
	type limits = jobqueue.Limits
	for _, c := range []struct {
		field string
		good  []job
		bad   []job
	}{
		{"name", []job{{Name: name(255)}, {Name: "ä 世界"}}, []job{{Name: name(256)}, {Name: "a\nb"}, {Name: "\xff"}, {Name: "\x7f"}, {Name: "\x00"}}},
		{"content_type", []job{{ContentType: name(255)}}, []job{{ContentType: name(256)}, {ContentType: "a\r\nSet-Cookie: x"}}},
		{"key", []job{{Key: name(255)}}, []job{{Key: name(256)}, {Key: "\x00"}, {Key: "\xc3"}}},
		{"account", []job{{Account: name(255)}}, []job{{Account: name(256)}, {Account: "\x00"}}},
		{"tags", []job{{Tags: tags(64, 10)}, {Tags: tags(1, 1024)}, {Tags: map[string]string{name(255): ""}}},
			[]job{{Tags: tags(65, 0)}, {Tags: tags(1, 1025)}, {Tags: map[string]string{name(256): ""}}, {Tags: map[string]string{"": "v"}}, {Tags: tags(40, 1024)},
				{Tags: map[string]string{"a": "\x00"}}, {Tags: map[string]string{"\xff": "a"}}}},
		{"priority", []job{{Priority: jobqueue.MaxPriority}, {Priority: -jobqueue.MaxPriority}},
			[]job{{Priority: jobqueue.MaxPriority + 1}, {Priority: -jobqueue.MaxPriority - 1}, {Priority: 1 << 40}}},
		{"delay", []job{{Delay: century}, {Delay: 1}}, []job{{Delay: -1}, {Delay: century + 1}, {Delay: 1, RunAt: time.Now()}}},
		{"run_at", []job{{RunAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, {RunAt: time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)}},
			[]job{{RunAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, {RunAt: time.Unix(0, 0)}, {RunAt: time.Unix(1<<60, 0)}}},
		{"deadline", []job{{Deadline: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}, []job{{Deadline: time.Unix(0, 0)}, {Deadline: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		{"lease", []job{{Limits: limits{Lease: time.Second}}, {Limits: limits{Lease: 12 * time.Hour}}},
			[]job{{Limits: limits{Lease: time.Second - 1}}, {Limits: limits{Lease: 12*time.Hour + 1}}, {Limits: limits{Lease: -1}}}},
		{"retention", []job{{Limits: limits{Retention: century}}, {Limits: limits{Retention: -1}}}, []job{{Limits: limits{Retention: century + 1}}, {Limits: limits{Retention: 1}}}},
		{"tombstone", []job{{Limits: limits{Tombstone: century}}, {Limits: limits{Tombstone: -1}}}, []job{{Limits: limits{Tombstone: century + 1}}, {Limits: limits{Tombstone: 1}}}},
		{"max_deliveries", []job{{Limits: limits{MaxDeliveries: 1 << 30}}, {Limits: limits{MaxDeliveries: -7}}}, []job{{Limits: limits{MaxDeliveries: 1<<30 + 1}}}},
		{"payload", []job{{Payload: []byte{}}, {Body: strings.NewReader("")}}, []job{{Payload: []byte{}, Body: strings.NewReader("")}}},
		{"outbox", []job{{Outbox: []string{"a", "b", "c", "d", "e", "f", "g", name(255)}}},
			[]job{{Outbox: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}}, {Outbox: []string{name(256)}}}},
	} {
		t.Run(c.field, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				for _, j := range c.bad {
					_, err := l.b.Queue("q").Enqueue(l.ctx, j)
					l.invalid("Enqueue", err, c.field)
					_, err = l.b.Queue("q").EnqueueMany(l.ctx, []job{{}, j})
					l.invalid("EnqueueMany", err, c.field)
				}
				equal(l, "contents", l.contents(), "")
				for _, j := range c.good {
					l.add("q", j)
				}
			})
		})
	}
}

func TestBadNamesReachNoStore(t *testing.T) {
	long := strings.Repeat("x", jobqueue.MaxName+1)
	for _, c := range []struct{ account, name, field string }{
		{"", "", "queue"}, {"", long, "queue"}, {"", "a\x00b", "queue"}, {"", "\xff", "queue"}, {"", "a\nb", "queue"},
		{long, "q", "account"}, {"a\x00", "q", "account"}, {"\xff", "q", "account"},
	} {
		t.Run(fmt.Sprintf("account %.8q, queue %.8q", c.account, c.name), func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				q := l.b.In(c.account).Queue(c.name)
				for what, call := range map[string]func() error{
					"Enqueue":     func() error { _, err := q.Enqueue(l.ctx, jobqueue.NewJob{}); return err },
					"EnqueueMany": func() error { _, err := q.EnqueueMany(l.ctx, make([]jobqueue.NewJob, 2)); return err },
					"Receive":     func() error { _, err := q.Receive(l.ctx, nil); return err },
					"TryReceive":  func() error { _, err := q.TryReceive(l.ctx, nil); return err },
					"ReceiveMany": func() error { _, err := q.ReceiveMany(l.ctx, 3, nil); return err },
					"Consume":     func() error { return q.Consume(l.ctx, nil, nil) },
					"Configure":   func() error { _, _, err := q.Configure(l.ctx, jobqueue.Settings{}); return err },
					"Info":        func() error { _, err := q.Info(l.ctx); return err },
					"Jobs":        func() error { _, _, err := q.Jobs(l.ctx, jobqueue.ListOptions{}); return err },
					"Close":       func() error { return q.Close(l.ctx) },
					"Purge":       func() error { _, err := q.Purge(l.ctx); return err },
					"Delete":      func() error { return q.Delete(l.ctx) },
					"Idle":        func() error { return q.Idle(l.ctx) },
					"JobByKey": func() error {
						_, err := l.b.JobByKey(l.ctx, jobqueue.QueueName{Account: c.account, Name: c.name}, "k")
						return err
					},
				} {
					l.invalid(what, call(), c.field)
				}
				equal(l, "contents", l.contents(), "")
			})
		})
	}
	for _, key := range []string{long, "a\x00b", "\xff"} {
		t.Run(fmt.Sprintf("key %.8q", key), func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				_, err := l.b.JobByKey(l.ctx, jobqueue.QueueName{Name: "q"}, key)
				l.invalid("JobByKey", err, "key")
			})
		})
	}
}

func TestBoundsOfReceiving(t *testing.T) {
	rules(t, []rule{{name: "a number or lease out of bounds is invalid, and leases nothing", run: func(l *lab) {
		q := l.b.Queue("q")
		l.add("q", jobqueue.NewJob{})
		before := l.contents()
		for _, n := range []int{-1, 0, jobqueue.MaxBatch + 1} {
			_, err := q.ReceiveMany(l.ctx, n, nil)
			l.invalid("ReceiveMany", err, "max")
		}
		for _, lease := range []time.Duration{-1, time.Second - 1, 12*time.Hour + 1} {
			_, err := q.Receive(l.ctx, &jobqueue.ReceiveOptions{Lease: lease})
			l.invalid("Receive", err, "lease")
		}
		for _, n := range []int{0, jobqueue.MaxBatch + 1} {
			_, err := q.EnqueueMany(l.ctx, make([]jobqueue.NewJob, n))
			l.invalid("EnqueueMany", err, "jobs")
		}
		equal(l, "records", l.contents(), before)
	}}})
}

func TestOptions(t *testing.T) {
	century := 100 * 365 * 24 * time.Hour
	for _, c := range []struct {
		field string
		o     jobqueue.Options
	}{
		{"lease", jobqueue.Options{Lease: -1}},
		{"lease", jobqueue.Options{Lease: time.Millisecond}},
		{"lease", jobqueue.Options{Lease: 13 * time.Hour}},
		{"retention", jobqueue.Options{Retention: century + 1}},
		{"retention", jobqueue.Options{Retention: 1}},
		{"tombstone", jobqueue.Options{Tombstone: century + 1}},
		{"max_deliveries", jobqueue.Options{MaxDeliveries: 1 << 40}},
	} {
		t.Run(fmt.Sprintf("%s %+v is refused", c.field, c.o), func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				_, err := jobqueue.New(l.base, &c.o)
				l.invalid("New", err, c.field)
			})
		})
	}
	rules(t, []rule{
		{name: "zero is the default", opts: &jobqueue.Options{}, run: func(l *lab) {
			equal(l, "max payload", l.b.MaxPayload(), 64<<20)
			equal(l, "max result", l.b.MaxResult(), 16<<20)
			l.add("q", jobqueue.NewJob{})
			equal(l, "effective", l.info("q").Effective.Limits, jobqueue.Limits{Lease: 5 * time.Minute, Retention: 24 * time.Hour, Tombstone: 7 * 24 * time.Hour})
			equal(l, "backlog", l.info("q").Effective.Backlog, 0)
		}},
		{name: "negative is none", opts: &jobqueue.Options{MaxDeliveries: -1, Retention: -1, Tombstone: -1, Backlog: -1, MaxPayload: -1, MaxResult: -1}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Body: zeros(65 << 20), Key: "k"})
			equal(l, "size", d.Size, 65<<20)
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Body: zeros(17 << 20)}))
			l.absent(d.ID, jobqueue.ErrNotFound)
			equal(l, "chunks", l.chunks(), 0)
		}},
		{name: "ids and tokens are read as they are written, and nothing else is", run: func(l *lab) {
			id := storage.NewID(time.Now())
			got, err := jobqueue.ParseID(id.String())
			l.must(err)
			equal(l, "id", got, id)
			for _, s := range []string{"", "x", strings.ToLower(id.String()), strings.Repeat("0", 26), strings.Repeat("Z", 26), id.String() + "0", id.String()[:25] + "I"} {
				_, err := jobqueue.ParseID(s)
				l.invalid("ParseID", err, "id")
			}
			token := storage.NewToken()
			gotToken, err := storage.ParseToken(token.String())
			l.must(err)
			equal(l, "token", gotToken, token)
			for _, s := range []string{"", "x", strings.Repeat("g", 32), token.String() + "00"} {
				_, err := jobqueue.ParseToken(s)
				l.invalid("ParseToken", err, "lease_token")
			}
		}},
	})
}

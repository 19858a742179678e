package life_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// A book is a ledger in memory.
type book struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func play(t *testing.T, callers, ops int, o *jobqueue.Options, lease time.Duration) (string, *memstore.Store) {
	t.Helper()
	s := memstore.New(nil)
	b, err := jobqueue.New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	var w book
	if err := life.Play(t.Context(), b, life.Load{Seed: 1, Callers: callers, Ops: ops, Large: true, Lease: lease}, &w); err != nil {
		t.Fatal(err)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.b.String(), s
}

func read(t *testing.T, text string) *life.Ledger {
	t.Helper()
	l, err := life.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAWholeLifePasses(t *testing.T) {
	for _, o := range []*jobqueue.Options{nil, {Retention: -1}} {
		for _, callers := range []int{1, 8} {
			text, s := play(t, callers, 1000/callers, o, 0)
			for _, bad := range read(t, text).Audit(t.Context(), s, o) {
				t.Errorf("%d callers: %s", callers, bad)
			}
		}
	}
}

// What is left out of a ledger, as if it had not been asked for, the audit sees in the store.
func TestTheAuditSees(t *testing.T) {
	text, s := play(t, 1, 600, nil, 0)
	lines := strings.SplitAfter(text, "\n")
	tried, missed := make(map[string]int), make(map[string]int)
	for i, line := range lines[:len(lines)-1] {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "b" || !strings.HasPrefix(lines[i+1], "e "+f[1]+" ok") {
			continue
		}
		changed := append([]string(nil), lines...)
		changed[i], changed[i+1] = "", ""
		tried[f[2]]++
		if bad := read(t, strings.Join(changed, "")).Audit(t.Context(), s, nil); len(bad) == 0 {
			missed[f[2]]++
		}
	}
	for _, kind := range []string{"enqueue", "ack", "complete", "fail", "receive", "acknext", "cancel"} {
		// What was redriven, or canceled twice, may be as if it had not happened.
		if tried[kind] == 0 || missed[kind] > tried[kind]/4 {
			t.Errorf("%s: left out %d times, not missed %d times", kind, tried[kind], missed[kind])
		}
	}
	if missed["enqueue"]+missed["ack"]+missed["complete"] > 0 {
		t.Errorf("not missed: %v", missed)
	}
}

// What is added to a ledger, as if it had been told, the audit misses in the store.
func TestTheAuditMisses(t *testing.T) {
	s := memstore.New(nil)
	b, err := jobqueue.New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(t.Context())
	j, err := b.Queue("q0").Enqueue(t.Context(), jobqueue.NewJob{Name: "0.0", Payload: life.Fill(0, 0, 10)})
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Queue("q0").Enqueue(t.Context(), jobqueue.NewJob{Name: "1.0"})
	if err != nil {
		t.Fatal(err)
	}
	id, begin := j.ID.String(), "b 0 enqueue q0 1 10 0 - 0 0 0\ne 0 ok "+j.ID.String()+"\nb 1 enqueue q0 1 0 0 - 0 0 0\ne 1 ok "+other.ID.String()+"\n"
	if bad := read(t, begin).Audit(t.Context(), s, nil); len(bad) > 0 {
		t.Fatal(bad)
	}
	token, second := " 0123456789abcdef0123456789abcdef", " 00000000000000000000000000000001"
	lease := func(n, token string, from, until time.Duration) string {
		now := time.Now()
		return fmt.Sprintf("b %s receive q0\ne %s ok %s%s 1 %d %d\n", n, n, id, token, now.Add(from).UnixMicro(), now.Add(until).UnixMicro())
	}
	for what, lines := range map[string]string{
		"an ack":                "b 2 ack " + id + token + "\ne 2 ok\n",
		"a result":              "b 2 complete " + id + token + " 7\ne 2 ok\n",
		"a failure":             "b 2 fail " + id + token + "\ne 2 ok\n",
		"a cancel":              "b 2 cancel " + id + "\ne 2 ok\n",
		"a delivery":            lease("2", token, 0, time.Hour),
		"a job":                 "b 2 enqueue q0 1 10 0 - 0 0 0\ne 2 ok 01M7G0000000000000000000Z0\n",
		"a refusal":             "",
		"a lease in a lease":    lease("2", token, -time.Hour, -time.Minute) + lease("3", second, -30*time.Minute, -time.Minute),
		"a superseded token":    lease("2", token, -3*time.Hour, -2*time.Hour) + lease("3", second, -time.Hour, -time.Minute) + "b 4 extend " + id + token + "\ne 4 ok\n",
		"a delivery of the end": lease("2", token, -3*time.Hour, -2*time.Hour) + "b 3 ack " + id + token + "\ne 3 ok\n" + lease("4", second, -time.Hour, -time.Minute),
	} {
		told := begin + lines
		if what == "a refusal" {
			told = strings.Replace(begin, "e 0 ok "+id, "e 0 no", 1)
		}
		bad := read(t, told).Audit(t.Context(), s, nil)
		if len(bad) == 0 {
			t.Errorf("%s is not missed", what)
		}
		t.Logf("%s: %v", what, bad)
	}
}

func TestALostJobIsMissed(t *testing.T) {
	text, _ := play(t, 1, 100, nil, 0)
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "empty"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bad := read(t, text).Audit(context.Background(), s, nil)
	if n := strings.Count(text, "enqueue"); len(bad) < n {
		t.Fatalf("%d findings for %d enqueues: %v", len(bad), n, bad)
	}
}

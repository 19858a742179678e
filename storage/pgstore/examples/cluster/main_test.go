package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/pgserver"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// temp is where a server of its own may have its folder: that of the tests is closed to its user.
var temp = os.TempDir()

func TestMain(m *testing.M) {
	if isNode() { // the program starts itself, which here is the test
		exit(serve())
	}
	pgtest.Main(m)
}

// output keeps what the program says, and calls seen with each line.
type output struct {
	mu   sync.Mutex // guards buf
	buf  bytes.Buffer
	seen func(line string)
}

func (o *output) Write(p []byte) (int, error) {
	if o.seen != nil {
		o.seen(string(p))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// lastLine of what the program says when all is well, for so many jobs.
func lastLine(jobs int) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf(`\nenqueued %d, acked %[1]d, lost 0, acked twice 0, redelivered [0-9]+, one of 3 nodes killed\n$`, jobs))
}

func program(ctx context.Context, t *testing.T, c config) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	out, ok := c.out.(*output)
	if !ok {
		out = &output{}
		c.out = out
	}
	err := run(ctx, c)
	t.Logf("%s", out)
	return out.String(), err
}

// nothingLeft fails the test if the program left a schema in the database.
func nothingLeft(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var schemas int
	if err := pool.QueryRow(ctx, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'cluster%'").Scan(&schemas); err != nil || schemas != 0 {
		t.Errorf("%d schemas are left, %v", schemas, err)
	}
}

func TestItAddsUpThoughANodeIsKilled(t *testing.T) {
	pool := pgtest.Pool(t)
	out, err := program(t.Context(), t, config{jobs: 300, dsn: pgtest.DSN(t)})
	if err != nil || !lastLine(300).MatchString(out) || !strings.Contains(out, "killed node 2") {
		t.Errorf("got %v and\n%s", err, out)
	}
	nothingLeft(t, pool)
}

func TestASignalEndsItAndNothingIsLeft(t *testing.T) {
	pool := pgtest.Pool(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &output{seen: func(line string) {
		if strings.HasPrefix(line, "killed") { // in the middle of the work
			stop()
		}
	}}
	said, err := program(ctx, t, config{jobs: 3000, dsn: pgtest.DSN(t), out: out})
	if !errors.Is(err, context.Canceled) || strings.Contains(said, "enqueued 3000") {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	nothingLeft(t, pool)
}

func TestItStartsAServerOfItsOwn(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGSERVICE"} {
		t.Setenv(name, "") // it comes back when the test has ended
		os.Unsetenv(name)
	}
	dir, err := os.MkdirTemp(temp, "cluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := program(t.Context(), t, config{jobs: 60, temp: dir})
	if errors.Is(err, pgserver.ErrNone) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil || !lastLine(60).MatchString(out) {
		t.Errorf("got %v and\n%s", err, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestADatabaseThatIsNotThereIsAnError(t *testing.T) {
	if out, err := program(t.Context(), t, config{jobs: 30, dsn: "host=127.0.0.1 port=1 user=nobody dbname=nothing sslmode=disable"}); err == nil {
		t.Errorf("got no error, and\n%s", out)
	}
}

func TestWhatDoesNotAddUpIsSaid(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	delivery := func(id, token string, started time.Time) *client.Delivery {
		return &client.Delivery{Job: &client.Job{ID: id, Started: started}, LeaseToken: token, LeaseExpires: started.Add(lease)}
	}
	taken := client.AckResult{Outcome: client.Acked}
	// Two jobs, each enqueued, delivered and acked, of which one came back once.
	fine := func() (*ledger, []*client.Job, map[string]int) {
		l := newLedger(2, 3)
		for i, id := range []string{"a", "b"} {
			l.enqueued(i, i, &client.Job{ID: id})
			l.delivered(i, delivery(id, "first", began))
		}
		l.delivered(2, delivery("b", "second", began.Add(lease)))
		l.acked(0, client.Ack{ID: "a", Token: "first"}, taken)
		l.acked(1, client.Ack{ID: "b", Token: "second"}, taken)
		return l, []*client.Job{{ID: "a", Deliveries: 1}, {ID: "b", Deliveries: 2, Lapses: 1}}, map[string]int{"succeeded": 2}
	}
	for _, c := range []struct {
		what  string
		spoil func(*ledger, []*client.Job, map[string]int)
		want  string
	}{
		{"nothing", func(*ledger, []*client.Job, map[string]int) {}, ""},
		{"a job that nobody could ack", func(l *ledger, _ []*client.Job, _ map[string]int) { l.history["a"].endedBy = nil }, "lost: 1, want 0"},
		{"a job acked under two tokens", func(l *ledger, _ []*client.Job, _ map[string]int) {
			l.acked(0, client.Ack{ID: "b", Token: "first"}, taken)
		}, "acked twice: 1, want 0"},
		{"two leases at a time", func(l *ledger, _ []*client.Job, _ map[string]int) {
			l.delivered(0, delivery("a", "third", began.Add(lease-time.Microsecond)))
		}, "job a was delivered again 1µs before its lease ended"},
		{"two keys for a job", func(l *ledger, _ []*client.Job, _ map[string]int) { l.ids[1] = "a" }, "jobs enqueued: 1, want 2"},
		{"a job that the database lacks", func(_ *ledger, _ []*client.Job, s map[string]int) { s["succeeded"] = 1 }, "jobs in the database: 1, want 2"},
		{"a job that has not ended", func(_ *ledger, _ []*client.Job, s map[string]int) { s["succeeded"], s["running"] = 1, 1 }, "succeeded in the database: 1, want 2"},
		{"a delivery that was not counted", func(_ *ledger, j []*client.Job, _ map[string]int) { j[1].Deliveries = 1 }, "job b was delivered 2 times, and the queue knows of 1"},
		{"a delivery without a lapse", func(_ *ledger, j []*client.Job, _ map[string]int) { j[1].Lapses = 0 }, "job b was delivered 2 times, with 0 lapsed leases"},
		{"a stranger", func(_ *ledger, j []*client.Job, _ map[string]int) { j[0] = &client.Job{ID: "c"} }, "job c is in the queue, and nobody has enqueued it"},
	} {
		l, jobs, states := fine()
		c.spoil(l, jobs, states)
		got := strings.Join(l.add(jobs, states).wrong, "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

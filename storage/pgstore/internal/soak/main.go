// Command soak keeps a queue on PostgreSQL under steady load for as long as it is told, and looks whether anything grows: dead rows, the size of
// tables and indexes, how many buffers a look for the next job reads, latency, memory and goroutines of the node. It prints what it measured, and
// ends with status 1 if it was not flat.
//
//	go run ./internal/soak -for 20m
//	go run ./internal/soak -for 2m -no-vacuum    # must fail: nobody clears away the dead rows
//	go run ./internal/soak -for 4m -hold         # a transaction stays open on the way: afterwards all has to be as before
//
// The load: callers that each enqueue, receive and ack on one queue with a hundred thousand jobs waiting, and on some quiet ones, whose
// receivers wait. Some jobs have delays, some leases lapse, some deliveries are released or fail, some payloads are large. What has ended is kept for
// two seconds and its name for two more, so that after the first seconds as much goes as comes.
//
// The first fifth of the time is for all to become steady. Then the quarter that follows is compared with the last one (see judge). That the machine
// has other things to do must not matter, so the bounds are wide; what grows in proportion to time goes beyond them.
//
// The server is the one that the usual variables name, in which a schema is made and dropped, or one of its own with the autovacuum_naptime that
// package pgstore recommends, less in a short run. Its disk is the one of the folder for temporary files.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/pgserver"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
)

// options are the flags.
type options struct {
	span     time.Duration
	sample   time.Duration
	callers  int
	backlog  int
	noVacuum bool
	hold     bool
}

func main() {
	var o options
	flag.DurationVar(&o.span, "for", 20*time.Minute, "how long")
	flag.DurationVar(&o.sample, "sample", 0, "how often to measure; 0 is sixty times, and each ten seconds at least")
	flag.IntVar(&o.callers, "callers", 64, "how many callers the busy queue has")
	flag.IntVar(&o.backlog, "backlog", 100_000, "how many jobs wait in it")
	flag.BoolVar(&o.noVacuum, "no-vacuum", false, "turn autovacuum off for the tables, which has to be found")
	flag.BoolVar(&o.hold, "hold", false, "hold a transaction open from 45 to 60 % of the time")
	flag.Parse()
	if o.sample == 0 {
		o.sample = min(max(o.span/60, time.Second), 10*time.Second)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if errors.Is(err, pgserver.ErrNone) && os.Getenv("CI") == "" {
		fmt.Println("skipped:", err)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// naptime is how often autovacuum looks: as package pgstore recommends, but often enough for a short run.
func naptime(span time.Duration) time.Duration { return min(max(span/15, time.Second), 10*time.Second) }

func run(ctx context.Context, o options) (err error) {
	dsn := ""
	if !pgserver.Named() {
		dir, err := os.MkdirTemp("", "soak-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		server, err := pgserver.Start(dir, map[string]string{"autovacuum_naptime": fmt.Sprint(int(naptime(o.span).Seconds()))})
		if err != nil {
			return err
		}
		defer server.Kill()
		dsn = server.DSN()
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	schema := "soak_" + strings.ToLower(rand.Text()[:12])
	store, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: schema})
	if err != nil {
		return err
	}
	defer func() {
		_, dropErr := pool.Exec(context.WithoutCancel(ctx), "DROP SCHEMA "+schema+" CASCADE")
		err = errors.Join(err, dropErr)
	}()
	defer store.Close()
	if o.noVacuum {
		for _, table := range tables {
			if _, err := pool.Exec(ctx, "ALTER TABLE "+schema+"."+table+" SET (autovacuum_enabled = off)"); err != nil {
				return err
			}
		}
	}
	broker, err := jobqueue.New(store, &jobqueue.Options{Retention: keep, Tombstone: keep, MaxDeliveries: 5})
	if err != nil {
		return err
	}
	defer broker.Shutdown(context.WithoutCancel(ctx))
	l := &load{options: o, broker: broker, payload: make([]byte, 256), large: make([]byte, big)}
	rand.Read(l.payload)
	rand.Read(l.large)
	if err := l.fill(ctx); err != nil {
		return err
	}
	m := &meter{options: o, load: l, pool: pool, schema: schema}
	playing, end := context.WithTimeout(ctx, o.span)
	defer end()
	l.start(playing)
	err = m.watch(playing)
	end()
	if err := errors.Join(err, l.wait()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := store.Check(ctx); err != nil {
		return fmt.Errorf("the store at the end: %w", err)
	}
	return judge(m.samples, o.span)
}

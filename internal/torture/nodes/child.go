package nodes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
)

// An order is what a child is to do, as JSON in its only argument.
type order struct {
	DSN    string
	Schema string
	Keep   int // which of retentions
	Number int // of the node
}

// retentions are how long ended jobs are kept; 0 is for longer than any round.
var retentions = []time.Duration{0, 0, time.Second, -1}

func (o order) options() *jobqueue.Options {
	keep := retentions[o.Keep]
	return &jobqueue.Options{Retention: keep, Tombstone: keep}
}

// beside is how keys begin of jobs that were enqueued with a row of a user's.
const beside = "tx"

// pipe is the descriptor on which all children tell: the ledger, and where they stand. Each line is written in one go.
const pipe = 3

// child plays and pauses as it is told, until it is killed or nobody tells it anything any more.
func child(args []string) int {
	var o order
	err := json.Unmarshal([]byte(args[0]), &o)
	if err == nil {
		err = o.work()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "node %d: %v\n", o.Number, err)
		return 1
	}
	return 0
}

func (o order) work() error {
	told := os.NewFile(pipe, "pipe")
	ctx := context.Background()
	pool, err := Pool(o.DSN, o.Schema, nil)
	if err != nil {
		return err
	}
	store, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: o.Schema})
	if err != nil {
		return err
	}
	b, err := jobqueue.New(store, o.options())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(told, "ready", o.Number); err != nil {
		return err
	}
	stop := func() error { return nil }
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "pause" {
			if err := stop(); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(told, "paused", o.Number); err != nil {
				return err
			}
			continue
		}
		var load life.Load
		if err := json.Unmarshal([]byte(rest), &load); err != nil {
			return err
		}
		load.Tx = func(ctx context.Context, queue string, j jobqueue.NewJob) (*jobqueue.Job, error) {
			return o.enqueueBeside(ctx, pool, store, b, queue, j)
		}
		playing, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { // ends with playing, or ends the process
			err := life.Play(playing, b, load, told)
			if err != nil {
				fmt.Fprintf(os.Stderr, "node %d: %v\n", o.Number, err)
				os.Exit(1)
			}
			ended <- err
		}()
		stop = func() error {
			end()
			return <-ended
		}
	}
}

// enqueueBeside adds a job and a row of the user's in one transaction.
func (o order) enqueueBeside(ctx context.Context, pool *pgxpool.Pool, store *pgstore.Store, b *jobqueue.Broker, queue string, j jobqueue.NewJob) (*jobqueue.Job, error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	j.Key = beside + j.Name
	added, err := b.EnqueueTx(ctx, store.Tx(tx), queue, j)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO "+o.Schema+".side VALUES ($1)", pgtype.UUID{Bytes: added.ID, Valid: true}); err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil { // whatever pgx says of it: where an answer is lost it may say that nothing was sent
		return nil, fmt.Errorf("%w: %w", jobqueue.ErrOutcomeUnknown, err)
	}
	return added, nil
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/pgserver"
	"github.com/pollackq/pollack/storage/pgstore"
)

// A database is one that was named, or that of a server which was started for this.
type database struct {
	dsn     string
	version string
	schema  string // this run's own
	pool    *pgxpool.Pool
	server  *pgserver.Server // nil if it is somebody else's
	dir     string           // of server
}

func openDatabase(ctx context.Context, dsn, temp string) (*database, error) {
	d := &database{dsn: dsn, schema: "cluster_" + strings.ToLower(rand.Text()[:12])}
	if dsn == "" && !pgserver.Named() {
		if err := d.startServer(temp); err != nil {
			return nil, err
		}
	}
	err := d.connect(ctx)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *database) startServer(temp string) (err error) {
	if d.dir, err = os.MkdirTemp(temp, "cluster-"); err != nil {
		return err
	}
	if d.server, err = pgserver.Start(d.dir, nil); err != nil { // it says what to install
		return errors.Join(err, os.RemoveAll(d.dir))
	}
	d.dsn = d.server.DSN()
	return nil
}

func (d *database) connect(ctx context.Context) (err error) {
	if d.pool, err = pgxpool.New(ctx, d.dsn); err != nil {
		return err
	}
	return d.pool.QueryRow(ctx, "SHOW server_version").Scan(&d.version)
}

// states counts the queue's jobs in each state, without asking any node. The view is made for people to look at, as here. What is gone is no job: a
// queue that is done leaves a tombstone of its own.
func (d *database) states(ctx context.Context) (map[string]int, error) {
	rows, err := d.pool.Query(ctx, "SELECT state, count(*) FROM "+pgx.Identifier{d.schema, "jobs"}.Sanitize()+" WHERE queue = $1 AND state <> 'gone' GROUP BY state", queue)
	if err != nil {
		return nil, err
	}
	states := make(map[string]int)
	var state string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		states[state] = n
		return nil
	})
	return states, err
}

// check has a store look whether all its records agree with each other.
func (d *database) check(ctx context.Context) (err error) {
	store, err := pgstore.New(ctx, d.pool, &pgstore.Options{Schema: d.schema, NoMigrate: true, NoListen: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.Check(ctx)
}

// close drops the schema, and ends the server if it was started for this.
func (d *database) close() (err error) {
	if d.server != nil { // with everything in it
		if d.pool != nil {
			d.pool.Close()
		}
		return errors.Join(d.server.Stop(), os.RemoveAll(d.dir))
	}
	if d.pool == nil {
		return nil
	}
	defer d.pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = d.pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{d.schema}.Sanitize()+" CASCADE")
	return err
}

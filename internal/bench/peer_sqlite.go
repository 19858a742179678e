package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	_ "github.com/mattn/go-sqlite3" // the fastest of the drivers, in C
)

// openSQLite opens a database: a file of its own whose commits are synced, or in memory. It has one connection, since SQLite has one
// writer: others would only wait for it in worse ways.
func openSQLite(r *run, inMemory bool) (db *sql.DB, remove func(), err error) {
	const common = "_locking_mode=EXCLUSIVE&_stmt_cache_size=64"
	name, remove := "file::memory:?"+common, func() {}
	if !inMemory {
		var dir string
		if dir, remove, err = r.temp(); err != nil {
			return nil, nil, err
		}
		name = "file:" + filepath.Join(dir, "jobs.db") + "?_journal_mode=WAL&_synchronous=FULL&" + common
	}
	if db, err = sql.Open("sqlite3", name); err != nil {
		remove()
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	return db, remove, nil
}

// sqliteMissing says why there is no SQLite, or nothing.
func sqliteMissing() string {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return err.Error()
	}
	defer db.Close()
	if err := db.Ping(); err != nil {
		return err.Error()
	}
	return ""
}

// A leaseTable is the table one would write oneself.
type leaseTable struct {
	db                       *sql.DB
	mu                       sync.Mutex // takes turns more cheaply than the pool of sql.DB
	enqueue, receive, settle *sql.Stmt
	remove                   func()
}

// To pass over the few that are leased is cheaper than an index.
const leaseSchema = `CREATE TABLE jobs (id INTEGER PRIMARY KEY, due INTEGER NOT NULL DEFAULT 0, token BLOB, payload BLOB NOT NULL)`

func newLeaseTable(r *run, inMemory bool) (*leaseTable, error) {
	db, remove, err := openSQLite(r, inMemory)
	if err != nil {
		return nil, err
	}
	l := &leaseTable{db: db, remove: remove}
	_, err = db.Exec(leaseSchema)
	prepare := func(query string) *sql.Stmt {
		var s *sql.Stmt
		if err == nil {
			s, err = db.Prepare(query)
		}
		return s
	}
	l.enqueue = prepare(`INSERT INTO jobs (payload) VALUES (?)`)
	l.receive = prepare(`UPDATE jobs SET due = ?, token = ? WHERE id = (SELECT id FROM jobs WHERE due <= ? ORDER BY id LIMIT 1) RETURNING id, payload`)
	l.settle = prepare(`DELETE FROM jobs WHERE id = ? AND token = ?`)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *leaseTable) cycle(_ context.Context, c *caller) error {
	ctx := context.Background() // the driver starts a goroutine for a context that can end
	if err := l.add(ctx, c.next()); err != nil {
		return err
	}
	var token [16]byte
	rand.Read(token[:])
	id, payload, err := l.lease(ctx, token[:])
	if err != nil {
		return err
	}
	if err := c.got(payload); err != nil {
		return err
	}
	return l.ack(ctx, id, token[:])
}

func (l *leaseTable) add(ctx context.Context, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.enqueue.ExecContext(ctx, payload)
	return err
}

func (l *leaseTable) lease(ctx context.Context, token []byte) (id int64, payload []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	err = l.receive.QueryRowContext(ctx, now.Add(time.Minute).UnixMilli(), token, now.UnixMilli()).Scan(&id, &payload)
	return id, payload, err
}

func (l *leaseTable) ack(ctx context.Context, id int64, token []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	result, err := l.settle.ExecContext(ctx, id, token)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("an ack found %d jobs, %w", n, err)
	}
	return nil
}

func (l *leaseTable) close() error {
	defer l.remove()
	return l.db.Close()
}

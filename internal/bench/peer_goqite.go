package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"maragu.dev/goqite"
)

// A goqiteQueue is a queue of goqite's.
type goqiteQueue struct {
	db     *sql.DB
	queue  *goqite.Queue
	remove func()
}

func newGoqite(r *run) (*goqiteQueue, error) {
	db, remove, err := openSQLite(r, false)
	if err != nil {
		return nil, err
	}
	g := &goqiteQueue{db: db, remove: remove}
	if err := goqite.Setup(context.Background(), db); err != nil {
		return nil, errors.Join(err, g.close())
	}
	g.queue = goqite.New(goqite.NewOpts{DB: db, Name: "bench", Timeout: time.Minute})
	return g, nil
}

func (g *goqiteQueue) cycle(_ context.Context, c *caller) error {
	ctx := context.Background() // see leaseTable.cycle
	if err := g.queue.Send(ctx, goqite.Message{Body: c.next()}); err != nil {
		return err
	}
	m, err := g.queue.Receive(ctx)
	if err != nil {
		return err
	}
	if m == nil {
		return errors.New("no message is there")
	}
	if err := c.got(m.Body); err != nil {
		return err
	}
	return g.queue.Delete(ctx, m.ID)
}

func (g *goqiteQueue) close() error {
	defer g.remove()
	return g.db.Close()
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tables are those of the schema that change.
var tables = []string{"job", "queue", "count", "chunk"}

// A sample is what was measured at one time.
type sample struct {
	at      time.Duration // since the load began
	figures map[string]float64
}

// The names of figures.
const (
	cycles     = "cycles/s"
	enqueueP50 = "enqueue p50 ms"
	enqueueP99 = "enqueue p99 ms"
	receiveP50 = "receive p50 ms"
	receiveP99 = "receive p99 ms"
	ackP50     = "ack p50 ms"
	ackP99     = "ack p99 ms"
	dead       = "dead rows"
	tableSize  = "tables MB"
	indexSize  = "indexes MB"
	buffers    = "buffers of a look"
	pending    = "pending"
	kept       = "other jobs"
	heap       = "heap MB"
	goroutines = "goroutines"
)

// A meter measures from time to time.
type meter struct {
	options
	load    *load
	pool    *pgxpool.Pool
	schema  string
	samples []sample

	begun  time.Time
	last   time.Time
	cycles int64
}

// watch measures until the context ends, and prints what it measured.
func (m *meter) watch(ctx context.Context) error {
	m.begun = time.Now()
	m.last = m.begun
	timer := time.NewTicker(m.options.sample)
	defer timer.Stop()
	var held pgx.Tx
	defer func() {
		if held != nil {
			held.Rollback(context.WithoutCancel(ctx))
		}
	}()
	printHead()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		s, err := m.measure(ctx)
		if err == nil {
			err = m.load.failed()
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		m.samples = append(m.samples, s)
		s.print()
		switch part := float64(s.at) / float64(m.span); {
		case m.hold && held == nil && part > 0.45 && part < 0.6:
			fmt.Println("a transaction is held open")
			held, err = m.open(ctx)
		case held != nil && part > 0.6:
			fmt.Println("it is closed")
			err = held.Rollback(ctx)
			m.hold, held = false, nil
		}
		if err != nil {
			return err
		}
	}
}

// open begins a transaction that sees what is there, and goes on to.
func (m *meter) open(ctx context.Context) (pgx.Tx, error) {
	tx, err := m.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err == nil {
		_, err = tx.Exec(ctx, "SELECT count(*) FROM "+m.schema+".queue")
	}
	return tx, err
}

func (m *meter) measure(ctx context.Context) (sample, error) {
	now := time.Now()
	s := sample{at: now.Sub(m.begun), figures: make(map[string]float64)}
	done := m.load.cycles.Load()
	s.figures[cycles] = float64(done-m.cycles) / now.Sub(m.last).Seconds()
	m.cycles, m.last = done, now
	for h, names := range map[*histogram][2]string{&m.load.enqueue: {enqueueP50, enqueueP99}, &m.load.receive: {receiveP50, receiveP99}, &m.load.ack: {ackP50, ackP99}} {
		for i, d := range h.take(0.5, 0.99) {
			s.figures[names[i]] = float64(d) / float64(time.Millisecond)
		}
	}
	var deadRows int64
	var inTables, inIndexes int64
	err := m.pool.QueryRow(ctx, `SELECT sum(n_dead_tup)::bigint, sum(pg_table_size(relid))::bigint, sum(pg_indexes_size(relid))::bigint
		FROM pg_stat_all_tables WHERE schemaname = $1`, m.schema).Scan(&deadRows, &inTables, &inIndexes)
	if err != nil {
		return s, err
	}
	const mb = 1 << 20
	s.figures[dead], s.figures[tableSize], s.figures[indexSize] = float64(deadRows), float64(inTables)/mb, float64(inIndexes)/mb
	if s.figures[buffers], err = m.look(ctx); err != nil {
		return s, err
	}
	info, err := m.load.broker.Queue(busy).Info(ctx)
	if err != nil {
		return s, err
	}
	all := int64(0)
	for _, n := range info.Counts {
		all += n
	}
	s.figures[pending] = float64(info.Counts.Waiting())
	s.figures[kept] = float64(all) - s.figures[pending]
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	s.figures[heap], s.figures[goroutines] = float64(mem.HeapAlloc)/mb, float64(runtime.NumGoroutine())
	return s, nil
}

// look returns how many buffers a look for the next 64 jobs of the busy queue reads, found in memory or not.
func (m *meter) look(ctx context.Context) (n float64, err error) {
	err = pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off"); err != nil {
			return err
		}
		var text []byte
		err := tx.QueryRow(ctx, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT id, spec, status FROM "+m.schema+".job WHERE qid = (SELECT qid FROM "+m.schema+".queue"+
			" WHERE account = '' AND name = '"+busy+"') AND state = 4 ORDER BY priority DESC, position LIMIT 64").Scan(&text)
		if err != nil {
			return err
		}
		var plans []struct {
			Plan struct {
				Hit  float64 `json:"Shared Hit Blocks"`
				Read float64 `json:"Shared Read Blocks"`
			}
		}
		if err := json.Unmarshal(text, &plans); err != nil {
			return err
		}
		n = plans[0].Plan.Hit + plans[0].Plan.Read
		return nil
	})
	return n, err
}

// columns are what is printed of a sample.
var columns = []string{cycles, enqueueP50, enqueueP99, receiveP50, receiveP99, ackP50, ackP99, dead, tableSize, indexSize, buffers, pending, kept, heap, goroutines}

func printHead() {
	fmt.Print("| s |")
	for _, name := range columns {
		fmt.Printf(" %s |", name)
	}
	fmt.Print("\n|---|")
	for range columns {
		fmt.Print("---|")
	}
	fmt.Println()
}

func (s sample) print() {
	fmt.Printf("| %.0f |", s.at.Seconds())
	for _, name := range columns {
		fmt.Printf(" %.*f |", digits(name), s.figures[name])
	}
	fmt.Println()
}

func digits(figure string) int {
	switch figure {
	case cycles, dead, buffers, pending, kept, goroutines:
		return 0
	}
	return 1
}

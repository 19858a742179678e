package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A Clock takes the place of a schema's clock, for all nodes: the time of the server and a shift that the test sets.
type Clock struct {
	t      testing.TB
	pool   *pgxpool.Pool
	schema string // quoted
}

// NewClock replaces the clock of a schema, which has to be there. It begins without a shift.
func NewClock(t testing.TB, pool *pgxpool.Pool, schema string) *Clock {
	t.Helper()
	c := &Clock{t, pool, pgx.Identifier{schema}.Sanitize()}
	c.execute("CREATE TABLE " + c.schema + ".shift (by interval NOT NULL)")
	c.execute("INSERT INTO " + c.schema + ".shift VALUES ('0')")
	// It reads a table, so that one commit moves it for everybody, and a snapshot that is older keeps the older time.
	c.execute("CREATE OR REPLACE FUNCTION " + c.schema + ".clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS " +
		"$$ SELECT pg_catalog.clock_timestamp() + by FROM " + c.schema + ".shift $$")
	return c
}

// Advance moves the clock by d; back if that is negative. Each transaction that begins after it has returned sees the new time. Nobody is told.
func (c *Clock) Advance(d time.Duration) {
	c.t.Helper()
	c.execute("UPDATE "+c.schema+".shift SET by = by + $1 * interval '1 microsecond'", d.Microseconds())
}

// Now returns what the clock says.
func (c *Clock) Now() time.Time {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var now time.Time
	if err := c.pool.QueryRow(ctx, "SELECT "+c.schema+".clock()").Scan(&now); err != nil {
		c.t.Fatal(err)
	}
	return now.UTC()
}

func (c *Clock) execute(statement string, args ...any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := c.pool.Exec(ctx, statement, args...); err != nil {
		c.t.Fatal(err)
	}
}

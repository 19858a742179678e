package pgtest_test

import (
	"testing"
	"time"

	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

func TestAClockIsMovedForEverybodyByTheTestAlone(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := pgtest.Schema(t)
	execute(t, pool, "CREATE SCHEMA "+schema)
	execute(t, pool, "CREATE FUNCTION "+schema+".clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()'")
	clock := pgtest.NewClock(t, pool, schema)
	other := pgtest.Connect(t, pgtest.DSN(t))
	var shift time.Duration
	for _, step := range []time.Duration{0, 24 * time.Hour, -time.Hour, time.Microsecond} {
		clock.Advance(step)
		shift += step
		var before, got, after time.Time // three looks, in this order, by the server
		row := other.QueryRow(within(t), "WITH b AS MATERIALIZED (SELECT clock_timestamp() AS b), g AS MATERIALIZED (SELECT b, "+schema+".clock() AS g FROM b) SELECT b, g, clock_timestamp() FROM g")
		if err := row.Scan(&before, &got, &after); err != nil {
			t.Fatal(err)
		}
		if got.Before(before.Add(shift)) || got.After(after.Add(shift)) {
			t.Errorf("after %v: got a shift of %v, want %v", step, got.Sub(before), shift)
		}
		if now := clock.Now(); now.Before(got) {
			t.Errorf("Now is %v after %v", now, got)
		}
	}
}

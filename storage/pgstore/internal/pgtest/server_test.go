package pgtest_test

import (
	"testing"

	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

func TestAServerOfItsOwnKeepsWhatWasCommittedWhenItIsKilled(t *testing.T) {
	s := pgtest.Server(t, nil)
	pool := pgtest.Connect(t, s.DSN())
	if got := text(t, pool, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s", got)
	}
	execute(t, pool, "CREATE TABLE kept AS SELECT 1 AS n")
	s.Kill()
	if _, err := pool.Exec(within(t), "SELECT 1"); err == nil {
		t.Error("a server that was killed still answers")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := text(t, pgtest.Connect(t, s.DSN()), "SELECT n::text FROM kept"); got != "1" {
		t.Errorf("got %s, want 1", got)
	}
}

func TestTheSettingsOfAServer(t *testing.T) {
	pool := pgtest.Connect(t, pgtest.Server(t, pgtest.Fast).DSN())
	if got := text(t, pool, "SHOW fsync"); got != "off" {
		t.Errorf("fsync is %s", got)
	}
}

package pgstore_test

import (
	"testing"

	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// TestCheckAfterTheConnectionsHaveEnded: that the server ended them is nothing that Check reports.
func TestCheckAfterTheConnectionsHaveEnded(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, nil)
	n.mustAdd(mail, "")
	for range 5 {
		sql(t, dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if err := n.Check(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}

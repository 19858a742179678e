package pgstore

import (
	"fmt"
	"strings"
)

// settings returns what makes the store's own connections independent of what a server, database or role has set.
func settings(o Options) string {
	set := []string{
		// Statistics of a table that changes completely within seconds are always wrong: a plan by them reads all that is pending, or that ever
		// was, for one job. There is one right plan for each statement, and it is by an index.
		"enable_seqscan = off", "enable_bitmapscan = off", "enable_hashjoin = off", "enable_mergejoin = off",
		"enable_indexscan = on", "enable_indexonlyscan = on", "enable_nestloop = on", "enable_sort = on",
		"plan_cache_mode = force_generic_plan", "jit = off", "max_parallel_workers_per_gather = 0",
		// What is sent in one trip is a transaction that says nothing of itself.
		"default_transaction_isolation = 'read committed'", "default_transaction_read_only = off",
		// Names without a schema are PostgreSQL's own, whatever somebody has put before them.
		"search_path = pg_catalog",
		// What is sent and received as text is to be read as it was written.
		"client_encoding = 'UTF8'", "standard_conforming_strings = on", "bytea_output = hex", "datestyle = 'ISO'", "timezone = 'UTC'", "array_nulls = on",
		// The server gives up what the client has given up long ago.
		fmt.Sprintf("lock_timeout = %d", o.LockTimeout.Milliseconds()),
		fmt.Sprintf("statement_timeout = %d", 2*patience.Milliseconds()),
		fmt.Sprintf("idle_in_transaction_session_timeout = %d", 2*patience.Milliseconds()),
	}
	return "SET " + strings.Join(set, "; SET ")
}

package pgstore

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A setting is one of a connection, or a transaction.
type setting struct{ name, value string }

// settings make the store's own connections independent of what a server, database or role has set.
func settings(o Options) []setting {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return []setting{
		// Statistics of a table that changes completely within seconds are always wrong: a plan by them reads all that is pending, or that ever
		// was, for one job. There is one right plan for each statement, and it is by an index.
		{"enable_seqscan", "off"}, {"enable_bitmapscan", "off"}, {"enable_hashjoin", "off"}, {"enable_mergejoin", "off"},
		{"enable_indexscan", "on"}, {"enable_indexonlyscan", "on"}, {"enable_nestloop", "on"}, {"enable_sort", "on"},
		{"plan_cache_mode", "force_generic_plan"}, {"jit", "off"}, {"max_parallel_workers_per_gather", "0"},
		// What is sent in one trip is a transaction that says nothing of itself.
		{"default_transaction_isolation", "read committed"}, {"default_transaction_read_only", "off"},
		// Names without a schema are PostgreSQL's own, whatever somebody has put before them.
		{"search_path", "pg_catalog"},
		// What is sent and received as text is to be read as it was written.
		{"client_encoding", "UTF8"}, {"standard_conforming_strings", "on"}, {"bytea_output", "hex"}, {"datestyle", "ISO"}, {"timezone", "UTC"}, {"array_nulls", "on"},
		// The server gives up what the client has given up long ago.
		{"lock_timeout", ms(o.LockTimeout)}, {"statement_timeout", ms(2 * patience)}, {"idle_in_transaction_session_timeout", ms(2 * patience)},
	}
}

// setAll returns the statement that sets them, for the connection or for the transaction only: a connection of a pooler is somebody else's after it.
func setAll(o Options, transaction bool) string {
	var calls []string
	for _, s := range settings(o) {
		calls = append(calls, fmt.Sprintf("pg_catalog.set_config('%s', '%s', %v)", s.name, s.value, transaction))
	}
	return "SELECT " + strings.Join(calls, ", ")
}

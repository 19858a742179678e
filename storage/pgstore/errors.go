package pgstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pollackq/pollack/storage"
)

// errAlone says that a function needs a transaction of its own. It stays inside.
var errAlone = errors.New("needs a transaction of its own")

// errHeld says that others have locked what a function wants to change. It stays inside.
var errHeld = errors.New("is locked by another transaction")

// errStale says that what was read is no longer so. It stays inside.
var errStale = errors.New("has been changed meanwhile")

// errUndone says that a commit was answered by a rollback. It stays inside.
var errUndone = errors.New("was rolled back")

// A verdict is what an error of the database means for a transaction that has certainly not been committed.
type verdict int

const (
	final  verdict = iota // it will be the same next time
	stale                 // what was read, or taken for granted, has changed: run again
	exists                // an id or key is in use that was taken to be free
	locked                // it stood too long behind another's lock
	lost                  // the connection is gone, or leads to a server that takes no writes
	mute                  // the notifications do not fit
)

// judge tells conditions of PostgreSQL apart by their SQLSTATE (PostgreSQL's documentation, appendix A).
func judge(err error) verdict {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		var unread pgx.ScanArgError
		switch {
		case errors.Is(err, errStale), errors.Is(err, errUndone):
			return stale
		case errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgx.ErrTooManyRows), errors.As(err, &unread), errors.Is(err, storage.ErrCorrupt):
			return final
		}
		return lost
	}
	switch {
	case pg.Code == wantCode, pg.Code == "40001", pg.Code == "40P01": // serialization_failure, deadlock_detected
		return stale
	case pg.Code == "23505": // unique_violation
		return exists
	case pg.Code == "55P03", pg.Code == "57014": // lock_not_available, query_canceled
		return locked
	case pg.Code == "54000" && strings.Contains(pg.Message, "NOTIFY"): // program_limit_exceeded
		return mute
	case strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "57P"), pg.Code == "25P03", pg.Code == "25P04", pg.Code == "53300":
		// connection_exception, operator_intervention, idle_in_transaction_session_timeout, transaction_timeout, too_many_connections
		return lost
	case pg.Code == "25006", pg.Code == "0A000":
		// read_only_sql_transaction; feature_not_supported, which a standby says to READ WRITE, and any server to a statement that was prepared
		// before its table was changed.
		return lost
	}
	return final
}

// certain reports whether an error that came in place of a commit's success proves that there was no commit. An ERROR does, since the
// server has then rolled back, and so does that nothing could be sent. Whatever ends the connection proves nothing, even if it has a code; nor
// does ErrConnClosed, though pgx calls it safe: that is also what a MultiResultReader says whose connection ended before the first answer.
//
// The server cannot be asked later either. pg_xact_status tells what became of a transaction's number, but the number of one that a crash
// has ended is given again, to another: it would be taken for committed when that is.
func certain(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" || errors.Is(err, errUndone) ||
		pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed)
}

// wantCode is what the schema's function want raises.
const wantCode = "PK001"

// told returns an error as callers get it: one of package storage's where there is one that fits.
func told(err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrCorrupt):
		return err
	case errors.As(err, &pg) && (pg.Code == "53100" || pg.Code == "53400"): // disk_full, configuration_limit_exceeded
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	case errors.As(err, &pg) && (pg.Code == "26000" || pg.Code == "42P05"): // invalid_sql_statement_name, duplicate_prepared_statement
		return fmt.Errorf("pgstore: a pooler that does not know prepared statements (set pgx's default_query_exec_mode=exec): %w", err)
	case judge(err) != final:
		return fmt.Errorf("%w: %w", storage.ErrBusy, err)
	}
	return fmt.Errorf("pgstore: %w", err)
}

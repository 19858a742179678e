package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Migrate makes the schema, or brings it up to date. New does that too unless Options.NoMigrate is set: then whoever may change the database
// runs Migrate before a new version of the code is started. Any number of processes may do so at once. A schema that is up to date is only read.
//
// Each migration happens as a whole or not at all, and none is ever taken back. One that fails leaves the schema as the one before it made it, and
// may be tried again. Where the schema itself exists already, made for us by somebody else, its owner is left as it is.
func Migrate(ctx context.Context, pool *pgxpool.Pool, o *Options) error {
	options, err := o.withDefaults()
	if err != nil {
		return err
	}
	options.NoMigrate = false
	return pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return openSchema(ctx, c.Conn(), options) })
}

//go:embed migrations/*.sql
var files embed.FS

// A migration leads from the version before it to its own. The first line of its file says the oldest version of the code that can still work with what
// it makes: while nodes of two versions run side by side, the newer ones must not take the ground from under the older.
type migration struct {
	version int
	oldest  int
	name    string // of the file, without its ending
	sql     string // {schema} stands for the quoted name of the schema
}

func embedded() ([]migration, error) { return readMigrations(files) }

// readMigrations returns the migrations of a file system, from version 1 on without gaps.
func readMigrations(fsys fs.FS) ([]migration, error) {
	names, err := fs.Glob(fsys, "migrations/*.sql") // in order
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		m := migration{name: strings.TrimSuffix(path.Base(name), ".sql"), sql: string(text)}
		number, _, _ := strings.Cut(m.name, "_")
		if m.version, err = strconv.Atoi(number); err != nil || m.version != len(all)+1 {
			return nil, fmt.Errorf("migration %s: want version %d", m.name, len(all)+1)
		}
		line, _, _ := strings.Cut(m.sql, "\n")
		number, ok := strings.CutPrefix(line, "-- oldest: ")
		if m.oldest, err = strconv.Atoi(number); err != nil || !ok || m.oldest < 1 || m.oldest > m.version {
			return nil, fmt.Errorf("migration %s: the first line has to be -- oldest: N", m.name)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, errors.New("there are no migrations")
	}
	return all, nil
}

// migrate applies what a schema lacks.
func migrate(ctx context.Context, conn *pgx.Conn, schema string, all []migration) error {
	current := all[len(all)-1].version
	for {
		state, err := readSchema(ctx, conn, schema)
		if err == nil {
			err = state.usable(schema, current)
		}
		if err != nil || state.version >= current {
			return err
		}
		m := all[state.version]
		// Read committed, whatever the database's default is: what others did while we waited for the lock has to be seen.
		options := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
		if err := pgx.BeginTxFunc(ctx, conn, options, func(tx pgx.Tx) error { return m.apply(ctx, tx, schema) }); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
}

// apply runs the migration and makes a note of it, unless another process has come first.
func (m migration) apply(ctx context.Context, tx pgx.Tx, schema string) error {
	// A wait for the others is not to be cut short by limits that are meant for queries. Names without a schema are of PostgreSQL's own, and not what
	// somebody put into the path.
	_, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL search_path = pg_catalog")
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockKey(schema)); err != nil {
		return err
	}
	state, err := readSchema(ctx, tx, schema)
	if err != nil || state.version >= m.version {
		return err
	}
	if m.version == 1 {
		if err := begin(ctx, tx, schema); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, strings.ReplaceAll(m.sql, "{schema}", quoted(schema))); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO "+quoted(schema)+".migration VALUES ($1, $2, clock_timestamp())", m.version, m.oldest)
	return err
}

// begin makes the schema with the table of its migrations. A schema that is there is used as it is: to create one takes a right that its owner need not have.
func begin(ctx context.Context, tx pgx.Tx, schema string) error {
	var exists bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema).Scan(&exists); err != nil {
		return err
	}
	statements := `CREATE TABLE {schema}.migration (version integer PRIMARY KEY, oldest integer NOT NULL, applied timestamptz NOT NULL);
		COMMENT ON TABLE {schema}.migration IS 'What has made this schema. oldest is the oldest version of the code that can work with it.'`
	if !exists {
		statements = `CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS 'Queues of Pollack (github.com/pollackq/pollack)';` + statements
	}
	_, err := tx.Exec(ctx, strings.ReplaceAll(statements, "{schema}", quoted(schema)))
	return err
}

// lockKey names the lock that those who migrate a schema take, one after the other.
func lockKey(schema string) int64 {
	h := fnv.New64a()
	h.Write([]byte("pollack migration " + schema))
	return int64(h.Sum64())
}

package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

const (
	oldestServer = 130000 // as server_version_num has it: what we use of SQL and of the settings of tables is there since PostgreSQL 13
	encoding     = "UTF8" // lengths and the order of strings are those of their UTF-8
)

// A schemaState says what a schema holds: the version of the migration that came last, 0 if there is none, and the oldest version of this code
// that can work with it.
type schemaState struct {
	version, oldest int
}

// openSchema returns nil if there is a schema that this code can work with. It makes one, or brings it up to date, unless Options.NoMigrate is set.
// Where there is nothing to be done it only reads, so that a role without the right to create anything can do that.
func openSchema(ctx context.Context, conn *pgx.Conn, o Options) error {
	err := prepare(ctx, conn, o)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("pgstore: %w", err)
	}
	return nil
}

func prepare(ctx context.Context, conn *pgx.Conn, o Options) error {
	if err := checkServer(ctx, conn); err != nil {
		return err
	}
	all, err := embedded()
	if err != nil {
		return err
	}
	state, err := readSchema(ctx, conn, o.Schema)
	if err != nil {
		return err
	}
	current := all[len(all)-1].version
	if state.version >= current || !o.NoMigrate {
		return migrate(ctx, conn, o.Schema, all)
	}
	if state.version == 0 {
		return fmt.Errorf("schema %s does not exist, or is empty, and Options.NoMigrate is set: run Migrate first", o.Schema)
	}
	return fmt.Errorf("schema %s has version %d, this code needs %d, and Options.NoMigrate is set: run Migrate first", o.Schema, state.version, current)
}

// usable returns nil if code whose latest migration has the given version can work with the schema, or bring it so far.
func (s schemaState) usable(schema string, code int) error {
	if s.oldest > code {
		return fmt.Errorf("schema %s has version %d, which needs code of version %d or later; this code has %d: update it", schema, s.version, s.oldest, code)
	}
	return nil
}

// A queryer is a connection or a transaction.
type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// readSchema returns the state of a schema. One that does not exist, or has nothing of ours, has version 0.
func readSchema(ctx context.Context, q queryer, schema string) (schemaState, error) {
	var exists bool
	err := q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = 'migration')`, schema).Scan(&exists)
	if err != nil || !exists {
		return schemaState{}, err
	}
	var s schemaState
	err = q.QueryRow(ctx, "SELECT version, oldest FROM "+quoted(schema)+".migration ORDER BY version DESC LIMIT 1").Scan(&s.version, &s.oldest)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("schema %s has a table migration without rows: it is damaged, or somebody else's", schema)
	}
	return s, err
}

// checkServer returns an error if the connection is to a server or database that this code cannot work with.
func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var name, version, coding string
	var number int
	err := conn.QueryRow(ctx, `SELECT pg_catalog.current_database()::text, pg_catalog.current_setting('server_version'),
		pg_catalog.current_setting('server_version_num')::integer, pg_catalog.current_setting('server_encoding')`).Scan(&name, &version, &number, &coding)
	if err != nil {
		return err
	}
	return suits(name, version, number, coding)
}

func suits(database, version string, number int, coding string) error {
	if number < oldestServer {
		return fmt.Errorf("the server has PostgreSQL %s: it has to be %d or later", version, oldestServer/10000)
	}
	if coding != encoding {
		return fmt.Errorf("database %q has the encoding %s: it has to be %s (CREATE DATABASE ... ENCODING '%[3]s' TEMPLATE template0)", database, coding, encoding)
	}
	return nil
}

// quoted returns a name as SQL takes it.
func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

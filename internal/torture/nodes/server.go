package nodes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/pgserver"
	"github.com/pollackq/pollack/internal/torture/attack"
)

// limit is how long anything may take that takes no time.
const limit = time.Minute

// Start starts a server whose files lie in the folder of the run.
func Start(r *attack.Run, settings map[string]string) (*pgserver.Server, error) {
	if err := os.Chmod(r.Dir, 0o755); err != nil { // it is another user's server
		return nil, err
	}
	return pgserver.Start(filepath.Join(r.Dir, "postgres"), settings)
}

// Execute runs statements, each by itself, on a connection of its own.
func Execute(dsn string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%w: %s", err, s)
		}
	}
	return nil
}

// Pool returns connections, which f may have something to do with. Those of one schema say so in their application_name.
func Pool(dsn, schema string, f *Frail) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["application_name"] = schema
	config.MaxConns = 2 // a store opens its own
	if f != nil {
		config.ConnConfig.DialFunc = f.dial(config.ConnConfig.DialFunc)
	}
	return pgxpool.NewWithConfig(context.Background(), config)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/pgserver"
)

// A postgres is the server of a table: that which the environment names, or one started for the table.
type postgres struct {
	dsn     string // "" has pgx look at the environment
	server  *pgserver.Server
	remove  func()
	admin   *pgx.Conn
	schemas int    // made so far
	most    int    // connections that are left for a queue
	about   string // the server's version and settings
}

// newPostgres starts a server below r.dir unless the environment names one.
func newPostgres(ctx context.Context, r *run) (*postgres, error) {
	p := &postgres{remove: func() {}}
	if !pgserver.Named() {
		dir, remove, err := r.temp()
		if err != nil {
			return nil, err
		}
		p.remove = remove
		if p.server, err = pgserver.Start(dir, nil); err != nil {
			remove()
			return nil, err
		}
		p.dsn = p.server.DSN()
	}
	if err := p.look(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// look connects, and notes what the server is and how it is set.
func (p *postgres) look(ctx context.Context) (err error) {
	if p.admin, err = p.connect(ctx, nil); err != nil {
		return err
	}
	show := func(name string) (value string) {
		if err == nil {
			err = p.admin.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value)
		}
		return value
	}
	var settings []string
	p.about = "PostgreSQL " + show("server_version")
	for _, name := range []string{"fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "autovacuum", "jit"} {
		settings = append(settings, name+" "+show(name))
	}
	p.about += ": " + strings.Join(settings, ", ")
	if err != nil {
		return err
	}
	const most = `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - count(*)
		FROM pg_stat_activity WHERE backend_type = 'client backend'`
	return p.admin.QueryRow(ctx, most).Scan(&p.most)
}

// config returns what to connect with, the connection's own settings included.
func (p *postgres) config(settings map[string]string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(p.dsn)
	if err != nil {
		return nil, err
	}
	for name, value := range settings {
		c.RuntimeParams[name] = value
	}
	return c, nil
}

func (p *postgres) connect(ctx context.Context, settings map[string]string) (*pgx.Conn, error) {
	c, err := p.config(settings)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, c)
}

// pool makes a pool of at most so many connections.
func (p *postgres) pool(ctx context.Context, most int) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(p.dsn)
	if err != nil {
		return nil, err
	}
	c.MaxConns = int32(most)
	return pgxpool.NewWithConfig(ctx, c)
}

// schema makes a schema for one measurement, which drop removes with all that is in it.
func (p *postgres) schema(ctx context.Context) (name string, drop func() error, err error) {
	p.schemas++
	name = fmt.Sprintf("pollack_bench_%d_%d", os.Getpid(), p.schemas)
	if _, err := p.admin.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
		return "", nil, err
	}
	return name, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := p.admin.Exec(ctx, "DROP SCHEMA "+name+" CASCADE")
		return err
	}, nil
}

func (p *postgres) close() error {
	defer p.remove()
	var errs []error
	if p.admin != nil {
		errs = append(errs, p.admin.Close(context.Background()))
	}
	if p.server != nil {
		errs = append(errs, p.server.Stop())
	}
	return errors.Join(errs...)
}

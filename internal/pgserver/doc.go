// Package pgserver starts PostgreSQL servers for tests and measurements: each on a free port of loopback with data of its own, so that it may
// be killed and started again.
//
//	s, err := pgserver.Start(dir, nil)
//	if errors.Is(err, pgserver.ErrNone) {
//		t.Skip(err)
//	}
//	...
//	defer s.Stop()
//	pool, err := pgxpool.New(ctx, s.DSN())
//
// A server that the environment names (Named) may be somebody's: it is for use, not to be killed. Calls of one Server's methods come one after the other.
package pgserver

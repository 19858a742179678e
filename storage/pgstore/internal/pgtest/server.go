package pgtest

import (
	"os"
	"testing"

	"github.com/pollackq/pollack/internal/pgserver"
)

// Server returns a server that is the test's alone, to be stopped, killed and started again. It is as durable as PostgreSQL is, unless the settings
// say otherwise (Fast), and is gone when the test has ended.
func Server(t testing.TB, settings map[string]string) *pgserver.Server {
	t.Helper()
	if !shared.inMain {
		t.Fatal("pgtest is for packages whose TestMain calls pgtest.Main or pgtest.Run")
	}
	s, dir, err := startServer(settings)
	if err != nil {
		without(t, err)
	}
	t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

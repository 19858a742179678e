package pgtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// connect returns a connection through a proxy, which is closed with the test.
func connect(t *testing.T, p *pgtest.Proxy) (*pgx.Conn, error) {
	t.Helper()
	conn, err := pgx.Connect(within(t), p.DSN())
	if err == nil {
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
	return conn, err
}

func mustConnect(t *testing.T, p *pgtest.Proxy) *pgx.Conn {
	t.Helper()
	conn, err := connect(t, p)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func answers(t *testing.T, conn *pgx.Conn) error {
	var n int
	err := conn.QueryRow(within(t), "SELECT 1").Scan(&n)
	if err == nil && n != 1 {
		t.Fatalf("got %d", n)
	}
	return err
}

func TestAProxyDropsConnections(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	conn := mustConnect(t, p)
	if err := answers(t, conn); err != nil {
		t.Fatal(err)
	}
	p.Drop()
	if err := answers(t, conn); err == nil {
		t.Error("a connection that was dropped still answers")
	}
	if err := answers(t, mustConnect(t, p)); err != nil {
		t.Errorf("a new connection after Drop: %v", err)
	}
}

func TestAProxyLetsNobodyThroughUntilItIsHealed(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	conn := mustConnect(t, p)
	p.Cut()
	if err := answers(t, conn); err == nil {
		t.Error("a connection that was cut still answers")
	}
	if _, err := connect(t, p); err == nil {
		t.Error("got a new connection through a network that is cut")
	}
	p.Heal()
	if err := answers(t, mustConnect(t, p)); err != nil {
		t.Errorf("a new connection after Heal: %v", err)
	}
}

func TestAProxyThatStallsKeepsWhatIsSent(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	conn := mustConnect(t, p)
	p.Stall()
	p.Stall()
	done := make(chan error, 1)
	go func() { done <- answers(t, conn) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, p.DSN()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a new connection through a stalled network: got %v", err)
	}
	select {
	case err := <-done:
		t.Errorf("a stalled network answered: %v", err)
	default:
	}
	p.Heal()
	if err := <-done; err != nil {
		t.Errorf("after Heal: %v", err)
	}
	p.Heal()
}

func TestTheEndOfAServerIsNotThatOfTheNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with l
		if conn, err := l.Accept(); err == nil {
			conn.Write([]byte("bye"))
			conn.Close()
		}
	}()
	config, err := pgx.ParseConfig(pgtest.NewProxy(t, fmt.Sprintf("host=127.0.0.1 port=%d", l.Addr().(*net.TCPAddr).Port)).DSN())
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, err := io.ReadAll(conn); err != nil || string(said) != "bye" {
		t.Errorf("got %q, %v; want all that it said, and an end in good order", said, err)
	}
}

func TestAProxyCutsBeforeOrAfterACommit(t *testing.T) {
	pool := pgtest.Pool(t)
	execute(t, pool, "CREATE TABLE done (what text)")
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	for _, c := range []struct {
		what string
		cut  func() <-chan struct{}
		want string
	}{
		{"before", func() <-chan struct{} { return p.CutAtRequest("commit") }, "0"},
		{"after", func() <-chan struct{} { return p.CutAtAnswer("COMMIT") }, "1"},
	} {
		conn, other := mustConnect(t, p), mustConnect(t, p)
		for range 2 { // that has passed already is not what is waited for
			tx, err := conn.Begin(within(t))
			if err == nil {
				err = tx.Commit(within(t))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		tx, err := conn.Begin(within(t))
		if err != nil {
			t.Fatal(err)
		}
		cut := c.cut()
		if _, err := tx.Exec(within(t), "INSERT INTO done VALUES ('"+c.what+"')"); err != nil {
			t.Fatalf("%s: cut too early: %v", c.what, err)
		}
		if err := tx.Commit(within(t)); err == nil {
			t.Errorf("%s: the commit passed", c.what)
		}
		select {
		case <-cut:
		case <-time.After(long):
			t.Fatalf("%s: nothing was cut", c.what)
		}
		if err := answers(t, other); err != nil {
			t.Errorf("%s: another connection was cut: %v", c.what, err)
		}
		if got := text(t, pool, "SELECT count(*)::text FROM done WHERE what = '"+c.what+"'"); got != c.want {
			t.Errorf("cut %s the commit: found %s rows, want %s", c.what, got, c.want)
		}
	}
}

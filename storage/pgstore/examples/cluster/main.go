// Command cluster shows several servers that share one queue on PostgreSQL, and that it does not matter if one of them dies. It starts three servers
// as processes of their own, enqueues jobs over HTTP at all three, has consumers poll all three, kills one server on the way, with SIGKILL, and with it
// a consumer that has just taken jobs, and adds up what the clients have seen and what the database has.
//
//	go run ./examples/cluster [-jobs N] [-dsn DSN]
//
// from the folder storage/pgstore. It uses the database that -dsn or the usual variables (PGHOST, PGPORT, PGDATABASE, PGSERVICE) name, in a schema of its
// own, which it drops in the end. Without them it starts a server from Debian's package postgresql in a temporary folder. It says something like
//
//	PostgreSQL 15.18 (Debian 15.18-0+deb12u1), schema cluster_l2vhtzvwjvjk
//	node 1, process 26895, at http://127.0.0.1:46487
//	node 2, process 26897, at http://127.0.0.1:46531
//	node 3, process 26898, at http://127.0.0.1:43655
//	killed node 2
//	                  enqueued  delivered  acked  no answer
//	          node 1       995        997    997          0
//	  node 2, killed       338        337    330          7
//	          node 3      1667       1672   1673          0
//	        together      3000       3006   3000          7
//	calls without an answer, made again at another node: 7; of these had been carried out all the same: submits 0, acks 0
//	deliveries in the database: 3006; nobody got 0 of them; leases that lapsed: 6; acks that came too late: 0
//	jobs in the database: 3000, succeeded: 3000; after 6.5 s
//	enqueued 3000, acked 3000, lost 0, acked twice 0, redelivered 6, one of 3 nodes killed
//
// and ends with status 0 if, and only if, everything adds up. A client whose server is gone repeats its call at another one: a submit has a key and an
// ack a token, so that the job is enqueued once and acked once, whatever became of the first call. What the dead consumer held, and what was in answers
// that nobody got, comes back when its lease has lapsed, after two seconds here.
//
// This file has the order of things; node.go is a server, cluster.go its process, load.go the clients, ledger.go what they know, database.go the rest.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	nodes  = 3
	victim = 1 // of them
	queue  = "load"
	lease  = 2 * time.Second
)

func main() {
	if isNode() {
		exit(serve())
	}
	c := config{out: os.Stdout}
	flag.IntVar(&c.jobs, "jobs", 3000, "how many `jobs` to enqueue, at least 30")
	flag.StringVar(&c.dsn, "dsn", "", "`database` to use, as postgres://... or key=value pairs; without it as the PG* variables say, or a server of its own")
	flag.Parse()
	if c.jobs < 30 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, c))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type config struct {
	jobs int
	dsn  string
	temp string // where the folder of a server of its own goes: "" for the system's
	out  io.Writer
}

// run does all of it, and leaves nothing behind.
func run(ctx context.Context, c config) (err error) {
	db, err := openDatabase(ctx, c.dsn, c.temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	fmt.Fprintf(c.out, "PostgreSQL %s, schema %s\n", db.version, db.schema)

	cluster, err := start(db, nodes, rand.Text())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.stop()) }()
	for _, n := range cluster.nodes {
		fmt.Fprintf(c.out, "%s, process %d, at %s\n", n.name, n.cmd.Process.Pid, n.url)
	}

	known := newLedger(c.jobs, nodes)
	killed := make(chan error, 1)
	known.kill = func() {
		node := cluster.nodes[victim]
		killed <- node.kill()
		fmt.Fprintf(c.out, "killed %s\n", node.name)
	}
	began := time.Now()
	if err := load(ctx, cluster.clients(), known); err != nil {
		return err
	}
	if err := <-killed; err != nil {
		return err
	}
	took := time.Since(began)

	// One side is what the clients were told; the other is asked of a node that still runs, and of the database itself.
	jobs, err := cluster.nodes[0].jobs(ctx)
	if err != nil {
		return err
	}
	states, err := db.states(ctx)
	if err != nil {
		return err
	}
	if err := db.check(ctx); err != nil {
		return err
	}
	sum := known.add(jobs, states)
	fmt.Fprint(c.out, sum.table(cluster), sum.details(took))
	fmt.Fprintln(c.out, sum)
	if len(sum.wrong) > 0 {
		return errors.New("it does not add up: " + strings.Join(sum.wrong, "; "))
	}
	return nil
}

package kill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// An order is what a child is to do, as JSON in its only argument.
type order struct {
	File  string
	Load  life.Load
	Kept  bool // ended jobs are kept
	Serve bool // over HTTP, to clients who keep the ledger
}

// pipe is the descriptor on which a child tells: that it has begun, then the ledger, or where it listens.
const pipe = 3

const begun = "begun\n"

func (o order) options() *jobqueue.Options {
	if o.Kept {
		return &jobqueue.Options{}
	}
	return &jobqueue.Options{Retention: -1, Tombstone: -1}
}

// child works until it is killed.
func child(args []string) int {
	if err := work(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

func work(arg string) error {
	var o order
	if err := json.Unmarshal([]byte(arg), &o); err != nil {
		return err
	}
	told := os.NewFile(pipe, "pipe")
	if _, err := told.WriteString(begun); err != nil {
		return err
	}
	store, err := boltstore.Open(o.File, nil)
	if err != nil {
		return err
	}
	broker, err := jobqueue.New(store, o.options())
	if err != nil {
		return err
	}
	if !o.Serve {
		err := life.Play(context.Background(), broker, o.Load, told)
		return fmt.Errorf("play ended: %w", errors.Join(err, errors.New("it was not killed")))
	}
	h, err := httpapi.New(broker, &httpapi.Options{AllowAnonymous: true, House: true})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(told, l.Addr()); err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

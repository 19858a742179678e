// Package callbacks attacks what connects to addresses that strangers name, and what tells them of the ends of jobs (threats: SSRF, DNS rebinding,
// Redirect to inside, URL tricks, Callback storm; I21).
package callbacks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Addresses has callbacks and fetches go to hostile URLs: addresses inside in every spelling and wrapping, names that resolve to something else at each
// look, public servers that redirect inside. It runs in a network of its own in which every address there is leads to its own server, so a connection to
// any address is seen, and none leaves the machine. No connection may come to an address that is not public by the list of another library
// (code.dny.dev/ssrf), and no redirect may be followed; while there have to be connections to public ones.
//
// It sees what is connected to, not what a proxy or a router outside makes of a public address.
var Addresses = &attack.Technique{
	Name:    "callbacks",
	Promise: "whatever URL, name or redirect a stranger sends a callback to, no connection is made to the inside",
	Unit:    "URLs",
	CI:      3000,
	Release: 100_000,
	Control: 3000,
	Minutes: 1.5,
	Needs:   []string{"ip"},
	Root:    true,
	Run:     runAddresses,
	Child:   childAddresses,
}

// A report is what the process in its own network says, a line of JSON each.
type report struct {
	Done    int
	Bad     string
	Figures map[string]int64
}

func runAddresses(r *attack.Run) {
	cmd := attack.Command(r.Context(), "callbacks", strconv.FormatUint(r.Seed, 10), strconv.Itoa(r.N))
	cmd.SysProcAttr = ownNetwork()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil { // as in a container that may make no networks
		fmt.Fprintln(os.Stderr, "callbacks: no network of its own:", err)
		r.Count("networks that could not be made", 1)
		return
	}
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var line report
		if err := lines.Decode(&line); err != nil {
			if !errors.Is(err, io.EOF) && !r.Over() {
				r.Bad("the process said something else: %v", err)
			}
			break
		}
		r.Done(line.Done)
		for name, n := range line.Figures {
			r.Count(name, n)
		}
		if line.Bad != "" {
			r.Bad("%s", line.Bad)
		}
	}
	if err := cmd.Wait(); err != nil && !r.Over() {
		r.Bad("the process ended: %v", err)
	}
}

func childAddresses(args []string) int {
	seed, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		panic(err)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	w, err := newNetwork(func(r report) { out.Encode(r) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "callbacks:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	w.attack(ctx, seed, n)
	w.close()
	return 0
}

// Command keep copies what the fuzz targets have found to be interesting, and what Go's build cache has of it, into the committed corpus: the
// shortest inputs that cover statements which the corpus does not cover yet. It is run in the folder of the torture.
//
//	go run ./fuzz/keep                  after a long run of the technique fuzz
//	go run ./fuzz/keep FuzzRecord       one target
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/pollackq/pollack/internal/torture/fuzz"
)

func main() {
	most := flag.Int("most", 24, "how many files a target may have")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := keep(ctx, *most, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "keep:", err)
		os.Exit(1)
	}
}

func keep(ctx context.Context, most int, names []string) error {
	dir, err := os.MkdirTemp("", "keep-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return fuzz.Keep(ctx, dir, most, names, os.Stdout)
}

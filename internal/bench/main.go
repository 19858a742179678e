package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	runChild()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // leaves neither servers nor files
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command prints the tables that args name, or all that are not apart. It prints each as soon as it is measured.
func command(ctx context.Context, args []string, out, usage io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	r := &run{}
	flags.IntVar(&r.reps, "reps", 5, "how often each row is measured")
	flags.DurationVar(&r.span, "for", 2*time.Second, "how long each measurement of a rate lasts")
	flags.BoolVar(&r.smoke, "smoke", false, "see whether all works: one repetition of 100ms at small sizes, unless -reps and -for say otherwise")
	flags.StringVar(&r.dir, "dir", os.TempDir(), "the `folder` for durable files; what it lies on is what is measured")
	flags.Usage = func() {
		fmt.Fprintf(usage, "usage: bench [flags] [table...]\n\n")
		for _, t := range tables {
			fmt.Fprintf(usage, "  %-10s %s\n", t.name, t.about)
		}
		fmt.Fprintln(usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if r.smoke {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["reps"] {
			r.reps = 1
		}
		if !given["for"] {
			r.span = 100 * time.Millisecond
		}
	}
	if r.reps < 1 || r.span <= 0 {
		return errors.New("-reps and -for must be above 0")
	}
	chosen := slices.DeleteFunc(slices.Clone(tables), func(t tableMaker) bool { return t.apart })
	if flags.NArg() > 0 {
		chosen = nil
		for _, name := range flags.Args() {
			i := slices.IndexFunc(tables, func(t tableMaker) bool { return t.name == name })
			if i < 0 {
				return fmt.Errorf("there is no table %q", name)
			}
			chosen = append(chosen, tables[i])
		}
	}
	if err := printMachine(out, r); err != nil {
		return err
	}
	for _, c := range chosen {
		t, err := c.make(r)
		if err == nil {
			err = t.measure(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		t.print(out, r.reps)
	}
	return nil
}

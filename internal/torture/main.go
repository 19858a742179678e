// Command torture attacks the promises of Pollack: it kills processes, cuts power, breaks disks, damages files, jumps clocks, floods HTTP
// servers, and looks each time whether what was promised held. Each technique first has to find faults that are planted for it.
//
//	go run .               the release column, as far as an hour allows, then the planted faults
//	go run . -ci           what each change gets
//	go run . kill power    some techniques, or planted faults, by name
//	go run . -h            the techniques and the faults there are, and the flags
//
// It prints a table of what was done and found, with the seed of each run; -seed repeats one. What a technique needs and is not there is
// said in the table.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/planted"
)

func main() {
	attack.RunChild(techniques)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	ci       bool
	span     time.Duration
	seed     uint64
	n        int
	dir      string
	controls bool
	inside   bool
}

func command(ctx context.Context, args []string, out, usage io.Writer) error {
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	flags.SetOutput(usage)
	var o options
	flags.BoolVar(&o.ci, "ci", false, "do as much as each change gets, not as much as a release")
	flags.DurationVar(&o.span, "for", 0, "how long at most, shared among the techniques by what they take; 0 is an hour, with -ci 5m")
	flags.Uint64Var(&o.seed, "seed", 0, "what is random comes from it; 0 is a random one")
	flags.IntVar(&o.n, "n", 0, "how many units of each technique; 0 is as many as its column says")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "the `folder` for files: what it lies on is what is attacked")
	flags.BoolVar(&o.controls, "controls", true, "look whether the planted faults are found, too")
	flags.BoolVar(&o.inside, "inside", false, "run one technique in this process, and print its result as JSON")
	control := flags.Bool("control", false, "with -inside: there is a planted fault")
	flags.Usage = func() {
		fmt.Fprintf(usage, "usage: torture [flags] [technique or fault...]\n\n")
		for _, t := range techniques {
			fmt.Fprintf(usage, "  %-12s %s\n", t.Name, t.Promise)
		}
		fmt.Fprintln(usage)
		for _, f := range planted.Faults {
			fmt.Fprintf(usage, "  %-28s %s\n", f.Name, f.What)
		}
		fmt.Fprintln(usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	chosen, faults, err := choose(flags.Args(), o)
	if err != nil {
		return err
	}
	if o.inside {
		if len(chosen) != 1 {
			return errors.New("-inside takes one technique")
		}
		return inside(ctx, chosen[0], o, *control)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if o.span == 0 {
		o.span = time.Hour
		if o.ci {
			o.span = 5 * time.Minute
		}
	}
	return all(ctx, chosen, faults, o, out)
}

// choose finds what the arguments name. Nothing named is all, but for what each change gets elsewhere.
func choose(names []string, o options) (chosen []*attack.Technique, faults []*planted.Fault, err error) {
	if len(names) == 0 {
		for _, t := range techniques {
			if !o.ci || !t.Apart {
				chosen = append(chosen, t)
			}
		}
		for _, f := range planted.Faults {
			if o.controls && (!o.ci || !f.Apart) {
				faults = append(faults, f)
			}
		}
		return chosen, faults, nil
	}
	for _, name := range names {
		if i := slices.IndexFunc(techniques, func(t *attack.Technique) bool { return t.Name == name }); i >= 0 {
			chosen = append(chosen, techniques[i])
		} else if i := slices.IndexFunc(planted.Faults, func(f *planted.Fault) bool { return f.Name == name }); i >= 0 {
			faults = append(faults, planted.Faults[i])
		} else {
			return nil, nil, fmt.Errorf("there is no technique or fault %q: -h lists them", name)
		}
	}
	return chosen, faults, nil
}

// inside runs one technique here.
func inside(ctx context.Context, t *attack.Technique, o options, control bool) error {
	if o.span > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, o.span)
		defer stop()
	}
	dir, err := os.MkdirTemp(o.dir, "torture-"+t.Name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return json.NewEncoder(os.Stdout).Encode(t.Do(ctx, &attack.Run{Seed: o.seed, N: o.n, Dir: dir, Control: control}))
}

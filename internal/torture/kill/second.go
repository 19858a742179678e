package kill

// Technique second: one file, several processes that want it (I17).
//
// Some processes open a file that is not there, all at once: one gets it, the others are told that it is in use, each within its timeout.
// So is whoever opens it here, while the process holds it, and again while this one does. Then the holder is killed while somebody here waits
// for the file: who waits gets it.

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/syscalls/ram"
	"github.com/pollackq/pollack/storage/boltstore"
)

const secondName = "second"

// Second opens a file that is open.
var Second = &attack.Technique{
	Name:    secondName,
	Promise: "a file that is open is refused to others within their timeout, in this process and in another, until its holder is gone (I17)",
	Unit:    "files",
	CI:      12,
	Release: 500,
	Control: 4,
	Minutes: 1,
	Run:     second,
	Child:   rival,
}

const (
	rivals     = 4
	rivalWait  = 100 * time.Millisecond
	inTime     = 10 * time.Second // the most that a timeout may be overrun on a busy machine
	rivalGot   = "got\n"
	rivalInUse = "in use\n"
)

func second(r *attack.Run) {
	dir, remove := ram.Dir(r)
	defer remove()
	r.Each(2, func(unit int, rnd *rand.Rand) {
		path := filepath.Join(dir, fmt.Sprint("second", unit))
		defer os.Remove(path)
		if err := contend(r, path, rnd); err != nil && !r.Over() {
			r.Bad("unit %d: %v", unit, err)
		}
	})
}

// contend does one unit.
func contend(r *attack.Run, path string, rnd *rand.Rand) error {
	held, wait := 0, make(map[string]int)
	var holder *os.Process
	type rival struct {
		out *bufio.Reader
		p   *os.Process
	}
	var all []rival
	for range rivals {
		cmd := attack.Command(r.Context(), secondName, path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if _, err := cmd.StdinPipe(); err != nil { // its end is ours
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		all = append(all, rival{bufio.NewReader(out), cmd.Process})
	}
	late := time.AfterFunc(rivalWait+inTime, func() {
		for _, a := range all {
			a.p.Kill()
		}
	})
	defer late.Stop()
	for _, a := range all {
		line, err := a.out.ReadString('\n')
		if err != nil {
			return fmt.Errorf("of %d processes that opened one file at once one told nothing within %v, its timeout was %v: %w", rivals, inTime, rivalWait, err)
		}
		wait[line]++
		if line == rivalGot {
			held++
			holder = a.p
		}
	}
	late.Stop()
	if held != 1 || wait[rivalInUse] != rivals-1 {
		return fmt.Errorf("of %d processes that opened one file at once these were told: %v", rivals, wait)
	}
	if err := refused(path, time.Duration(1+rnd.IntN(50))*time.Millisecond); err != nil {
		return fmt.Errorf("while a process has the file open: %w", err)
	}
	type opened struct {
		store *boltstore.Store
		err   error
	}
	got := make(chan opened, 1)
	go func() {
		s, err := boltstore.Open(path, &boltstore.Options{Timeout: patience})
		got <- opened{s, err}
	}()
	if err := holder.Kill(); err != nil {
		return err
	}
	o := <-got
	if o.err != nil {
		return fmt.Errorf("after its holder was killed: %w", o.err)
	}
	defer o.store.Close()
	if err := refused(path, time.Duration(1+rnd.IntN(50))*time.Millisecond); err != nil {
		return fmt.Errorf("while this process has the file open: %w", err)
	}
	return nil
}

// refused returns why an Open was not refused as it is to be.
func refused(path string, timeout time.Duration) error {
	done := make(chan error, 1)
	begun := time.Now()
	go func() {
		s, err := boltstore.Open(path, &boltstore.Options{Timeout: timeout})
		if err == nil {
			s.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, boltstore.ErrLocked) {
			return fmt.Errorf("opening it again: got %w, want %w", err, boltstore.ErrLocked)
		}
		if took := time.Since(begun); took > timeout+inTime {
			return fmt.Errorf("opening it again took %v, its timeout is %v", took, timeout)
		}
		return nil
	case <-time.After(timeout + inTime):
		return fmt.Errorf("opening it again has not returned after %v, its timeout is %v", timeout+inTime, timeout)
	}
}

// rival opens the file of its argument, tells what came of it, and holds what it got until it is killed.
func rival(args []string) int {
	_, err := boltstore.Open(args[0], &boltstore.Options{Timeout: rivalWait})
	switch {
	case err == nil:
		fmt.Print(rivalGot)
	case errors.Is(err, boltstore.ErrLocked):
		fmt.Print(rivalInUse)
	default:
		fmt.Println(err)
	}
	os.Stdin.Read(make([]byte, 1))
	return 0
}

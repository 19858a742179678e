// Package leaks sees to it that the tests of a package leave nothing behind: no goroutine, no open file, no temporary file. (I11, I19)
//
//	func TestMain(m *testing.M) { leaks.Main(m) }
package leaks

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// limit is how long what a test has ended may take to be gone. It is not what is measured.
var limit = 10 * time.Second

// inTest is set in the processes that tests start: these are looked after by who started them, and may be killed at any time.
const inTest = "POLLACK_LEAKS_IN_TEST"

// Main runs the tests and ends the process, with status 1 if they passed but left something behind.
func Main(m *testing.M) { os.Exit(Run(m.Run)) }

// Run is Main without the end: it returns the exit status of the tests, or 1. While they run, temporary files go to a folder of their own.
func Run(tests func() int) int {
	if os.Getenv(inTest) != "" || isSet("test.fuzzworker") {
		return tests()
	}
	before, err := openFiles()
	if err != nil {
		return complain(err)
	}
	folder, err := os.MkdirTemp("", "leaks-")
	if err != nil {
		return complain(err)
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o711); err != nil { // a server that root starts may be another user's, who has to get to its files in here
		return complain(err)
	}
	for name, value := range map[string]string{"TMPDIR": folder, "TMP": folder, "TEMP": folder, inTest: "1"} {
		defer restore(name)()
		os.Setenv(name, value)
	}
	if status := tests(); status != 0 {
		return status // whatever failed may have left what it had no time to end
	}
	checks := []func() error{noGoroutine, func() error { return noFile(before) }}
	if !isSet("test.fuzz") { // a worker that is killed leaves its files
		checks = append(checks, func() error { return nothingIn(folder) })
	}
	for _, check := range checks {
		if err := settled(check); err != nil {
			return complain(err)
		}
	}
	return 0
}

// restore returns what sets an environment variable back to what it is now.
func restore(name string) func() {
	old, set := os.LookupEnv(name)
	if !set {
		return func() { os.Unsetenv(name) }
	}
	return func() { os.Setenv(name, old) }
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "leaks:", err)
	return 1
}

// isSet reports whether a flag of go test was given. go test -fuzz starts workers, which it may kill at any time.
func isSet(name string) bool {
	if !flag.Parsed() {
		flag.Parse()
	}
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != f.DefValue
}

// settled repeats a check until it finds nothing, or the limit is over: what has been told to end may still be at it.
func settled(check func() error) error {
	end := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause *= 2 {
		err := check()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(pause)
	}
}

func noGoroutine() error {
	if err := goleak.Find(); err != nil {
		return fmt.Errorf("the tests have left goroutines: %w", err)
	}
	return nil
}

// noFile compares what is open with what was before the tests.
func noFile(before map[string]string) error {
	now, err := openFiles()
	if err != nil {
		return err
	}
	var left []string
	for number, name := range now {
		if before[number] != name && !strings.HasPrefix(name, "anon_inode:") { // the runtime's own, made when first needed
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("the tests have left open: %q", left)
	}
	return nil
}

func nothingIn(folder string) error {
	var left []string
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && path != folder {
			left = append(left, path)
		}
		return err
	})
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("the tests have left files: %q", left)
	}
	return err
}

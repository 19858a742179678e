package leaks

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const leak = "POLLACK_LEAKS_TEST_LEAK"

// leaky are the ways to leave something behind, and what is said of each.
var leaky = map[string]struct {
	leave func() error
	says  string
}{
	"nothing": {func() error { return nil }, ""},
	"what ended late": {func() error {
		done := make(chan struct{})
		go func() { <-done }()
		f, err := os.CreateTemp("", "")
		if err != nil {
			return err
		}
		go func() { close(done); f.Close(); os.Remove(f.Name()) }()
		return nil
	}, ""},
	"a goroutine": {func() error { go func() { select {} }(); return nil }, "goroutines"},
	"an open file": {func() error {
		f, err := os.CreateTemp("", "")
		if err != nil {
			return err
		}
		kept = f
		return os.Remove(f.Name())
	}, "open"},
	"a socket": {func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		kept = l
		return err
	}, "open"},
	"a temporary file":   {func() error { return os.WriteFile(filepath.Join(os.TempDir(), "left"), nil, 0o600) }, "files"},
	"a temporary folder": {func() error { _, err := os.MkdirTemp("", ""); return err }, "files"},
}

var kept any // so that nothing is closed by the garbage collector

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(leak); ok {
		if leaky[name].says != "" {
			limit = 0 // it will not go away
		}
		os.Exit(Run(func() int {
			if err := leaky[name].leave(); err != nil {
				return complain(err)
			}
			return 0
		}))
	}
	Main(m)
}

// What leaves something behind is found; these are the controls for all the packages whose tests end with Main.
func TestEachKindOfLeakIsFound(t *testing.T) {
	for name, l := range leaky {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			for _, e := range os.Environ() {
				if !strings.HasPrefix(e, inTest+"=") {
					cmd.Env = append(cmd.Env, e)
				}
			}
			cmd.Env = append(cmd.Env, leak+"="+name)
			said, err := cmd.CombinedOutput()
			if found := err != nil; found != (l.says != "") || !strings.Contains(string(said), l.says) {
				t.Errorf("got %v, %q; want it to say %q", err, said, l.says)
			}
		})
	}
}

func TestTestsThatFailKeepTheirStatus(t *testing.T) {
	t.Setenv(inTest, "")
	if got := Run(func() int { return 3 }); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
}

// A package with tests that does not end them here would not be looked at.
func TestEveryPackageOfTheModuleEndsItsTestsHere(t *testing.T) {
	ends := make(map[string]bool) // by folder
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "../..":
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		ends[dir] = ends[dir] || endsHere(string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ends) < 10 {
		t.Errorf("found %d packages with tests only", len(ends))
	}
	for dir, ok := range ends {
		if !ok {
			t.Errorf("%s: no TestMain calls leaks.Main, leaks.Run or proc.Main", dir)
		}
	}
}

func endsHere(text string) bool {
	_, main, _ := strings.Cut(text, "func TestMain(m *testing.M) {")
	main, _, _ = strings.Cut(main, "\n}\n")
	for _, call := range []string{"leaks.Main(m)", "leaks.Run(", "proc.Main(m,", "\tMain(m)"} {
		if strings.Contains(main, call) {
			return true
		}
	}
	return false
}

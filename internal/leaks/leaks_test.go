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

package pgserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
)

// ErrNone means that no server can be started on this machine, for a reason that the error names. It is not what a server fails with that is there.
var ErrNone = errors.New("there is no PostgreSQL server")

// Named reports whether variables of the environment name a server. Then pgx and libpq connect to it by an empty DSN.
func Named() bool {
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGSERVICE"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// findPrograms returns the folder with the newest initdb and postgres: Debian's, which are not in PATH, or those that are.
func findPrograms() (string, error) {
	const debian = "/usr/lib/postgresql/*/bin"
	if !supported {
		return "", fmt.Errorf("%w: it is started on Unix only", ErrNone)
	}
	newest, version := "", 0
	folders, _ := filepath.Glob(debian)
	for _, dir := range folders {
		v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err == nil && v > version && hasPrograms(dir) {
			newest, version = dir, v
		}
	}
	if newest != "" {
		return newest, nil
	}
	if program, err := exec.LookPath("postgres"); err == nil {
		if program, err = filepath.EvalSymlinks(program); err == nil && hasPrograms(filepath.Dir(program)) {
			return filepath.Dir(program), nil
		}
	}
	return "", fmt.Errorf("%w: neither %s nor PATH has initdb and postgres (Debian: apt-get install postgresql), and no PGHOST names another", ErrNone, debian)
}

func hasPrograms(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// An owner is the user that the server runs as.
type owner struct {
	other    bool // than the user of this process
	uid, gid int
}

func findOwner() (owner, error) {
	if os.Geteuid() != 0 {
		return owner{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return owner{}, fmt.Errorf("%w: it refuses to run as root, and there is no user postgres: %w", ErrNone, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return owner{true, uid, gid}, errors.Join(err, err2)
}

// own makes a folder the owner's.
func (o owner) own(dir string) error {
	if !o.other {
		return nil
	}
	return os.Chown(dir, o.uid, o.gid)
}

// freePort returns a port that nobody has at this moment. It is below those that systems give to outgoing connections, so that it is still free
// when a killed server is started again.
func freePort() (string, error) {
	const tries = 100
	var err error
	for range tries {
		port := strconv.Itoa(15_000 + rand.IntN(15_000))
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", err
}

package attack

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages are the Debian packages of programs that are not named like theirs.
var packages = map[string]string{"nginx": "nginx-light", "fusermount3": "fuse3", "h2load": "nghttp2-client", "mkfs.xfs": "xfsprogs", "mkfs.ext4": "e2fsprogs", "ip": "iproute2", "postgres": "postgresql"}

// folders are where Debian puts programs that are not in PATH.
var folders = map[string]string{"postgres": "/usr/lib/postgresql/*/bin/postgres"}

func isThere(program string) bool {
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	found, _ := filepath.Glob(folders[program])
	return len(found) > 0
}

// Missing says what a technique needs and is not there, "" if nothing. With CI set, and as root, it installs programs from Debian.
func Missing(ctx context.Context, t *Technique) string {
	if t.Root && os.Geteuid() != 0 {
		return "needs root"
	}
	for _, file := range t.Files {
		if _, err := os.Stat(file); err != nil {
			return "needs " + file
		}
	}
	var install []string
	for _, program := range t.Needs {
		if isThere(program) {
			continue
		}
		name := packages[program]
		if name == "" {
			name = program
		}
		install = append(install, name)
	}
	if len(install) == 0 {
		return ""
	}
	if _, err := exec.LookPath("apt-get"); err == nil && os.Getenv("CI") != "" && os.Geteuid() == 0 {
		exec.CommandContext(ctx, "apt-get", "-qq", "update").Run()
		if exec.CommandContext(ctx, "apt-get", append([]string{"-qq", "install", "-y"}, install...)...).Run() == nil {
			return ""
		}
	}
	return "needs Debian's " + strings.Join(install, ", ")
}

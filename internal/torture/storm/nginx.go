package storm

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed nginx.conf
var nginxConf string

// An nginx is one that runs as a child.
type nginx struct {
	url  string
	addr string
	cmd  *exec.Cmd
	dir  string
}

// startNginx starts one in front of a server, with its files in a folder, and waits until it listens. It dies with ctx.
func startNginx(ctx context.Context, dir, upstream string) (*nginx, error) {
	var err error
	for range 5 { // the port may be taken meanwhile
		var n *nginx
		if n, err = tryNginx(ctx, dir, upstream); err == nil {
			return n, nil
		}
	}
	return nil, err
}

func tryNginx(ctx context.Context, dir, upstream string) (*nginx, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, port, upstream, dir), 0o600); err != nil {
		return nil, err
	}
	n := &nginx{url: "http://" + addr, addr: addr, dir: dir, cmd: exec.CommandContext(ctx, "nginx", "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", conf)}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for range 1000 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return n, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	n.kill()
	log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
	return nil, errors.New("nginx does not listen: " + short(log))
}

// kill ends it at once.
func (n *nginx) kill() {
	n.cmd.Process.Kill()
	n.cmd.Wait()
}

func short(b []byte) string { return fmt.Sprintf("%.500q", b) }

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/leaks"
)

// TestMain is the program itself for the processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("POLLACK_TEST_SERVER") != "" {
		main()
		os.Exit(0)
	}
	leaks.Main(m)
}

// limit is how long anything may take that takes no time. It is not what a test measures.
const limit = time.Minute

// start starts a server process and returns it once it listens.
func start(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "POLLACK_TEST_SERVER=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	kill := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	defer kill.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("got line %q", line)
	}
	return cmd, url
}

// stop sends a signal and returns how long the process then took to end well. One that hangs shows its stacks.
func stop(t *testing.T, cmd *exec.Cmd, s os.Signal) time.Duration {
	t.Helper()
	kill := time.AfterFunc(limit, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	defer kill.Stop()
	begun := time.Now()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after %v: %v, want exit status 0", s, err)
	}
	return time.Since(begun)
}

func connect(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(url, &client.Options{Token: token, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

// park parks a poll and returns, once the request has been sent, where its status will be told: 0 if there was no answer.
func park(t *testing.T, url string) <-chan int {
	t.Helper()
	sent := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/queues/q/poll?timeout=30", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	status := make(chan int, 1)
	go func() {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	<-sent
	return status
}

func TestASignalEndsItAtOnceThoughPollsAreParked(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			cmd, url := start(t, "-token", "secret", "-db", filepath.Join(t.TempDir(), "jobs.db"), "-prefix", "/some/path")
			if !strings.HasSuffix(url, "/some/path") {
				t.Errorf("listens on %s", url)
			}
			var polls []<-chan int
			for range 20 {
				polls = append(polls, park(t, url))
			}
			idle, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/some/path")) // says nothing
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			c := connect(t, url, "secret")
			for range 20 { // the polls came before
				if _, err := c.Submit(t.Context(), "other", client.NewJob{}); err != nil {
					t.Fatal(err)
				}
			}
			took := stop(t, cmd, s)
			answers := map[int]int{}
			for _, p := range polls {
				answers[<-p]++
			}
			t.Logf("ended %v after the signal; polls were answered %v", took, answers)
			// Those that are not drained are cut when the patience is over, so this is told without a clock.
			if answers[http.StatusNoContent] == 0 {
				t.Errorf("polls were answered %v, want 204 for those that were parked", answers)
			}
		})
	}
}

func TestAKilledServerHasItsJobsWhenItIsBack(t *testing.T) {
	db := filepath.Join(t.TempDir(), "jobs.db")
	ctx := t.Context()
	cmd, url := start(t, "-token", "secret", "-db", db)
	c := connect(t, url, "secret")
	var want []string
	for i := range 20 {
		j, err := c.Submit(ctx, "q", client.NewJob{Payload: fmt.Appendf(nil, "job %d", i), Key: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, j.ID)
	}
	got, err := c.Poll(ctx, "q", &client.PollOptions{Max: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := got[0].Ack(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()

	cmd, url = start(t, "-token", "secret", "-db", db)
	c = connect(t, url, "secret")
	for i, id := range want {
		j, err := c.Submit(ctx, "q", client.NewJob{Payload: fmt.Appendf(nil, "job %d", i), Key: fmt.Sprint(i)})
		state := client.Pending
		switch id {
		case got[0].ID:
			state = client.Succeeded
		case got[1].ID:
			state = client.Running
		}
		if err != nil || !j.Replayed || j.ID != id || j.State != state {
			t.Fatalf("job %d: got %+v, %v, want the one of before, %v", i, j, err, state)
		}
	}
	if err := got[1].Extend(ctx, time.Minute); err == nil {
		t.Error("the old process still answers")
	}
	if _, err := c.Ack(ctx, got[1].ID, got[1].LeaseToken); err != nil {
		t.Errorf("a lease given before the kill: %v", err)
	}
	stop(t, cmd, syscall.SIGTERM)
}

func TestWhoMayComeIn(t *testing.T) {
	cmd, url := start(t, "-token", "alice=a", "-token", "bob=b=", "-token", "operator")
	ctx := t.Context()
	j, err := connect(t, url, "a").Submit(ctx, "q", client.NewJob{})
	if err != nil || j.Account != "alice" {
		t.Fatalf("got %+v, %v", j, err)
	}
	if _, err := connect(t, url, "b=").Job(ctx, j.ID); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("another account: got %v", err)
	}
	if _, err := connect(t, url, "operator").Job(ctx, j.ID); err != nil {
		t.Errorf("the house: got %v", err)
	}
	for _, token := range []string{"", "b", "alice", "alice=a"} {
		if _, err := connect(t, url, token).Job(ctx, j.ID); !errors.Is(err, client.ErrUnauthorized) {
			t.Errorf("token %q: got %v", token, err)
		}
	}
	stop(t, cmd, syscall.SIGTERM)
}

func TestFlagsThatCannotBeMeantAreRefused(t *testing.T) {
	db := filepath.Join(t.TempDir(), "jobs.db")
	for _, args := range []string{
		"", "-anonymous -token x", "-token alice=", "-token =", "-token ==", "-token a -token b=a", "-anonymous extra", "-nonsense", "-anonymous -ack-window 1ms",
		"-anonymous -max-deliveries x", "-anonymous -addr nowhere", "-anonymous -prefix no/slash", "-anonymous -db " + filepath.Dir(db),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := run(ctx, strings.Fields("-addr 127.0.0.1:0 "+args), io.Discard, io.Discard)
		if err == nil || ctx.Err() != nil {
			t.Errorf("%q: got %v, want an error at once", args, err)
		}
		cancel()
	}
}

func TestAnAckWindowOutOfBoundsEndsWithStatus2(t *testing.T) {
	for _, window := range []string{"0", "-1s", "999ms", "12h1s"} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		cmd := exec.CommandContext(ctx, os.Args[0], "-addr", "127.0.0.1:0", "-anonymous", "-ack-window", window)
		cmd.Env = append(os.Environ(), "POLLACK_TEST_SERVER=1")
		out, err := cmd.CombinedOutput()
		cancel()
		if got := cmd.ProcessState.ExitCode(); got != 2 || !strings.Contains(string(out), "-ack-window") {
			t.Errorf("-ack-window %s: got exit status %d (%v), %q, want 2 and a word on -ack-window", window, got, err, out)
		}
	}
}

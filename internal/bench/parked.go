package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

const (
	polls    = 1000
	idleTime = 10 * time.Second
)

// parked shows what polls that wait cost a server, with the clients in a process of their own.
func parked() error {
	store := memstore.New(nil)
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	defer broker.Shutdown(ctx)
	url, stop, err := serve(broker)
	if err != nil {
		return err
	}
	defer stop()

	before := memory()
	child := exec.Command(os.Args[0], "poll", url, strconv.Itoa(polls))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	defer child.Process.Kill()
	if err := until(func() bool { return broker.Stats().Receivers == polls }); err != nil {
		return err
	}
	fmt.Printf("%d polls parked over loopback; %.1f KiB of memory each\n", polls, float64(memory()-before)/polls/1024)

	calls, cpu, begun := store.Stats(), cpuTime(), time.Now()
	time.Sleep(idleTime)
	idle := store.Stats()
	fmt.Printf("idle for %v: %v of CPU, %d store calls\n", time.Since(begun).Round(time.Millisecond), (cpuTime() - cpu).Round(10*time.Microsecond), idle.Updates+idle.Views-calls.Updates-calls.Views)

	begun = time.Now()
	for range polls {
		if _, err := broker.Queue("bench").Enqueue(ctx, jobqueue.NewJob{Payload: []byte("hello")}); err != nil {
			return err
		}
	}
	answered, distinct := 0, map[string]bool{}
	for lines := bufio.NewScanner(out); lines.Scan(); answered++ {
		distinct[lines.Text()] = true
	}
	took := time.Since(begun)
	if err := child.Wait(); err != nil {
		return err
	}
	after := store.Stats()
	fmt.Printf("%d enqueues answered %d polls with %d distinct jobs in %v, with %d store calls\n",
		polls, answered, len(distinct), took.Round(time.Millisecond), after.Updates+after.Views-idle.Updates-idle.Views)
	if answered != polls || len(distinct) != polls || idle != calls {
		return errors.New("it should have been one call, one poll and one job each, and none before")
	}
	return nil
}

// poll is the clients' process: it polls n times at once and prints the id of each job it gets.
func poll(url string, n int) error {
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0, MaxIdleConnsPerHost: n}}
	var mu sync.Mutex
	var all sync.WaitGroup
	var failed error
	for range n {
		all.Go(func() {
			id, err := pollOnce(client, url)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			fmt.Println(id)
		})
	}
	all.Wait()
	return failed
}

func pollOnce(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url + "/v1/queues/bench/poll?timeout=30")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	var job struct{ ID string }
	err = json.NewDecoder(resp.Body).Decode(&job)
	return job.ID, err
}

// serve mounts a broker on a loopback port.
func serve(broker *jobqueue.Broker) (url string, stop func(), err error) {
	handler, err := httpapi.New(broker, &httpapi.Options{AllowAnonymous: true})
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler}
	server.RegisterOnShutdown(handler.Drain)
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listener)
	}()
	return "http://" + listener.Addr().String(), func() {
		server.Shutdown(context.Background())
		<-served
	}, nil
}

func until(ok func() bool) error {
	for range 60_000 {
		if ok() {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("it did not happen within a minute")
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// cpuTime returns how much CPU this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

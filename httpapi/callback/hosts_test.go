package callback_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

// A gate is a receiver whose host "slow" takes its time, and which counts how many it has at once.
type gate struct {
	takes time.Duration

	mu        sync.Mutex // guards what follows
	now, most int
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != "slow.test" && r.Host != "SLOW.test." {
		return
	}
	g.mu.Lock()
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	time.Sleep(g.takes)
	g.mu.Lock()
	g.now--
	g.mu.Unlock()
}

func to(host string) jobqueue.NewJob { return jobqueue.NewJob{Tags: map[string]string{"host": host}} }

func TestASlowHostDoesNotHoldUpOthers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		perHost   int
		callbacks int
		takes     time.Duration
		within    time.Duration // all of them
		most      int
	}{
		{"by default", 0, 40, 10 * time.Second, 5 * time.Minute, 2},
		{"one at a time", 1, 10, 10 * time.Second, 3 * time.Minute, 1},
		{"many that are quick", 0, 400, 50 * time.Millisecond, 25 * time.Second, 2},
		{"more than fit into the longest wait", 1, 30, 10 * time.Second, 10 * time.Minute, 1},
		{"without limit", -1, 40, 10 * time.Second, 50 * time.Second, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				g := &gate{takes: tt.takes}
				l.answers(g.ServeHTTP)
				began := time.Now()
				var slow []*jobqueue.Job
				for i := range tt.callbacks {
					slow = append(slow, l.add(to([]string{"slow.test", "SLOW.test."}[i%2])))
				}
				l.send(callback.Options{PerHost: tt.perHost})
				for i := range 20 {
					j := l.ended(l.add(to(fmt.Sprintf("quick%d.test", i))).ID, "succeeded")
					if took := j.Finished.Sub(j.Created); tt.perHost >= 0 && took > time.Second {
						l.Errorf("a callback to a quick host took %v", took)
					}
				}
				l.idle()
				if took := time.Since(began); took > tt.within {
					l.Errorf("got all told after %v, want it within %v", took, tt.within)
				}
				if n, most := int(l.broker.Stats().Delivered), 10*(tt.callbacks+20); n > most {
					l.Errorf("got %d deliveries, want at most %d: who waits does not come too often", n, most)
				}
				if g.most != tt.most {
					l.Errorf("got %d at the slow host at once, want %d", g.most, tt.most)
				}
				if n := len(l.requests()); n != tt.callbacks+20 {
					l.Errorf("got %d requests, want %d", n, tt.callbacks+20)
				}
				for _, j := range slow {
					if j := l.ended(j.ID, "succeeded"); j.Deliveries != 1 {
						l.Errorf("got %d deliveries, want 1: waiting does not count", j.Deliveries)
					}
				}
			})
		})
	}
}

func TestHostsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := callback.NewHosts(1)
		for i := range 1000 {
			name := fmt.Sprintf("%d.test", i)
			h.Enter(name)
			if wait, ok := h.Enter(name + "."); ok || wait <= 0 || wait > 30*time.Second {
				t.Errorf("at a busy host: got %v, %v, want a time to wait", wait, ok)
			}
			time.Sleep(time.Minute)
			h.Leave(name, time.Minute)
			if n := h.Len(); n > 1 {
				t.Fatalf("got %d hosts kept, want only the latest", n)
			}
		}
	})
}

package callback_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

// A host that is down while a thousand callbacks are for it is left alone as it asks, is never asked by many at once, and is told all of them once it is
// up again; one that is gone is asked once for each; others notice nothing (threat: Callback storm).
func TestAStormOfCallbacksLeavesAHostThatIsDownAlone(t *testing.T) {
	inLab(t, func(l *lab) {
		const many, asked, down = 1000, 10 * time.Minute, 3 * time.Hour
		began := time.Now()
		now, most := 0, 0
		l.answers(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Host == "gone.test":
				w.WriteHeader(http.StatusGone)
			case r.Host == "down.test" && time.Since(began) < down:
				l.mu.Lock()
				now++
				most = max(most, now)
				l.mu.Unlock()
				time.Sleep(100 * time.Millisecond)
				l.mu.Lock()
				now--
				l.mu.Unlock()
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		for range many {
			l.add(to("down.test"))
		}
		for range 100 {
			l.add(to("gone.test"))
		}
		l.send(callback.Options{})
		quick := l.ended(l.add(to("quick.test")).ID, "succeeded")
		if took := quick.Finished.Sub(quick.Created); took > time.Minute {
			l.Errorf("another host was told after %v", took)
		}
		l.idle()
		times := make(map[string][]time.Time)
		hosts := make(map[string]int)
		perSecond := make(map[int64]int)
		for _, r := range l.requests() {
			hosts[r.host]++
			times[r.id] = append(times[r.id], r.at)
			if r.host == "down.test" && r.at.Sub(began) < down {
				perSecond[r.at.Unix()]++
			}
		}
		for id, at := range times {
			for i := 1; i < len(at); i++ {
				if pause := at[i].Sub(at[i-1]); pause < asked {
					l.Errorf("callback %s was made again after %v, the host asked for %v", id, pause, asked)
				}
			}
			if len(at) > len(delays)+1 {
				l.Errorf("callback %s was made %d times", id, len(at))
			}
		}
		for second, n := range perSecond {
			if n > 21 { // two at a time, of 100 ms each
				l.Errorf("the host that is down got %d requests in second %d", n, second-began.Unix())
			}
		}
		if most > 2 || hosts["gone.test"] != 100 || len(times) != many+101 {
			l.Errorf("got %d at once at the host that is down, %d at the one that is gone, %d callbacks in all", most, hosts["gone.test"], len(times))
		}
		if info, err := l.queue().Info(l.Context()); err != nil || info.Counts[jobqueue.Succeeded] != many+1 || info.Counts[jobqueue.Failed] != 100 {
			l.Errorf("got %+v, %v, want all told but those of the host that is gone", info.Counts, err)
		}
	})
}

// Answers that explode cost neither memory nor time, also with a client that takes compressed ones, which is net/http's own way (threat: Callback
// response abuse).
func TestAnswersThatExplodeCostNothing(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	io.CopyN(z, zeros{}, 256<<20)
	z.Close()
	var taken atomic.Int64
	pour := func(c net.Conn, what io.Reader) {
		n, _ := io.Copy(c, what)
		taken.Add(n)
	}
	gigabyte := func(c net.Conn) { pour(c, io.LimitReader(zeros{}, 1<<30)) }
	for _, tt := range []struct {
		name, begin string
		fn          func(net.Conn)
		ok          bool
	}{
		{"256 MiB of zeros, compressed", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()),
			func(c net.Conn) { c.Write(bomb.Bytes()) }, true},
		{"the same as an error", fmt.Sprintf("HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()),
			func(c net.Conn) { c.Write(bomb.Bytes()) }, false},
		{"1 GiB", "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", gigabyte, true},
		{"1 GiB in one chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n", gigabyte, true},
		{"a chunk of any size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", gigabyte, true},
		{"a status line of 1 GiB", "HTTP/1.1 200 ", gigabyte, false},
		{"a header of 1 GiB", "HTTP/1.1 200 OK\r\nA: ", func(c net.Conn) { pour(c, endless("x")) }, false},
		{"headers without end", "HTTP/1.1 200 OK\r\n", func(c net.Conn) { pour(c, endless("A: b\r\n")) }, false},
		{"provisional answers without end", "", func(c net.Conn) { pour(c, endless("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				taken.Store(0)
				transport := l.client.Transport.(*http.Transport)
				transport.DisableCompression = false
				transport.MaxResponseHeaderBytes = 64 << 10
				l.answers(hijacks(tt.begin, tt.fn))
				l.send(callback.Options{Delays: []time.Duration{}})
				state := callback.CodeFailed
				if tt.ok {
					state = "succeeded"
				}
				began, before := time.Now(), allocated()
				job := l.ended(l.add(jobqueue.NewJob{}).ID, state)
				if n := allocated() - before; n > 16<<20 {
					l.Errorf("got %d bytes of memory used", n)
				}
				if took := time.Since(began); took > 15*time.Second {
					l.Errorf("got it after %v", took)
				}
				if f := job.Failure; f != nil && (len(f.Message) > 100 || strings.Contains(f.Message, "xxx")) {
					l.Errorf("the job tells of the answer: %q", f.Message)
				}
				l.client.CloseIdleConnections()
				l.pass(time.Second)
				if n := taken.Load(); n > 1<<20 {
					l.Errorf("got %d bytes taken", n)
				}
			})
		})
	}
}

// allocated returns how many bytes have been allocated since the process began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// endless is a text that repeats itself.
type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e) <= len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// A receiver that keeps the ids it has seen does a thing once, whatever is repeated to it by the sender or by somebody who listened, and takes nothing
// that is not the sender's (threat: Forged or replayed callback).
func TestForgedAndReplayedCallbacksAreRefused(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(says(503))
		l.send(callback.Options{Delays: []time.Duration{time.Minute, time.Hour}, Jitter: -1})
		job := l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
		other := l.ended(l.add(jobqueue.NewJob{Payload: []byte(`{"state":"failed"}`)}).ID, callback.CodeFailed)
		got := l.requests()
		if len(got) != 6 {
			l.Fatalf("got %d attempts, want 6", len(got))
		}
		v := callback.Verifier{Secrets: []callback.Secret{l.secret}}
		for i, r := range got {
			if err := v.Verify(r.header, []byte(r.body)); (err == nil) != (time.Since(r.at) <= 5*time.Minute) {
				l.Errorf("attempt %d, %v old: got %v", i, time.Since(r.at), err)
			}
			old := callback.Verifier{Secrets: v.Secrets, Tolerance: -1}
			if err := old.Verify(r.header, []byte(r.body)); err != nil {
				l.Errorf("attempt %d, whatever its age: got %v", i, err)
			}
			for _, forged := range []struct {
				what, name, value string
				body              string
			}{
				{"at another time", "webhook-timestamp", fmt.Sprint(time.Now().Add(time.Minute).Unix()), r.body},
				{"under another id", "webhook-id", other.ID.String() + "x", r.body},
				{"under the id of another one", "webhook-id", map[bool]string{true: other.ID.String(), false: job.ID.String()}[r.id == job.ID.String()], r.body},
				{"with the signature of another one", "webhook-signature", got[(i+3)%6].header.Get("webhook-signature"), r.body},
				{"with another version", "webhook-signature", strings.Replace(r.header.Get("webhook-signature"), "v1,", "v2,", 1), r.body},
				{"with no signature", "webhook-signature", "v1,", r.body},
				{"with another body", "x", "y", r.body + " "},
				{"with the body of another one", "x", "y", got[(i+3)%6].body},
			} {
				h := r.header.Clone()
				h.Set(forged.name, forged.value)
				if err := old.Verify(h, []byte(forged.body)); err == nil {
					l.Errorf("attempt %d %s: got no error", i, forged.what)
				}
			}
			if err := (&callback.Verifier{Secrets: []callback.Secret{callback.NewSecret()}, Tolerance: -1}).Verify(r.header, []byte(r.body)); err == nil {
				l.Errorf("attempt %d by another secret: got no error", i)
			}
		}
	})
}

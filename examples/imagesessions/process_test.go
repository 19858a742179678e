package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/proc"
)

func TestKillLosesNothing(t *testing.T) {
	db := filepath.Join(t.TempDir(), "images.db")
	p := proc.Start(t, "-token", "aptr_x", "-db", db)
	c := &caller{t, p.URL, "aptr_x"}
	session, done := c.open(), c.open()
	var images []image
	for i := range 4 {
		images = append(images, c.add(session, picture(i)))
	}
	acked, _ := c.poll(session, "?timeout=0")
	c.want(204, "POST", "/v1/images/"+acked.ID+"/ack", nil)
	leased, token := c.poll(session, "?timeout=0")
	c.want(204, "POST", "/v1/sessions/"+done+"/close", nil)

	half, rest := io.Pipe() // one that is on its way
	cut := make(chan error, 1)
	go func() {
		_, _, _, err := c.try("POST", "/v1/sessions/"+session+"/images", half)
		cut <- err
	}()
	if _, err := rest.Write(picture(99)); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	rest.Close()
	if err := <-cut; err == nil {
		t.Error("the upload that was cut has been answered")
	}

	p = proc.Start(t, "-token", "aptr_x", "-db", db)
	c.url = p.URL
	c.want(410, "GET", "/v1/images/"+acked.ID+"/download", nil)
	c.want(204, "POST", "/v1/images/"+acked.ID+"/ack", nil)
	c.want(410, "GET", "/v1/sessions/"+done+"/poll", nil)
	for i := 2; i < 4; i++ { // not the one that somebody holds
		got, _ := c.poll(session, "?timeout=0")
		if got.ID != images[i].ID || got.Index != i || got.Name != "photo.jpg" || got.Tags["user_id"] != "usr_abc123" {
			t.Errorf("got %+v, want %+v", got, images[i])
		}
		if _, body := c.want(200, "GET", "/v1/images/"+got.ID+"/download", nil); !bytes.Equal(body, picture(i)) {
			t.Errorf("image %d has other bytes", i)
		}
	}
	c.want(204, "GET", "/v1/sessions/"+session+"/poll?timeout=0", nil)
	if i := c.add(session, picture(4)); i.Index != 4 {
		t.Errorf("got index %d, want 4: the image that was cut has none", i.Index)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", c.url+"/v1/images/"+leased.ID+"/ack", nil)
	req.Header = http.Header{"Authorization": {"Bearer aptr_x"}, "Lease-Token": {token}} // of the process that is dead
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 204 {
		t.Errorf("the ack of what was leased before: got %d, want 204", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestALeaseEndsInTimeThoughTheProcessWasKilled(t *testing.T) {
	const window = 2 * time.Second
	db := filepath.Join(t.TempDir(), "images.db")
	p := proc.Start(t, "-token", "aptr_x", "-db", db, "-ack-window", window.String())
	c := &caller{t, p.URL, "aptr_x"}
	session := c.open()
	c.add(session, picture(0))
	began := time.Now()
	first, _ := c.poll(session, "?timeout=0")
	p.Kill()
	p = proc.Start(t, "-token", "aptr_x", "-db", db, "-ack-window", window.String())
	c.url = p.URL
	again, _ := c.poll(session, "?timeout=30")
	if again.ID != first.ID || again.Index != 0 {
		t.Errorf("got %+v, want %+v", again, first)
	}
	if d := time.Since(began); d < window-10*time.Millisecond { // the clock of the machine may be set meanwhile
		t.Errorf("it came back after %v, want %v", d, window)
	}
}

// Several add and one acknowledges while the process is killed, again and again.
func TestKillsAmidTheWork(t *testing.T) {
	const rounds, producers, perRound = 3, 3, 15
	db := filepath.Join(t.TempDir(), "images.db")
	args := []string{"-token", "aptr_x", "-db", db, "-ack-window", "1s"}
	c := &caller{t: t, token: "aptr_x"}
	var session string
	var mu sync.Mutex                                  // guards added, acked
	added, acked := map[string]int{}, map[string]int{} // indexes by id

	for range rounds {
		p := proc.Start(t, args...)
		c.url = p.URL
		if session == "" {
			session = c.open()
		}
		var work sync.WaitGroup
		enough := make(chan struct{}, producers)
		for range producers {
			work.Go(func() {
				for n := 0; ; n++ {
					status, _, answer, err := c.try("POST", "/v1/sessions/"+session+"/images", bytes.NewReader(picture(n)))
					if err != nil {
						return
					}
					var i image
					if status != 201 || json.Unmarshal(answer, &i) != nil {
						t.Errorf("got %d %s", status, answer)
						return
					}
					mu.Lock()
					added[i.ID] = i.Index
					mu.Unlock()
					if n == perRound {
						enough <- struct{}{}
					}
				}
			})
		}
		work.Go(func() {
			for {
				status, _, answer, err := c.try("GET", "/v1/sessions/"+session+"/poll?timeout=1", nil)
				if err != nil {
					return
				}
				var i image
				if status != 200 || json.Unmarshal(answer, &i) != nil {
					continue
				}
				if status, _, _, err := c.try("POST", "/v1/images/"+i.ID+"/ack", nil); err == nil && status == 204 {
					mu.Lock()
					acked[i.ID] = i.Index
					mu.Unlock()
				}
			}
		})
		for range producers {
			<-enough
		}
		p.Kill()
		work.Wait()
	}

	c.url = proc.Start(t, args...).URL
	c.want(204, "POST", "/v1/sessions/"+session+"/close", nil)
	var indexes []int
	seen := map[string]bool{}
	for id, index := range acked {
		seen[id] = true
		indexes = append(indexes, index)
	}
	unanswered := 0
	for {
		status, _, answer, err := c.try("GET", "/v1/sessions/"+session+"/poll?timeout=30", nil)
		if err != nil || status != 200 && status != 410 {
			t.Fatalf("got %d %s, %v", status, answer, err)
		}
		if status == 410 {
			break
		}
		var i image
		c.read(answer, &i)
		switch want, ok := added[i.ID]; {
		case seen[i.ID]:
			t.Errorf("%s came though it was acknowledged", i.ID)
		case !ok:
			unanswered++
		case want != i.Index:
			t.Errorf("%s has index %d, had %d", i.ID, i.Index, want)
		}
		seen[i.ID] = true
		indexes = append(indexes, i.Index)
		c.want(204, "POST", "/v1/images/"+i.ID+"/ack", nil)
	}
	for id := range added {
		if !seen[id] {
			status, _, _, _ := c.try("GET", "/v1/images/"+id+"/download", nil)
			if status != 410 { // else its ack was made and the answer lost
				t.Errorf("%s is lost: its download is %d", id, status)
			}
			indexes = append(indexes, added[id])
		}
	}
	if unanswered > rounds*producers {
		t.Errorf("there are %d images whose adding was not answered, of %d kills with %d under way each", unanswered, rounds, producers)
	}
	slices.Sort(indexes)
	if n := len(slices.Compact(slices.Clone(indexes))); n != len(indexes) {
		t.Errorf("an index was given twice: %d images have %d", len(indexes), n)
	}
	t.Logf("%d images, %d of them acknowledged before their process was killed, %d without an answer", len(indexes), len(acked), unanswered)
}

func TestASignalEndsItWell(t *testing.T) {
	p := proc.Start(t, "-token", "aptr_x", "-db", filepath.Join(t.TempDir(), "images.db"))
	c := &caller{t, p.URL, "aptr_x"}
	session := c.open()
	released := make(chan int, 1)
	go func() {
		status, _, _, _ := c.try("GET", "/v1/sessions/"+session+"/poll?timeout=30", nil)
		released <- status
	}()
	p.Stop(syscall.SIGTERM)
	if status := <-released; status != 204 && status != 503 && status != 0 { // it may have come before the signal, after it, or not at all
		t.Errorf("the poll got %d", status)
	}
}

func TestEachAccountHasItsOwnSessions(t *testing.T) {
	p := proc.Start(t, "-token", "aptr_x", "-token", "bob=aptr_b", "-token", "bob=aptr_c")
	house := &caller{t, p.URL, "aptr_x"}
	bob, bobToo := &caller{t, p.URL, "aptr_b"}, &caller{t, p.URL, "aptr_c"}
	session := bob.open()
	i := bob.add(session, picture(0))
	house.want(404, "GET", "/v1/sessions/"+session+"/poll?timeout=0", nil)
	house.want(404, "GET", "/v1/images/"+i.ID+"/download", nil)
	if got, _ := bobToo.poll(session, "?timeout=0"); got.ID != i.ID {
		t.Errorf("got %+v, want %+v", got, i)
	}
	(&caller{t, p.URL, "aptr_y"}).want(401, "GET", "/v1/sessions/"+session+"/poll", nil)
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "-token"},
		{"-token a=", "TOKEN"},
		{"-token a -token b=a", "this token was given already"},
		{"-token a -ack-window 0", "-ack-window 0s: want from 1s to 12h0m0s"},
		{"-token a -ack-window -1s", "-ack-window"},
		{"-token a -ack-window 13h", "-ack-window"},
		{"-token a -ack-window soon", "-ack-window"},
		{"-token a -retention 0", "-retention 0s: want from 1s"},
		{"-token a -tombstone -1h", "-tombstone -1h0m0s: want from 1s"},
		{"-token a more", `unexpected argument "more"`},
		{"-token a -more", "-more"},
	} {
		status, said := proc.Run(t, append([]string{"-addr", "127.0.0.1:0"}, strings.Fields(c.args)...)...)
		if status != 2 || !strings.Contains(said, c.want) {
			t.Errorf("%s: got status %d and %q, want 2 and %q", c.args, status, said, c.want)
		}
	}
}

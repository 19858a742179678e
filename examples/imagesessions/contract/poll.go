package contract

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("every path is served under both prefixes", "S1-01 S1-02 S1-03 S1-04 D-S1-04", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		for _, v1 := range []string{"/api/v1", "/v1"} {
			other := map[string]string{"/api/v1": "/v1", "/v1": "/api/v1"}[v1]
			session := text(t, w.alice.Do(t, "POST", v1+"/sessions", nil).Want(t, 201), "session_id")
			image := text(t, w.alice.Do(t, "POST", v1+"/sessions/"+session+"/images", "bytes").Want(t, 201), "image_id")
			wantImage(t, w.alice.Do(t, "GET", v1+"/sessions/"+session+"/poll?timeout=30", nil), image)
			if a := w.alice.Do(t, "GET", v1+"/images/"+image+"/download", nil).Want(t, 200); string(a.Body) != "bytes" {
				t.Errorf("%s: downloaded %q", v1, a.Body)
			}
			w.alice.Do(t, "POST", v1+"/images/"+image+"/ack", nil).Want(t, 204)
			w.alice.Do(t, "POST", v1+"/sessions/"+session+"/close", nil).Want(t, 204)
			w.alice.Do(t, "GET", other+"/sessions/"+session+"/poll", nil).Want(t, 410)
		}
		w.alice.Do(t, "GET", "/v2/sessions", nil).Problem(t, 404, "not_found")
	})

	suite.Case("a poll answers one image, whole", "S1-10 S1-18 S1-19 D-S1-18", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := text(t, w.alice.Do(t, "POST", "/v1/sessions", `{"tags": {"user_id": "usr_abc123"}}`).Want(t, 201), "session_id")
		jpeg := "\xff\xd8\xff\xe0 and more"
		var ids []string
		for _, name := range []string{"photo.jpg", "second.jpg", "third.jpg"} {
			a := w.alice.Do(t, "POST", "/v1/sessions/"+session+"/images?filename="+name, jpeg, "Content-Type", "image/jpeg")
			ids = append(ids, text(t, a.Want(t, 201), "image_id"))
		}
		a := w.poll(session, "?timeout=30&max=3&payload=none").Want(t, 200) // there are no such parameters here
		if got := a.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("got content type %q", got)
		}
		got := a.JSON(t)
		want := map[string]any{
			"image_id": ids[0], "image_index": 0.0, "filename": "photo.jpg", "mime_type": "image/jpeg", "size_bytes": float64(len(jpeg)),
			"session_status": "uploading",
		}
		tags, _ := got["tags"].(map[string]any)
		if !maps.Equal(tags, map[string]any{"user_id": "usr_abc123"}) {
			t.Errorf("got tags %v", got["tags"])
		}
		delete(got, "tags")
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for i := 1; i < 3; i++ {
			a := w.poll(session, "?timeout=0")
			wantImage(t, a, ids[i])
			if got := a.JSON(t)["image_index"]; got != float64(i) {
				t.Errorf("got index %v, want %d", got, i)
			}
		}

		without := w.open()
		w.add(without)
		a = w.poll(without, "?timeout=0").Want(t, 200)
		if !strings.Contains(string(a.Body), `"tags":{}`) {
			t.Errorf("without tags: got %s", a.Body)
		}
		if got := slices.Sorted(maps.Keys(a.JSON(t))); len(got) != 7 {
			t.Errorf("got members %v, want 7", got)
		}
	})

	suite.Case("a poll waits as long as it says, 30 seconds at most", "S1-11 S1-12 S1-13 S1-15 D-S1-12", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		for query, want := range map[string]time.Duration{
			"": 30 * time.Second, "?timeout=30": 30 * time.Second, "?timeout=31": 30 * time.Second, "?timeout=99999999999999999999": 30 * time.Second,
			"?timeout=1": time.Second, "?timeout=7": 7 * time.Second, "?timeout=007": 7 * time.Second, "?timeout=0": 0, "?other=1&timeout=2": 2 * time.Second,
		} {
			began := time.Now()
			a := w.poll(session, query).Want(t, http.StatusNoContent)
			if d := time.Since(began); d != want {
				t.Errorf("%s: answered after %v, want %v", query, d, want)
			}
			if len(a.Body) > 0 || a.Header.Get("Content-Type") != "" {
				t.Errorf("%s: got a body: %s %q", query, a.Header.Get("Content-Type"), a.Body)
			}
		}
		for _, query := range []string{
			"?timeout=-1", "?timeout=1.5", "?timeout=5.0", "?timeout=1e1", "?timeout=abc", "?timeout=", "?timeout", "?timeout=%2B5", "?timeout=5s",
			"?timeout=0x10", "?timeout=1&timeout=1", "?timeout=1&timeout=2", "?timeout=%zz", "?timeout=%D9%A3",
		} {
			began := time.Now()
			w.poll(session, query).Problem(t, 400, "invalid_request")
			if d := time.Since(began); d != 0 {
				t.Errorf("%s: refused after %v, want at once", query, d)
			}
		}
		w.add(session)
		w.poll(session, "?timeout=bad").Problem(t, 400, "invalid_request")
		if a := w.poll(session, "?timeout=0").Want(t, 200); a.Header.Get("Delivery-Attempt") != "1" {
			t.Errorf("a refused poll has been given the image: attempt %s", a.Header.Get("Delivery-Attempt"))
		}
	})

	suite.Case("an image is answered at once, also to a poll that waits", "S1-14 S1-13", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		there := w.add(session)
		began := time.Now()
		wantImage(t, w.poll(session, "?timeout=30"), there)
		if d := time.Since(began); d != 0 {
			t.Errorf("an image that was there took %v", d)
		}
		p := w.park(session, "?timeout=30")
		time.Sleep(2 * time.Second)
		comes := w.add(session)
		wantImage(t, p.after(t, 2*time.Second), comes)

		// Of several that wait each gets one of its own.
		first, second := w.park(session, ""), w.park(session, "")
		ids := []string{w.add(session), w.add(session)}
		slices.Sort(ids) // of one millisecond, in which another suite may make ids too
		got := []string{text(t, first.after(t, 0).Want(t, 200), "image_id"), text(t, second.after(t, 0).Want(t, 200), "image_id")}
		if slices.Sort(got); !slices.Equal(got, ids) {
			t.Errorf("got %v, want %v", got, ids)
		}
	})

	suite.Case("a session is done when it is closed and all is acknowledged", "S1-16 S1-17 D-S1-17", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		first, second := w.add(session), w.add(session)
		wantImage(t, w.poll(session, "?timeout=0"), first)
		w.close(session)
		a := w.poll(session, "?timeout=0") // what it has is still delivered
		wantImage(t, a, second)
		if got := a.JSON(t)["session_status"]; got != "closed" {
			t.Errorf("after the close: got session_status %v", got)
		}
		w.poll(session, "?timeout=5").Want(t, 204)
		w.ack(first).Want(t, 204)
		w.poll(session, "?timeout=5").Want(t, 204)
		p := w.park(session, "?timeout=30")
		time.Sleep(3 * time.Second)
		w.ack(second).Want(t, 204)
		p.after(t, 3*time.Second).Problem(t, 410, "queue_done")
		w.poll(session, "").Problem(t, 410, "queue_done")

		// An empty session is done when it is closed; before that it only has nothing.
		empty := w.open()
		w.poll(empty, "?timeout=1").Want(t, 204)
		p = w.park(empty, "?timeout=30")
		time.Sleep(4 * time.Second)
		w.close(empty)
		p.after(t, 4*time.Second).Problem(t, 410, "queue_done")
	})

	suite.Case("a session that is done is 410 for 30 days, and then unknown", "S1-17 D-S1-17", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		acked, closed, late := w.open(), w.open(), w.open()
		image := w.add(late) // and one that is acknowledged long before the close
		w.take(late)
		w.ack(image).Want(t, 204)
		time.Sleep(20 * 24 * time.Hour)
		image = w.add(acked)
		w.take(acked)
		w.close(acked)
		w.close(closed)
		w.close(late)
		w.ack(image).Want(t, 204) // in this moment all three are done
		time.Sleep(30*24*time.Hour - time.Second)
		for _, session := range []string{acked, closed, late} {
			w.poll(session, "").Problem(t, 410, "queue_done")
		}
		w.download(image).Problem(t, 410, "job_gone")
		time.Sleep(2 * time.Second)
		for _, session := range []string{acked, closed, late} {
			w.poll(session, "").Problem(t, 404, "not_found")
		}
		w.download(image).Problem(t, 404, "not_found")
	})

	suite.Case("a loop of polls needs nothing but the token", "S1-20 S1-44", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		const images = 20
		added := make(chan struct{})
		go func() {
			defer close(added)
			for i := range images {
				time.Sleep(time.Duration(i%7) * 9 * time.Second) // short timeouts must not miss it
				if _, err := w.alice.Try(t.Context(), "POST", "/v1/sessions/"+session+"/images", []byte{byte(i), 1}); err != nil {
					t.Error(err)
				}
			}
			if _, err := w.alice.Try(t.Context(), "POST", "/v1/sessions/"+session+"/close", nil); err != nil {
				t.Error(err)
			}
		}()
		var got []byte
		for polls := 0; ; polls++ {
			a := w.poll(session, []string{"", "?timeout=1", "?timeout=0", "?timeout=30"}[polls%4])
			if a.Status == 410 || polls > 10_000 {
				break
			}
			if a.Status == 204 {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			id := text(t, a.Want(t, 200), "image_id")
			got = append(got, w.download(id).Want(t, 200).Body[0])
			w.ack(id).Want(t, 204)
		}
		<-added
		if len(got) != images || !slices.IsSorted(got) {
			t.Errorf("got images %v, want %d in order", got, images)
		}
	})
}

package contract

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

const window = 5 * time.Minute

func init() {
	suite.Case("an ack ends an image for good", "S1-40 S1-44 S1-46 D-S1-40", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		image := w.add(session)
		w.ack(image).Problem(t, 409, "not_delivered")
		w.ack(image, "Lease-Token", "00112233445566778899aabbccddeeff").Want(t, 409)
		id, token := w.take(session)
		a := w.ack(id).Want(t, http.StatusNoContent)
		if len(a.Body) > 0 {
			t.Errorf("got a body: %s", a.Body)
		}
		w.ack(id).Want(t, 204)
		w.ack(id, "Lease-Token", token).Want(t, 204)
		w.alice.Do(t, "POST", "/v1/images/"+id+"/ack", map[string]string{"lease_token": token}).Want(t, 204)
		sleep(2 * window)
		w.poll(session, "?timeout=30").Want(t, 204)
		sleep(24*time.Hour - 3*window)
		w.ack(id).Want(t, 204)
		sleep(3 * window) // its record is no longer kept, only its name
		w.ack(id).Want(t, 204)
		sleep(30 * 24 * time.Hour)
		w.ack(id).Problem(t, 404, "not_found")
		w.ack("img_01ARZ3NDEKTSV4RRFFQ69G5FAV").Problem(t, 404, "not_found")
	})

	suite.Case("each image is acknowledged by itself", "S1-43 S1-44", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		w.add(session)
		w.add(session)
		first, _ := w.take(session)
		second, _ := w.take(session)
		w.ack(second).Want(t, 204)
		w.download(first).Want(t, 200)
		w.download(second).Want(t, 410)
		sleep(window)
		wantImage(t, w.poll(session, "?timeout=0"), first)
		w.poll(session, "?timeout=0").Want(t, 204)
	})

	suite.Case("an image is hidden for 5 minutes, and then comes back", "S1-41 S1-42 S1-47 D-S1-42 D-S1-18", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		began := time.Now()
		first, second := w.add(session), w.add(session)
		wantImage(t, w.poll(session, "?timeout=0"), first)
		sleep(time.Second)
		wantImage(t, w.poll(session, "?timeout=0"), second)
		w.poll(session, "?timeout=0").Want(t, 204)
		sleep(window - 2*time.Second) // a second before the first one's window lapses
		w.poll(session, "?timeout=0").Want(t, 204)
		third := w.add(session)
		sleep(time.Second)
		a := w.poll(session, "?timeout=0") // it comes before the third
		wantImage(t, a, first)
		if d := time.Since(began); d != window {
			t.Fatalf("this test is wrong: %v", d)
		}
		if got := a.JSON(t)["image_index"]; got != 0.0 {
			t.Errorf("it came back with index %v", got)
		}
		sleep(time.Second)
		a = w.poll(session, "?timeout=0")
		wantImage(t, a, second)
		if got := a.JSON(t)["image_index"]; got != 1.0 {
			t.Errorf("it came back with index %v", got)
		}
		wantImage(t, w.poll(session, "?timeout=0"), third)
		w.ack(second).Want(t, 204)
		w.ack(third).Want(t, 204)

		// A poll that waits gets it in the moment of the lapse, and there is no last time.
		sleep(window - 11*time.Second)
		for attempt := 3; attempt < 30; attempt++ {
			a := w.park(session, "?timeout=30").after(t, 10*time.Second)
			wantImage(t, a, first)
			if got := a.Header.Get("Delivery-Attempt"); got != strconv.Itoa(attempt) {
				t.Errorf("got attempt %s, want %d", got, attempt)
			}
			sleep(window - 10*time.Second)
		}
	})

	suite.Case("the window begins with the poll's answer", "S1-41", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		p := w.park(session, "?timeout=30")
		sleep(20 * time.Second)
		image := w.add(session)
		wantImage(t, p.after(t, 20*time.Second), image)
		sleep(window - 10*time.Second)
		wantImage(t, w.park(session, "?timeout=30").after(t, 10*time.Second), image)
	})

	suite.Case("a late ack counts until somebody else has the image", "S1-45 D-S1-45", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		w.add(session)
		a := w.poll(session, "?timeout=0").Want(t, 200)
		id, first := text(t, a, "image_id"), a.Header.Get("Lease-Token")
		if first == "" || a.Header.Get("Lease-Expires-In") != "300" || a.Header.Get("Delivery-Attempt") != "1" {
			t.Errorf("got headers %v", a.Header)
		}
		sleep(2 * window)
		a = w.poll(session, "?timeout=0").Want(t, 200)
		second := a.Header.Get("Lease-Token")
		if second == first || a.Header.Get("Delivery-Attempt") != "2" {
			t.Errorf("the second time: got headers %v", a.Header)
		}
		w.ack(id, "Lease-Token", first).Problem(t, 409, "lease_lost")
		w.download(id).Want(t, 200) // nothing has changed
		w.ack(id, "Lease-Token", "nonsense").Problem(t, 400, "invalid_request")
		w.ack(id, "Lease-Token", "ffffffffffffffffffffffffffffffff").Problem(t, 400, "invalid_request")
		w.download(id).Want(t, 200)
		sleep(2 * window) // late, but nobody has been given it since
		w.ack(id, "Lease-Token", second).Want(t, 204)
		w.ack(id, "Lease-Token", first).Problem(t, 409, "lease_lost")
		w.ack(id, "Lease-Token", second).Want(t, 204)
		w.poll(session, "?timeout=0").Want(t, 204)

		// Without the header an ack is of the latest delivery, late or not, whoever sends it.
		id = w.add(session)
		w.take(session)
		sleep(2 * window)
		w.ack(id).Want(t, 204)
		w.poll(session, "?timeout=0").Want(t, 204)
		id = w.add(session)
		w.take(session)
		sleep(2 * window)
		_, latest := w.take(session)
		w.ack(id).Want(t, 204)
		w.ack(id, "Lease-Token", latest).Want(t, 204) // it is the same
		w.poll(session, "?timeout=0").Want(t, 204)
	})

	suite.Case("a restart changes nothing", "I-keep", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session, done := w.open(), w.open()
		w.close(done)
		large := make([]byte, 1<<20)
		var ids []string
		for i := range 4 {
			large[0] = byte(i)
			ids = append(ids, w.addBytes(session, large))
		}
		first, _ := w.take(session)
		w.ack(first).Want(t, 204)
		second, token := w.take(session)
		lapse := time.Now().Add(window)
		p := w.park(w.open(), "?timeout=30")
		sleep(time.Second)
		w.stop()
		p.after(t, time.Second).Want(t, 204) // a shutdown lets go whoever waits
		sleep(time.Minute)
		w.start()
		for i, id := range ids[2:] {
			a := w.poll(session, "?timeout=0")
			wantImage(t, a, id)
			if got := a.JSON(t)["image_index"]; got != float64(i+2) {
				t.Errorf("got index %v, want %d", got, i+2)
			}
			if body := w.download(id).Want(t, 200).Body; len(body) != len(large) || body[0] != byte(i+2) {
				t.Errorf("got %d other bytes", len(body))
			}
		}
		w.poll(session, "?timeout=0").Want(t, 204) // the second is still hidden
		w.ack(first).Want(t, 204)
		w.download(first).Want(t, 410)
		w.poll(done, "").Want(t, 410)
		sleep(time.Until(lapse.Add(-5 * time.Second)))
		a := w.park(session, "?timeout=30").after(t, 5*time.Second)
		wantImage(t, a, second)
		w.ack(second, "Lease-Token", token).Problem(t, 409, "lease_lost")
		w.ack(second).Want(t, 204)
	})
}

// sleep sleeps, and lets all that is due then happen first.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

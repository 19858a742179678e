package contract

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/imagesessions/app"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/storage"
)

const host = "images.example"

// A world is a server and its callers, in one bubble.
type world struct {
	t      *testing.T
	net    pipenet.Network
	store  storage.Store
	stop   func()
	alice  *contract.Client // whose sessions these are
	bob    *contract.Client // who has an account too
	nobody *contract.Client
}

func newWorld(t *testing.T, open contract.Opener) *world {
	w := &world{t: t, store: open(t)}
	w.alice = contract.NewClient(&w.net, "http://"+host, "Authorization", "Bearer aptr_alice")
	w.bob = w.alice.With("Authorization", "Bearer aptr_bob")
	w.nobody = w.alice.With()
	w.start()
	return w
}

// start serves, with the defaults of everything.
func (w *world) start() {
	w.t.Helper()
	a, err := app.New(w.store, app.Config{Tokens: map[string]string{"aptr_alice": "alice", "aptr_bob": "bob"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.stop = contract.Serve(w.t, &w.net, host, a)
}

// open opens a session of alice's.
func (w *world) open() (session string) {
	w.t.Helper()
	return text(w.t, w.alice.Do(w.t, "POST", "/v1/sessions", nil).Want(w.t, http.StatusCreated), "session_id")
}

// add adds an image, of bytes that no type is known by.
func (w *world) add(session string) (id string) {
	w.t.Helper()
	return w.addBytes(session, []byte("image"))
}

func (w *world) addBytes(session string, image []byte) (id string) {
	w.t.Helper()
	return text(w.t, w.alice.Do(w.t, "POST", "/v1/sessions/"+session+"/images", image).Want(w.t, http.StatusCreated), "image_id")
}

// poll polls, with a query such as "?timeout=0".
func (w *world) poll(session, query string) *contract.Answer {
	w.t.Helper()
	return w.alice.Do(w.t, "GET", "/v1/sessions/"+session+"/poll"+query, nil)
}

// take polls what must be there, and returns its id and token.
func (w *world) take(session string) (id, token string) {
	w.t.Helper()
	a := w.poll(session, "?timeout=0").Want(w.t, http.StatusOK)
	return text(w.t, a, "image_id"), a.Header.Get("Lease-Token")
}

// ack acknowledges, with headers such as "Lease-Token", token.
func (w *world) ack(id string, header ...string) *contract.Answer {
	w.t.Helper()
	return w.alice.Do(w.t, "POST", "/v1/images/"+id+"/ack", nil, header...)
}

func (w *world) download(id string, header ...string) *contract.Answer {
	w.t.Helper()
	return w.alice.Do(w.t, "GET", "/v1/images/"+id+"/download", nil, header...)
}

func (w *world) close(session string) {
	w.t.Helper()
	w.alice.Do(w.t, "POST", "/v1/sessions/"+session+"/close", nil).Want(w.t, http.StatusNoContent)
}

// A parked poll has been sent, and waits.
type parked struct {
	answer chan *contract.Answer
	took   time.Duration // once the answer is there
}

// park polls and returns once that waits.
func (w *world) park(session, query string) *parked {
	w.t.Helper()
	p := &parked{answer: make(chan *contract.Answer, 1)}
	began := time.Now()
	go func() {
		a, err := w.alice.Try(w.t.Context(), "GET", "/v1/sessions/"+session+"/poll"+query, nil)
		if err != nil {
			w.t.Error(err)
			a = &contract.Answer{Header: http.Header{}}
		}
		p.took = time.Since(began)
		p.answer <- a
	}()
	synctest.Wait()
	select {
	case a := <-p.answer:
		w.t.Fatalf("the poll does not wait: got %d, %s", a.Status, a.Body)
	default:
	}
	return p
}

// after returns the answer, which must have come so long after the poll was sent. A store keeps times to the microsecond.
func (p *parked) after(t *testing.T, want time.Duration) *contract.Answer {
	t.Helper()
	a := <-p.answer
	if (p.took - want).Abs() > time.Millisecond {
		t.Errorf("answered %d after %v, want %v", a.Status, p.took, want)
	}
	return a
}

// text returns a member of an answer that is a string.
func text(t *testing.T, a *contract.Answer, name string) string {
	t.Helper()
	s, ok := a.JSON(t)[name].(string)
	if !ok {
		t.Fatalf("got no %s: %s", name, a.Body)
	}
	return s
}

// wantImage fails the test unless an answer is that image.
func wantImage(t *testing.T, a *contract.Answer, id string) {
	t.Helper()
	if got := text(t, a.Want(t, http.StatusOK), "image_id"); got != id {
		t.Errorf("got image %s, want %s: %s", got, id, a.Body)
	}
}

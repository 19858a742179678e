package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderstatus/app"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/storage/storagetest"
)

type object = map[string]any

// A seller is the app, with a platform that takes uploads as the case says.
type seller struct {
	t     *testing.T
	began time.Time
	net   *pipenet.Network
	store *storagetest.FaultyStore // counts
	stop  func()                   // of the app

	platform *contract.Client // with the headers
	nobody   *contract.Client // without

	prepare func(w http.ResponseWriter, r *http.Request, n int) // of the n-th call, from 0; nil: 201
	put     func(w http.ResponseWriter, r *http.Request, n int) // of the n-th call, from 0; nil: 204

	mu    sync.Mutex // guards what follows
	calls []call
}

// A call is a request that the platform got.
type call struct {
	at     time.Duration // since the seller began
	method string
	path   string
	header http.Header
	body   []byte
}

// newSeller opens a store and an app on it, with the settings that change changes; nil for none.
func newSeller(t *testing.T, open contract.Opener, change func(*app.Config)) *seller {
	t.Helper()
	s := &seller{t: t, began: time.Now(), net: new(pipenet.Network), store: storagetest.Faulty(open(t), nil)}
	s.platform = contract.NewClient(s.net, "https://seller.example", "X-Api-Key", "secret", "X-Shop", "17")
	s.nobody = s.platform.With()
	t.Cleanup(func() { time.Sleep(time.Hour) }) // net/http lets connections linger that it closes early
	contract.Listen(t, s.net, "platform.example", http.HandlerFunc(s.take))
	s.open(change)
	return s
}

// open starts the app on the seller's store.
func (s *seller) open(change func(*app.Config)) {
	s.t.Helper()
	c := app.Config{
		Header: http.Header{"X-Api-Key": {"secret"}, "X-Shop": {"17"}}, Tokens: map[string]string{"other": "other", "bearer": app.Platform},
		PrepareURL: "https://platform.example/prepare", PublicURL: "https://seller.example/", SigningKey: []byte("0123456789abcdef"), Client: s.net.Client(),
	}
	if change != nil {
		change(&c)
	}
	a, err := app.New(s.store, c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.stop = contract.Serve(s.t, s.net, "seller.example", a)
}

// take is the platform. The n-th prepare, from 0, answers the object key "orders/n" and the put_url /put/n.
func (s *seller) take(w http.ResponseWriter, r *http.Request) {
	at := time.Since(s.began)
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	n := len(s.of(r.Method))
	s.calls = append(s.calls, call{at, r.Method, r.URL.Path, r.Header, body})
	s.mu.Unlock()
	switch {
	case r.Method == http.MethodPost && s.prepare != nil:
		s.prepare(w, r, n)
	case r.Method == http.MethodPost:
		prepared(w, n, time.Hour)
	case s.put != nil:
		s.put(w, r, n)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// prepared is the answer of a prepare whose put_url is good for so long.
func prepared(w http.ResponseWriter, n int, good time.Duration) {
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(object{
		"object_key": fmt.Sprintf("orders/%d", n), "put_url": fmt.Sprintf("https://platform.example/put/%d", n), "expires_at": time.Now().Add(good),
	})
}

// of returns the calls of a method so far. The caller holds mu.
func (s *seller) of(method string) (out []call) {
	for _, c := range s.calls {
		if c.method == method {
			out = append(out, c)
		}
	}
	return out
}

// called returns the calls of a method so far.
func (s *seller) called(method string) []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(method)
}

// order hands an order to the webhook, which answers where its status is.
func (s *seller) order(id string, inputs object) (location string) {
	s.t.Helper()
	a := s.platform.Do(s.t, "POST", "/webhook", object{"order_id": id, "inputs": inputs}).Want(s.t, 202)
	return a.Header.Get("Location")
}

// ask returns the answer to a status request, which must keep all rules of writing.
func (s *seller) ask(location string) object {
	s.t.Helper()
	a := s.platform.Do(s.t, "GET", location, nil).Want(s.t, 200)
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		s.t.Errorf("got content type %q, want application/json", got)
	}
	rules := statuspoll.Writing()
	switch read, err := rules.Read(a.Body); {
	case err != nil:
		s.t.Errorf("%s: %.300s: %v", location, a.Body, err)
	case read.Problem != "":
		s.t.Errorf("%s: %.300s: %s", location, a.Body, read.Problem)
	}
	return a.JSON(s.t)
}

// want is ask of an answer of that status, with these fields and no others.
func (s *seller) want(location, status string, fields ...string) object {
	s.t.Helper()
	v := s.ask(location)
	fields = slices.Sorted(slices.Values(append(fields, "status")))
	if got := slices.Sorted(maps.Keys(v)); v["status"] != status || !slices.Equal(got, fields) {
		s.t.Fatalf("%s: got %.300s, want %s with %v", location, fmt.Sprint(v), status, fields)
	}
	return v
}

// processing wants an order to be in work and returns its progress, "" if it does not say.
func (s *seller) processing(location string) string {
	s.t.Helper()
	v := s.ask(location)
	progress, _ := v["progress"].(string)
	if v["status"] != "processing" || len(v) > 1 && progress == "" || len(v) > 2 {
		s.t.Fatalf("%s: got %.300s, want processing", location, fmt.Sprint(v))
	}
	return progress
}

// failed wants an order to have failed with a message that has these words.
func (s *seller) failed(location string, words ...string) {
	s.t.Helper()
	message := s.want(location, "failed", "error_message")["error_message"].(string)
	for _, w := range words {
		if !strings.Contains(message, w) {
			s.t.Errorf("got message %q, want %q in it", message, w)
		}
	}
}

// until lets time pass until so long after the seller began.
func (s *seller) until(d time.Duration) { time.Sleep(d - time.Since(s.began)) }

package contract

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/storage"
)

const (
	floorCost = 4
	finalCost = 10
	aliceKey  = callback.Secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") // the bytes 0 to 31
)

var operations = []string{"edit", "generate", "enhance", "remix"}

type object = map[string]any

// A studio is the service with its customers, a host of images and a receiver of callbacks.
type studio struct {
	t       *testing.T
	net     *pipenet.Network
	store   storage.Store
	config  app.Config
	stop    func()
	alice   *contract.Client // has 100
	bob     *contract.Client // has 100
	poor    *contract.Client // has 5
	nobody  *contract.Client // has no token
	gate    chan struct{}    // what holds images back at /gate
	receive func(w http.ResponseWriter, n int)

	mu    sync.Mutex // guards calls
	calls []call     // callbacks
}

type call struct {
	at     time.Time
	path   string
	header http.Header
	body   []byte
}

// newStudio starts a studio; change, if not nil, may change its configuration.
func newStudio(t *testing.T, open contract.Opener, change func(c *app.Config)) *studio {
	s := &studio{t: t, net: new(pipenet.Network), store: open(t), gate: make(chan struct{})}
	contract.Listen(t, s.net, "pictures.example", http.HandlerFunc(s.picture))
	contract.Listen(t, s.net, "receiver.example", http.HandlerFunc(s.callback))
	s.config = app.Config{
		Accounts: []app.Account{
			{Account: "alice", Token: "alice-token", Balance: 100, Secret: aliceKey},
			{Account: "bob", Token: "bob-token", Balance: 100},
			{Account: "poor", Token: "poor-token", Balance: 5},
		},
		FloorCost: floorCost, FinalCost: finalCost, Ledger: filepath.Join(t.TempDir(), "ledger.db"),
		SigningKey: []byte("a key of 16 bytes"), BaseURL: "https://photo.example", FetchClient: s.net.Client(), CallbackClient: s.net.Client(),
	}
	if change != nil {
		change(&s.config)
	}
	const base = "https://photo.example/v1/phota"
	s.nobody = contract.NewClient(s.net, base)
	s.alice = s.nobody.With("Authorization", "Bearer alice-token")
	s.bob = s.nobody.With("Authorization", "Bearer bob-token")
	s.poor = s.nobody.With("Authorization", "Bearer poor-token")
	s.start()
	return s
}

func (s *studio) start() {
	s.t.Helper()
	a, err := app.New(s.store, s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.stop = contract.Serve(s.t, s.net, "photo.example", a)
}

// restart ends the service and starts it on the same store.
func (s *studio) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// picture serves images, at paths that say how.
func (s *studio) picture(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/cat.png":
	case "/slow.png":
		time.Sleep(10 * time.Second)
	case "/gate.png":
		select {
		case <-s.gate:
		case <-r.Context().Done():
		}
	case "/never.png":
		<-r.Context().Done()
		return
	case "/text":
		io.WriteString(w, "no image")
		return
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Write(cat)
}

func (s *studio) callback(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost {
		s.t.Errorf("callback: got %s, %v", r.Method, err)
	}
	s.mu.Lock()
	n := len(s.calls)
	s.calls = append(s.calls, call{time.Now(), r.URL.Path, r.Header, body})
	s.mu.Unlock()
	if s.receive != nil {
		s.receive(w, n)
	}
}

// called returns the callbacks that have come.
func (s *studio) called() []call {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// request returns a good body for an operation, with more fields, or with fewer where they are nil.
func request(operation string, more object) object {
	body := object{"prompt": "rotate left"}
	if operation != "generate" && more["image_url"] == nil {
		body["image"] = base64.StdEncoding.EncodeToString(cat)
	}
	for k, v := range more {
		body[k] = v
	}
	return body
}

// async is request for an asynchronous job.
func async(operation string, more object) object {
	body := object{"async": true, "response_mode": "urls"}
	for k, v := range more {
		body[k] = v
	}
	return request(operation, body)
}

// submit submits an asynchronous job of alice's and returns its id.
func (s *studio) submit(operation string, more object) string {
	s.t.Helper()
	return s.handle(s.alice.Do(s.t, "POST", "/"+operation, async(operation, more)))
}

// handle returns the id in a handle.
func (s *studio) handle(a *contract.Answer) string {
	s.t.Helper()
	v := a.Want(s.t, 202).JSON(s.t)
	id, _ := v["job_id"].(string)
	if len(v) != 2 || id == "" || v["status"] != "pending" {
		s.t.Fatalf("got handle %v, want a job_id and the status pending", v)
	}
	if got, want := a.Header.Get("Location"), "https://photo.example/v1/phota/jobs/"+id; got != want {
		s.t.Errorf("got location %s, want %s", got, want)
	}
	return id
}

// poll returns the status of a job of alice's, which must be the one wanted.
func (s *studio) poll(id, want string) object {
	s.t.Helper()
	synctest.Wait()
	v := s.alice.Do(s.t, "GET", "/jobs/"+id, nil).Want(s.t, 200).JSON(s.t)
	if v["status"] != want || v["job_id"] != id {
		s.t.Fatalf("got %v, want job %s with status %s", v, id, want)
	}
	return v
}

// downloadURL returns the one download URL of a result.
func (s *studio) downloadURL(result any) string {
	s.t.Helper()
	r, _ := result.(object)
	urls, _ := r["download_urls"].([]any)
	images, ok := r["images"].([]any)
	if len(r) != 2 || !ok || len(images) != 0 || len(urls) != 1 {
		s.t.Fatalf("got result %v, want images empty and one download URL", result)
	}
	return urls[0].(string)
}

// balance fails the test unless an account has that much, once nothing more happens.
func (s *studio) balance(c *contract.Client, want int) {
	s.t.Helper()
	synctest.Wait()
	s.balanceNow(c, want)
}

// balanceNow fails the test unless an account has that much.
func (s *studio) balanceNow(c *contract.Client, want int) {
	s.t.Helper()
	v := c.Do(s.t, "GET", "/balance", nil).Want(s.t, 200).JSON(s.t)
	if len(v) != 1 || v["balance"] != float64(want) {
		s.t.Errorf("got %v, want a balance of %d", v, want)
	}
}

// block has the only worker, if there is one, do nothing until gate is closed, for 15 seconds at most. It costs as much as any job.
func (s *studio) block() string {
	s.t.Helper()
	id := s.submit("edit", object{"image_url": "https://pictures.example/gate.png"})
	synctest.Wait()
	return id
}

// cat is a PNG of three by two pixels.
var cat = encode(fill(image.NewNRGBA(image.Rect(0, 0, 3, 2))))

func fill(m *image.NRGBA) *image.NRGBA {
	for i := range 6 {
		m.SetNRGBA(i%3, i/3, color.NRGBA{uint8(40 * i), 100, uint8(200 - 30*i), 255})
	}
	return m
}

func encode(m image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// decode returns an image and its format.
func (s *studio) decode(p []byte) (image.Image, string) {
	s.t.Helper()
	m, format, err := image.Decode(bytes.NewReader(p))
	if err != nil {
		s.t.Fatal(err)
	}
	return m, format
}

// inline returns the one image of an answer that has no download URL.
func (s *studio) inline(a *contract.Answer) []byte {
	s.t.Helper()
	var v struct {
		Images       [][]byte
		DownloadURLs *[]string `json:"download_urls"`
	}
	if err := json.Unmarshal(a.Want(s.t, 200).Body, &v); err != nil {
		s.t.Fatal(err)
	}
	if len(v.Images) != 1 || v.DownloadURLs == nil || len(*v.DownloadURLs) != 0 || len(a.JSON(s.t)) != 2 {
		s.t.Fatalf("got %.200s, want one image, and download_urls empty", a.Body)
	}
	return v.Images[0]
}

// raw sends a request of alice's as it stands on the wire, and returns the answer, which may come before all has been sent.
func (s *studio) raw(operation, header, body string) *contract.Answer {
	s.t.Helper()
	conn, err := s.net.Dial(s.t.Context(), "photo.example:443")
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close() // ends the writing, too
	go fmt.Fprintf(conn, "POST /v1/phota/%s HTTP/1.1\r\nHost: photo.example\r\nAuthorization: Bearer alice-token\r\n%s\r\n\r\n%s", operation, header, body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &contract.Answer{Status: resp.StatusCode, Header: resp.Header, Body: p}
}

func wantEqual[T cmp.Ordered](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// exampleBroker is a broker on memory, which TestMain shuts down; a server would open a boltstore.
func exampleBroker(o *jobqueue.Options) *jobqueue.Broker {
	broker, err := jobqueue.New(memstore.New(nil), o)
	if err != nil {
		log.Fatal(err)
	}
	exampleBrokers = append(exampleBrokers, broker)
	return broker
}

var exampleBrokers []*jobqueue.Broker

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// call sends a request to a handler and returns the answer.
func call(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A server with the routes of this package beside its own, and what a producer and a consumer send to it.
func Example() {
	store := memstore.New(nil)
	broker := must(jobqueue.New(store, nil))
	h := must(httpapi.New(broker, &httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{"s3cret": "alice"}),
		Prefix:       "/queue",
	}))
	mux := http.NewServeMux()
	mux.Handle("/queue/", h)
	server := httptest.NewServer(mux)
	defer store.Close()
	defer broker.Shutdown(context.Background())
	defer server.Close()

	send := func(method, path, token, body string) (string, *http.Response) {
		req := must(http.NewRequest(method, server.URL+path, strings.NewReader(body)))
		req.Header.Set("Authorization", "Bearer s3cret")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Lease-Token", token)
		resp := must(http.DefaultClient.Do(req))
		defer resp.Body.Close()
		return string(must(io.ReadAll(resp.Body))), resp
	}

	_, resp := send("POST", "/queue/v1/queues/mail/jobs", "", `{"payload": {"to": "bob"}}`)
	status := resp.Header.Get("Location")
	fmt.Println("submitted:", resp.StatusCode)

	body, resp := send("GET", "/queue/v1/queues/mail/poll?timeout=30", "", "")
	var job struct{ Payload struct{ To string } }
	if err := json.Unmarshal([]byte(body), &job); err != nil {
		log.Fatal(err)
	}
	fmt.Println("polled:", resp.StatusCode, job.Payload.To)

	body, _ = send("POST", status+"/ack", resp.Header.Get("Lease-Token"), "")
	fmt.Println("acked:", body)
	// Output:
	// submitted: 202
	// polled: 200 bob
	// acked: {"outcome":"acked"}
}

// The account comes from the middleware that the server has anyway.
func ExampleOptions_Authenticate() {
	type userKey struct{}
	sessions := func(next http.Handler) http.Handler { // the server's own
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("session"); err == nil && c.Value == "abc" {
				r = r.WithContext(context.WithValue(r.Context(), userKey{}, "alice"))
			}
			next.ServeHTTP(w, r)
		})
	}
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{
		Authenticate: func(r *http.Request) (string, error) {
			user, ok := r.Context().Value(userKey{}).(string)
			if !ok {
				return "", errors.New("no session")
			}
			return user, nil
		},
	}))
	server := sessions(http.NewCrossOriginProtection().Handler(h))

	fmt.Println(call(server, "POST", "/v1/queues/mail/jobs", "{}").Code)
	fmt.Println(call(server, "POST", "/v1/queues/mail/jobs", "{}", "Cookie: session=abc").Code)
	// Output:
	// 401
	// 202
}

// The order of a shutdown: server, broker, store.
func ExampleHandler_Drain() {
	store := memstore.New(nil)
	broker := must(jobqueue.New(store, nil))
	h := must(httpapi.New(broker, &httpapi.Options{AllowAnonymous: true}))
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	server.RegisterOnShutdown(h.Drain)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go server.Serve(listener)

	polled := make(chan int)
	go func() {
		resp := must(http.Get("http://" + listener.Addr().String() + "/v1/queues/mail/poll"))
		resp.Body.Close()
		polled <- resp.StatusCode
	}()
	for broker.Stats().Receivers == 0 { // until the poll is parked
		time.Sleep(time.Millisecond)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println("server:", server.Shutdown(ctx)) // waits for requests, which Drain has ended
	fmt.Println("broker:", broker.Shutdown(ctx)) // waits for workers of this process
	fmt.Println("store:", store.Close())
	fmt.Println("the poll:", <-polled)
	// Output:
	// server: <nil>
	// broker: <nil>
	// store: <nil>
	// the poll: 204
}

func ExampleBearerTokens() {
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{"a-long-random-key": "alice", "another-one": "bob"}),
	}))
	job := call(h, "POST", "/v1/queues/mail/jobs", "{}", "Authorization: Bearer a-long-random-key").Header().Get("Location")
	fmt.Println("alice:", call(h, "GET", job, "", "Authorization: Bearer a-long-random-key").Code)
	fmt.Println("bob:", call(h, "GET", job, "", "Authorization: Bearer another-one").Code)
	fmt.Println("nobody:", call(h, "GET", job, "").Code)
	// Output:
	// alice: 200
	// bob: 404
	// nobody: 401
}

// Clients may send their key as a bearer token or as the user of HTTP Basic authentication.
func ExampleAnyOf() {
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{
		Authenticate: httpapi.AnyOf(
			httpapi.BearerTokens(map[string]string{"key": "alice"}),
			httpapi.BasicAuth("jobs", map[httpapi.Login]string{{User: "key"}: "alice"}),
		),
	}))
	fmt.Println(call(h, "GET", "/v1/queues", "", "Authorization: Bearer key").Code)
	fmt.Println(call(h, "GET", "/v1/queues", "", "Authorization: Basic a2V5Og==").Code)
	fmt.Println(call(h, "GET", "/v1/queues", "").Header().Values("WWW-Authenticate"))
	// Output:
	// 200
	// 200
	// [Bearer Basic realm="jobs", charset="UTF-8"]
}

// A producer is not a consumer is not an operator.
func ExampleOptions_Authorize() {
	roles := map[string][]httpapi.Action{
		"producer": {httpapi.ActionSubmit, httpapi.ActionRead, httpapi.ActionCancel},
		"consumer": {httpapi.ActionReceive, httpapi.ActionRead, httpapi.ActionSettle},
	}
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{"p": "alice", "c": "alice"}),
		Authorize: func(r *http.Request, account string, a httpapi.Action, queue string) error {
			role := map[string]string{"Bearer p": "producer", "Bearer c": "consumer"}[r.Header.Get("Authorization")]
			for _, allowed := range roles[role] {
				if a == allowed {
					return nil
				}
			}
			return fmt.Errorf("a %s may not %s", role, a)
		},
	}))
	fmt.Println(call(h, "POST", "/v1/queues/mail/jobs", "{}", "Authorization: Bearer p").Code)
	fmt.Println(call(h, "POST", "/v1/queues/mail/jobs", "{}", "Authorization: Bearer c").Code)
	fmt.Println(call(h, "POST", "/v1/queues/mail/purge", "", "Authorization: Bearer p").Code)
	// Output:
	// 202
	// 403
	// 403
}

// Paths, words and error bodies of another protocol: sessions of images, which are polled, downloaded and acknowledged without tokens.
func ExampleHandler() {
	broker := exampleBroker(nil)
	h := must(httpapi.New(broker, &httpapi.Options{
		AllowAnonymous: true,
		IDPrefix:       "img_",
		AckStatus:      http.StatusNoContent,
		AnyToken:       true,
		ShapePolled: func(r *http.Request, d *jobqueue.Delivery) (any, error) {
			return map[string]any{"image_index": d.Position, "filename": d.Name, "size_bytes": d.Size}, nil
		},
		WriteError: func(w http.ResponseWriter, r *http.Request, p *httpapi.Problem) {
			w.WriteHeader(p.Status)
			fmt.Fprintf(w, `{"success":false,"message":%q}`, p.Detail)
		},
	}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/sessions/{queue}/poll", h.Poll)
	mux.HandleFunc("GET /api/v1/images/{id}/download", h.Payload)
	mux.HandleFunc("POST /api/v1/images/{id}/ack", h.Ack)

	image := must(broker.Queue("sess_1").Enqueue(context.Background(), jobqueue.NewJob{Name: "photo.jpg", ContentType: "image/jpeg", Payload: []byte("JPEG")}))
	path := "/api/v1/images/img_" + image.ID.String()
	fmt.Println(call(mux, "GET", "/api/v1/sessions/sess_1/poll?timeout=30", "").Body)
	fmt.Println(call(mux, "GET", path+"/download", "").Body)
	fmt.Println(call(mux, "POST", path+"/ack", "").Code)
	fmt.Println(call(mux, "GET", path+"/download", "").Body)
	// Output:
	// {"filename":"photo.jpg","image_index":0,"size_bytes":4}
	// JPEG
	// 204
	// {"success":false,"message":"the payload is no longer kept"}
}

// An id that the other side chose is a key.
func ExampleHandler_Status() {
	broker := exampleBroker(nil)
	h := must(httpapi.New(broker, &httpapi.Options{
		AllowAnonymous: true,
		ShapeJob: func(r *http.Request, j *jobqueue.Job) (any, error) {
			return map[string]any{"order": j.Key, "status": j.State.String()}, nil
		},
	}))
	orders := broker.Queue("orders")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{order}/status", func(w http.ResponseWriter, r *http.Request) {
		if j, err := broker.JobByKey(r.Context(), orders.Name(), r.PathValue("order")); err == nil {
			r.SetPathValue("id", j.ID.String())
		}
		h.Status(w, r) // without an id: 404
	})
	must(orders.Enqueue(context.Background(), jobqueue.NewJob{Key: "7f9c"}))
	fmt.Println(call(mux, "GET", "/orders/7f9c/status", "").Body)
	fmt.Println(call(mux, "GET", "/orders/none/status", "").Code)
	// Output:
	// {"order":"7f9c","status":"pending"}
	// 404
}

// Jobs submitted in a form of the server's own.
func ExampleHandler_SubmitFunc() {
	broker := exampleBroker(nil)
	h := must(httpapi.New(broker, &httpapi.Options{AllowAnonymous: true}))
	mux := http.NewServeMux()
	mux.Handle("POST /generate", h.SubmitFunc(func(r *http.Request, b *jobqueue.Broker) (*jobqueue.Queue, jobqueue.NewJob, error) {
		var in struct {
			Prompt    string `json:"prompt"`
			RequestID string `json:"client_request_id"`
		}
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&in); err != nil || in.Prompt == "" {
			return nil, jobqueue.NewJob{}, &httpapi.Problem{Status: 422, Code: "invalid_prompt"}
		}
		return b.Queue("images"), jobqueue.NewJob{Payload: []byte(in.Prompt), Key: in.RequestID, AnyRequest: true}, nil
	}))
	for _, body := range []string{`{"prompt":"a cat","client_request_id":"1"}`, `{"prompt":"a dog","client_request_id":"1"}`, `{}`} {
		w := call(mux, "POST", "/generate", body)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Idempotent-Replayed"))
	}
	// Output:
	// 202 ""
	// 202 "true"
	// 422 ""
}

// One queue of the house for the jobs of all accounts, so that one pool of workers serves them.
func ExampleHandler_SubmitFunc_house() {
	broker := exampleBroker(nil)
	h := must(httpapi.New(broker, &httpapi.Options{Authenticate: httpapi.BearerTokens(map[string]string{"key": "alice"})}))
	mux := http.NewServeMux()
	mux.Handle("POST /generate", h.SubmitFunc(func(r *http.Request, b *jobqueue.Broker) (*jobqueue.Queue, jobqueue.NewJob, error) {
		return broker.Queue("images"), jobqueue.NewJob{Body: http.MaxBytesReader(nil, r.Body, 1<<20)}, nil
	}))
	mux.Handle("/", h)
	answer := call(mux, "POST", "/generate", "a cat", "Authorization: Bearer key")
	fmt.Println(answer.Code)
	d := must(broker.Queue("images").Receive(context.Background(), nil))
	fmt.Println(d.Account)
	fmt.Println(call(mux, "GET", answer.Header().Get("Location"), "", "Authorization: Bearer key").Code)
	// Output:
	// 202
	// alice
	// 200
}

// An endpoint of the server's own, with this package's credentials and errors.
func ExampleHandler_Func() {
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{"key": "alice"}),
	}))
	mux := http.NewServeMux()
	mux.Handle("GET /depth/{queue}", h.Func(func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
		info, err := b.Queue(r.PathValue("queue")).Info(r.Context())
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(w, info.Counts.Waiting())
		return err
	}))
	mux.Handle("/", h)
	call(mux, "POST", "/v1/queues/mail/jobs", "{}", "Authorization: Bearer key")
	fmt.Println(call(mux, "GET", "/depth/mail", "", "Authorization: Bearer key").Body)
	fmt.Println(call(mux, "GET", "/depth/none", "", "Authorization: Bearer key").Code)
	fmt.Println(call(mux, "GET", "/depth/mail", "").Code)
	// Output:
	// 1
	// 404
	// 401
}

// Admission says itself what a refused client is told.
func ExampleProblem() {
	broker := exampleBroker(&jobqueue.Options{Admit: func(ctx context.Context, j *jobqueue.Job) error {
		return &httpapi.Problem{Status: http.StatusPaymentRequired, Code: "insufficient_balance", Detail: "top up first"}
	}})
	h := must(httpapi.New(broker, &httpapi.Options{AllowAnonymous: true}))
	fmt.Println(call(h, "POST", "/v1/queues/images/jobs", "{}").Body)
	// Output:
	// {"status":402,"title":"Payment Required","code":"insufficient_balance","detail":"top up first"}
}

// A server whose clients know jobs under URLs of its own says these in Location.
func ExampleOptions_JobURL() {
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{
		AllowAnonymous: true,
		JobURL: func(r *http.Request, j *jobqueue.Job) string {
			return "https://shop.example/orders/" + j.Key
		},
	}))
	answer := call(h, "POST", "/v1/queues/orders/jobs", "{}", "Idempotency-Key: 17")
	fmt.Println(answer.Code, answer.Header().Get("Location"))
	// Output: 202 https://shop.example/orders/17
}

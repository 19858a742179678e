package callback_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A job ends, and whoever submitted it is told.
func Example() {
	secret := callback.NewSecret() // both sides have it

	// The receiver is somebody else's server.
	told := make(chan string, 1)
	verifier := &callback.Verifier{Secrets: []callback.Secret{secret}}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := verifier.Request(w, r, 1<<20)
		if err != nil {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		var job struct{ Name, State string }
		json.Unmarshal(body, &job)
		told <- job.Name + " " + job.State
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()

	// The sender.
	ctx, cancel := context.WithCancel(context.Background())
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(context.Background())
	client := outbound.NewClient(&outbound.Options{AllowPrivate: true, AllowHTTP: true}) // the receiver of this example is on loopback
	sent := make(chan error)
	go func() {
		sent <- callback.Send(ctx, broker.Queue("callbacks"), &callback.Options{
			Client: client,
			Message: func(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
				return &callback.Message{URL: receiver.URL + "/hook", Secrets: []callback.Secret{secret}}, nil // of d.Account
			},
		})
	}()

	work := broker.Queue("work")
	work.Enqueue(ctx, jobqueue.NewJob{Name: "report", Account: "acme", Outbox: []string{"callbacks"}})
	d, _ := work.Receive(ctx, nil)
	d.Ack(ctx)

	fmt.Println(<-told)
	broker.Queue("callbacks").Idle(ctx)
	cancel()
	fmt.Println(<-sent)
	// Output:
	// report succeeded
	// <nil>
}

// While a secret is replaced by a new one, both sign and both are taken.
func ExampleVerifier() {
	older, newer := callback.NewSecret(), callback.NewSecret()
	body, now := []byte(`{"state":"succeeded"}`), time.Now()
	h := http.Header{}
	h.Set(callback.HeaderID, "01JD2Y7Q0W8Z6Q4M1V3T5R7E9K")
	h.Set(callback.HeaderTimestamp, fmt.Sprint(now.Unix()))
	h.Set(callback.HeaderSignature, callback.Sign(newer, h.Get(callback.HeaderID), now, body)+" "+callback.Sign(older, h.Get(callback.HeaderID), now, body))

	for _, secrets := range [][]callback.Secret{{older}, {newer, older}, {newer}, {callback.NewSecret()}} {
		v := &callback.Verifier{Secrets: secrets}
		fmt.Println(v.Verify(h, body))
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// callback: bad signature
}

func ExampleSign() {
	secret, err := callback.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(callback.Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)))
	fmt.Println(secret) // does not show itself
	// Output:
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
	// [secret]
}

func ExampleSignHex() {
	header := callback.SignHex("a shared secret", []byte("hello"))
	fmt.Println(header)
	fmt.Println(callback.VerifyHex("a shared secret", header, []byte("hello")))
	fmt.Println(callback.VerifyHex("a shared secret", header, []byte("hullo")))
	// Output:
	// sha256=7ae45f1d9a17124ce85c2f42b62ca1433af074f52880bb172ba23d26f978a1b8
	// <nil>
	// callback: bad signature
}

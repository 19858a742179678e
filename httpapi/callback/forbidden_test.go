package callback_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// Without a Client, Send's own dials no address inside and speaks no plain HTTP.
func TestTheDefaultClientRefusesAddressesInside(t *testing.T) {
	wire, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan struct{}, 1)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := wire.Accept()
			if err != nil {
				return
			}
			c.Close()
			select {
			case connected <- struct{}{}:
			default:
			}
		}
	}()
	store := memstore.New(nil)
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	q := broker.Queue("callbacks")
	sent := make(chan error, 1)
	go func() {
		sent <- callback.Send(ctx, q, &callback.Options{Message: func(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
			return &callback.Message{URL: d.Name, Secrets: []callback.Secret{callback.NewSecret()}}, nil
		}})
	}()
	_, port, _ := net.SplitHostPort(wire.Addr().String())
	for _, url := range []string{
		"https://127.0.0.1:" + port + "/", "https://localhost:" + port + "/", "https://[::ffff:127.0.0.1]:" + port + "/", "https://0.0.0.0:" + port + "/",
		"https://169.254.169.254/latest/meta-data/", "http://93.184.216.34/", "https://10.0.0.1/",
	} {
		j, err := q.Enqueue(ctx, jobqueue.NewJob{Name: url})
		if err != nil {
			t.Fatal(err)
		}
		for !j.State.Ended() {
			if j, err = broker.Wait(ctx, j.ID, j.Version); err != nil {
				t.Fatal(err)
			}
		}
		if j.Failure == nil || j.Failure.Code != callback.CodeForbidden || j.Deliveries != 1 {
			t.Errorf("%s: got %v %+v after %d deliveries, want forbidden_address after one", url, j.State, j.Failure, j.Deliveries)
		} else if strings.Contains(j.Failure.Message, "127") {
			t.Errorf("%s: got %q, want nothing about where it leads", url, j.Failure.Message)
		}
	}
	cancel()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if err := broker.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	store.Close()
	wire.Close()
	<-accepted
	select {
	case <-connected:
		t.Error("got a connection, want none")
	default:
	}
}

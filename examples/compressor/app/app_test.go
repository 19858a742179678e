package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/compressor/app"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func TestARefusedSubmitFailsAlsoIfTheProcessDiedBeforeItWasCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		defer store.Close()
		a, err := app.New(store, app.Config{Tokens: map[string]string{"secret": "ada"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		const message = "Incoming request body does not contain a valid JSON data"
		j, err := b.Queue("compress").Enqueue(t.Context(), jobqueue.NewJob{Account: "ada", Tags: map[string]string{"refused": message}, Delay: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a, err = app.New(store, app.Config{Tokens: map[string]string{"secret": "ada"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := a.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b, err = jobqueue.New(store, nil); err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(t.Context())
		if j, err = b.Job(t.Context(), j.ID); err != nil || j.Failure == nil || j.Failure.Message != message {
			t.Errorf("got %+v, %v, want it failed with the message", j, err)
		}
	})
}

func TestSomebodyMustBeLetIn(t *testing.T) {
	store := memstore.New(nil)
	defer store.Close()
	if _, err := app.New(store, app.Config{}); err == nil {
		t.Error("got an app that lets nobody in, want an error")
	}
}

package memstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// A test that waits for a lease to lapse, or a day to pass, advances the clock.
func ExampleClock() {
	clock := memstore.NewClock(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC))
	store := memstore.New(&memstore.Options{Clock: clock})
	defer store.Close()

	rang := make(chan bool)
	store.Alarm(clock.Now().Add(24*time.Hour), func() { close(rang) })
	clock.Advance(24 * time.Hour)
	<-rang
	_ = store.View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
		fmt.Println(r.Now())
		return nil
	})
	// Output: 2026-05-02 10:00:00 +0000 UTC
}

package pgbubble_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgbubble"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestADayOfTwoNodesTakesNoTime(t *testing.T) {
	dsn := pgtest.DSN(t)
	synctest.Test(t, func(t *testing.T) {
		schema := pgbubble.NewSchema(t, dsn)
		var nodes []*jobqueue.Broker
		for range 2 {
			store := schema.Open(t, &pgstore.Options{Fallback: 10 * time.Minute})
			defer store.Close()
			b, err := jobqueue.New(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Shutdown(t.Context())
			nodes = append(nodes, b)
		}
		j, err := nodes[0].Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Delay: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if !j.Created.Equal(time.Now()) {
			t.Errorf("created at %v, and it is %v", j.Created, time.Now())
		}
		d, err := nodes[1].Queue("q").Receive(t.Context(), nil)
		if err != nil || d.ID != j.ID {
			t.Fatalf("got %+v, %v, want job %v", d, err, j.ID)
		}
		// The other node sees it when it looks, at the latest.
		if late := time.Since(j.Created.Add(24 * time.Hour)); late < 0 || late > 20*time.Minute {
			t.Errorf("received %v after its time", late)
		}
	})
}

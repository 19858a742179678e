package jobqueue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New(nil)
		b, err := jobqueue.New(st, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		q := b.Queue("mail")
		j, err := q.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("hi")})
		if err != nil {
			t.Fatal(err)
		}
		d, err := q.Receive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d.ID != j.ID || d.Deliveries != 1 {
			t.Fatal(d.Job)
		}
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		d2, err := q.TryReceive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(ctx); err == nil {
			t.Fatal("old token")
		}
		if err := d2.Ack(ctx); err != nil {
			t.Fatal(err)
		}
		got := make(chan *jobqueue.Delivery)
		go func() { d, err := q.Receive(ctx, nil); _ = err; got <- d }()
		synctest.Wait()
		before := st.Stats().Updates
		q.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("two")})
		d3 := <-got
		t.Log(d3.ID, st.Stats().Updates-before)
		p, _ := d3.MarshalJSON()
		t.Log(string(p))
		if err := d3.Complete(ctx, jobqueue.NewResult{ContentType: "application/json", Data: []byte(`{"a":1}`)}); err != nil {
			t.Fatal(err)
		}
		j, _ = b.Job(ctx, d3.ID)
		p, _ = j.MarshalJSON()
		t.Log(string(p))
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		_, err = b.Job(ctx, d3.ID)
		t.Log(err)
		if err := b.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		st.Close()
	})
}

package jobqueue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

func TestATypedQueueCarriesValues(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		orders := jobqueue.JSON[order](r.q)
		in := order{"nails", 100}
		extra := &jobqueue.NewJob{Key: "k", Priority: 3, Payload: []byte("not used"), ContentType: "not/used"}
		j, err := orders.Enqueue(r.ctx, in, extra)
		if err != nil {
			t.Fatal(err)
		}
		if j.ContentType != "application/json" || j.Priority != 3 || j.Key != "k" {
			t.Errorf("got %+v", j)
		}
		if again, err := orders.Enqueue(r.ctx, in, extra); err != nil || !again.Replayed {
			t.Errorf("again: got %+v, %v; want a replay", again, err)
		}
		v, d, err := orders.Receive(r.ctx, nil)
		if err != nil || v != in || d.ID != j.ID {
			t.Fatalf("got %+v, %v, %v", v, d, err)
		}
		if err := jobqueue.CompleteJSON(r.ctx, d, map[string]int{"left": 5}); err != nil {
			t.Fatal(err)
		}
		left, err := jobqueue.ResultJSON[map[string]int](r.ctx, r.b, j.ID)
		if err != nil || left["left"] != 5 {
			t.Errorf("result: got %v, %v", left, err)
		}
		if got := r.job(j.ID); got.Result == nil || !got.Result.IsJSON() {
			t.Errorf("result: got %+v", got.Result)
		}
		_, err = jobqueue.ResultJSON[string](r.ctx, r.b, j.ID)
		if err == nil {
			t.Error("a result of another type was read")
		}
	})
}

func TestATypedQueueRefusesWhatIsNoJSON(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		_, err := jobqueue.JSON[func()](r.q).Enqueue(r.ctx, func() {}, nil)
		wants(t, "Enqueue", err, jobqueue.ErrInvalid)
		r.enqueue("x")
		d := r.take()
		wants(t, "CompleteJSON", jobqueue.CompleteJSON(r.ctx, d, make(chan int)), jobqueue.ErrInvalid)
		if err := d.Ack(r.ctx); err != nil {
			t.Errorf("Ack: %v", err)
		}
		_, err = jobqueue.ResultJSON[int](r.ctx, r.b, d.ID)
		wants(t, "ResultJSON without a result", err, jobqueue.ErrNotFound)
	})
}

var unreadable = []string{"", "{", `"a string"`, `{"count": "many"}`, `{"count": 1} trailing`, "\xff"}

func TestAnUnreadablePayloadFailsForGood(t *testing.T) {
	check := func(r *rig, ids []jobqueue.ID) {
		for i, id := range ids {
			j := r.job(id)
			if j.State != jobqueue.Failed || j.Failure.Code != jobqueue.CodeInvalidPayload || j.Failure.Message == "" || j.Deliveries != 1 {
				r.t.Errorf("payload %q: got %v, %+v", unreadable[i], j.State, j.Failure)
			}
		}
	}
	enqueue := func(r *rig) (ids []jobqueue.ID) {
		for _, p := range unreadable {
			ids = append(ids, r.enqueue(p).ID)
		}
		return ids
	}
	t.Run("Receive goes on to the next", func(t *testing.T) {
		withRig(t, nil, func(r *rig) {
			ids := enqueue(r)
			good := r.enqueue(`{"item": "nails"}`)
			v, d, err := jobqueue.JSON[order](r.q).Receive(r.ctx, nil)
			if err != nil || d.ID != good.ID || v.Item != "nails" {
				t.Fatalf("got %v, %v, %v", v, d, err)
			}
			check(r, ids)
		})
	})
	t.Run("Receive waits no longer for that", func(t *testing.T) {
		withRig(t, nil, func(r *rig) {
			time.AfterFunc(40*time.Second, func() { r.enqueue("{") })
			begun := time.Now()
			_, _, err := jobqueue.JSON[order](r.q).Receive(r.ctx, &jobqueue.ReceiveOptions{Wait: time.Minute})
			if err != jobqueue.ErrEmpty || time.Since(begun) != time.Minute {
				t.Errorf("got %v after %v, want ErrEmpty after a minute", err, time.Since(begun))
			}
		})
	})
	t.Run("Receive that does not wait", func(t *testing.T) {
		withRig(t, nil, func(r *rig) {
			ids := enqueue(r)
			_, _, err := jobqueue.JSON[order](r.q).Receive(r.ctx, &jobqueue.ReceiveOptions{Wait: -1})
			wants(t, "Receive", err, jobqueue.ErrEmpty)
			check(r, ids)
		})
	})
	t.Run("Consume", func(t *testing.T) {
		withRig(t, nil, func(r *rig) {
			ids := enqueue(r)
			r.enqueue(`{"item": "nails"}`)
			var got []order
			ctx, cancel := context.WithCancel(r.ctx)
			go func() { r.q.Idle(r.ctx); cancel() }()
			err := jobqueue.JSON[order](r.q).Consume(ctx, func(_ context.Context, v order, _ *jobqueue.Delivery) error {
				got = append(got, v)
				return nil
			}, &jobqueue.ConsumeOptions{Workers: 1})
			if err != nil || len(got) != 1 || got[0].Item != "nails" {
				t.Errorf("got %v, %v", got, err)
			}
			check(r, ids)
		})
	})
}

// A payload that the store cannot give is not the payload's fault.
func TestAPayloadThatCannotBeFetchedIsGivenBack(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		large := make([]byte, 2*jobqueue.InlineLimit)
		for i := range large {
			large[i] = ' '
		}
		copy(large, `{"item": "nails"}`)
		j := r.add(jobqueue.NewJob{Payload: large})
		ctx, cancel := context.WithCancel(r.ctx)
		r.store.onCommit(func() { r.store.onCommit(nil); time.AfterFunc(time.Second, cancel) })
		r.store.onView(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		_, _, err := jobqueue.JSON[order](r.q).Receive(ctx, nil)
		wants(t, "Receive", err, context.Canceled)
		r.store.onView(nil)
		synctest.Wait()
		if got := r.job(j.ID); got.State != jobqueue.Pending || got.Deliveries != 0 {
			t.Errorf("got %v with %d deliveries, want pending with 0", got.State, got.Deliveries)
		}
		if v, _, err := jobqueue.JSON[order](r.q).Receive(r.ctx, nil); err != nil || v.Item != "nails" {
			t.Errorf("got %v, %v", v, err)
		}
	})
}

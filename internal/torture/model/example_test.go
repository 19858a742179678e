package model_test

import (
	"fmt"
	"time"

	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/jobqueue"
)

// A job whose lease lapses comes back, and its first token then changes nothing.
func Example() {
	q := model.NewQueue(model.Settings{Lease: time.Minute, Retention: time.Hour, Tombstone: time.Hour}, time.Hour)
	id, first, second := jobqueue.ID{1}, jobqueue.Token{1}, jobqueue.Token{2}

	// What the broker chose: the id, the tokens, by how much the version grew.
	chosen := func(version uint64, t jobqueue.Token) *model.Answer {
		told := model.Told{ID: id, Version: version}
		return &model.Answer{Jobs: []model.Told{told}, Deliveries: []model.Delivery{{Told: told, Token: t}}}
	}
	for _, step := range []struct {
		op  model.Op
		got *model.Answer
	}{
		{model.Op{Kind: model.Enqueue, New: []model.NewJob{{Request: 7}}}, chosen(1, first)},
		{model.Op{Kind: model.Receive, Max: 1}, chosen(2, first)},
		{model.Op{Kind: model.Advance, For: time.Minute}, chosen(0, first)},
		{model.Op{Kind: model.Work}, chosen(0, first)},
		{model.Op{Kind: model.Receive, Max: 1}, chosen(4, second)},
		{model.Op{Kind: model.Ack, ID: id, Token: first}, chosen(0, first)},
		{model.Op{Kind: model.Ack, ID: id, Token: second}, chosen(5, second)},
		{model.Op{Kind: model.Ack, ID: id, Token: second}, chosen(5, second)},
	} {
		var want model.Answer
		q, want = q.Do(&step.op, step.got)
		fmt.Printf("%s: %q", step.op.Kind, want.Err)
		for _, d := range want.Deliveries {
			fmt.Printf(", delivery %d, %d lapsed, %s", d.Deliveries, d.Lapses, d.Payload)
		}
		if want.Repeated {
			fmt.Print(", repeated")
		}
		fmt.Println()
	}
	// Output:
	// Enqueue: ""
	// Receive: "", delivery 1, 0 lapsed, payload 7
	// Advance: ""
	// Work: ""
	// Receive: "", delivery 2, 1 lapsed, payload 7
	// Ack: "lease lost: redelivered"
	// Ack: ""
	// Ack: "", repeated
}

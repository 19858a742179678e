package storagetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A history makes transactions out of choices. Its ids, names, keys and times are few, so that they meet.
type history struct {
	choose   func(n int) int // a number below n
	over     func() bool     // whether there are no more choices
	ids      []storage.ID
	blobs    []storage.ID
	queues   []storage.QueueName
	accounts []string
	keys     []string
	times    []time.Time
}

// newHistory returns a history whose ids depend on the seed.
func newHistory(seed uint64, choose func(n int) int, over func() bool) *history {
	h := &history{
		choose:   choose,
		over:     over,
		queues:   []storage.QueueName{{Account: "a", Name: "bc"}, {Account: "ab", Name: "c"}, {Name: "house"}, {Account: "a", Name: "b"}, {Account: "ÿ", Name: "\x01/"}},
		accounts: []string{"a", "ab", "", "\x01"},
		keys:     []string{"", "", "k", "kk", "\x01", "ÿ", "c"},
		times:    []time.Time{{}, {}, {}, time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), time.Unix(0, -1000).UTC(), farFuture},
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for n := range 24 {
		var id storage.ID
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		id[0] = byte(n)
		near := id // two that differ in the last bits only
		near[15] ^= 1
		h.ids = append(h.ids, id, near)
	}
	h.blobs = []storage.ID{h.ids[0], h.ids[1], h.ids[10]}
	for i := range 12 {
		h.times = append(h.times, at(int64(i)), at(int64(i)*1000))
	}
	return h
}

// A step is one transaction of a history.
type step struct {
	kind stepKind
	ops  []op
}

type stepKind string

const (
	viewing   stepKind = "View"
	succeeds  stepKind = "Update"
	fails     stepKind = "Update that fails"
	panics    stepKind = "Update that panics"
	cancelled stepKind = "Update with a context that is over"
)

// An op is one call of a Reader's or Tx's method, with all that any of them takes.
type op struct {
	kind     opKind
	id       storage.ID
	blob     storage.ID
	queue    storage.QueueName
	account  string
	key      string
	how      int // by which method the job is looked for
	state    int
	priority int16
	due      time.Time
	n        int
	max      int
	size     int
}

type opKind string

// The reads come first: a View chooses among them.
var opKinds = []opKind{
	"Job", "JobByKey", "Payload", "Result", "Ready", "Due", "NextDue", "Jobs", "OldestPending", "Queue", "NextPosition", "Queues", "Counts", "Chunk", "everything",
	"AddJob", "AddJob", "AddJob", "AddJob", "AddJob", "AddJob", "SetJob", "SetJob", "SetJob", "SetJob", "SetJob", "SetJob", "SetResult", "SetResult",
	"DeleteResult", "DeletePayload", "DeleteJob", "DeleteJob", "PutQueue", "PutQueue", "PutQueue", "DeleteQueue", "PutChunk", "PutChunk", "PutChunk", "DeleteBlob",
}

const reads = 15

// step chooses the next transaction.
func (h *history) step() step {
	s := step{kind: succeeds}
	switch n := h.choose(20); {
	case n < 3:
		s.kind = viewing
	case n < 5:
		s.kind = fails
	case n < 6:
		s.kind = panics
	case n < 7 && h.choose(4) == 0:
		s.kind = cancelled
	}
	kinds := opKinds
	if s.kind == viewing {
		kinds = kinds[:reads]
	}
	for range 1 + h.choose(8) {
		s.ops = append(s.ops, h.op(kinds))
	}
	return s
}

func (h *history) op(kinds []opKind) op {
	o := op{
		kind:     kinds[h.choose(len(kinds))],
		id:       one(h, h.ids),
		blob:     one(h, h.blobs),
		queue:    one(h, h.queues),
		account:  one(h, h.accounts),
		key:      one(h, h.keys),
		how:      h.choose(8),
		state:    h.choose(256),
		priority: one(h, []int16{0, 0, 0, 1, -1, math.MaxInt16, math.MinInt16}),
		due:      one(h, h.times),
		n:        h.choose(256),
		max:      one(h, []int{1, 1, 2, 3, 10, 100, 0, -1}),
		size:     one(h, []int{0, 1, 20, 20, 300, 300, 5000}),
	}
	switch h.choose(200) {
	case 0:
		o.size = storage.ChunkSize + h.choose(3) - 1
	case 1:
		if h.choose(5) == 0 {
			o.size = storage.MaxValue + h.choose(2)
		}
	}
	return o
}

func one[T any](h *history, of []T) T { return of[h.choose(len(of))] }

// String says what the operation does.
func (o op) String() string {
	return fmt.Sprintf("%s id %v blob %v queue %q account %q key %q how %d state %d priority %d due %v n %d max %d size %d",
		o.kind, o.id, o.blob, o.queue, o.account, o.key, o.how, o.state, o.priority, o.due.Format(time.RFC3339Nano), o.n, o.max, o.size)
}

// noise is what payloads are cut from.
var noise = func() []byte {
	p := make([]byte, storage.MaxValue+300)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(p)
	return p
}()

// bytes returns a copy of bytes that depend on the operation.
func (o op) bytes() []byte { return append([]byte(nil), noise[o.n:o.n+o.size]...) }

package pgstore

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
)

func randomItem(r *mathrand.Rand) item {
	kinds := []byte{sayHello, sayHere, sayNothing, sayBye, sayWaits, sayWatch, sayReady, sayQueue, sayEnded, sayJob, sayDue}
	it := item{kind: kinds[r.IntN(len(kinds))]}
	switch it.kind {
	case sayWaits, sayReady, sayQueue, sayEnded:
		name := func(least int) string { return strings.Repeat("ü", least+r.IntN(1+r.IntN(256))) }
		it.queue = storage.QueueName{Account: name(0), Name: name(1)}
	}
	switch it.kind {
	case sayReady:
		it.n = r.IntN(1 << 31)
		for i := range it.node {
			it.node[i] = byte(r.Uint32())
		}
	case sayWaits:
		it.n = r.IntN(1 << 31)
	case sayWatch, sayJob:
		it.job = storage.NewID(time.Unix(r.Int64N(1<<32), 0))
	case sayDue:
		it.due = time.UnixMicro(r.Int64N(1 << 54)).UTC()
	}
	return it
}

func TestMessagesSayWhatWasToBeSaid(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	var seq uint64
	seen := map[string]bool{}
	for range 300 {
		var from nodeID
		rand.Read(from[:])
		items := make([]item, 1+r.IntN(1+r.IntN(600)))
		for i := range items {
			items[i] = randomItem(r)
		}
		var got []item
		for _, p := range encode(from, saysUser, items, func() uint64 { seq++; return seq }) {
			if len(p) > maxPayload {
				t.Fatalf("a message has %d bytes", len(p))
			}
			if seen[p] {
				t.Fatal("two messages are the same: the server would send one")
			}
			seen[p] = true
			sender, flags, some, err := decode(p)
			if err != nil || sender != from || flags != saysUser {
				t.Fatalf("got sender %x, flags %d, %v", sender, flags, err)
			}
			got = append(got, some...)
		}
		if !reflect.DeepEqual(got, items) {
			t.Fatalf("got %v, want %v", got, items)
		}
	}
	if p := encode(nodeID{}, 0, nil, func() uint64 { return 0 }); len(p) > 0 {
		t.Errorf("nothing to say: got %q", p)
	}
}

// messages returns payloads as somebody may send them: broken, foreign, of another version.
func messages(r *mathrand.Rand, n int) (all []string) {
	seq := func() uint64 { return r.Uint64() >> 1 }
	for range n {
		p := encode(nodeID{1}, 0, []item{randomItem(r), randomItem(r)}, seq)[0]
		b, _ := base64.RawStdEncoding.DecodeString(p)
		switch r.IntN(6) {
		case 0:
			b = b[:r.IntN(len(b))]
		case 1:
			for range 1 + r.IntN(4) {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
		case 2:
			b[0]++
		case 3:
			b = make([]byte, r.IntN(100))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
		case 4:
			all = append(all, p[:r.IntN(len(p))]+"#")
			continue
		}
		all = append(all, base64.RawStdEncoding.EncodeToString(b))
	}
	return all
}

// hearer is a listener that counts what it is told.
type hearer struct {
	changes   []storage.Change
	receivers map[storage.QueueName]int
	wakes     int // of receivers, at most
}

func (h *hearer) Changed(c storage.Change) int {
	h.changes = append(h.changes, c)
	return min(c.Ready, h.wakes)
}
func (h *hearer) Receivers(q storage.QueueName) int { return h.receivers[q] }
func (h *hearer) Awaits() storage.Awaited           { return storage.Awaited{Receivers: h.receivers} }

// testHub returns a hub without a database that hears and has settled.
func testHub() (*hub, *hearer) {
	h := newHub(&Store{opts: Options{Schema: "s"}, schema: `"s"`})
	l := &hearer{receivers: map[storage.QueueName]int{}}
	h.listener, h.hearing = l, true
	h.quiet.Store(true)
	return h, l
}

func TestUnreadableMessagesAreLeftAlone(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(3, 4))
	h, l := testHub()
	for _, p := range messages(r, 5000) {
		h.hear(p)
	}
	l.changes = nil
	for _, p := range []string{"", "x", "hello", strings.Repeat("A", 7999), "AQ", "AQAAAAAAAAAAAAE"} {
		h.hear(p)
	}
	if len(l.changes) > 0 {
		t.Errorf("got %v", l.changes)
	}
	for _, q := range slices.Collect(func(yield func(storage.QueueName) bool) {
		for q := range h.nodes.waits {
			yield(q)
		}
	}) {
		if q.Name == "" {
			t.Error("a queue without a name")
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, p := range messages(mathrand.New(mathrand.NewPCG(5, 6)), 200) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		from, flags, items, err := decode(p)
		if err != nil {
			return
		}
		var again []item
		for _, p := range encode(from, flags, items, func() uint64 { return 7 }) {
			_, _, some, err := decode(p)
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, some...)
		}
		if !reflect.DeepEqual(again, items) {
			t.Errorf("got %v, want %v", again, items)
		}
		h, _ := testHub()
		h.hear(p)
	})
}

// from is what another node says.
func from(node byte, items ...item) string {
	return encode(nodeID{node}, 0, items, func() uint64 { return 1 })[0]
}

// saysIn returns the items of messages.
func saysIn(t *testing.T, payloads []string) (all []item) {
	t.Helper()
	for _, p := range payloads {
		_, _, items, err := decode(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, items...)
	}
	return all
}

var work = storage.QueueName{Name: "work"}

func enqueued(n int) *changes {
	c := new(changes)
	for range n {
		c.readied(work)
		c.job(storage.NewID(time.Now()))
	}
	return c
}

func TestANodeThatIsAloneSaysNothing(t *testing.T) {
	h, _ := testHub()
	if p := h.payloads(enqueued(3)); len(p) > 0 {
		t.Errorf("got %v", saysIn(t, p))
	}
	h.hear(from(1, item{kind: sayHere}))
	if p := h.payloads(enqueued(3)); len(p) > 0 {
		t.Errorf("nobody waits: got %v", saysIn(t, p))
	}
	h.hear(from(1, item{kind: sayWaits, queue: work, n: 1}))
	h.hear(from(1, item{kind: sayBye}))
	if p := h.payloads(enqueued(3)); len(p) > 0 {
		t.Errorf("the other has gone: got %v", saysIn(t, p))
	}
}

func TestJobsAreSharedOutAmongThoseWhoWait(t *testing.T) {
	h, l := testHub()
	for node := range byte(3) {
		h.hear(from(node+1, item{kind: sayHere}, item{kind: sayWaits, queue: work, n: 2}))
	}
	ready := func(n int) (got string) {
		c := enqueued(n)
		for _, it := range saysIn(t, h.payloads(c)) {
			if it.kind != sayReady || it.queue != work {
				t.Fatalf("got %+v", it)
			}
			got += fmt.Sprintf("%d:%d ", it.node[0], it.n)
		}
		h.committed(c)
		return got
	}
	for i, want := range []string{"1:1 ", "2:1 ", "3:1 "} {
		if got := ready(1); got != want {
			t.Errorf("job %d: got %q, want %q", i, got, want)
		}
	}
	h.hear(from(2, item{kind: sayReady, node: nodeID{1}, queue: work, n: 1})) // another has told node 1
	if got, want := ready(5), "2:1 3:1 "; got != want {
		t.Errorf("five jobs, two receivers: got %q, want %q", got, want)
	}
	if got := ready(1); got != "" {
		t.Errorf("nobody waits any more: got %q", got)
	}
	h.say = nil
	h.hear(from(3, item{kind: sayWaits, queue: work, n: 9}))
	if got := h.say; len(got) != 1 || got[0].node != (nodeID{3}) || got[0].n != 4 {
		t.Errorf("who begins to wait is told of the four that nobody was: got %+v", got)
	}
	h.hear(from(1, item{kind: sayWaits, queue: work, n: 1}))
	l.receivers[work] = 2
	if got, want := ready(3), "3:1 "; got != want {
		t.Errorf("two receivers are here: got %q, want %q", got, want)
	}
}

func TestWhoBeginsToWaitDuringACommitIsTold(t *testing.T) {
	h, _ := testHub()
	h.hear(from(1, item{kind: sayHere}))
	c := enqueued(2)
	if p := h.payloads(c); len(p) > 0 {
		t.Errorf("got %v", saysIn(t, p))
	}
	h.hear(from(1, item{kind: sayWaits, queue: work, n: 1}, item{kind: sayWatch, job: c.jobs[1]}))
	if len(h.say) > 0 {
		t.Errorf("told before the commit: %+v", h.say)
	}
	id := c.jobs[1]
	h.committed(c)
	if got := h.say; len(got) != 2 || got[0].kind != sayReady || got[0].n != 1 || got[1].kind != sayJob || got[1].job != id {
		t.Errorf("got %+v", got)
	}
}

func TestWhatANodeHasNoReceiversForGoesToTheNext(t *testing.T) {
	h, l := testHub()
	h.mine[work] = 5
	h.hear(from(2, item{kind: sayHere}, item{kind: sayWaits, queue: work, n: 9}))
	l.wakes = 1
	h.hear(from(3, item{kind: sayReady, node: h.self, queue: work, n: 4}))
	want := []item{{kind: sayWaits, queue: work}, {kind: sayReady, node: nodeID{2}, queue: work, n: 3}}
	if !reflect.DeepEqual(h.say, want) {
		t.Errorf("got %+v, want %+v", h.say, want)
	}
	if !reflect.DeepEqual(l.changes, []storage.Change{{Queue: work, Ready: 4}}) {
		t.Errorf("told %+v", l.changes)
	}

	h.say, l.wakes, l.receivers[work] = nil, 9, 5
	h.mine[work] = 2
	h.hear(from(3, item{kind: sayReady, node: h.self, queue: work, n: 2}))
	if want := []item{{kind: sayWaits, queue: work, n: 5}}; !reflect.DeepEqual(h.say, want) {
		t.Errorf("it has more: got %+v, want %+v", h.say, want)
	}
	h.say, l.changes = nil, nil
	h.hear(from(3, item{kind: sayReady, node: nodeID{2}, queue: work, n: 2}))
	if len(h.say)+len(l.changes) > 0 {
		t.Errorf("what is for another: said %+v, told %+v", h.say, l.changes)
	}
}

func TestANodeThatIsNotHeardOfIsForgotten(t *testing.T) {
	k, now, id := newNodes(), time.Unix(1e9, 0), storage.NewID(time.Now())
	k.here(nodeID{1}, now)
	k.wait(nodeID{1}, work, 1, now)
	k.watch(id, now)
	k.here(nodeID{2}, now.Add(time.Minute))
	k.expire(now.Add(forgetAfter))
	if _, _, ok := k.next(work, now); ok || len(k.watched) > 0 {
		t.Errorf("got %+v", k)
	}
	k.expire(now.Add(forgetAfter + 1))
	if len(k.heard) != 1 {
		t.Errorf("got %+v", k)
	}
}

func TestOneNodeDoesNotLag(t *testing.T) {
	var zero int
	for self := range byte(5) {
		k := newNodes()
		for other := range byte(5) {
			if other != self {
				k.here(nodeID{other}, time.Now())
			}
		}
		lag := k.lag(nodeID{self})
		if lag == 0 {
			zero++
		}
		if lag < 0 || lag > time.Second {
			t.Errorf("got %v", lag)
		}
	}
	if zero != 1 {
		t.Errorf("%d of 5 nodes do not lag, want one", zero)
	}
}

func TestWhatWasCommittedIsRememberedForAMoment(t *testing.T) {
	var r recent
	now := time.Unix(1e9, 0)
	id := storage.NewID(now)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {recentFor, true}, {recentFor * 2, false}, {time.Hour, false}} {
		r = recent{}
		r.readied(work, 2, now)
		r.readied(work, 1, now)
		r.changed(id, now)
		at := now.Add(c.after)
		if got := r.has(id, at); got != c.want {
			t.Errorf("after %v: the job is remembered: %t", c.after, got)
		}
		if got := r.takeReady(work, at); (got == 3) != c.want {
			t.Errorf("after %v: got %d", c.after, got)
		}
		if got := r.takeReady(work, at); got != 0 {
			t.Errorf("after %v: taken twice: %d", c.after, got)
		}
	}
}

func TestALookTellsWhatIsNew(t *testing.T) {
	id, at := storage.NewID(time.Now()), time.Unix(1e9, 0).UTC()
	l := &hearer{receivers: map[storage.QueueName]int{work: 3}}
	var k looks
	told := func(rows ...found) []storage.Change {
		k.begin(l)
		queues, _ := k.page()
		return k.changes(queues, []storage.ID{id}, rows)
	}
	row := func(version, ready int64) found { return found{kind: 1, i: 1, qid: 7, version: version, ready: ready} }
	digest := func(d byte) found { return found{kind: 2, id: (*[16]byte)(&id), digest: slices.Repeat([]byte{d}, 32)} }
	due := func(at time.Time) found { return found{kind: 3, due: &at, now: &at} }
	job, wake, look := storage.Change{Job: id}, storage.Change{Queue: work, Ready: 1}, storage.Change{Queue: work}
	for i, c := range []struct {
		rows []found
		want []storage.Change
	}{
		{nil, []storage.Change{wake, job}}, // nothing is known yet
		{nil, nil},
		{[]found{row(1, 0), digest(1)}, []storage.Change{wake, job}}, // the queue is there now, and may be closed already
		{[]found{row(1, 0), digest(1)}, nil},
		{[]found{row(1, 2), digest(1)}, []storage.Change{{Queue: work, Ready: 2}}},
		{[]found{row(1, 0), digest(1), due(at)}, []storage.Change{{Due: at, Now: at}}},
		{[]found{row(1, 0), digest(2), due(at)}, []storage.Change{job}},
		{[]found{row(2, 1), digest(2), due(at.Add(1))}, []storage.Change{{Due: at.Add(1), Now: at.Add(1)}, look}},
		{[]found{digest(2)}, []storage.Change{look}}, // the queue was deleted
		{nil, []storage.Change{job}},                 // and now the job
		{nil, nil},
	} {
		if got := told(c.rows...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("look %d: got %+v, want %+v", i, got, c.want)
		}
	}
}

func TestALongListIsLookedAtInTurn(t *testing.T) {
	l := &hearer{receivers: map[storage.QueueName]int{}}
	for i := range maxLook*2 + 10 {
		l.receivers[storage.QueueName{Name: fmt.Sprint(i)}] = 1
	}
	var k looks
	seen := map[storage.QueueName]int{}
	for range 3 {
		k.begin(l)
		queues, _ := k.page()
		if len(queues) > maxLook {
			t.Errorf("a look asks for %d queues", len(queues))
		}
		for _, q := range queues {
			seen[q.queue]++
		}
	}
	if len(seen) != len(l.receivers) {
		t.Errorf("three looks asked for %d queues, want %d", len(seen), len(l.receivers))
	}
}

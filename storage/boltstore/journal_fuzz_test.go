package boltstore

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// replayBytes does to an overlay what the body of a record of the journal says. Jobs that are only in the trees are not there.
func replayBytes(r *reader, o *overlay, body []byte, lost map[storage.ID]bool) error {
	r.overlay = o
	d := record.NewLentDecoder(body)
	t := batchTrace{commit: 1}
	for d.Len() > 0 {
		if err := r.replayOp(&d, o, &t, lost); err != nil {
			return err
		}
	}
	return d.End()
}

func wantSameJob(t *testing.T, got, want *job) {
	t.Helper()
	if got == nil || got.gone != want.gone || got.queue != want.queue ||
		got.valued != want.valued || got.dropped != want.dropped || (got.payload == nil) != (want.payload == nil) || !bytes.Equal(got.payload, want.payload) ||
		(got.result == nil) != (want.result == nil) || !bytes.Equal(got.result, want.result) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if plain(got) != plain(want) {
		t.Fatalf("got %s, want %s", plain(got), plain(want))
	}
}

// plain shows all of a job's own fields, so that a progress that is no number equals itself.
func plain(j *job) string {
	s := j.Status
	progress := "none"
	if s.Progress != nil {
		progress, s.Progress = fmt.Sprint(*s.Progress), nil
	}
	return fmt.Sprintf("%+v %+v progress %s", *j.Spec, s, progress)
}

// openForFuzz returns a store in whose trees there is no job.
func openForFuzz(f *testing.F) *Store {
	s, err := Open(filepath.Join(f.TempDir(), "jobs.db"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	return s
}

// FuzzJournal looks for the body of a journal's record that panics, or that puts a job into the overlay which comes back otherwise when it
// is written into a journal and replayed from there (I1).
func FuzzJournal(f *testing.F) {
	for _, h := range journals {
		body, _, _ := h.play()
		f.Add(body)
		if len(body) > 40 {
			f.Add(body[:len(body)-9])
		}
	}
	f.Add([]byte{opChange, 0})
	f.Add(append([]byte{9}, make([]byte, idLen)...))
	s := openForFuzz(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := s.view(t.Context(), func(r *reader) error {
			o := new(overlay).edit()
			if err := replayBytes(r, o, body, map[storage.ID]bool{}); err != nil {
				return nil
			}
			for w := o.ids.from(spot{}); w.item() != nil; w.step() {
				j := w.item().job
				if o.get(j.ID) != j {
					t.Fatalf("job %v does not stand under its id", j.ID)
				}
				if j.gone {
					continue
				}
				again := new(overlay).edit()
				added := *j // what an added job has not yet is told by a change that follows
				added.result, added.dropped = nil, false
				if j.payload == nil && !j.valued { // it had one, which was dropped
					added.payload = []byte{}
				}
				added.valued = added.payload == nil
				changed := change{&added, j}.append(change{nil, &added}.append(nil))
				if err := replayBytes(r, again, changed, map[storage.ID]bool{}); err != nil {
					t.Fatalf("job %+v was written as %x: %v", j, changed, err)
				}
				wantSameJob(t, again.get(j.ID), j)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// A journalHistory makes changes of jobs out of bytes, one after the other as transactions do, and what a journal says of them.
type journalHistory []byte

// journals are histories to begin with: each op, and all of them on one another.
var journals = []journalHistory{
	nil,
	{0, 0, 1, 2, 3, 4, 5, 6, 7},
	{0, 0, 9, 0x55, 0xff, 1, 0, 7, 0x33, 8, 2, 0, 1, 3, 0, 1, 0, 0, 2},
	{0, 1, 1, 255, 255, 1, 1, 255, 255, 255, 4, 1, 0, 1, 1, 1, 2, 1, 0, 1, 5},
	{0, 2, 3, 1, 128, 3, 2, 0, 2, 7, 0, 64, 5, 2, 0, 2, 200, 100, 0, 3, 200, 100},
}

// play makes the changes. It returns the record's body, where in it each op ends, and the jobs that the overlay has at the end.
func (h journalHistory) play() (body []byte, ends map[int]bool, jobs map[storage.ID]*job) {
	next := func() byte {
		if len(h) == 0 {
			return 0
		}
		b := h[0]
		h = h[1:]
		return b
	}
	jobs, ends = make(map[storage.ID]*job), map[int]bool{0: true}
	position := uint64(0)
	for len(h) > 0 {
		op, id := next()%6, storage.ID{0: 1 + next()%5}
		was := jobs[id]
		switch {
		case op == 0 && (was == nil || was.gone):
			position++
			now := &job{Job: &storage.Job{Spec: someSpec(id, position, next), Status: someStatus(next)}, queue: uint64(next()) + 1}
			if n := next(); n < 200 {
				now.payload = bytes.Repeat([]byte{n}, int(n))
			} else {
				now.valued = true
			}
			body, jobs[id] = change{was, now}.append(body), now
		case op == 1 && was != nil && !was.gone:
			now := *was
			flags := next()
			if flags&1 != 0 {
				now.Job = was.With(someStatus(next))
			}
			if flags&2 != 0 {
				now.result = bytes.Repeat([]byte{flags}, int(next()))
			}
			if flags&4 != 0 {
				now.result = nil
			}
			if flags&8 != 0 {
				now.payload = nil
			}
			now.valued = was.valued || flags&16 != 0
			now.dropped = flags&32 != 0
			body, jobs[id] = change{was, &now}.append(body), &now
		case op == 2 && was != nil:
			body = change{was, nil}.append(body)
			delete(jobs, id)
		case op == 3 && was != nil:
			body = append(append(body, opStored), id[:]...)
			delete(jobs, id)
		case op == 4 && was != nil && !was.gone:
			now := goneJob(id, was.queue)
			body, jobs[id] = change{was, now}.append(body), now
		default:
			continue
		}
		ends[len(body)] = true
	}
	return body, ends, jobs
}

func someTime(n byte) time.Time {
	if n%4 == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(n-128) * 1e14).UTC()
}

func someSpec(id storage.ID, position uint64, next func() byte) *storage.Spec {
	flags := next()
	s := &storage.Spec{ID: id, Queue: storage.QueueName{Account: "a", Name: "q"}, Account: "a", Position: position, Created: someTime(next())}
	if flags&1 != 0 {
		s.Account = "other"
	}
	if flags&2 != 0 {
		s.Key, s.RequestHash = fmt.Sprint("key", id[0]), [32]byte{flags}
	}
	if flags&4 != 0 {
		s.Tags = map[string]string{"tag": string([]byte{flags})}
	}
	if flags&8 != 0 {
		s.Outbox = []string{"one", ""}
	}
	if flags&16 != 0 {
		s.Priority = int16(flags) - 100
	}
	s.Once = flags&32 != 0
	if flags&64 != 0 {
		s.Limits = storage.Limits{Lease: time.Duration(flags), MaxDeliveries: -1}
	}
	if flags&128 != 0 {
		s.Size, s.Blob, s.Origin = -1, id, id
	}
	return s
}

func someStatus(next func() byte) storage.Status {
	flags := next()
	s := storage.Status{State: storage.State(flags) % storage.Gone, Lease: storage.LeaseState(flags % 6), Version: uint64(flags), Due: someTime(next())}
	if flags&1 != 0 {
		s.LeaseExpires = s.Due
	}
	if flags&2 != 0 {
		s.LeaseExpires, s.Token, s.Deliveries = someTime(next()), storage.Token{flags}, uint32(flags)<<8
	}
	if flags&4 != 0 {
		p := float64(flags) / 255
		s.Progress = &p
	}
	s.HasResult, s.NoPayload = flags&8 != 0, flags&16 != 0
	if flags&32 != 0 {
		s.RunAt, s.Deadline, s.Started, s.Finished = someTime(next()), someTime(next()), someTime(next()), someTime(next())
	}
	return s
}

// FuzzReplay looks for a history of jobs whose journal, replayed, makes another overlay than the history did (I1): jobs, the places of those
// that are ready, due or have a key, and the size; and for a journal with one record cut short that is taken for whole.
func FuzzReplay(f *testing.F) {
	for _, h := range journals {
		f.Add([]byte(h), uint16(len(h)))
	}
	s := openForFuzz(f)
	f.Fuzz(func(t *testing.T, history []byte, cut uint16) {
		body, ends, want := journalHistory(history).play()
		if err := s.view(t.Context(), func(r *reader) error {
			o := new(overlay).edit()
			if err := replayBytes(r, o, body, map[storage.ID]bool{}); err != nil {
				t.Fatalf("%x: %v", body, err)
			}
			wantOverlay(t, o, want)
			short := body[:int(cut)%(len(body)+1)]
			if err := replayBytes(r, new(overlay).edit(), short, map[storage.ID]bool{}); (err == nil) != ends[len(short)] {
				t.Fatalf("the first %d bytes of %x, where an op ends: %v, got %v", len(short), body, ends[len(short)], err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// wantOverlay demands that an overlay has those jobs and nothing else, each in all its places.
func wantOverlay(t *testing.T, o *overlay, want map[storage.ID]*job) {
	t.Helper()
	size, ready, due, keys := 0, 0, 0, 0
	for id, j := range want {
		got := o.get(id)
		wantSameJob(t, got, j)
		size += got.size()
		if got.isReady() {
			ready++
			if o.ready.get(readySpot(got)) != got {
				t.Fatalf("%v is ready, and has no place there", id)
			}
		}
		if got.isDue() {
			due++
			if o.due.get(dueSpot(got)) != got {
				t.Fatalf("%v is due, and has no place there", id)
			}
		}
		if got.hasKey() {
			keys++
			if o.byKey(got.KeyOf()) != got {
				t.Fatalf("%v is not found by its key", id)
			}
		}
	}
	if got, want := [...]int{o.ids.len, o.bytes, o.ready.len, o.due.len, o.keys.len}, [...]int{len(want), size, ready, due, keys}; got != want {
		t.Fatalf("jobs, bytes, ready, due, keys: got %v, want %v", got, want)
	}
}

package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// The kinds of records beside a job's id in the bucket "data".
const (
	specRecord    = 0
	payloadRecord = 1
	resultRecord  = 2
)

// flip flips a bit in the middle of the value of a key, or in the last piece of a nested bucket.
func flip(t *testing.T, b *bbolt.Bucket, key []byte) error {
	t.Helper()
	if nested := b.Bucket(key); nested != nil {
		k, _ := nested.Cursor().Last()
		return flip(t, nested, bytes.Clone(k))
	}
	v := bytes.Clone(b.Get(key))
	if v == nil {
		t.Fatalf("no record %x", key)
	}
	v[len(v)/2] ^= 4
	return b.Put(key, v)
}

func dataKey(id storage.ID, kind byte) []byte {
	return append(append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, id[:]...), kind)
}

// damage returns the store after a closed file with three jobs, the second and third damaged by fn.
func damage(t *testing.T, payload []byte, fn func(top *bbolt.Bucket) error) *boltstore.Store {
	t.Helper()
	s, path := open(t, nil)
	update(t, s, func(tx storage.Tx) error {
		for i := range byte(3) {
			j := newJob(id(i + 1))
			j.Due = time.Unix(int64(3-i), 0).UTC()
			j, err := tx.AddJob(j, payload)
			if err != nil {
				return err
			}
			if err := tx.SetResult(j, []byte("result")); err != nil {
				return err
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, fn)
	return reopen(t, path, nil)
}

func TestDamagedRecordsAreNeverServedAndHarmNothingElse(t *testing.T) {
	for _, c := range []struct {
		name, record string
		damage       func(t *testing.T, top *bbolt.Bucket, id storage.ID) error
	}{
		{"spec", "spec", func(t *testing.T, top *bbolt.Bucket, id storage.ID) error {
			return flip(t, top.Bucket([]byte("data")), dataKey(id, specRecord))
		}},
		{"missing spec", "spec", func(t *testing.T, top *bbolt.Bucket, id storage.ID) error {
			return top.Bucket([]byte("data")).Delete(dataKey(id, specRecord))
		}},
		{"status", "status", func(t *testing.T, top *bbolt.Bucket, id storage.ID) error {
			return flip(t, top.Bucket([]byte("status")), id[:])
		}},
		{"spec of another job", "spec", func(t *testing.T, top *bbolt.Bucket, job storage.ID) error {
			b := top.Bucket([]byte("data"))
			return b.Put(dataKey(job, specRecord), bytes.Clone(b.Get(dataKey(id(1), specRecord))))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := []storage.ID{id(2), id(3)}
			s := damage(t, []byte("payload"), func(top *bbolt.Bucket) error {
				return errors.Join(c.damage(t, top, bad[0]), c.damage(t, top, bad[1]))
			})
			good := newJob(id(1))
			update(t, s, func(tx storage.Tx) error {
				for _, id := range bad {
					var e *storage.CorruptError
					if _, err := tx.Job(id); !errors.As(err, &e) || e.Job != id || e.Record != c.record {
						t.Errorf("Job: got %v, want a corrupt %s of %v", err, c.record, id)
					}
					j := newJob(id)
					_, byKey := tx.JobByKey(j.KeyOf())
					_, payload := tx.Payload(j)
					for name, err := range map[string]error{"JobByKey": byKey, "Payload": payload, "SetJob": tx.SetJob(j), "DeleteJob": tx.DeleteJob(j),
						"SetResult": tx.SetResult(j, nil), "DeletePayload": tx.DeletePayload(j)} {
						if !errors.Is(err, storage.ErrCorrupt) {
							t.Errorf("%s: got %v, want %v", name, err, storage.ErrCorrupt)
						}
					}
					if _, err := tx.AddJob(j, nil); !errors.Is(err, storage.ErrExists) {
						t.Errorf("AddJob: got %v, want %v", err, storage.ErrExists)
					}
				}
				only := func(order string, jobs []*storage.Job, err error) {
					if err != nil || len(jobs) != 1 || jobs[0].ID != good.ID {
						t.Errorf("%s: got %v, %v, want the good job", order, jobs, err)
					}
				}
				jobs, err := tx.Ready(queueA, 1)
				only("Ready", jobs, err)
				jobs, err = tx.Due(time.Unix(10, 0), 1)
				only("Due", jobs, err)
				jobs, _, err = tx.Jobs(queueA, 0, storage.ID{}, 10)
				only("Jobs", jobs, err)
				if due, err := tx.NextDue(); err != nil || !due.Equal(time.Unix(3, 0)) {
					t.Errorf("NextDue: got %v, %v", due, err)
				}
				if counts, err := tx.Counts(queueA); err != nil || counts[storage.Pending] != 3 {
					t.Errorf("Counts: got %v, %v, want 3 pending", counts, err)
				}
				if err := tx.DeleteQueue(queueA); err != storage.ErrInUse {
					t.Errorf("DeleteQueue: got %v, want %v", err, storage.ErrInUse)
				}
				_, err = tx.AddJob(newJob(id(9)), nil) // and the transaction goes on
				return err
			})
			if err := s.Check(t.Context()); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("Check: got %v, want %v", err, storage.ErrCorrupt)
			}
			for _, id := range bad {
				if err := s.Discard(t.Context(), id); err != nil {
					t.Fatalf("Discard: %v", err)
				}
				if exists(t, s, id) {
					t.Error("a discarded job exists")
				}
				update(t, s, add(id))
			}
			if _, counts := positions(t, s); counts[storage.Pending] != 4 {
				t.Errorf("after Discard: got counts %v, want 4 pending", counts)
			}
			check(t, s)
		})
	}
}

// A payload of up to a KiB stands in the record of its Spec and shares its fate.
func TestADamagedPayloadLeavesItsJobUsable(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, c := range []struct {
		name    string
		payload []byte
		bucket  string
		key     func(id storage.ID) []byte
	}{
		{"small", large[:2000], "data", func(id storage.ID) []byte { return dataKey(id, payloadRecord) }},
		{"large", large, "large", func(storage.ID) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, 2} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := damage(t, c.payload, func(top *bbolt.Bucket) error { return flip(t, top.Bucket([]byte(c.bucket)), c.key(id(2))) })
			update(t, s, func(tx storage.Tx) error {
				j, err := tx.Job(id(2))
				if err != nil {
					return err
				}
				var e *storage.CorruptError
				if _, err := tx.Payload(j); !errors.As(err, &e) || e.Record != "payload" || e.Job != id(2) {
					t.Errorf("Payload: got %v, want a corrupt payload", err)
				}
				if p, err := tx.Payload(newJob(id(1))); err != nil || !bytes.Equal(p, c.payload) {
					t.Errorf("the payload next to it: %d bytes, %v", len(p), err)
				}
				if p, err := tx.Result(j); err != nil || string(p) != "result" {
					t.Errorf("Result: got %q, %v", p, err)
				}
				st := j.Status
				st.State = storage.Running
				return tx.SetJob(j.With(st))
			})
			if err := s.Check(t.Context()); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("Check: got %v, want %v", err, storage.ErrCorrupt)
			}
			if err := s.Discard(t.Context(), id(1)); !errors.Is(err, boltstore.ErrNotDamaged) {
				t.Errorf("Discard of a good job: got %v, want %v", err, boltstore.ErrNotDamaged)
			}
			if err := s.Discard(t.Context(), id(7)); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Discard of no job: got %v, want %v", err, storage.ErrNotFound)
			}
			if err := s.Discard(t.Context(), id(2)); err != nil {
				t.Fatal(err)
			}
			check(t, s)
		})
	}
}

func TestCheckFindsPlacesThatDisagree(t *testing.T) {
	first := func(bucket string, fn func(b *bbolt.Bucket, k, v []byte) error) func(top *bbolt.Bucket) error {
		return func(top *bbolt.Bucket) error {
			b := top.Bucket([]byte(bucket))
			k, v := b.Cursor().First()
			return fn(b, bytes.Clone(k), bytes.Clone(v))
		}
	}
	remove := func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) }
	for name, fn := range map[string]func(top *bbolt.Bucket) error{
		"a place in ready is missing": first("ready", remove),
		"a place in due is missing":   first("due", remove),
		"a key is missing":            first("keys", remove),
		"a status is missing":         first("status", remove),
		"a large value is missing":    first("large", func(b *bbolt.Bucket, k, _ []byte) error { return b.DeleteBucket(k) }),
		"counters are missing":        first("counters", remove),
		"a place is damaged":          first("ready", func(b *bbolt.Bucket, k, v []byte) error { v[1] ^= 1; return b.Put(k, v) }),
		"counters are damaged":        first("counters", func(b *bbolt.Bucket, k, v []byte) error { v[2] ^= 1; return b.Put(k, v) }),
		"settings are damaged":        first("queues", func(b *bbolt.Bucket, k, v []byte) error { v[2] ^= 1; return b.Put(k, v) }),
		"a large value is an orphan": func(top *bbolt.Bucket) error {
			_, err := top.Bucket([]byte("large")).CreateBucket([]byte{0, 0, 0, 0, 0, 0, 0, 77})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := damage(t, make([]byte, 10_000), fn)
			if err := s.Check(t.Context()); err == nil {
				t.Error("got nil, want an error")
			}
		})
	}
	check(t, damage(t, make([]byte, 10_000), func(*bbolt.Bucket) error { return nil }))
}

func TestAPlaceThatIsNotItsJobsIsPassedOver(t *testing.T) {
	forged := func(b *bbolt.Bucket, key []byte) error {
		table := crc32.MakeTable(crc32.Castagnoli)
		crc := crc32.Update(crc32.Update(0, table, key), table, []byte{1})
		return b.Put(key, binary.LittleEndian.AppendUint32([]byte{1}, crc))
	}
	s := damage(t, nil, func(top *bbolt.Bucket) error {
		ready, due := top.Bucket([]byte("ready")), top.Bucket([]byte("due"))
		k, _ := ready.Cursor().First()
		first := bytes.Clone(k)
		first[8] = 0 // a high priority
		k, _ = due.Cursor().First()
		soon := bytes.Clone(k)
		soon[7]--
		return errors.Join(forged(ready, first), forged(due, soon))
	})
	view(t, s, func(r storage.Reader) error {
		ready, err := r.Ready(queueA, 10)
		due, err2 := r.Due(time.Unix(10, 0), 10)
		if len(ready) != 3 || len(due) != 3 {
			t.Errorf("got %d ready and %d due, want 3 and 3", len(ready), len(due))
		}
		if next, err := r.NextDue(); err != nil || !next.Equal(time.Unix(1, 0)) {
			t.Errorf("NextDue: got %v, %v", next, err)
		}
		return errors.Join(err, err2)
	})
	if err := s.Check(t.Context()); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Check: got %v, want %v", err, storage.ErrCorrupt)
	}
}

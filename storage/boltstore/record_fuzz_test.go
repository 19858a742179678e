package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A codec decodes a record, and encodes what it has decoded.
type codec struct {
	name  string
	again func(key, rec []byte) (value any, encoded []byte, err error)
}

var fuzzID = storage.ID{0: 1, 15: 2}

var codecs = []codec{
	{"status", func(key, rec []byte) (any, []byte, error) {
		var s storage.Status
		queue, err := decodeStatus(key, rec, &s)
		encoded := appendStatus(nil, key, queue, &s)
		var progress uint64 // the bits, as there are numbers that are not equal to themselves
		if s.Progress != nil {
			progress, s.Progress = math.Float64bits(*s.Progress)+1, nil
		}
		return []any{queue, s, progress}, encoded, err
	}},
	{"spec", func(key, rec []byte) (any, []byte, error) {
		s, err := decodeSpec(key, rec, fuzzID)
		if err != nil {
			return nil, nil, err
		}
		payload, encoded, err := splitSpec(key, rec)
		if err != nil {
			return nil, nil, err
		}
		if without, err := decodeSpec(key, withoutPayload(nil, key, encoded), fuzzID); err != nil || !reflect.DeepEqual(without, s) {
			return nil, nil, fmt.Errorf("without its payload: got %+v, %v", without, err)
		}
		return []any{*s, string(payload), payload == nil}, appendSpec(nil, key, s, payload), nil
	}},
	{"queue", func(key, rec []byte) (any, []byte, error) {
		number, err := queueNumber(key, rec)
		if err != nil {
			return nil, nil, err
		}
		q, err := decodeQueue(storage.QueueName{Name: "q"}, key, rec)
		if err != nil {
			return nil, nil, err
		}
		return []any{number, *q}, appendQueue(nil, key, number, q), nil
	}},
	{"counters", func(key, rec []byte) (any, []byte, error) {
		next, counts, err := decodeCounters(key, rec)
		return []any{next, counts}, appendCounters(nil, key, next, &counts), err
	}},
	{"meta", func(_, rec []byte) (any, []byte, error) {
		var m meta
		err := m.decode(rec)
		return m, m.append(nil), err
	}},
	{"key", func(key, rec []byte) (any, []byte, error) {
		id, err := keyTarget(key, rec)
		return id, seal(append([]byte{version}, id[:]...), 0, key), err
	}},
}

// sealed makes a record of any body.
func sealed(key, body []byte) []byte { return seal(append([]byte{version}, body...), 0, key) }

// bodyOf returns what sealed was given.
func bodyOf(rec []byte) []byte { return rec[1 : len(rec)-sumLen] }

// FuzzRecord looks for a record of any kind that panics, that decodes to a value which comes back otherwise when it is written and read
// again (I1), or that one wrong byte in it or in its key turns into another one instead of an error (rot: no wrong byte is served).
func FuzzRecord(f *testing.F) {
	id, at, half := fuzzID, time.UnixMicro(1_700_000_000_000_001).UTC(), 0.5
	full := &storage.Status{
		State: storage.Running, Lease: storage.Held, Version: 300, Due: at, Token: storage.Token{1}, Deliveries: 2, Lapses: 1, Ends: 1, Owed: 1, RunAt: at,
		LeaseExpires: at.Add(time.Second), Deadline: at, Started: at, Finished: at, Progress: &half, HasResult: true, ResultSize: 9, ResultBlob: id,
	}
	spec := &storage.Spec{
		ID: id, Queue: storage.QueueName{Account: "a", Name: "q"}, Account: "b", Key: "k", RequestHash: [32]byte{1}, Priority: -3, Position: 8, Created: at,
		Name: "name", ContentType: "text/plain", Tags: map[string]string{"t": "v"}, Size: -1, Blob: id, Outbox: []string{"o", "p"}, Origin: id,
		Limits: storage.Limits{Lease: time.Second, MaxDeliveries: -1, Retention: time.Hour, Tombstone: 1}, Once: true,
	}
	queue := &storage.Queue{Limits: spec.Limits, Backlog: -1, Tags: spec.Tags, Status: "paused", Created: at, Closed: at}
	m := meta{commits: 7, time: at, queues: 2, large: 1}
	for i, records := range [][][]byte{
		{appendStatus(nil, nil, 1, full), appendStatus(nil, nil, 1, &storage.Status{State: storage.Pending}),
			appendStatus(nil, nil, 2, &storage.Status{State: storage.Running, Due: at, LeaseExpires: at})},
		{appendSpec(nil, nil, spec, nil), appendSpec(nil, nil, &storage.Spec{Queue: spec.Queue, Account: "a"}, []byte("payload"))},
		{appendQueue(nil, nil, 1, queue), appendQueue(nil, nil, 200, &storage.Queue{})},
		{appendCounters(nil, nil, 5, &storage.Counts{1: 2, 3: -4})},
		{m.append(nil), (&meta{}).append(nil)},
		{sealed(nil, id[:])},
	} {
		for _, rec := range records {
			f.Add(byte(i), []byte("key"), bodyOf(rec), uint16(3), byte(0x80))
			f.Add(byte(i), []byte("key"), bodyOf(rec)[:len(bodyOf(rec))/2], uint16(0), byte(1))
		}
	}
	f.Add(byte(1), []byte(""), binary.AppendUvarint([]byte{0, 0, 0}, 1<<63), uint16(9), byte(2))
	f.Fuzz(func(t *testing.T, kind byte, key, body []byte, where uint16, wrong byte) {
		c := codecs[int(kind)%len(codecs)]
		if c.name == "meta" {
			key = metaKey
		}
		if _, _, err := c.again(key, body); err == nil {
			// The fuzzer has found a checksum: then it is one of a record that was written.
			if _, err := unseal(key, body); err != nil {
				t.Fatalf("%s: %x was taken without its checksum", c.name, body)
			}
		}
		rec := sealed(key, body)
		if wrong != 0 {
			damaged, in := bytes.Clone(append(rec, key...)), int(where)%(len(rec)+len(key))
			damaged[in] ^= wrong
			// The meta's key is its own, not one of the file.
			if inRec := in < len(rec); inRec || c.name != "meta" {
				if got, _, err := c.again(damaged[len(rec):], damaged[:len(rec)]); err == nil {
					t.Fatalf("%s: %x with byte %d wrong by %x: got %+v, want an error", c.name, rec, in, wrong, got)
				}
			}
		}
		first, encoded, err := c.again(key, rec)
		if err != nil {
			return
		}
		second, last, err := c.again(key, encoded)
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%s: %x: got %+v, and when it was written and read again %+v, %v", c.name, rec, first, second, err)
		}
		if len(encoded) != len(last) { // tags stand in any order
			t.Fatalf("%s: %x: was written as %x and then as %x", c.name, rec, encoded, last)
		}
	})
}

package boltstore

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/pollackq/pollack/storage"
)

// format is the version of the file as a whole. Format 1 had no journal.
const (
	format    = 2
	formatOne = 1
)

// The buckets inside the top bucket. Numbers are big-endian, so that they sort. A queue is named by a number of its own, which no
// other queue ever gets.
const (
	inQueues   = iota // account, NUL, name: number and settings
	inCounters        // number: next position and counts
	inStatus          // id: number and status
	inData            // number, id, kind: spec, payload, result
	inReady           // number, inverted priority, position, id
	inDue             // time, id
	inKeys            // number, account, NUL, key: id
	inBlobs           // blob, n: chunk
	inLarge           // number of a large value: a bucket of its pieces
	inJournal         // commit: what its batch did to jobs that are not in the above
	inAll
)

var (
	topName     = []byte("pollack")
	formatKey   = []byte("format")
	metaKey     = []byte("meta")
	bucketNames = [inAll][]byte{[]byte("queues"), []byte("counters"), []byte("status"), []byte("data"), []byte("ready"), []byte("due"),
		[]byte("keys"), []byte("blobs"), []byte("large"), []byte("journal")}
)

// What a record in inData is.
const (
	kindSpec byte = iota
	kindPayload
	kindResult
)

var kindNames = [...]string{kindSpec: "spec", kindPayload: "payload", kindResult: "result"}

const (
	idLen     = 16
	dataLen   = 8 + idLen + 1
	readyLen  = 8 + 2 + 8 + idLen
	dueLen    = 8 + idLen
	chunkLen  = idLen + 4
	largeLen  = 8
	pieceLen  = 2
	numberLen = 8
)

func appendQueueKey(b []byte, q storage.QueueName) []byte {
	b = append(b, q.Account...)
	b = append(b, 0)
	return append(b, q.Name...)
}

func appendNumber(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func appendDataKey(b []byte, queue uint64, id storage.ID, kind byte) []byte {
	b = appendNumber(b, queue)
	b = append(b, id[:]...)
	return append(b, kind)
}

// priorityNumber makes higher priorities sort first.
func priorityNumber(p int16) uint64 { return uint64(math.MaxInt16 - int32(p)) }

func appendPriority(b []byte, p int16) []byte {
	return binary.BigEndian.AppendUint16(b, uint16(priorityNumber(p)))
}

func priorityOf(b []byte) int16 { return int16(math.MaxInt16 - int32(binary.BigEndian.Uint16(b))) }

func appendReadyKey(b []byte, queue uint64, s *storage.Spec) []byte {
	b = appendNumber(b, queue)
	b = appendPriority(b, s.Priority)
	b = appendNumber(b, s.Position)
	return append(b, s.ID[:]...)
}

// timeNumber makes times sort, those before 1970 too.
func timeNumber(t time.Time) uint64 { return uint64(t.UnixMicro()) ^ 1<<63 }

func appendDueKey(b []byte, due time.Time, id storage.ID) []byte {
	return append(appendNumber(b, timeNumber(due)), id[:]...)
}

func appendKeyKey(b []byte, queue uint64, k storage.Key) []byte {
	b = appendNumber(b, queue)
	b = append(b, k.Account...)
	b = append(b, 0)
	return append(b, k.Name...)
}

func appendChunkKey(b []byte, blob storage.ID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, blob[:]...), n)
}

// lastID returns the id that a key of an order ends with.
func lastID(key []byte) storage.ID { return storage.ID(key[len(key)-idLen:]) }

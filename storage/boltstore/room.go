package boltstore

import (
	"math"
	"math/bits"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// reserve is what new jobs, chunks and queues leave free of a file at its MaxSize.
	reserve = 1 << 20
	// fullFor is how long a store that met a full disk lives on the free pages of its file before it tries to grow it again.
	fullFor = time.Second
	// pathCost is what a transaction rewrites at least: a page for each level of each order.
	pathCost = 128 << 10
	// endRoom is what a job's record and places grow by until it has ended, with a short text. What is accepted leaves that free, so that it
	// can be delivered and acked.
	endRoom = 288
)

// A room says how much those who bring something new may still write in a transaction. It is an estimate, which keeps the
// reserve; what truly does not fit is known when the commit fails.
type room struct {
	left int64
	used int64 // by the call under way
}

func (r *room) begin() { r.used = 0 }

// bounded reports whether there is a bound at all: a MaxSize, or a disk that was full a moment ago.
func (r *room) bounded() bool { return r.left != math.MaxInt64 }

// take takes room for a record of n bytes and its places, and reports whether there is enough.
func (r *room) take(n int) bool {
	if !r.bounded() {
		return true
	}
	need := int64(n) + int64(n)/8 + endRoom
	if need > r.left {
		return false
	}
	r.left -= need
	r.used += need
	return true
}

func (r *room) rollback() {
	if r.bounded() {
		r.left += r.used
	}
	r.used = 0
}

// roomIn measures the room in a write transaction that has just begun. What the overlay holds is going to need room in the trees.
func (s *Store) roomIn(btx *bbolt.Tx, o *overlay) room {
	limit := sizeLimit(int64(s.db.MaxSize), int64(s.db.AllocSize))
	if until := s.fullUntil.Load(); until != 0 && time.Since(s.opened) < time.Duration(until) {
		limit = min(limit, btx.Size())
	}
	if limit == math.MaxInt64 {
		return room{left: limit}
	}
	stats := s.db.Stats()
	page := int64(s.db.Info().PageSize)
	free := limit - btx.Size() + int64(stats.FreePageN+stats.PendingPageN)*page
	return room{left: max(0, free-min(reserve, limit/4)-pathCost-int64(o.room)-o.unended*endRoom)}
}

// sizeLimit returns how far the pages of a file may reach before bbolt, which grows files in steps, meets MaxSize.
func sizeLimit(maxSize, allocSize int64) int64 {
	if maxSize <= 0 {
		return math.MaxInt64
	}
	// Small maps are grown in powers of two, larger ones by allocSize.
	limit := max(maxSize-allocSize, 1<<(bits.Len64(uint64(min(allocSize, maxSize)))-1))
	return limit
}

// allocSizeFor keeps the steps in which the file grows small against its MaxSize.
func allocSizeFor(maxSize int64, usual int) int {
	if maxSize <= 0 {
		return usual
	}
	return max(32<<10, min(usual, int(maxSize/64)))
}

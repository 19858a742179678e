package boltstore

import (
	"math"
	"math/bits"
	"sync/atomic"
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
	left  int64       // until the file has its limit
	ahead int64       // until it has no blocks any more
	more  func() bool // gets it blocks for what ahead is short of; nil where none can be kept
	used  int64       // by the call under way
}

func (r *room) begin() { r.used = 0 }

// bounded reports whether there is a bound at all: a MaxSize, or a disk that was full a moment ago.
func (r *room) bounded() bool { return r.left != math.MaxInt64 }

// take takes room for a record of n bytes and its places, and reports whether there is enough.
func (r *room) take(n int) bool {
	need := int64(n) + int64(n)/8 + endRoom
	if r.bounded() && need > r.left {
		return false
	}
	r.use(need)
	if r.more != nil && r.ahead < 0 && !r.more() {
		r.use(-need)
		r.left = min(r.left, max(0, r.ahead))
		return false
	}
	return true
}

func (r *room) use(n int64) {
	if r.bounded() {
		r.left -= n
	}
	r.ahead -= n
	r.used += n
}

// valueRoom returns what a value of n bytes takes of pages: few large ones fit into a page, and the largest have pages of their own.
func valueRoom(n int) int {
	const page, around = 4 << 10, 128
	switch {
	case n <= page/3-around:
		return n
	case n <= page/2-around:
		return page / 2
	}
	return (n + around + page - 1) / page * page
}

func (r *room) rollback() { r.use(-r.used) }

// roomIn measures the room in a write transaction that has just begun.
func (s *Store) roomIn(btx *bbolt.Tx, o *overlay) *room {
	limit := sizeLimit(int64(s.db.MaxSize), int64(s.db.AllocSize))
	// What the overlay holds is going to need room in the trees, and what has not ended for its end.
	kept := min(reserve, limit/4) + pathCost + int64(o.room) + o.unended*endRoom
	size := btx.Size()
	if s.full.on() {
		limit = min(limit, max(size, s.disk.allocated))
	}
	if limit == math.MaxInt64 && !s.disk.able() {
		return &room{left: limit}
	}
	stats := s.db.Stats()
	free := int64(stats.FreePageN+stats.PendingPageN) * int64(s.db.Info().PageSize)
	r := &room{left: limit, ahead: max(size, s.disk.allocated) - size + free - kept}
	if limit != math.MaxInt64 {
		r.left = max(0, limit-size+free-kept)
	}
	if s.disk.able() {
		s.disk.allocated = max(size, s.disk.allocated)
		r.more = func() bool { return s.moreBlocks(r) }
		if r.ahead < 0 && !s.full.on() {
			r.more()
		}
	}
	return r
}

// moreBlocks gets the file the blocks that a room is short of, and reports whether there were any.
func (s *Store) moreBlocks(r *room) bool {
	was := s.disk.allocated
	if !s.disk.extend(was-r.ahead, int64(s.db.MaxSize)) {
		s.full.begin()
		return false
	}
	r.ahead += s.disk.allocated - was
	if !s.disk.able() {
		r.more = nil
		s.opts.Logger.Info("the file system keeps no blocks for a file ahead of time: if the disk is full, acks have room as far as the file has free pages", "err", s.disk.unable)
	}
	return true
}

// A spell begins when a store meets a full disk, and is over after fullFor.
type spell struct{ since atomic.Pointer[time.Time] }

func (s *spell) begin() {
	now := time.Now()
	s.since.Store(&now)
}

func (s *spell) on() bool {
	since := s.since.Load()
	return since != nil && time.Since(*since) < fullFor
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

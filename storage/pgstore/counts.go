package pgstore

import (
	"sync"

	"github.com/pollackq/pollack/storage"
)

// folds knows which queues' counts are asked for, and when a queue's rows of counts are to be made one.
type folds struct {
	mu   sync.Mutex
	ask  map[storage.QueueName]int // prefetch the counts of a queue so many times more
	rows map[int32]int             // of a queue, by its number, since they were made one
}

// askFor is for how many groups after it was asked for a queue's count is prefetched.
const askFor = 16

func (f *folds) asked(q storage.QueueName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ask == nil || len(f.ask) > 10_000 {
		f.ask = make(map[storage.QueueName]int)
	}
	f.ask[q] = askFor
}

func (f *folds) wanted(q storage.QueueName) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.ask[q]
	if n > 1 {
		f.ask[q] = n - 1
	} else if n == 1 {
		delete(f.ask, q)
	}
	return n > 0
}

// foldAt is after how many rows of a queue's counts they are made one.
const foldAt = 64

func (f *folds) wrote(qid int32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rows == nil || len(f.rows) > 10_000 {
		f.rows = make(map[int32]int)
	}
	f.rows[qid]++
	if f.rows[qid] < foldAt {
		return false
	}
	delete(f.rows, qid)
	return true
}

package boltstore

import (
	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
)

const (
	recentJobs = 4096    // how many jobs the committer remembers
	recentSpec = 2 << 10 // none of them with a Spec that takes more bytes
)

// deleted stands for a job that the call has deleted.
var deleted = new(job)

// recent is what the committer remembers of the jobs that it read or wrote last: most are leased and acked soon after they were
// enqueued, and finding and decoding them again would be a third of that work. It is good for a transaction of bbolt that follows
// directly on the one it was learnt in, so nobody who writes the file otherwise can make it stale.
type recent struct {
	jobs  map[storage.ID]*job
	after int // the id of the last transaction that was committed with it
}

// in returns what is remembered, for use in a transaction.
func (r *recent) in(btx *bbolt.Tx) *recent {
	if r.jobs == nil || btx.ID() != r.after+1 {
		r.jobs = make(map[storage.ID]*job)
		r.after = btx.ID() - 1
	}
	return r
}

func (r *recent) get(id storage.ID) *job {
	if r == nil {
		return nil
	}
	return r.jobs[id]
}

// learn takes over what a call that succeeded has read and written.
func (r *recent) learn(jobs map[storage.ID]*job) {
	if r == nil {
		return
	}
	for id, e := range jobs {
		switch {
		case e == deleted || specLen(e.Spec) > recentSpec:
			delete(r.jobs, id)
		default:
			r.jobs[id] = e
		}
	}
	if len(r.jobs) > recentJobs {
		clear(r.jobs)
	}
}

// committed says that a transaction in which it was learnt has been committed.
func (r *recent) committed(id int) { r.after = id }

// forget is called when a transaction in which something was learnt did not happen.
func (r *recent) forget() { r.jobs = nil }

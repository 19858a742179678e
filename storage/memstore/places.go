package memstore

import (
	"bytes"
	"strings"

	"github.com/pollackq/pollack/storage"
)

// An idPlace is where a job stands in its queue by id.
type idPlace struct {
	id  storage.ID
	rec *record
}

func idLess(a, b idPlace) bool { return bytes.Compare(a.id[:], b.id[:]) < 0 }

// A readyPlace is where a pending job stands in the Ready order of its queue.
type readyPlace struct {
	position uint64
	priority int16
	rec      *record
}

func readyLess(a, b readyPlace) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.position < b.position
}

func isReady(j *storage.Job) bool { return j != nil && j.State == storage.Pending }

func readyAt(j *storage.Job) readyPlace {
	return readyPlace{position: j.Position, priority: j.Priority}
}

// A duePlace is where a job stands on the timeline.
type duePlace struct {
	at  int64 // microseconds since 1970
	id  storage.ID
	rec *record
}

func dueLess(a, b duePlace) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return bytes.Compare(a.id[:], b.id[:]) < 0
}

// dueAt returns where a job stands on the timeline, if it does.
func dueAt(j *storage.Job) (duePlace, bool) {
	if j == nil || j.Due.IsZero() {
		return duePlace{}, false
	}
	return duePlace{at: j.Due.UnixMicro(), id: j.ID}, true
}

// nameLess orders queues by account, then name.
func nameLess(a, b storage.QueueName) bool {
	if c := strings.Compare(a.Account, b.Account); c != 0 {
		return c < 0
	}
	return a.Name < b.Name
}

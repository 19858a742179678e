package histories

import (
	"sync"
	"sync/atomic"

	"github.com/anishathalye/porcupine"

	"github.com/pollackq/pollack/internal/torture/model"
)

// A call is what a client did, as the checker gets it.
type call struct {
	op   *model.Op
	how  how
	mark int // joins the parts of one call
}

// how says what is known of a call.
type how int

const (
	answered how = iota // it has an answer
	open                // it has none: it may have happened at any time since, or never
	acked               // an AckReceive whose acks are known to be done, and which took no job
	took                // a receive whose caller left: it may have leased a job, ...
	gave                // ... which it then gave back
	moved               // the clock moved, ...
	worked              // ... and then what was due was done
)

// A pen notes the calls of one client with their times, by a clock that only counts.
type pen struct {
	now   *atomic.Int64
	mu    sync.Mutex
	lines map[int][]porcupine.Operation // by queue
}

// forever is after all that is noted.
const forever = 1 << 60

// note adds a call of the interval [begun, now].
func (p *pen) note(queue int, c *call, a *model.Answer, begun int64) {
	end := int64(forever)
	if c.how != open {
		end = p.now.Add(1)
	}
	p.noteAt(queue, c, a, begun, end)
}

func (p *pen) noteAt(queue int, c *call, a *model.Answer, begun, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lines == nil {
		p.lines = make(map[int][]porcupine.Operation)
	}
	p.lines[queue] = append(p.lines[queue], porcupine.Operation{Input: c, Output: a, Call: begun, Return: end})
}

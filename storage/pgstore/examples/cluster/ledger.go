package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
)

// A ledger is what the clients know, from the answers they got.
type ledger struct {
	jobs int    // to be enqueued
	kill func() // kills the victim

	mu        sync.Mutex        // guards what follows
	ids       map[int]string    // of the jobs that were enqueued
	history   map[string]*story // by id
	nodes     []tally           // what each node has answered
	repeated  int               // calls that were made again, since no answer came
	replayed  int               // of these the submits that had been carried out
	reacked   int               // and the acks
	late      int               // acks that were refused, since the job had been delivered again
	ackedAll  int
	reachedIt bool
	wrong     []string
}

// A story is what happened to a job.
type story struct {
	deliveries []*client.Delivery
	endedBy    map[string]bool // tokens whose ack was taken
}

type tally struct{ enqueued, delivered, acked, unanswered int }

func newLedger(jobs, nodes int) *ledger {
	return &ledger{jobs: jobs, ids: make(map[int]string), history: make(map[string]*story), nodes: make([]tally, nodes)}
}

// reached reports whether so many jobs have been acked, to the first who asks so that it is true.
func (l *ledger) reached(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reachedIt || l.ackedAll < n {
		return false
	}
	l.reachedIt = true
	return true
}

func (l *ledger) story(id string) *story {
	s := l.history[id]
	if s == nil {
		s = &story{endedBy: make(map[string]bool)}
		l.history[id] = s
	}
	return s
}

func (l *ledger) lostAnswer(node int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.repeated++
	l.nodes[node].unanswered++
}

func (l *ledger) enqueued(node, i int, j *client.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[i] = j.ID
	l.nodes[node].enqueued++
	if j.Replayed {
		l.replayed++
	}
}

func (l *ledger) delivered(node int, d *client.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[node].delivered++
	s := l.story(d.ID)
	for _, other := range s.deliveries { // all times are the database's
		first, second := other, d
		if d.Started.Before(other.Started) { // answers overtake each other
			first, second = d, other
		}
		if second.Started.Before(first.LeaseExpires) {
			l.wrong = append(l.wrong, fmt.Sprintf("job %s was delivered again %v before its lease ended", d.ID, first.LeaseExpires.Sub(second.Started)))
		}
	}
	s.deliveries = append(s.deliveries, d)
}

// acked notes what came of an ack. That a job has been delivered again is no error: whoever has it now will ack it.
func (l *ledger) acked(node int, a client.Ack, r client.AckResult) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(r.Err, client.ErrLeaseLost):
		l.late++
		return nil
	case r.Err != nil:
		return r.Err
	case r.Outcome == client.AlreadyAcked:
		l.reacked++
	}
	l.nodes[node].acked++
	l.story(a.ID).endedBy[a.Token] = true
	l.ackedAll++
	return nil
}

// A sum is what both sides say, and where they do not agree.
type sum struct {
	*ledger
	inDatabase  int // jobs
	succeeded   int // of them
	deliveries  int // that the database counts
	redelivered int // of them those after the first
	lapses      int
	lost        int // jobs that nobody could ack
	twice       int // jobs that were acked under two tokens
}

// add holds what the clients know against the jobs as a node shows them, and the states as the database has them.
func (l *ledger) add(jobs []*client.Job, states map[string]int) *sum {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &sum{ledger: l, succeeded: states[string(client.Succeeded)]}
	for _, n := range states {
		s.inDatabase += n
	}
	expect := func(what string, got, want int) {
		if got != want {
			l.wrong = append(l.wrong, fmt.Sprintf("%s: %d, want %d", what, got, want))
		}
	}
	unique := make(map[string]bool)
	for _, id := range l.ids {
		unique[id] = true
		switch n := len(l.story(id).endedBy); {
		case n == 0:
			s.lost++
		case n > 1:
			s.twice++
		}
	}
	for _, j := range jobs {
		s.deliveries += j.Deliveries
		s.redelivered += max(j.Deliveries-1, 0)
		s.lapses += j.Lapses
		switch known := len(l.story(j.ID).deliveries); {
		case !unique[j.ID]:
			l.wrong = append(l.wrong, fmt.Sprintf("job %s is in the queue, and nobody has enqueued it", j.ID))
		case known > j.Deliveries:
			l.wrong = append(l.wrong, fmt.Sprintf("job %s was delivered %d times, and the queue knows of %d", j.ID, known, j.Deliveries))
		case j.Deliveries-1 > j.Lapses:
			l.wrong = append(l.wrong, fmt.Sprintf("job %s was delivered %d times, with %d lapsed leases", j.ID, j.Deliveries, j.Lapses))
		}
	}
	expect("jobs enqueued", len(unique), l.jobs)
	expect("jobs that the queue shows", len(jobs), l.jobs)
	expect("jobs in the database", s.inDatabase, l.jobs)
	expect("succeeded in the database", s.succeeded, l.jobs)
	expect("lost", s.lost, 0)
	expect("acked twice", s.twice, 0)
	return s
}

func (s *sum) received() (n int) {
	for _, t := range s.nodes {
		n += t.delivered
	}
	return n
}

// String is the last line.
func (s *sum) String() string {
	return fmt.Sprintf("enqueued %d, acked %d, lost %d, acked twice %d, redelivered %d, one of %d nodes killed",
		len(s.ids), len(s.ids)-s.lost, s.lost, s.twice, s.redelivered, len(s.nodes))
}

func (s *sum) table(c *cluster) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tenqueued\tdelivered\tacked\tno answer\t")
	row := func(name string, t tally) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t\n", name, t.enqueued, t.delivered, t.acked, t.unanswered)
	}
	var all tally
	for i, t := range s.nodes {
		name := c.nodes[i].name
		if c.nodes[i].killed {
			name += ", killed"
		}
		row(name, t)
		all.enqueued += t.enqueued
		all.delivered += t.delivered
		all.acked += t.acked
		all.unanswered += t.unanswered
	}
	row("together", all)
	w.Flush()
	return b.String()
}

func (s *sum) details(took time.Duration) string {
	return fmt.Sprintf("calls without an answer, made again at another node: %d; of these had been carried out all the same: submits %d, acks %d\n"+
		"deliveries in the database: %d; nobody got %d of them; leases that lapsed: %d; acks that came too late: %d\n"+
		"jobs in the database: %d, succeeded: %d; after %.1f s\n",
		s.repeated, s.replayed, s.reacked, s.deliveries, s.deliveries-s.received(), s.lapses, s.late, s.inDatabase, s.succeeded, took.Seconds())
}

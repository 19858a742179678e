package pgstore

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pollackq/pollack/storage"
)

// A nodeID names a Store for as long as it is open. The zero one names none.
type nodeID [8]byte

// What an item of a message says.
const (
	sayHello   = 'h' // I have begun to listen: who is there?
	sayHere    = 'i' // I am here, and have a broker
	sayNothing = 'o' // only to see whether it comes back
	sayBye     = 'b' // I am not here any more
	sayWaits   = 'w' // n receivers of mine wait for jobs of the queue; 0: none
	sayWatch   = 'j' // somebody here waits for a change of the job
	sayReady   = 'r' // the queue has n more jobs; they are for that node, or (the zero one) for whoever waits
	sayQueue   = 'q' // the queue was closed or deleted
	sayEnded   = 'e' // a job of the queue, which is closed, has ended
	sayJob     = 'v' // the job has another version, or has been deleted
	sayDue     = 'd' // there is something to do at a time
	saysUser   = 1   // flag: what a user committed, of which the sender's own process has not been told
	messageV1  = 1
)

// An item is one thing that a message says. Which fields it has depends on the kind.
type item struct {
	kind  byte
	node  nodeID
	queue storage.QueueName
	n     int
	job   storage.ID
	due   time.Time
}

// maxPayload bounds a message as it is sent. PostgreSQL takes less than 8,000 bytes.
const maxPayload = 7900

// maxName bounds the names of a message: longer ones do not exist (law 11 of package storage).
const maxName = storage.MaxKey

// encode returns the messages that say the items, as many as it takes. seq makes them differ from any other: of equal ones in a
// transaction the server sends only one.
func encode(from nodeID, flags byte, items []item, seq func() uint64) (payloads []string) {
	const room = maxPayload / 4 * 3
	var p, one []byte
	for i := range items {
		one = items[i].append(one[:0])
		if len(p)+len(one) > room {
			payloads = append(payloads, base64.RawStdEncoding.EncodeToString(p))
			p = p[:0]
		}
		if len(p) == 0 {
			p = append(p, messageV1, flags)
			p = append(p, from[:]...)
			p = binary.AppendUvarint(p, seq())
		}
		p = append(p, one...)
	}
	if len(p) > 0 {
		payloads = append(payloads, base64.RawStdEncoding.EncodeToString(p))
	}
	return payloads
}

func (it *item) append(p []byte) []byte {
	p = append(p, it.kind)
	if it.kind == sayReady {
		p = append(p, it.node[:]...)
	}
	switch it.kind {
	case sayWaits, sayReady, sayQueue, sayEnded:
		for _, s := range []string{it.queue.Account, it.queue.Name} {
			p = binary.AppendUvarint(p, uint64(len(s)))
			p = append(p, s...)
		}
	}
	switch it.kind {
	case sayWaits, sayReady:
		p = binary.AppendUvarint(p, uint64(it.n))
	case sayWatch, sayJob:
		p = append(p, it.job[:]...)
	case sayDue:
		p = binary.AppendVarint(p, it.due.UnixMicro())
	}
	return p
}

var errMessage = errors.New("not a message of this version")

// decode reads a message. One that it cannot read is another version's, or not ours: the caller leaves it alone, since a node that looked at
// everything whenever somebody sends something would be easily kept busy; what it would have said is found by the look.
func decode(payload string) (from nodeID, flags byte, items []item, err error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(payload)
	if err != nil || len(payload) > maxPayload {
		return nodeID{}, 0, nil, errMessage
	}
	r := &messageReader{b: b}
	version := r.take(1)
	head := r.take(1 + len(from))
	r.uvarint(1 << 63)
	if r.bad || version[0] != messageV1 {
		return nodeID{}, 0, nil, errMessage
	}
	flags = head[0]
	copy(from[:], head[1:])
	for len(r.b) > 0 && !r.bad {
		items = append(items, r.item())
	}
	if r.bad {
		return nodeID{}, 0, nil, errMessage
	}
	return from, flags, items, nil
}

// A messageReader reads a message from its beginning. Once it is bad it returns zeros.
type messageReader struct {
	b   []byte
	bad bool
}

func (r *messageReader) item() (it item) {
	kind := r.take(1)
	if r.bad {
		return it
	}
	it.kind = kind[0]
	switch it.kind {
	case sayHello, sayHere, sayNothing, sayBye:
	case sayReady:
		copy(it.node[:], r.take(len(it.node)))
		it.queue, it.n = r.queue(), int(r.uvarint(1<<31))
	case sayWaits:
		it.queue, it.n = r.queue(), int(r.uvarint(1<<31))
	case sayQueue, sayEnded:
		it.queue = r.queue()
	case sayWatch, sayJob:
		copy(it.job[:], r.take(len(it.job)))
	case sayDue:
		at, k := binary.Varint(r.b)
		if k <= 0 || at < -1<<55 || at > 1<<57 { // some thousand years
			r.bad = true
			return it
		}
		r.b = r.b[k:]
		it.due = time.UnixMicro(at).UTC()
	default:
		r.bad = true
	}
	return it
}

func (r *messageReader) queue() (q storage.QueueName) {
	for _, s := range []*string{&q.Account, &q.Name} {
		*s = string(r.take(int(r.uvarint(maxName))))
		if !utf8.ValidString(*s) || strings.Contains(*s, "\x00") {
			r.bad = true
		}
	}
	r.bad = r.bad || q.Name == ""
	return q
}

// take returns the next n bytes, or n zeros.
func (r *messageReader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *messageReader) uvarint(most uint64) uint64 {
	n, k := binary.Uvarint(r.b)
	if r.bad || k <= 0 || n > most {
		r.bad = true
		return 0
	}
	r.b = r.b[k:]
	return n
}

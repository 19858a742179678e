package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pollackq/pollack/storage"
)

// A hub tells the processes that share a schema of one another's changes, and its own what they have told. It has two goroutines and one
// connection, which listens; what it sends and looks for goes through the store's pool.
//
// A notification makes PostgreSQL commit the transactions that send any one after the other, in the whole cluster. So little is sent: nodes
// say what they wait for, and who commits something tells a node of it only if one is known to wait for it. What is committed while
// somebody's saying so is on its way is remembered for a moment, and told when that arrives. All of it only saves time: what is missed is found by a look, every
// Options.Fallback.
type hub struct {
	s       *Store
	channel string
	self    nodeID
	life    context.Context // ends with stop
	end     context.CancelFunc
	running sync.WaitGroup
	kick    chan struct{} // holds one: there is something to say
	seq     atomic.Uint64 // of messages
	quiet   atomic.Bool   // nobody is there who could be told anything
	lag     atomic.Int64  // see Store.Lag
	sql     string        // of a look
	looks   looks         // of the goroutine that works

	mu        sync.Mutex // guards what follows
	listener  storage.Listener
	notified  int       // counts the calls of Notify
	hearing   bool      // what is sent arrives
	settled   time.Time // when those who are there have had time to say so
	deaf      bool      // what is sent does not arrive, or nobody listens, for good or a long time
	crowd     bool      // somebody else listens: what one who is deaf found by its look
	nodes     nodes
	recent    recent
	mine      map[storage.QueueName]int // what the others have this node's receivers for
	say       []item                    // to be sent
	repeat    bool                      // say all
	said      time.Time                 // when all was said last
	heardSelf time.Time                 // when a message of this node came back last
	hangUp    context.CancelFunc        // ends the connection that listens
}

// settling is how long others have for saying that they are there, echo how long a message may take to come back.
const (
	settling = time.Second
	echo     = 5 * time.Second
)

func newHub(s *Store) *hub {
	h := &hub{
		s: s, channel: "pollack:" + s.opts.Schema, sql: strings.ReplaceAll(lookSQL, "{s}", s.schema),
		kick: make(chan struct{}, 1), nodes: newNodes(), mine: make(map[storage.QueueName]int),
	}
	rand.Read(h.self[:]) // never fails
	h.life, h.end = context.WithCancel(context.Background())
	h.hangUp = func() {}
	return h
}

// start begins to listen and to look. It does not wait for either: where the database cannot be reached the store's calls say so.
func (h *hub) start(context.Context) error {
	h.deaf, h.crowd = h.s.opts.NoListen, true
	if !h.s.opts.NoListen {
		h.running.Go(h.listen)
	}
	h.running.Go(h.work)
	return nil
}

// stop says goodbye and ends the goroutines.
func (h *hub) stop() {
	h.mu.Lock()
	others := h.hearing && !h.quiet.Load()
	h.mu.Unlock()
	h.end()
	h.running.Wait()
	if !others {
		return
	}
	h.mu.Lock()
	h.say = append(h.say, item{kind: sayBye})
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	h.send(ctx)
}

// listen keeps a connection that listens, for ever.
func (h *hub) listen() {
	for failures := 0; ; failures++ {
		err := h.attend()
		if h.stopHearing() {
			failures = 0
		}
		if h.life.Err() != nil {
			return
		}
		pause := min(100*time.Millisecond<<min(failures, 10), 10*time.Second)
		if errors.Is(err, errDeaf) {
			pause = time.Minute
		}
		if failures == 0 {
			h.s.opts.Logger.Warn("no notifications of other nodes arrive; what they do is found by a look, and listening tried again",
				"every", h.s.opts.Fallback, "error", err)
		}
		h.sleep(pause/2 + mathrand.N(pause/2))
	}
}

var errDeaf = errors.New("a notification did not come back: a pooler in transaction mode does not pass them on, for which there is Options.NoListen")

// attend listens until the connection fails.
func (h *hub) attend() error {
	life, hangUp := context.WithCancel(h.life)
	defer hangUp()
	conn, err := h.connect(life)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	h.mu.Lock()
	h.hangUp = hangUp
	h.mu.Unlock()
	timer := time.AfterFunc(echo, func() {
		if !h.isHearing() {
			hangUp()
		}
	})
	defer timer.Stop()
	for locked := false; ; {
		n, err := conn.WaitForNotification(life)
		if err == nil {
			h.hear(n.Payload)
			if !locked && h.isHearing() {
				err, locked = h.showListening(life, conn), true
			}
		}
		switch {
		case err == nil:
		case life.Err() != nil && h.life.Err() == nil && !h.isHearing():
			h.setDeaf()
			return errDeaf
		case life.Err() != nil && h.life.Err() == nil:
			return errors.New("the connection is silent")
		default:
			return err
		}
	}
}

// showListening lets those who cannot listen see, by a lock, that somebody does. A pooler might leave the lock to others: so this waits until notifications
// have come.
func (h *hub) showListening(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	_, err := conn.Exec(ctx, "SELECT pg_advisory_lock_shared(hashtext($1::text), 0)", h.channel)
	return err
}

// connect opens the connection that listens, as the pool would, and says hello.
func (h *hub) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	config := h.s.pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	config.ConnConfig.OnNotification = nil // a user's would take them
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, err
	}
	if config.AfterConnect != nil {
		err = config.AfterConnect(ctx, conn)
	}
	hello := encode(h.self, 0, []item{{kind: sayHello}}, h.next)[0]
	if err == nil { // the server may end sessions that are idle, which this one is by its nature
		_, err = conn.Exec(ctx, "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
	}
	if err == nil {
		_, err = conn.Exec(ctx, "LISTEN "+quoted(h.channel))
	}
	if err == nil {
		_, err = conn.Exec(ctx, "SELECT pg_notify($1::text, $2::text)", h.channel, hello)
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

func (h *hub) next() uint64 { return h.seq.Add(1) }

func (h *hub) isHearing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hearing
}

// stopHearing notes that the connection has ended, and reports whether it had begun to hear. Who waits, and who was there, is not known
// any more.
func (h *hub) stopHearing() (was bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was, h.hearing = h.hearing, false
	h.nodes = newNodes()
	clear(h.mine)
	h.settleLocked(time.Now())
	return was
}

func (h *hub) setDeaf() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deaf = true
	h.settleLocked(time.Now())
}

// settleLocked finds out whether there is anybody to tell anything, and who is first to do what is due.
func (h *hub) settleLocked(now time.Time) {
	switch {
	case h.hearing:
		h.quiet.Store(len(h.nodes.heard) == 0 && !now.Before(h.settled))
	case h.deaf:
		h.quiet.Store(!h.crowd)
	default:
		h.quiet.Store(false)
	}
	h.lag.Store(int64(h.nodes.lag(h.self)))
}

// work sends what there is to say, and looks. A look sends what is to be said again, too; where looks are rare that does not wait for them.
func (h *hub) work() {
	timer := time.NewTimer(h.pause())
	defer timer.Stop()
	again := time.NewTimer(repeatEvery)
	defer again.Stop()
	if h.s.opts.Fallback <= repeatEvery || h.s.opts.NoListen {
		again.Stop()
	}
	for {
		select {
		case <-h.life.Done():
			return
		case <-h.kick:
			h.send(h.life)
		case <-again.C:
			h.send(h.life)
			again.Reset(repeatEvery)
		case <-timer.C:
			h.look(h.life)
			timer.Reset(h.pause())
		}
	}
}

// pause is the time between two looks: a little more than Fallback, so that the nodes' looks do not stay together.
func (h *hub) pause() time.Duration {
	f := h.s.opts.Fallback
	return f + mathrand.N(f/10+1)
}

func (h *hub) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.life.Done():
	}
}

// poke has what there is to say sent.
func (h *hub) poke() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// takeSay returns the messages that are to be sent now, the repetition of all that this node waits for among them if its time has come.
func (h *hub) takeSay() []string {
	h.mu.Lock()
	l, now, asked := h.listener, time.Now(), h.repeat
	all := h.hearing && (asked || now.Sub(h.said) >= repeatEvery-time.Second)
	if all && h.said.After(h.heardSelf) && now.Sub(h.said) > echo {
		h.hangUp() // what was said did not come back: the connection is dead, and does not know it
	}
	h.mu.Unlock()
	var awaited storage.Awaited
	if all && l != nil {
		awaited = l.Awaits()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if all {
		h.repeat, h.said = false, now
		h.sayAllLocked(l != nil, asked || !h.quiet.Load(), awaited)
		h.nodes.expire(now)
		h.settleLocked(now)
	}
	items := h.say
	h.say = nil
	return encode(h.self, 0, items, h.next)
}

// maxRepeat bounds how much of each kind a node says again.
const maxRepeat = 1000

// sayAllLocked adds all that others are to know of this node. One that is alone says something, too: by hearing it, it knows that it would hear
// others.
func (h *hub) sayAllLocked(listens, others bool, a storage.Awaited) {
	if !listens {
		h.say = append(h.say, item{kind: sayNothing})
		return
	}
	h.say = append(h.say, item{kind: sayHere})
	if !others {
		return
	}
	n := 0
	for q, k := range a.Receivers {
		if n++; n > maxRepeat {
			break
		}
		h.mine[q] = k
		h.say = append(h.say, item{kind: sayWaits, queue: q, n: k})
	}
	for _, id := range a.Jobs[:min(len(a.Jobs), maxRepeat)] {
		h.say = append(h.say, item{kind: sayWatch, job: id})
	}
}

// send sends what there is to say. If that fails it is lost, and what this node waits for counts as unsaid.
func (h *hub) send(ctx context.Context) {
	messages := h.takeSay()
	if len(messages) == 0 {
		return
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	h.s.trips.Add(1)
	_, err := h.s.pool.Exec(ctx, "SELECT pg_notify($1::text, m) FROM unnest($2::text[]) AS m", h.channel, messages)
	if err != nil {
		h.unsaid()
	}
}

func (h *hub) unsaid() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.mine)
}

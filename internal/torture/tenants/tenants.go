// Package tenants has an account attack another one (threats: Cross-tenant access, Enumeration, Auth bypass; I18).
//
// Alice knows all of bob's ids, lease tokens, keys and upload ids, and both call their queues the same. She makes random calls with them, over HTTP and
// of a broker that is narrowed to her, among calls about what is her own; and others make calls with no or wrong credentials. After each call a digest of all
// that the store holds of bob's is what it was before. What is bob's is answered byte for byte like what never was, and no answer tells her anything of
// bob's.
//
// The calls of one world come one after the other. How long they take, and what floods do to others, is not looked at here.
package tenants

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
)

// Technique is what the package documentation says.
var Technique = &attack.Technique{
	Name:    "tenants",
	Promise: "nothing that an account does changes or shows what is another's, which is answered like what never was (I18)",
	Unit:    "operations",
	CI:      4000,
	Release: 100_000,
	Control: 4000,
	Minutes: 1.5,
	Run:     run,
}

const batch = 100 // operations that one world gets

func run(r *attack.Run) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				unit := int(next.Add(1) - 1)
				if unit*batch >= r.N || r.Over() {
					return
				}
				r.Done(attackBob(r, unit, min(batch, r.N-unit*batch)))
			}
		})
	}
	all.Wait()
}

// attackBob makes calls in a new world, and returns how many.
func attackBob(r *attack.Run, unit, n int) int {
	rnd := r.Rand(unit)
	w := newWorld(func(format string, args ...any) { r.Bad("batch %d: %s", unit, fmt.Sprintf(format, args...)) })
	defer w.close()
	foreign := int64(0)
	i := 0
	for ; i < n && !r.Over(); i++ {
		what := ""
		switch rnd.IntN(6) {
		case 0:
			what = w.withoutCredentials(rnd)
		case 1:
			what = w.ofTheBroker(rnd)
			foreign++
		case 2:
			what = w.own(rnd)
		default:
			what = w.overHTTP(rnd)
			foreign++
		}
		w.unchanged(what)
	}
	r.Count("about the other's", foreign)
	return i
}

func one[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

func sortOperations(ops []operation) {
	slices.SortFunc(ops, func(a, b operation) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method)) })
}

// overHTTP has alice make a call about something of bob's, and the same call about something that never was.
func (w *world) overHTTP(rnd *rand.Rand) string {
	const alice = "Bearer alice-token"
	theirs := one(rnd, append(w.bob.ids, w.bob.uploads...)...)
	never := neverWas(rnd, theirs)
	token := w.bob.tokens[theirs]
	if token == "" {
		token = "0123456789abcdef0123456789abcdef"
	}
	header := []string{"Lease-Token", token}
	if rnd.IntN(3) == 0 {
		header = append(header, one(rnd, "If-None-Match", "If-Match", "Range", "Prefer"), one(rnd, "*", `"1"`, "bytes=0-1", "wait=0", `"p-`+theirs+`"`))
	}
	method, path, body := "POST", "", ""
	switch rnd.IntN(8) {
	case 0, 1, 2, 3:
		o := one(rnd, w.operations...)
		for !strings.Contains(o.path, "/jobs/{id}") {
			o = one(rnd, w.operations...)
		}
		method, path = o.method, o.path
		if o.method == "GET" && rnd.IntN(3) == 0 {
			method = "HEAD"
		}
		if o.method != "GET" {
			body = one(rnd, "", `{}`, `{"lease_token":"`+token+`"}`, `{"result":1}`, `{"progress":0.7,"message":"m"}`, `{"delay_seconds":1}`,
				`{"object_key":"`+w.bob.keys[0]+`"}`)
		}
	case 4:
		path, body = "/v1/acks", `{"acks":[{"id":"{id}","lease_token":"`+token+`"}]}`
	case 5:
		path, body = "/v1/queues/"+one(rnd, queueNames...)+"/poll?timeout=0&max=1", `{"acks":[{"id":"{id}","lease_token":"`+token+`"}]}`
	case 6: // with an upload of bob's, for a job of alice's
		theirs = w.bob.uploads[rnd.IntN(len(w.bob.uploads))]
		never = neverWas(rnd, theirs)
		id := w.running(rnd)
		path, body = "/v1/jobs/"+id+"/complete", `{"object_key":"{id}/`+secret+`"}`
		header = []string{"Lease-Token", w.alice.tokens[id]}
	case 7: // without the signature that bob has
		theirs = w.bob.uploads[rnd.IntN(len(w.bob.uploads))]
		never = neverWas(rnd, theirs)
		method, path, body = "PUT", "/v1/uploads/{id}/"+secret+"?upload={id}&expires=99999999999&signature="+strings.Repeat("0", 64), "evil"
	}
	what := fmt.Sprintf("%s %s %s with %v", method, path, body, header)
	a := w.ask(alice, method, strings.ReplaceAll(path, "{id}", theirs), strings.ReplaceAll(body, "{id}", theirs), header...)
	b := w.ask(alice, method, strings.ReplaceAll(path, "{id}", never), strings.ReplaceAll(body, "{id}", never), header...)
	w.same(what, theirs, never, a, b)
	w.silent(what, what+theirs, a)
	return what
}

// running returns the id of a job of alice's that was delivered to her.
func (w *world) running(rnd *rand.Rand) string {
	ids := make([]string, 0, len(w.alice.tokens))
	for id := range w.alice.tokens {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return one(rnd, ids...)
}

// own has alice do something with what is her own, or what both call the same, which may well succeed.
func (w *world) own(rnd *rand.Rand) string {
	queue, id := one(rnd, queueNames...), one(rnd, w.alice.ids...)
	verb := one(rnd, "ack", "complete", "fail", "release", "extend", "progress", "cancel", "redrive")
	var c struct{ method, path, body string }
	switch rnd.IntN(12) {
	case 0:
		c.method, c.path, c.body = "POST", "/v1/queues/"+queue+"/jobs", `{"payload":1}`
	case 1:
		c.method, c.path = "GET", "/v1/queues/"+queue+"/poll?timeout=0&max=3"
	case 2:
		c.method, c.path, c.body = "PUT", "/v1/queues/"+queue, `{"lease_seconds":40000,"status":"s"}`
	case 3:
		c.method, c.path = "POST", "/v1/queues/"+queue+"/"+one(rnd, "purge", "purge", "close")
	case 4:
		c.method, c.path = "DELETE", "/v1/queues/"+queue
	case 5:
		c.method, c.path = "GET", "/v1/queues?after="+one(rnd, "", "a", "mail", "zzz")
	case 6:
		c.method, c.path = "GET", "/v1/queues/"+queue+"/jobs?after="+one(rnd, w.bob.ids...)
	case 7:
		c.method, c.path = "GET", "/v1/queues/"+queue
	case 8:
		c.method, c.path, c.body = "POST", "/v1/uploads", `{"filename":"x"}`
	case 9:
		c.method, c.path = "GET", "/v1/jobs/"+id+one(rnd, "", "/payload", "/result")
	default:
		c.method, c.path, c.body = "POST", "/v1/jobs/"+id+"/"+verb, `{"progress":0.5,"message":"m"}`
	}
	what := fmt.Sprintf("%s %s %s", c.method, c.path, c.body)
	w.silent(what, what, w.ask("Bearer alice-token", c.method, c.path, c.body, "Lease-Token", one(rnd, w.alice.tokens[id], w.bob.tokens[w.bob.ids[0]]),
		"Idempotency-Key", one(rnd, "key", "done", "new")))
	return what
}

// withoutCredentials makes any operation of the document with credentials that are none, about something of bob's and about something that never was.
func (w *world) withoutCredentials(rnd *rand.Rand) string {
	o := one(rnd, w.operations...)
	for o.method == "PUT" && strings.Contains(o.path, "/uploads/") { // which has a signature instead
		o = one(rnd, w.operations...)
	}
	authorization := one(rnd, "", "Bearer", "Bearer ", "Bearer x", "Bearer bob-toke", "Bearer bob-token2", "Bearer  bob", "bob-token",
		"Bearer BOB-TOKEN", "Bearer bob-token\x00",
		"Basic "+base64.StdEncoding.EncodeToString([]byte("bob:bob-token")), "Bearer bob-token, Bearer alice-token", "Token bob-token", "Bearer\tbob-token")
	theirs := one(rnd, w.bob.ids...)
	never := neverWas(rnd, theirs)
	queue := one(rnd, queueNames...)
	path := strings.NewReplacer("{queue}", queue).Replace(o.path)
	what := fmt.Sprintf("%s %s as %q", o.method, path, authorization)
	header := []string{"Lease-Token", w.bob.tokens[w.bob.ids[0]]}
	a := w.ask(authorization, o.method, strings.ReplaceAll(path, "{id}", theirs), `{}`, header...)
	b := w.ask(authorization, o.method, strings.ReplaceAll(path, "{id}", never), `{}`, header...)
	if a.Code != 401 || a.Header().Get("WWW-Authenticate") == "" || !strings.Contains(a.Body.String(), `"unauthorized"`) {
		w.bad("%s: got %d %v %s, want 401", what, a.Code, a.Header(), a.Body)
	}
	w.same(what, theirs, never, a, b)
	return what
}

// ofTheBroker calls a broker that is narrowed to alice, about something of bob's and about something that never was.
func (w *world) ofTheBroker(rnd *rand.Rand) string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b := w.broker.In("alice")
	theirs := one(rnd, append(w.bob.ids, w.bob.uploads...)...)
	never := neverWas(rnd, theirs)
	token, _ := jobqueue.ParseToken(w.bob.tokens[theirs])
	if rnd.IntN(2) == 0 {
		token = jobqueue.AnyToken
	}
	mine, _ := jobqueue.ParseID(w.running(rnd))
	calls := []struct {
		name string
		do   func(id jobqueue.ID) error
	}{
		{"Job", func(id jobqueue.ID) error { _, err := b.Job(ctx, id); return err }},
		{"Payload", func(id jobqueue.ID) error { _, err := b.Payload(ctx, id); return err }},
		{"Result", func(id jobqueue.ID) error { _, err := b.Result(ctx, id); return err }},
		{"Ack", func(id jobqueue.ID) error { _, err := b.Ack(ctx, id, token); return err }},
		{"AckMany", func(id jobqueue.ID) error {
			r, err := b.AckMany(ctx, []jobqueue.Ack{{ID: id, Token: token}})
			if err == nil {
				err = r[0].Err
			}
			return err
		}},
		{"AckReceive", func(id jobqueue.ID) error {
			r, _, err := b.Queue("none").AckReceive(ctx, []jobqueue.Ack{{ID: id, Token: token}}, 1, &jobqueue.ReceiveOptions{Wait: -1})
			if len(r) > 0 {
				err = r[0].Err
			}
			return err
		}},
		{"Complete", func(id jobqueue.ID) error {
			_, err := b.Complete(ctx, id, token, jobqueue.NewResult{Data: []byte("x")})
			return err
		}},
		{"Complete with an upload", func(id jobqueue.ID) error {
			t, _ := jobqueue.ParseToken(w.alice.tokens[mine.String()])
			_, err := b.Complete(ctx, mine, t, jobqueue.NewResult{Upload: &jobqueue.Upload{ID: id}})
			return err
		}},
		{"Fail", func(id jobqueue.ID) error { _, err := b.Fail(ctx, id, token, jobqueue.Failure{}); return err }},
		{"Release", func(id jobqueue.ID) error { _, err := b.Release(ctx, id, token, nil); return err }},
		{"Extend", func(id jobqueue.ID) error { _, err := b.Extend(ctx, id, token, time.Hour); return err }},
		{"Progress", func(id jobqueue.ID) error {
			_, err := b.Progress(ctx, id, token, jobqueue.Progress{Fraction: 0.9})
			return err
		}},
		{"Cancel", func(id jobqueue.ID) error { _, err := b.Cancel(ctx, id); return err }},
		{"Redrive", func(id jobqueue.ID) error { _, err := b.Redrive(ctx, id); return err }},
		{"Wait", func(id jobqueue.ID) error { _, err := b.Wait(ctx, id, 1); return err }},
		{"WaitEnd", func(id jobqueue.ID) error { _, err := b.WaitEnd(ctx, id); return err }},
		{"Upload", func(id jobqueue.ID) error { _, err := b.Upload(ctx, id); return err }},
		{"PutUpload", func(id jobqueue.ID) error { _, err := b.PutUpload(ctx, id, strings.NewReader("x")); return err }},
		{"OpenUpload", func(id jobqueue.ID) error {
			c, err := b.OpenUpload(ctx, id)
			if err == nil {
				p, _ := io.ReadAll(c)
				err = fmt.Errorf("got %q", p)
				c.Close()
			}
			return err
		}},
		{"KeepUpload", func(id jobqueue.ID) error { _, err := b.KeepUpload(ctx, id, time.Hour); return err }},
		{"JobByKey in the house", func(jobqueue.ID) error {
			j, err := b.JobByKey(ctx, jobqueue.QueueName{Name: "render"}, "key")
			if err == nil && j.Account != "alice" {
				w.bad("JobByKey: alice gets a job of %q", j.Account)
			}
			return nil
		}},
		{"JobByKey in bob's queue", func(jobqueue.ID) error {
			if j, err := b.JobByKey(ctx, jobqueue.QueueName{Account: "bob", Name: "mail"}, "key"); err == nil {
				w.bad("JobByKey: alice gets %+v out of bob's queue", j)
			}
			return nil
		}},
		{"Enqueue for bob", func(jobqueue.ID) error {
			if _, err := b.Queue("mail").Enqueue(ctx, jobqueue.NewJob{Account: "bob"}); err == nil {
				w.bad("Enqueue: alice enqueues for bob")
			}
			return nil
		}},
	}
	c := one(rnd, calls...)
	what := "Broker." + c.name
	theirID, _ := jobqueue.ParseID(theirs)
	neverID, _ := jobqueue.ParseID(never)
	got, want := c.do(theirID), c.do(neverID)
	if g, n := strings.ReplaceAll(fmt.Sprint(got), theirs, never), fmt.Sprint(want); g != n {
		w.bad("%s: of bob's it returns %q, of what never was %q", what, g, n)
	}
	return what
}

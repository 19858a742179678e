// Package requests attacks a server with bad requests (threats: Smuggling, Memory blow-up, URL tricks; promise 9 of the design).
//
// Half of them are raw: well-formed requests whose methods, targets, headers, lengths, chunks and bytes are changed, several in a row on one TCP
// connection that is closed after them. The others are driven by the OpenAPI document, as the server gives it: each operation, with a parameter or a
// member of its body that breaks a rule of its schema, or a body that is damaged as a whole. No answer may be a 5xx, no request may panic or have
// net/http complain in its log, each refusal is a problem with a code that the document has, and what was refused, or only read, has changed nothing
// in the store. What breaks a rule of the document has to be refused. In the end the server still serves, and has no goroutine left.
//
// It finds crashes, wrong statuses and side effects of requests that are refused. It does not find what HTTP/2 could do, and what a request that is
// served does wrong is for others to find. Requests of one world come one after the other, so races among them are not looked for.
package requests

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Technique is what the package documentation says.
var Technique = &attack.Technique{
	Name:    "requests",
	Promise: "bad requests, raw and against each rule of the OpenAPI document, are refused with a problem and change nothing: no 5xx, no panic",
	Unit:    "requests",
	CI:      20_000,
	Release: 1_000_000,
	Control: 60_000,
	Minutes: 6,
	Run:     run,
}

const (
	batch   = 250 // requests that one world gets
	workers = 4
)

func run(r *attack.Run) {
	probe := newWorld(nil, func(string, ...any) {})
	rec := probe.ask("GET", "/v1/openapi.json", "")
	probe.close()
	doc, err := readDocument(rec.Body.Bytes())
	if err != nil {
		r.Bad("the OpenAPI document cannot be read: %v", err)
		return
	}
	before := runtime.NumGoroutine()
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				unit := int(next.Add(1) - 1)
				if unit*batch >= r.N || r.Over() {
					return
				}
				n := min(batch, r.N-unit*batch)
				r.Done(attackWorld(r, doc, unit, n))
			}
		})
	}
	all.Wait()
	gone(r, before)
}

// attackWorld sends a batch of requests to a new world and returns how many it has sent.
func attackWorld(r *attack.Run, doc *document, unit, n int) int {
	w := newWorld(doc.codes, func(format string, args ...any) {
		r.Bad("batch %d: %s", unit, strings.ToValidUTF8(fmt.Sprintf(format, args...), "?"))
	})
	defer w.close()
	if unit%2 == 0 {
		return w.overSockets(r, r.Rand(unit), n)
	}
	return w.byDocument(r, r.Rand(unit), doc, n)
}

// overSockets sends raw requests.
func (w *world) overSockets(r *attack.Run, rnd *rand.Rand, n int) int {
	s, err := w.listen()
	if err != nil {
		w.bad("%v", err)
		return 0
	}
	defer s.close()
	sent, connections := 0, int64(0)
	for sent < n && !r.Over() {
		p, requests := w.stream(rnd)
		w.now = func() string { return fmt.Sprintf("%.1500q", p) }
		s.send(p)
		sent += requests
		connections++
	}
	r.Count("connections", connections)
	if !r.Over() {
		w.alive(s.ask)
	}
	return sent
}

// byDocument sends requests that break the rules of the document.
func (w *world) byDocument(r *attack.Run, rnd *rand.Rand, doc *document, n int) int {
	broken, served := int64(0), int64(0)
	sent := 0
	for ; sent < n && !r.Over(); sent++ {
		q := w.newRequest(rnd, one(rnd, doc.operations...))
		w.serve(doc, q, sent%16 == 0)
		if len(q.broken) > 0 {
			broken++
		} else if w.last < 400 {
			served++
		}
	}
	r.Count("against a rule", broken)
	r.Count("served", served)
	w.alive(func(method, target, body string, header ...string) *httptest.ResponseRecorder {
		return w.ask(method, target, body, header...)
	})
	return sent
}

// gone demands that the goroutines of all servers have ended. net/http lets some linger for half a second.
func gone(r *attack.Run, before int) {
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			var b strings.Builder
			pprof.Lookup("goroutine").WriteTo(&b, 1)
			r.Bad("%d goroutines are left, there were %d: %.3000s", runtime.NumGoroutine(), before, b.String())
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// overHTTPTable compares polls and acks with a handler that answers the same bytes and does nothing.
func overHTTPTable(r *run) (*table, error) {
	var columns []string
	for _, n := range allCallers {
		columns = append(columns, columnOf(n))
	}
	t := newTable("HTTP", "Polls and acks through httpapi on a memory store, retention off, with 256 bytes of JSON in the poll, against a handler of net/http "+
		"that reads the body and answers the same headers and bytes. Server and client (http.Transport, kept-alive connections) are processes of their own on "+
		"the same cores. Every request counts. The server's library refills the queue meanwhile; what that takes is httpapi's loss.", columns...)
	for _, w := range []struct{ work, name string }{
		{"poll, ack", "a poll and an ack a job"},
		{"ack and take the next", "a poll with the ack of the job before"},
	} {
		ours := newHTTPRows(t, "httpapi", "httpapi: "+w.work)
		bare := newHTTPRows(t, "bare", "bare net/http, the bytes of: "+w.work)
		for i, n := range allCallers {
			c := columns[i]
			for _, rows := range []*httpRows{ours, bare} {
				for _, row := range rows.all {
					row.cell(c)
				}
			}
			t.step(w.work+", "+c, func(ctx context.Context) error { return compareHTTP(ctx, r, w.work, n, ours, bare) })
			t.ask(w.name+", against bare net/http, "+c, atLeast(0.6), ratio(ours.requests.cell(c), bare.requests.cell(c)))
		}
	}
	return t, nil
}

// httpRows are what a kind of server has in the table.
type httpRows struct {
	kind                        string
	requests, jobs, cpu, refill *row
	all                         []*row
}

func newHTTPRows(t *table, kind, name string) *httpRows {
	h := &httpRows{kind: kind}
	h.requests, h.jobs = t.row(name, overHTTP, "-", "requests/s"), t.row(name, overHTTP, "-", "jobs/s")
	h.cpu = t.row(name, overHTTP, "-", "server's CPU, us a request")
	h.all = []*row{h.requests, h.jobs, h.cpu}
	if kind == "httpapi" {
		h.refill = t.row("refilling the queue meanwhile", inProcess, "-", "% of one CPU")
		h.all = append(h.all, h.refill)
	}
	return h
}

// compareHTTP measures servers in turns of an eighth of the time each, so that what disturbs the machine meets all of them.
func compareHTTP(ctx context.Context, r *run, work string, callers int, rows ...*httpRows) (err error) {
	const turns = 8
	var all []*httpPair
	for _, h := range rows {
		p, e := startPair(ctx, h.kind, clientQuestion{Work: work, Callers: callers, Span: r.span / turns})
		if e != nil {
			return e
		}
		defer func() { err = errors.Join(err, p.close()) }()
		all = append(all, p)
	}
	for turn := range turns + 1 { // the first makes connections and is not counted
		for _, p := range all {
			if err := p.measure(ctx, turn > 0); err != nil {
				return err
			}
		}
	}
	for i, p := range all {
		p.add(rows[i], columnOf(callers))
	}
	return nil
}

// An httpPair is a server and its clients, each a process, and what they did while they were measured.
type httpPair struct {
	server, client *measurer
	question       clientQuestion
	clients        clientAnswer
	cpu, refill    time.Duration
}

func startPair(ctx context.Context, kind string, q clientQuestion) (*httpPair, error) {
	p := &httpPair{question: q}
	var err error
	if p.server, err = startMeasurer("http-server", kind); err != nil {
		return nil, err
	}
	if p.client, err = startMeasurer("http-client"); err != nil {
		return nil, errors.Join(err, p.server.close())
	}
	var at serverAnswer
	if err := p.server.ask(ctx, struct{}{}, &at); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.question.URL = at.URL
	return p, nil
}

func (p *httpPair) close() error { return errors.Join(p.client.close(), p.server.close()) }

func (p *httpPair) measure(ctx context.Context, counts bool) error {
	var before, after serverAnswer
	var c clientAnswer
	err := p.server.ask(ctx, struct{}{}, &before)
	if err == nil {
		err = p.client.ask(ctx, p.question, &c)
	}
	if err == nil {
		err = p.server.ask(ctx, struct{}{}, &after)
	}
	if err != nil {
		return err
	}
	if acked := after.Acked - before.Acked; acked != c.Acked || acked == 0 {
		return fmt.Errorf("the clients acked %d jobs, the server took %d acks", c.Acked, acked)
	}
	if counts {
		p.clients.Requests += c.Requests
		p.clients.Acked += c.Acked
		p.clients.Took += c.Took
		p.cpu += after.CPU - before.CPU
		p.refill += after.Refill - before.Refill
	}
	return nil
}

func (p *httpPair) add(h *httpRows, column string) {
	requests, seconds := float64(p.clients.Requests), p.clients.Took.Seconds()
	h.requests.cell(column).add(requests / seconds)
	h.jobs.cell(column).add(float64(p.clients.Acked) / seconds)
	h.cpu.cell(column).add(float64(p.cpu.Nanoseconds()) / 1e3 / requests)
	if h.refill != nil {
		h.refill.cell(column).add(100 * p.refill.Seconds() / seconds)
	}
}

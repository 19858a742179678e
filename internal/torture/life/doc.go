// Package life is what the techniques that break processes and disks share: a mixed load, the ledger that its callers keep, and the audit that
// compares a store with a ledger.
//
// A ledger has one line for each operation before it is begun, and one after it was answered, each written by one Write, so that whatever
// ends the process leaves all that callers were told:
//
//	b 17 enqueue q1 2 100 0 k17 0 0 0     begun: queue, how many jobs, bytes, priority, key, outbox, delay in ms, most deliveries
//	e 17 ok 01J...A 01J...B               answered: the jobs' ids
//	b 18 receive q1
//	e 18 ok 01J...A 5f..e2 1 1732.. 1733..   id, token, deliveries, when it was leased and until when, in microseconds
//	b 19 ack 01J...A 5f..e2
//	e 19 ok                               ok: it is done; no: it is not done; unknown: nobody can say
//
// An operation that was begun and not answered may have happened or not.
package life

// Package memstore keeps jobs in memory: nothing outlives the process. It is the reference backend of package storage: native
// structs under one mutex, where writes take place at once and an undo log takes them back when a transaction fails.
//
// It serves tests and queues whose work need not survive a restart. For users' tests it also has a [Clock] that is advanced by hand.
package memstore

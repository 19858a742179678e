// Package model says what a queue does, as one sequential state machine, in words and rules taken from the documentation of package jobqueue
// and from DESIGN.md, not from its code: one queue, one call after the other, nothing concurrent, nothing stored, no timer. It is slow and
// plain on purpose. Whoever wants to know what Pollack promises about a call can read it here.
//
// [Queue.Do] does one call on a queue. Some things are the broker's to choose: ids, tokens, by how much a version grows, and whether a new
// job goes straight into the hands of a receiver that waits. Do takes them from the answer that the broker gave, checks that they are a
// choice the broker has, and returns the answer that it should have given, to be compared.
//
// The techniques histories and steps hold brokers against it.
package model

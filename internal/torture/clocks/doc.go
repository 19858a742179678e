// Package clocks attacks what is promised about time: leases, delays, deadlines, retention and tombstones, while wall clocks jump and while
// a hundred years pass.
package clocks

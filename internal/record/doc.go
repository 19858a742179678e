// Package record turns the parts of a job, and the settings of a queue, into bytes and back. It stands once, for all stores that keep them as
// bytes. What such a store puts around them is its own: numbers, versions, checksums. The bytes are in files and tables of users, so what they
// mean does not change; a field that is new gets a bit that is new.
//
// # Shapes
//
//	text     its length, a uvarint, and its bytes
//	time     microseconds since 1970, 8 bytes, the highest first; what is finer is cut off
//	tags     how many, a uvarint, then name and value of each, two texts, in any order
//	limits   lease, deliveries, retention, tombstone: four varints
//	spec     account and name of the queue, two texts; a mask, a uvarint; the fields whose bits are in it, in the order of the bits
//	status   state and lease, a byte each; version, a uvarint; a mask and its fields, as in a spec
//	queue    limits; backlog, a varint; tags; status, a text; created and closed, each a byte that is 0, or 1 and the time
//
// Uvarints and varints are those of encoding/binary. Ids, tokens and hashes stand as they are. A bit that is not known is an error, as are bytes
// that are too few or too many and numbers that are too large for their fields: whoever reads a record written by a later version learns that
// it is one, instead of taking half of it.
package record

import "errors"

// ErrMalformed says that bytes are no record of the kind that was asked for: too few, too many, or of a meaning that this version does not know.
var ErrMalformed = errors.New("record is malformed")

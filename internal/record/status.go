package record

import (
	"encoding/binary"
	"math"

	"github.com/pollackq/pollack/storage"
)

// Which fields of a Status are present, so that most take tens of bytes.
const (
	hasDue = 1 << iota
	hasToken
	hasDeliveries
	hasLapses
	hasEnds
	hasOwed
	hasRunAt
	hasLeaseExpires
	leaseIsDue // LeaseExpires is Due, the usual case of a running job
	hasDeadline
	hasStarted
	hasFinished
	hasProgress
	hasResult
	hasNoPayload
	hasResultSize
	hasResultBlob
	statusEnd // beyond the last
)

// StatusLen bounds how many bytes AppendStatus appends, and leaves room for what a store puts around them.
const StatusLen = 192

// AppendStatus appends all of a Status.
func AppendStatus(b []byte, s *storage.Status) []byte {
	b = append(b, byte(s.State), byte(s.Lease))
	b = binary.AppendUvarint(b, s.Version)
	var mask uint64
	set := func(bit uint64, present bool) bool {
		if present {
			mask |= bit
		}
		return present
	}
	set(hasDue, !s.Due.IsZero())
	set(hasToken, s.Token != storage.Token{})
	set(hasDeliveries, s.Deliveries != 0)
	set(hasLapses, s.Lapses != 0)
	set(hasEnds, s.Ends != 0)
	set(hasOwed, s.Owed != 0)
	set(hasRunAt, !s.RunAt.IsZero())
	if !set(leaseIsDue, !s.LeaseExpires.IsZero() && s.LeaseExpires.Equal(s.Due)) {
		set(hasLeaseExpires, !s.LeaseExpires.IsZero())
	}
	set(hasDeadline, !s.Deadline.IsZero())
	set(hasStarted, !s.Started.IsZero())
	set(hasFinished, !s.Finished.IsZero())
	set(hasProgress, s.Progress != nil)
	set(hasResult, s.HasResult)
	set(hasNoPayload, s.NoPayload)
	set(hasResultSize, s.ResultSize != 0)
	set(hasResultBlob, s.ResultBlob != storage.ID{})
	b = binary.AppendUvarint(b, mask)
	if mask&hasDue != 0 {
		b = appendTime(b, s.Due)
	}
	if mask&hasToken != 0 {
		b = append(b, s.Token[:]...)
	}
	for _, f := range [...]struct {
		bit uint64
		n   uint32
	}{{hasDeliveries, s.Deliveries}, {hasLapses, s.Lapses}, {hasEnds, s.Ends}, {hasOwed, s.Owed}} {
		if mask&f.bit != 0 {
			b = binary.AppendUvarint(b, uint64(f.n))
		}
	}
	if mask&hasRunAt != 0 {
		b = appendTime(b, s.RunAt)
	}
	if mask&hasLeaseExpires != 0 {
		b = appendTime(b, s.LeaseExpires)
	}
	if mask&hasDeadline != 0 {
		b = appendTime(b, s.Deadline)
	}
	if mask&hasStarted != 0 {
		b = appendTime(b, s.Started)
	}
	if mask&hasFinished != 0 {
		b = appendTime(b, s.Finished)
	}
	if mask&hasProgress != 0 {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(*s.Progress))
	}
	if mask&hasResultSize != 0 {
		b = binary.AppendVarint(b, s.ResultSize)
	}
	if mask&hasResultBlob != 0 {
		b = append(b, s.ResultBlob[:]...)
	}
	return b
}

// Status reads what AppendStatus appended, and no more, into s, and keeps nothing of p. After an error s is of no use.
func Status(p []byte, s *storage.Status) error {
	d := NewLentDecoder(p)
	d.Status(s)
	return d.End()
}

// Status reads what AppendStatus appended into s. Whatever was in s before is gone.
func (d *Decoder) Status(s *storage.Status) {
	*s = storage.Status{}
	s.State, s.Lease = storage.State(d.Byte()), storage.LeaseState(d.Byte())
	s.Version = d.Uvarint()
	mask := d.mask(statusEnd - 1)
	if mask&hasDue != 0 {
		s.Due = d.time()
	}
	if mask&hasToken != 0 {
		copy(s.Token[:], d.Take(len(s.Token)))
	}
	for _, f := range [...]struct {
		bit uint64
		n   *uint32
	}{{hasDeliveries, &s.Deliveries}, {hasLapses, &s.Lapses}, {hasEnds, &s.Ends}, {hasOwed, &s.Owed}} {
		if mask&f.bit != 0 {
			*f.n = d.uint32()
		}
	}
	if mask&hasRunAt != 0 {
		s.RunAt = d.time()
	}
	if mask&leaseIsDue != 0 {
		s.LeaseExpires = s.Due
	}
	if mask&hasLeaseExpires != 0 {
		s.LeaseExpires = d.time()
	}
	if mask&hasDeadline != 0 {
		s.Deadline = d.time()
	}
	if mask&hasStarted != 0 {
		s.Started = d.time()
	}
	if mask&hasFinished != 0 {
		s.Finished = d.time()
	}
	if mask&hasProgress != 0 {
		p := math.Float64frombits(d.uint64())
		s.Progress = &p
	}
	s.HasResult, s.NoPayload = mask&hasResult != 0, mask&hasNoPayload != 0
	if mask&hasResultSize != 0 {
		s.ResultSize = d.Varint()
	}
	if mask&hasResultBlob != 0 {
		s.ResultBlob = d.ID()
	}
	if int(s.State) >= storage.States {
		d.Fail()
	}
}

package boltstore

import (
	"encoding/binary"
	"time"

	"github.com/pollackq/pollack/storage"
)

// Which fields of a Spec are present.
const (
	hasAccount = 1 << iota // if it is not the queue's
	hasKey
	hasHash
	hasPriority
	hasPosition
	hasCreated
	hasName
	hasContentType
	hasTags
	hasSize
	hasBlob
	hasOutbox
	hasOrigin
	hasLimits
	isOnce
)

// specBase bounds what a Spec takes besides its strings.
const specBase = 256

func specLen(s *storage.Spec) int {
	n := specBase + len(s.Queue.Account) + len(s.Queue.Name) + len(s.Account) + len(s.Key) + len(s.Name) + len(s.ContentType)
	for k, v := range s.Tags {
		n += len(k) + len(v) + 6
	}
	for _, o := range s.Outbox {
		n += len(o) + 3
	}
	return n
}

// small is the largest payload or result, in bytes, that the overlay holds. Such a payload stands before its job's Spec in one record
// with it.
const small = 1 << 10

// appendSpec encodes all but the id, which is in the key, behind a small payload; nil if the payload is elsewhere, or gone.
func appendSpec(b, key []byte, s *storage.Spec, payload []byte) []byte {
	from := len(b)
	b = append(b, version)
	if payload == nil {
		b = append(b, 0)
	} else {
		b = append(binary.AppendUvarint(b, uint64(len(payload))+1), payload...)
	}
	return seal(appendSpecFields(b, s), from, key)
}

func appendSpecFields(b []byte, s *storage.Spec) []byte {
	b = appendString(b, s.Queue.Account)
	b = appendString(b, s.Queue.Name)
	var mask uint64
	for i, present := range [...]bool{s.Account != s.Queue.Account, s.Key != "", s.RequestHash != [32]byte{}, s.Priority != 0, s.Position != 0,
		!s.Created.IsZero(), s.Name != "", s.ContentType != "", len(s.Tags) > 0, s.Size != 0, s.Blob != storage.ID{}, len(s.Outbox) > 0,
		s.Origin != storage.ID{}, s.Limits != storage.Limits{}, s.Once} {
		if present {
			mask |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	if mask&hasAccount != 0 {
		b = appendString(b, s.Account)
	}
	if mask&hasKey != 0 {
		b = appendString(b, s.Key)
	}
	if mask&hasHash != 0 {
		b = append(b, s.RequestHash[:]...)
	}
	if mask&hasPriority != 0 {
		b = binary.AppendVarint(b, int64(s.Priority))
	}
	if mask&hasPosition != 0 {
		b = binary.AppendUvarint(b, s.Position)
	}
	if mask&hasCreated != 0 {
		b = appendTimeField(b, s.Created)
	}
	if mask&hasName != 0 {
		b = appendString(b, s.Name)
	}
	if mask&hasContentType != 0 {
		b = appendString(b, s.ContentType)
	}
	if mask&hasTags != 0 {
		b = appendTags(b, s.Tags)
	}
	if mask&hasSize != 0 {
		b = binary.AppendVarint(b, s.Size)
	}
	if mask&hasBlob != 0 {
		b = append(b, s.Blob[:]...)
	}
	if mask&hasOutbox != 0 {
		b = binary.AppendUvarint(b, uint64(len(s.Outbox)))
		for _, o := range s.Outbox {
			b = appendString(b, o)
		}
	}
	if mask&hasOrigin != 0 {
		b = append(b, s.Origin[:]...)
	}
	if mask&hasLimits != 0 {
		b = appendLimits(b, s.Limits)
	}
	return b
}

// splitSpec returns the payload in a record of a Spec, nil if there is none, and the encoded Spec.
func splitSpec(key, rec []byte) (payload, spec []byte, err error) {
	body, err := unseal(key, rec)
	if err != nil {
		return nil, nil, err
	}
	n, k := binary.Uvarint(body)
	if k <= 0 || n > uint64(len(body)-k)+1 {
		return nil, nil, errShort
	}
	if body = body[k:]; n == 0 {
		return nil, body, nil
	}
	return body[: n-1 : n-1], body[n-1:], nil
}

// withoutPayload returns the record of a Spec without the payload in it.
func withoutPayload(b, key, spec []byte) []byte {
	from := len(b)
	return seal(append(append(b, version, 0), spec...), from, key)
}

func decodeSpec(key, rec []byte, id storage.ID) (*storage.Spec, error) {
	_, body, err := splitSpec(key, rec)
	if err != nil {
		return nil, err
	}
	d := decoder{s: string(body)} // all strings share this one
	s := d.spec(id)
	return s, d.end()
}

func (d *decoder) spec(id storage.ID) *storage.Spec {
	s := &storage.Spec{ID: id}
	s.Queue.Account = d.string()
	s.Queue.Name = d.string()
	mask := d.uvarint()
	s.Account = s.Queue.Account
	if mask&hasAccount != 0 {
		s.Account = d.string()
	}
	if mask&hasKey != 0 {
		s.Key = d.string()
	}
	if mask&hasHash != 0 {
		copy(s.RequestHash[:], d.take(len(s.RequestHash)))
	}
	if mask&hasPriority != 0 {
		s.Priority = int16(d.varint())
	}
	if mask&hasPosition != 0 {
		s.Position = d.uvarint()
	}
	if mask&hasCreated != 0 {
		s.Created = d.time()
	}
	if mask&hasName != 0 {
		s.Name = d.string()
	}
	if mask&hasContentType != 0 {
		s.ContentType = d.string()
	}
	if mask&hasTags != 0 {
		s.Tags = d.tags()
	}
	if mask&hasSize != 0 {
		s.Size = d.varint()
	}
	if mask&hasBlob != 0 {
		s.Blob = d.id()
	}
	if mask&hasOutbox != 0 {
		s.Outbox = make([]string, d.length())
		for i := range s.Outbox {
			s.Outbox[i] = d.string()
		}
	}
	if mask&hasOrigin != 0 {
		s.Origin = d.id()
	}
	if mask&hasLimits != 0 {
		s.Limits = d.limits()
	}
	s.Once = mask&isOnce != 0
	return s
}

func appendTags(b []byte, tags map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(tags)))
	for k, v := range tags {
		b = appendString(appendString(b, k), v)
	}
	return b
}

func (d *decoder) tags() map[string]string {
	n := d.length()
	tags := make(map[string]string, n)
	for range n {
		k := d.string()
		tags[k] = d.string()
	}
	return tags
}

func appendLimits(b []byte, l storage.Limits) []byte {
	for _, v := range [...]int64{int64(l.Lease), int64(l.MaxDeliveries), int64(l.Retention), int64(l.Tombstone)} {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func (d *decoder) limits() storage.Limits {
	return storage.Limits{Lease: time.Duration(d.varint()), MaxDeliveries: int(d.varint()),
		Retention: time.Duration(d.varint()), Tombstone: time.Duration(d.varint())}
}

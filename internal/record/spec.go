package record

import (
	"encoding/binary"

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
	specEnd // beyond the last
)

// base bounds what a Spec or the settings of a Queue take besides their texts, with some room for what a store puts around them.
const base = 256

// SpecLen bounds how many bytes AppendSpec appends, and leaves room for what a store puts around them.
func SpecLen(s *storage.Spec) int {
	n := base + len(s.Queue.Account) + len(s.Queue.Name) + len(s.Account) + len(s.Key) + len(s.Name) + len(s.ContentType) + tagsLen(s.Tags)
	for _, o := range s.Outbox {
		n += len(o) + 3
	}
	return n
}

// AppendSpec appends all of a Spec but its id.
func AppendSpec(b []byte, s *storage.Spec) []byte {
	b = appendText(b, s.Queue.Account)
	b = appendText(b, s.Queue.Name)
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
		b = appendText(b, s.Account)
	}
	if mask&hasKey != 0 {
		b = appendText(b, s.Key)
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
		b = appendTime(b, s.Created)
	}
	if mask&hasName != 0 {
		b = appendText(b, s.Name)
	}
	if mask&hasContentType != 0 {
		b = appendText(b, s.ContentType)
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
			b = appendText(b, o)
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

// Spec reads what AppendSpec appended, and no more. Its texts share one copy of p.
func Spec(p []byte, id storage.ID) (*storage.Spec, error) {
	d := NewDecoder(string(p))
	s := d.Spec(id)
	if err := d.End(); err != nil {
		return nil, err
	}
	return s, nil
}

// Spec reads what AppendSpec appended.
func (d *Decoder) Spec(id storage.ID) *storage.Spec {
	s := &storage.Spec{ID: id}
	s.Queue.Account = d.Text()
	s.Queue.Name = d.Text()
	mask := d.mask(specEnd - 1)
	s.Account = s.Queue.Account
	if mask&hasAccount != 0 {
		s.Account = d.Text()
	}
	if mask&hasKey != 0 {
		s.Key = d.Text()
	}
	if mask&hasHash != 0 {
		copy(s.RequestHash[:], d.Take(len(s.RequestHash)))
	}
	if mask&hasPriority != 0 {
		s.Priority = d.int16()
	}
	if mask&hasPosition != 0 {
		s.Position = d.Uvarint()
	}
	if mask&hasCreated != 0 {
		s.Created = d.time()
	}
	if mask&hasName != 0 {
		s.Name = d.Text()
	}
	if mask&hasContentType != 0 {
		s.ContentType = d.Text()
	}
	if mask&hasTags != 0 {
		s.Tags = d.tags()
	}
	if mask&hasSize != 0 {
		s.Size = d.Varint()
	}
	if mask&hasBlob != 0 {
		s.Blob = d.ID()
	}
	if mask&hasOutbox != 0 {
		s.Outbox = d.texts()
	}
	if mask&hasOrigin != 0 {
		s.Origin = d.ID()
	}
	if mask&hasLimits != 0 {
		s.Limits = d.limits()
	}
	s.Once = mask&isOnce != 0
	return s
}

func (d *Decoder) texts() []string {
	n := d.length()
	if n == 0 {
		return nil
	}
	texts := make([]string, n)
	for i := range texts {
		texts[i] = d.Text()
	}
	return texts
}

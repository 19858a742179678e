package record

import (
	"encoding/binary"
	"time"

	"github.com/pollackq/pollack/storage"
)

// AppendOptionalTime appends a time that may be zero.
func AppendOptionalTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return appendTime(append(b, 1), t)
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMicro()))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTags(b []byte, tags map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(tags)))
	for k, v := range tags {
		b = appendText(appendText(b, k), v)
	}
	return b
}

func (d *Decoder) tags() map[string]string {
	n := d.length()
	if n == 0 {
		return nil
	}
	tags := make(map[string]string, n)
	for range n {
		k := d.Text()
		tags[k] = d.Text()
	}
	return tags
}

// tagsLen bounds what tags take besides their number.
func tagsLen(tags map[string]string) (n int) {
	for k, v := range tags {
		n += len(k) + len(v) + 6
	}
	return n
}

func appendLimits(b []byte, l storage.Limits) []byte {
	for _, v := range [...]int64{int64(l.Lease), int64(l.MaxDeliveries), int64(l.Retention), int64(l.Tombstone)} {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func (d *Decoder) limits() storage.Limits {
	return storage.Limits{Lease: time.Duration(d.Varint()), MaxDeliveries: d.int(),
		Retention: time.Duration(d.Varint()), Tombstone: time.Duration(d.Varint())}
}

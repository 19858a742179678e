package record_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

var (
	id    = storage.ID{0: 1, 15: 2}
	queue = storage.QueueName{Account: "a", Name: "q"}
	at    = time.UnixMicro(1_700_000_000_000_001).UTC()
)

// A codec encodes a value of one kind, and decodes what it has encoded. Values are pointers.
type codec struct {
	name   string
	empty  func() any
	encode func(b []byte, v any) []byte
	decode func(p []byte) (any, error)
}

var codecs = []codec{
	{
		"spec", func() any { return &storage.Spec{ID: id} },
		func(b []byte, v any) []byte { return record.AppendSpec(b, v.(*storage.Spec)) },
		func(p []byte) (any, error) { return record.Spec(p, id) },
	},
	{
		"status", func() any { return &storage.Status{} },
		func(b []byte, v any) []byte { return record.AppendStatus(b, v.(*storage.Status)) },
		func(p []byte) (any, error) {
			progress := 0.25
			s := &storage.Status{Token: storage.Token{9}, Owed: 9, HasResult: true, Progress: &progress} // which are not to be left
			return s, record.Status(p, s)
		},
	},
	{
		"queue", func() any { return &storage.Queue{QueueName: queue} },
		func(b []byte, v any) []byte { return record.AppendQueue(b, v.(*storage.Queue)) },
		func(p []byte) (any, error) { return record.Queue(p, queue) },
	},
}

// values returns the empty value, one for each field that is there alone, set to each of some values, and one with all fields.
func (c codec) values() []any {
	var all []any
	full := c.empty()
	for _, v := range []int64{1, -2, math.MaxInt64, math.MinInt64} {
		for i := range fields(c.empty()) {
			one := c.empty()
			set(fields(one)[i], v)
			set(fields(full)[i], v)
			all = append(all, one)
		}
	}
	return append(all, c.empty(), full)
}

// fields returns the fields of a struct, embedded ones taken apart, without those that a record does not hold.
func fields(v any) (all []reflect.Value) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		switch f := s.Type().Field(i); {
		case f.Type == reflect.TypeFor[storage.Limits]():
			all = append(all, fields(s.Field(i).Addr().Interface())...)
		case f.Name == "QueueName" || f.Type == reflect.TypeFor[storage.ID]() && f.Name == "ID":
		default:
			all = append(all, s.Field(i))
		}
	}
	return all
}

// set gives a field a value that is not zero: n, or the part of it that fits.
func set(f reflect.Value, n int64) {
	text := strings.Repeat("x", int(uint8(n))+1)
	switch f.Interface().(type) {
	case time.Time:
		f.Set(reflect.ValueOf(at.Add(time.Duration(int32(n)) * time.Microsecond)))
		return
	case storage.QueueName:
		f.Set(reflect.ValueOf(storage.QueueName{Account: text, Name: "name"}))
		return
	case storage.State:
		f.SetUint(uint64(n)%uint64(storage.States-1) + 1)
		return
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(text)
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		f.SetUint(max(uint64(n)>>(64-f.Type().Bits()), 1))
	case reflect.Int16, reflect.Int, reflect.Int64:
		f.SetInt(n>>(64-f.Type().Bits()) | 1)
	case reflect.Array:
		f.Index(0).SetUint(1)
		f.Index(f.Len() - 1).SetUint(max(uint64(uint8(n)), 2))
	case reflect.Pointer:
		p := reflect.New(f.Type().Elem())
		p.Elem().SetFloat(1 / float64(n))
		f.Set(p)
	case reflect.Slice:
		f.Set(reflect.ValueOf([]string{text, "", "y"}))
	case reflect.Map:
		f.Set(reflect.ValueOf(map[string]string{text: "v", "": "w", "k": ""}))
	default:
		panic("a field of a type that is new: " + f.Type().String())
	}
}

// A field that is added to a record and not to its codec is found here.
func TestEveryFieldComesBack(t *testing.T) {
	for _, c := range codecs {
		for _, want := range c.values() {
			p := c.encode(nil, want)
			got, err := c.decode(p)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s %x: got %+v, %v, want %+v", c.name, p, got, err, want)
			}
		}
	}
}

func TestARecordIsAppended(t *testing.T) {
	for _, c := range codecs {
		for _, v := range c.values() {
			alone, behind := c.encode(nil, v), c.encode([]byte("before"), v)
			if p, ok := bytes.CutPrefix(behind, []byte("before")); !ok || len(p) != len(alone) {
				t.Errorf("%s: got %x, want %x behind what was there", c.name, behind, alone)
			}
		}
	}
}

// What is decoded shares no memory with the bytes it was made of, and they are left as they were.
func TestNothingIsKeptOfTheBytes(t *testing.T) {
	for _, c := range codecs {
		for _, want := range c.values() {
			p := c.encode(nil, want)
			before := bytes.Clone(p)
			got, err := c.decode(p)
			if !bytes.Equal(p, before) {
				t.Errorf("%s: %x was changed to %x", c.name, before, p)
			}
			for i := range p {
				p[i] = 0xff
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v, when its bytes were overwritten, want %+v", c.name, got, err, want)
			}
		}
	}
}

func TestTooFewAndTooManyBytesAreAnError(t *testing.T) {
	for _, c := range codecs {
		for _, v := range c.values() {
			p := c.encode(nil, v)
			for n := range p {
				if got, err := c.decode(p[:n:n]); !errors.Is(err, record.ErrMalformed) {
					t.Fatalf("%s: got %+v, %v from %d of %d bytes", c.name, got, err, n, len(p))
				}
			}
			if got, err := c.decode(append(p, 0)); !errors.Is(err, record.ErrMalformed) {
				t.Fatalf("%s: got %+v, %v from one byte too many", c.name, got, err)
			}
		}
	}
}

func TestTheLengthsAreBounds(t *testing.T) {
	for i, length := range []func(any) int{
		func(v any) int { return record.SpecLen(v.(*storage.Spec)) },
		func(any) int { return record.StatusLen },
		func(v any) int { return record.QueueLen(v.(*storage.Queue)) },
	} {
		for _, v := range codecs[i].values() {
			if got, most := len(codecs[i].encode(nil, v)), length(v)-32; got > most {
				t.Errorf("%s: got %d bytes, want %d at most, and room for 32 more", codecs[i].name, got, most)
			}
		}
	}
}

// These bytes are in files. Each field has a value of its own, so that none stands for another.
func TestTheBytesStayWhatTheyAre(t *testing.T) {
	half := 0.5
	limits := storage.Limits{Lease: 1, MaxDeliveries: -1, Retention: 300, Tombstone: -2}
	for _, want := range []struct {
		codec codec
		value any
		bytes string
	}{
		{codecs[0], &storage.Spec{ID: id}, "0000" + "00"},
		{codecs[0], &storage.Spec{
			ID: id, Queue: queue, Account: "b", Key: "key", RequestHash: [32]byte{31: 7}, Priority: -3, Position: 300, Created: at, Name: "n", ContentType: "c",
			Tags: map[string]string{"t": "v"}, Size: -1, Blob: storage.ID{3}, Outbox: []string{"o", "pp"}, Origin: storage.ID{4}, Limits: limits, Once: true,
		}, "0161" + "0171" + "ffff01" + "0162" + "036b6579" + strings.Repeat("00", 31) + "07" + "05" + "ac02" + "00060a24181e4001" + "016e" + "0163" +
			"0101740176" + "01" + "03" + strings.Repeat("00", 15) + "02016f027070" + "04" + strings.Repeat("00", 15) + "0201d80403"},
		{codecs[1], &storage.Status{State: storage.Pending}, "0400" + "00" + "00"},
		{codecs[1], &storage.Status{State: storage.Running, Lease: storage.Held, Version: 2, Due: at, LeaseExpires: at}, "0501" + "02" + "8102" + "00060a24181e4001"},
		{codecs[1], &storage.Status{
			State: storage.Running, Lease: storage.Held, Version: 300, Due: at, Token: storage.Token{5}, Deliveries: 6, Lapses: 7, Ends: 8, Owed: 9,
			RunAt: at.Add(time.Microsecond), LeaseExpires: at.Add(2 * time.Microsecond), Deadline: at.Add(3 * time.Microsecond),
			Started: at.Add(4 * time.Microsecond), Finished: at.Add(5 * time.Microsecond), Progress: &half, HasResult: true, NoPayload: true, ResultSize: 10,
			ResultBlob: storage.ID{11},
		}, "0501" + "ac02" + "fffd07" + "00060a24181e4001" + "05" + strings.Repeat("00", 15) + "06070809" + "00060a24181e4002" + "00060a24181e4003" +
			"00060a24181e4004" + "00060a24181e4005" + "00060a24181e4006" + "3fe0000000000000" + "14" + "0b" + strings.Repeat("00", 15)},
		{codecs[2], &storage.Queue{QueueName: queue}, "00000000" + "00" + "00" + "00" + "00" + "00"},
		{codecs[2], &storage.Queue{QueueName: queue, Limits: limits, Backlog: -1, Tags: map[string]string{"t": "v"}, Status: "s", Created: at, Closed: at.Add(1000)},
			"0201d80403" + "01" + "0101740176" + "0173" + "0100060a24181e4001" + "0100060a24181e4002"},
	} {
		if got := hex.EncodeToString(want.codec.encode(nil, want.value)); got != want.bytes {
			t.Errorf("%s %+v: got\n%s, want\n%s", want.codec.name, want.value, got, want.bytes)
		}
		p, err := hex.DecodeString(want.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := want.codec.decode(p); err != nil || !reflect.DeepEqual(got, want.value) {
			t.Errorf("%s %s: got %+v, %v, want %+v", want.codec.name, want.bytes, got, err, want.value)
		}
	}
}

// The bits of the masks are in files, too.
func TestEachFieldKeepsItsBit(t *testing.T) {
	for _, of := range []struct {
		codec  codec
		before func(*record.Decoder) // reads what stands before the mask
		fields []string              // in the order of their bits
	}{
		{codecs[0], func(d *record.Decoder) { d.Text(); d.Text() }, []string{"Account", "Key", "RequestHash", "Priority", "Position", "Created", "Name",
			"ContentType", "Tags", "Size", "Blob", "Outbox", "Origin", "Lease", "Once"}},
		{codecs[1], func(d *record.Decoder) { d.Take(2); d.Uvarint() }, []string{"Due", "Token", "Deliveries", "Lapses", "Ends", "Owed", "RunAt", "LeaseExpires",
			"", "Deadline", "Started", "Finished", "Progress", "HasResult", "NoPayload", "ResultSize", "ResultBlob"}}, // "": LeaseExpires is Due
	} {
		for i, name := range of.fields {
			if name == "" {
				continue
			}
			v := of.codec.empty()
			set(reflect.ValueOf(v).Elem().FieldByName(name), 1)
			d := record.NewDecoder(string(of.codec.encode(nil, v)))
			of.before(&d)
			if mask := d.Uvarint(); mask != 1<<i || d.Err() != nil {
				t.Errorf("%s with %s: got the mask %b, %v, want %b", of.codec.name, name, mask, d.Err(), 1<<i)
			}
		}
	}
}

func TestWhatIsNotKnownIsAnError(t *testing.T) {
	spec, status, settings := codecs[0], codecs[1], codecs[2]
	for _, odd := range []struct {
		codec codec
		what  string
		bytes string
	}{
		{spec, "the bit after the last", "0000" + "808002"},
		{spec, "the highest bit", "0000" + "80808080808080808001"},
		{spec, "a mask of more than 64 bits", "0000" + "80808080808080808002"},
		{spec, "a priority of more than 16 bits", "0000" + "08" + "808004"},
		{spec, "a text longer than the record", "0000" + "02" + "05" + "61"},
		{spec, "a text longer than any record", "0000" + "02" + "ffffffffffffffffff01" + "61"},
		{spec, "more in an outbox than there is", "0000" + "8010" + "7f"},
		{status, "the bit after the last", "0400" + "00" + "808008"},
		{status, "a state after the last", "0a00" + "00" + "00"},
		{status, "a number of deliveries of more than 32 bits", "0400" + "00" + "04" + "8080808010"},
		{spec, "more in an outbox than any memory holds", "0000" + "8010" + "808080808080808040" + "00"},
		{settings, "a time that is neither there nor not", "00000000" + "00" + "00" + "00" + "02" + "00"},
		{settings, "another such time", "00000000" + "00" + "00" + "00" + "00" + "02" + "00060a24181e4001"},
		{settings, "more tags than there are", "00000000" + "00" + "7f" + "0000"},
	} {
		p, err := hex.DecodeString(odd.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := odd.codec.decode(p); !errors.Is(err, record.ErrMalformed) {
			t.Errorf("%s with %s: got %+v, %v, want %v", odd.codec.name, odd.what, got, err, record.ErrMalformed)
		}
	}
}

func TestADecoderSaysHowItStands(t *testing.T) {
	d := record.NewLentDecoder([]byte("\x03abcdef"))
	if text := d.Text(); text != "abc" || d.Len() != 3 || d.Err() != nil {
		t.Errorf("got %q, %d left, %v", text, d.Len(), d.Err())
	}
	if err := d.End(); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("got %v with something left, want %v", err, record.ErrMalformed)
	}
	if d.Take(3); d.End() != nil {
		t.Errorf("got %v at the end, want nil", d.End())
	}
	if d.Byte(); !errors.Is(d.Err(), record.ErrMalformed) {
		t.Errorf("got %v beyond the end, want %v", d.Err(), record.ErrMalformed)
	}
	d = record.NewDecoder("abc")
	if d.Fail(); !errors.Is(d.Err(), record.ErrMalformed) || d.Take(1) != "" {
		t.Errorf("got %v after Fail, want %v and nothing more", d.Err(), record.ErrMalformed)
	}
}

// A store decodes a status for each job it looks at.
func TestAStatusIsDecodedWithoutMemory(t *testing.T) {
	p := record.AppendStatus(nil, &storage.Status{State: storage.Running, Due: at, Started: at, Finished: at, Deliveries: 3, Token: storage.Token{1}})
	var s storage.Status
	if n := testing.AllocsPerRun(100, func() {
		if err := record.Status(p, &s); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

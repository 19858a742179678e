package jobqueue

import (
	"errors"
	"reflect"
	"testing"

	"github.com/pollackq/pollack/storage"
)

// FuzzBeside looks for a record of texts and a result that panics, that is refused with an error that does not say that it is damaged, or that
// decodes to what comes back otherwise when it is written and read again (I2: each job is whole).
func FuzzBeside(f *testing.F) {
	for _, b := range []beside{
		{}, {message: "half"}, {failure: Failure{Code: "no_space", Message: "the disk is full"}}, {hasResult: true, contentType: "text/plain", result: []byte("x")},
		{message: "a", failure: Failure{Code: "b", Message: "c"}, hasResult: true, contentType: "d"},
	} {
		p := b.encode()
		f.Add(p)
		f.Add(p[:len(p)-1])
	}
	f.Add([]byte{besideVersion, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{besideVersion, 0, 5, 'a'})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := decodeBeside(p)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) || !reflect.DeepEqual(b, beside{}) {
				t.Fatalf("%x: got %+v, %v", p, b, err)
			}
			return
		}
		if n := len(b.message) + len(b.failure.Code) + len(b.failure.Message) + len(b.contentType) + len(b.result); n+6 > len(p) {
			t.Fatalf("%x: got %d bytes out of it: %+v", p, n, b)
		}
		again, err := decodeBeside(b.encode())
		if err != nil || again.message != b.message || again.failure != b.failure || again.hasResult != b.hasResult || again.contentType != b.contentType ||
			string(again.result) != string(b.result) {
			t.Fatalf("%x: got %+v, and when it was written and read again %+v, %v", p, b, again, err)
		}
	})
}

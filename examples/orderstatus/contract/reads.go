package contract

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("a status is one read of the store", "S2-10", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		never, failed, done := s.order("o-1", object{"want": "never"}), s.order("o-2", object{"want": "failed"}), s.order("o-3", object{"want": "xlsx"})
		big := s.order("o-4", object{"want": "text", "size": 60_000})
		long := s.order("o-5", object{"want": "text", "seconds": 86400})
		s.until(90 * time.Second) // nobody works on any of them now
		for _, at := range []string{never, failed, done, big, long, "/orders/o-9/status"} {
			before := s.store.Calls()
			a := s.platform.Do(t, "GET", at, nil)
			if n := s.store.Calls() - before; n != 1 {
				t.Errorf("%s: %d: the store was used %d times, want once", at, a.Status, n)
			}
		}
	})

	suite.Case("a status is answered at once, whatever is being worked on", "S2-10 S4-31", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.prepare = func(w http.ResponseWriter, r *http.Request, n int) { <-r.Context().Done() } // holds a worker for as long as it may
		for i := range 50 {
			s.order(fmt.Sprint("v-", i), object{"want": "video"})
		}
		at := s.order("o-1", object{"want": "text", "seconds": 2})
		for range 30 {
			time.Sleep(time.Second)
			begun := time.Now()
			s.ask(at)
			s.ask("/orders/v-0/status")
			if took := time.Since(begun); took > time.Second {
				t.Errorf("two answers took %v", took)
			}
		}
	})

	suite.Case("results are as large as they may be, and not larger", "S2-07 S4-18 S4-51 D-S4-12 S4-31", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		text := s.order("o-1", object{"want": "text", "size": 10_000_000})
		more := s.order("o-2", object{"want": "html", "size": 10_000_001})
		file := s.order("o-3", object{"want": "file", "size": 37_500_000})
		large := s.order("o-4", object{"want": "file", "size": 37_500_001})
		s.until(time.Minute)
		begun := time.Now()
		if got := s.carrier(text, "result_text"); len(got) != 10_000_000 {
			t.Errorf("got %d bytes of text, want 10,000,000", len(got))
		}
		s.failed(more, "result_text", "10000001", "10000000")
		got := s.carrier(file, "file_base64")
		if p, err := base64.StdEncoding.AppendDecode(nil, got); err != nil || len(got) != 50_000_000 || len(p) != 37_500_000 {
			t.Errorf("got %d characters, %v, want 50,000,000", len(got), err)
		}
		s.failed(large, "file_base64", "50000004", "50000000")
		if took := time.Since(begun); took > 8*time.Second {
			t.Errorf("the answers took %v", took)
		}
	})
}

// carrier returns what an order is completed with, a text in which nothing is escaped. It does not read the whole as JSON, which takes its time.
func (s *seller) carrier(location, field string) []byte {
	s.t.Helper()
	a := s.platform.Do(s.t, "GET", location, nil).Want(s.t, 200)
	_, rest, found := bytes.Cut(a.Body, []byte(`"`+field+`":"`))
	value, _, closed := bytes.Cut(rest, []byte(`"`))
	if !bytes.HasPrefix(a.Body, []byte(`{"status":"completed","output_type":`)) || !found || !closed {
		s.t.Errorf("%s: got %.300s, want it completed with %s", location, a.Body, field)
	}
	return value
}

package contract

import (
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
		if v := s.want(text, "completed", "output_type", "result_text"); len(v["result_text"].(string)) != 10_000_000 {
			t.Errorf("got %d bytes of text", len(v["result_text"].(string)))
		}
		s.failed(more, "result_text", "10000001", "10000000")
		v := s.want(file, "completed", "output_type", "file_base64", "filename", "mime_type")
		if p, err := base64.StdEncoding.DecodeString(v["file_base64"].(string)); err != nil || len(v["file_base64"].(string)) != 50_000_000 || len(p) != 37_500_000 {
			t.Errorf("got %d characters, %v, want 50,000,000", len(v["file_base64"].(string)), err)
		}
		s.failed(large, "file_base64", "50000004", "50000000")
		if took := time.Since(begun); took > 8*time.Second {
			t.Errorf("the answers took %v", took)
		}
	})
}

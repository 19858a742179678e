package contract

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("an order is processing, then completed, and stays so", "S2-03 S2-04 S2-13 S2-14 S4-10 S4-12 D-S2/S4", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		at := s.order("o-1", object{"want": "text", "seconds": 10})
		if at != "/orders/o-1/status" {
			t.Errorf("got Location %q", at)
		}
		s.processing(at)
		s.until(9900 * time.Millisecond)
		s.processing(at)
		s.until(10100 * time.Millisecond)
		first := s.want(at, "completed", "output_type", "result_text")
		s.until(6 * 24 * time.Hour)
		if again := s.want(at, "completed", "output_type", "result_text"); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("got %v, then %v", first, again)
		}
		if head := s.platform.Do(t, "HEAD", at, nil).Want(t, 200); len(head.Body) > 0 {
			t.Errorf("HEAD was answered %q", head.Body)
		}
	})

	suite.Case("an order can be asked for as soon as the webhook has answered", "S2-11 D-S2/S4", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		for _, id := range []string{
			"o-1", "6f1c", "a/b", "..", ".", "a b", "ü", "a%2Fb", "a+b", "a?b#c", "{order_id}", `"`, "日本/;,:@", strings.Repeat("x", 255), strings.Repeat("é", 127),
		} {
			s.processing(s.order(id, object{"want": "never"}))
		}
		for _, id := range []string{"o-2", "O-1", "o-1%20", "b", strings.Repeat("x", 254), strings.Repeat("x", 4000), "%00", "%FF"} {
			s.platform.Do(t, "GET", "/orders/"+id+"/status", nil).Problem(t, 404, "not_found")
		}
	})

	suite.Case("a repeated order is the same order, whatever it says", "D-S2-04 S2-04", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		at := s.order("o-1", object{"want": "html", "seconds": 100})
		s.until(50500 * time.Millisecond)
		for _, inputs := range []object{{"want": "html", "seconds": 100}, {"want": "failed"}, {"want": "never", "seconds": 1}} {
			a := s.platform.Do(t, "POST", "/webhook", object{"order_id": "o-1", "inputs": inputs}).Want(t, 202)
			if a.Header.Get("Location") != at || a.Header.Get("Idempotent-Replayed") != "true" {
				t.Errorf("got %v", a.Header)
			}
		}
		if v := s.processing(at); v != "50%" {
			t.Errorf("got progress %q, want what it was", v)
		}
		s.until(101 * time.Second)
		first := s.want(at, "completed", "output_type", "result_text")
		s.order("o-1", object{"want": "failed"})
		s.until(102 * time.Second)
		if again := s.want(at, "completed", "output_type", "result_text"); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("got %v, then %v", first, again)
		}
	})

	suite.Case("of many equal orders at once there is one", "D-S2-04", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		var done sync.WaitGroup
		var mu sync.Mutex
		replayed := 0
		for range 20 {
			done.Go(func() {
				a, err := s.platform.Try(t.Context(), "POST", "/webhook", object{"order_id": "o-1", "inputs": object{"want": "video"}})
				if err != nil || a.Status != 202 {
					t.Errorf("got %+v, %v", a, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if a.Header.Get("Idempotent-Replayed") != "" {
					replayed++
				}
			})
		}
		done.Wait()
		s.until(time.Minute)
		s.want("/orders/o-1/status", "completed", "output_type", "files")
		if n := len(s.called("PUT")); n != 1 || replayed != 19 {
			t.Errorf("got %d uploads and %d repeats, want 1 and 19", n, replayed)
		}
	})

	suite.Case("what is no order is refused, and nothing is stored", "D-all S2-11", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		for _, body := range []string{
			``, `{}`, `[]`, `null`, `"x"`, `{"order_id":"o-1"`, `{"order_id":"o-1","inputs":{"want":"text"}} x`, `<order/>`,
			`{"order_id":"o-1"}`, `{"order_id":"o-1","inputs":null}`, `{"order_id":"o-1","inputs":{}}`, `{"order_id":"o-1","inputs":[]}`, `{"order_id":"o-1","inputs":"text"}`,
			`{"order_id":"o-1","inputs":{"want":""}}`, `{"order_id":"o-1","inputs":{"want":"pdf"}}`, `{"order_id":"o-1","inputs":{"want":"Text"}}`,
			`{"order_id":"o-1","inputs":{"want":1}}`, `{"order_id":"o-1","inputs":{"want":["text"]}}`,
			`{"order_id":"o-1","inputs":{"want":"text","seconds":-1}}`, `{"order_id":"o-1","inputs":{"want":"text","seconds":86400.5}}`,
			`{"order_id":"o-1","inputs":{"want":"text","seconds":1e300}}`, `{"order_id":"o-1","inputs":{"want":"text","seconds":1e400}}`,
			`{"order_id":"o-1","inputs":{"want":"text","seconds":"10"}}`, `{"order_id":"o-1","inputs":{"want":"text","seconds":NaN}}`,
			`{"order_id":"o-1","inputs":{"want":"text","size":-1}}`, `{"order_id":"o-1","inputs":{"want":"text","size":1.5}}`,
			`{"order_id":"o-1","inputs":{"want":"text","size":40000001}}`, `{"order_id":"o-1","inputs":{"want":"url","size":1}}`,
			`{"order_id":"o-1","inputs":{"want":"text","message":"x"}}`, `{"order_id":"o-1","inputs":{"want":"failed","message":"` + strings.Repeat("x", 16385) + `"}}`,
			`{"inputs":{"want":"text"}}`, `{"order_id":"","inputs":{"want":"text"}}`, `{"order_id":null,"inputs":{"want":"text"}}`, `{"order_id":1,"inputs":{"want":"text"}}`,
			`{"order_id":"/","inputs":{"want":"text"}}`, `{"order_id":"a\u0000","inputs":{"want":"text"}}`, `{"order_id":"a\nb","inputs":{"want":"text"}}`,
			`{"order_id":"` + strings.Repeat("x", 256) + `","inputs":{"want":"text"}}`, "{\"order_id\":\"\xff\",\"inputs\":{\"want\":\"text\"}}",
		} {
			a := s.platform.Do(t, "POST", "/webhook", body)
			if a.Status != 400 {
				t.Errorf("%.100s: got %d %s, want 400", body, a.Status, a.Body)
				continue
			}
			a.Problem(t, 400, "invalid_request")
			if detail, _ := a.JSON(t)["detail"].(string); detail == "" {
				t.Errorf("%.100s: nothing says what is wrong", body)
			}
		}
		s.platform.Do(t, "POST", "/webhook", `{"order_id":"o-1","inputs":{"want":"text","x":"`+strings.Repeat("x", 5<<20)+`"}}`).Problem(t, 413, "too_large")
		s.platform.Do(t, "GET", "/orders/o-1/status", nil).Problem(t, 404, "not_found")
		s.platform.Do(t, "GET", "/orders/"+strings.Repeat("x", 256)+"/status", nil).Problem(t, 404, "not_found")

		at := s.order("o-1", object{"want": "text", "seconds": 0, "name": "Ada", "more": []int{1}}) // the buyer's inputs are what they are
		s.until(time.Second)
		s.want(at, "completed", "output_type", "result_text")
		s.processing(s.order("o-2", object{"want": "text", "seconds": 86400}))
	})
}

package contract

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("a repeat gets the original handle, whatever endpoint and body say, and whatever became of the job", "S5-40 D-S5-40 S5-04 D-S5-08",
		func(t *testing.T, open contract.Opener) {
			for _, op := range operations {
				s := newStudio(t, open, oneWorker)
				blocker := s.block()
				id := s.submit(op, object{"client_request_id": "r"})
				repeat := func() {
					t.Helper()
					for _, other := range operations {
						bodies := []object{async(other, nil), request(other, nil), {}, {"prompt": 5, "image": false, "image_url": 1}, {"async": "yes", "response_mode": "bytes", "callback_url": "x"}}
						for _, body := range bodies {
							body["client_request_id"] = "r"
							wantEqual(t, "handle", s.handle(s.alice.Do(t, "POST", "/"+other, body)), id)
						}
					}
				}
				repeat() // pending
				close(s.gate)
				s.poll(blocker, "succeeded")
				s.poll(id, "succeeded")
				repeat()
				s.balance(s.alice, 100-2*finalCost)
				time.Sleep(day + time.Second)
				repeat() // gone
				s.alice.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 410, "job_gone")
				s.balance(s.alice, 100-2*finalCost)
				time.Sleep(30 * day)
				if again := s.submit(op, object{"client_request_id": "r"}); again == id {
					t.Error("got a handle that nobody knows any more")
				}
				s.balance(s.alice, 100-3*finalCost)
				s.stop()
			}
		})

	suite.Case("a repeat of a job that failed gets its handle", "S5-40 S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		id := s.submit("edit", object{"client_request_id": "r", "image_url": "https://pictures.example/text"})
		s.poll(id, "failed")
		wantEqual(t, "handle", s.submit("edit", object{"client_request_id": "r"}), id)
		s.poll(id, "failed")
		s.balance(s.alice, 100)
	})

	suite.Case("a repeat of a synchronous request gets a handle, too", "S5-40 D-S5-40 S5-04", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for _, op := range operations {
			body := request(op, object{"client_request_id": op})
			s.inline(s.alice.Do(t, "POST", "/"+op, body))
			id := s.handle(s.alice.Do(t, "POST", "/"+op, body))
			s.downloadURL(s.poll(id, "succeeded")["result"])
		}
		s.balance(s.alice, 100-len(operations)*finalCost)
	})

	suite.Case("many submits at once with one client_request_id are one job and one reservation", "S5-40 S5-50 D-S5-40", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		s.handle(s.bob.Do(t, "POST", "/edit", async("edit", object{"image_url": "https://pictures.example/gate.png"})))
		synctest.Wait() // the worker is at it
		const n = 20
		answers := make([]*contract.Answer, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				op := operations[i%len(operations)]
				answers[i], _ = s.poor.Try(t.Context(), "POST", "/"+op, async(op, object{"client_request_id": "once"})) // has enough for one
			})
		}
		all.Wait()
		id := s.handle(answers[0])
		for _, a := range answers {
			wantEqual(t, "handle", s.handle(a), id)
		}
		s.balance(s.poor, 5-floorCost)
		s.poor.Do(t, "POST", "/edit", async("edit", object{"client_request_id": "another"})).Problem(t, 402, "insufficient_balance")
		close(s.gate)
		time.Sleep(time.Minute)
		s.balance(s.poor, 5-finalCost)
	})

	suite.Case("an id is an account's own", "D-S5-40 S5-40 S5-25", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		id := s.submit("generate", object{"client_request_id": "r"})
		if other := s.handle(s.bob.Do(t, "POST", "/generate", async("generate", object{"client_request_id": "r"}))); other == id {
			t.Error("got another account's handle")
		}
		s.balance(s.alice, 100-finalCost)
		s.balance(s.bob, 100-finalCost)
	})

	suite.Case("a submit refused for the balance makes no job and does not use up its id", "S5-10 S5-40 D-S5-40 S5-60", func(t *testing.T, open contract.Opener) {
		for _, op := range operations {
			s := newStudio(t, open, oneWorker)
			s.handle(s.poor.Do(t, "POST", "/edit", async("edit", object{"image_url": "https://pictures.example/text", "client_request_id": "first"})))
			s.balance(s.poor, 5)
			s.handle(s.poor.Do(t, "POST", "/edit", async("edit", object{"image_url": "https://pictures.example/never.png"})))
			s.balance(s.poor, 5-floorCost)
			for _, more := range []object{{"client_request_id": "r"}, nil} {
				s.poor.Do(t, "POST", "/"+op, async(op, more)).Problem(t, 402, "insufficient_balance")
				s.poor.Do(t, "POST", "/"+op, request(op, more)).Problem(t, 402, "insufficient_balance")
				s.balance(s.poor, 5-floorCost)
			}
			time.Sleep(11 * time.Minute) // the job fails, and its reservation is released
			s.balance(s.poor, 5)
			id := s.handle(s.poor.Do(t, "POST", "/"+op, async(op, object{"client_request_id": "r"})))
			s.balance(s.poor, 5-finalCost)
			wantEqual(t, "status", fmt.Sprint(s.poor.Do(t, "GET", "/jobs/"+id, nil).JSON(t)["status"]), "succeeded")
			s.stop()
		}
	})
}

package contract

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("the floor is reserved at submit, and the final cost charged on success", "S5-50 S5-10", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		s.block()
		s.balance(s.alice, 100-floorCost)
		for i, op := range operations {
			s.submit(op, nil)
			s.balance(s.alice, 100-(i+2)*floorCost)
		}
		close(s.gate)
		synctest.Wait()
		s.balance(s.alice, 100-5*finalCost)
		s.balance(s.bob, 100)
	})

	suite.Case("a synchronous request is billed like a job", "S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for i, op := range operations {
			s.inline(s.alice.Do(t, "POST", "/"+op, request(op, nil)))
			s.balanceNow(s.alice, 100-(i+1)*finalCost)
		}
		s.alice.Do(t, "POST", "/edit", request("edit", object{"image_url": "https://pictures.example/text"})).Want(t, 422)
		s.balance(s.alice, 100-4*finalCost)
	})

	suite.Case("a failed job's reservation is released", "S5-50 D-S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for _, op := range []string{"edit", "enhance", "remix"} {
			id := s.submit(op, object{"image_url": "https://pictures.example/text"})
			s.poll(id, "failed")
			s.balance(s.alice, 100)
		}
	})

	suite.Case("what is more than the final cost is given back", "S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, func(c *app.Config) { c.FloorCost, c.FinalCost = 10, 3 })
		s.inline(s.alice.Do(t, "POST", "/generate", request("generate", nil)))
		s.balance(s.alice, 97)
	})

	suite.Case("a balance of exactly the floor does, one less does not", "S5-10 S5-60", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, func(c *app.Config) {
			c.Accounts[1].Balance = floorCost
			c.Accounts[2].Balance = floorCost - 1
		})
		for _, op := range operations {
			s.poor.Do(t, "POST", "/"+op, async(op, nil)).Problem(t, 402, "insufficient_balance")
			s.balance(s.poor, floorCost-1)
		}
		s.handle(s.bob.Do(t, "POST", "/generate", async("generate", nil)))
		s.balance(s.bob, floorCost-finalCost)
	})

	suite.Case("of many submits at once as many are taken as there is money for", "S5-10 S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		s.block() // 96 are left
		const n = 40
		var mu sync.Mutex
		statuses := make(map[int]int)
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				a, err := s.alice.Try(t.Context(), "POST", "/generate", async("generate", nil))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[a.Status]++
			})
		}
		all.Wait()
		if statuses[202] != 24 || statuses[402] != n-24 {
			t.Errorf("got answers %v, want 24 times 202 and otherwise 402", statuses)
		}
		s.balance(s.alice, 0)
		close(s.gate)
		synctest.Wait()
		s.balance(s.alice, 100-25*finalCost)
	})

	suite.Case("a submit that is refused after its reservation costs nothing", "S5-50 S5-40 D-S5-40 D-ALL-ERR", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, func(c *app.Config) { c.Workers, c.Backlog = 1, 1 })
		s.block()
		s.submit("generate", nil)
		s.balance(s.alice, 100-2*floorCost)
		for _, op := range operations {
			s.alice.Do(t, "POST", "/"+op, async(op, object{"client_request_id": op})).Problem(t, 429, "backlog_full")
			s.balance(s.alice, 100-2*floorCost)
		}
		close(s.gate)
		synctest.Wait()
		for _, op := range operations {
			s.poll(s.submit(op, object{"client_request_id": op}), "succeeded")
		}
		s.balance(s.alice, 100-6*finalCost)
	})

	suite.Case("the ledger outlives the process, and a configured balance is for new accounts only", "D-S5-50 S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.inline(s.alice.Do(t, "POST", "/generate", request("generate", nil)))
		s.submit("edit", object{"image_url": "https://pictures.example/never.png"})
		s.stop()
		s.config.Accounts[0].Balance = 1000
		s.config.Accounts = append(s.config.Accounts, app.Account{Account: "carol", Token: "carol-token", Balance: 7})
		s.start()
		s.balance(s.alice, 100-finalCost-floorCost)
		s.balance(s.nobody.With("Authorization", "Bearer carol-token"), 7)
		time.Sleep(11 * time.Minute)
		s.balance(s.alice, 100-finalCost)
	})
}

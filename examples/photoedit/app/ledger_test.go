package app_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func open(t *testing.T, path string) *app.Ledger {
	t.Helper()
	l, err := app.OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantBalance(t *testing.T, l *app.Ledger, want int64) {
	t.Helper()
	if got, err := l.Balance("alice"); err != nil || got != want {
		t.Errorf("got balance %d, %v, want %d", got, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAReservationIsMadeAndSettledOnce(t *testing.T) {
	l := open(t, "")
	defer l.Close()
	must(t, l.Add(app.Account{Account: "alice", Balance: 10}))
	for range 2 {
		must(t, l.Reserve("job", "alice", 4))
		wantBalance(t, l, 6)
	}
	if l.Reserve("other", "alice", 7) == nil {
		t.Error("more is reserved than is there")
	}
	if l.Reserve("other", "bob", 1) == nil {
		t.Error("something is reserved for nobody")
	}
	for range 2 {
		must(t, l.Settle("job", 9))
		wantBalance(t, l, 1)
		must(t, l.Settle("job", 0))
	}
	must(t, l.Settle("unknown", 5))
	wantBalance(t, l, 1)
	must(t, l.Add(app.Account{Account: "alice", Balance: 1000}))
	wantBalance(t, l, 1)
}

func TestASecretIsMadeOnceUnlessOneIsGiven(t *testing.T) {
	l := open(t, "")
	defer l.Close()
	secret := func(given callback.Secret) string {
		must(t, l.Add(app.Account{Account: "alice", Secret: given}))
		s, err := l.Secret("alice")
		must(t, err)
		return string(s)
	}
	made := secret("")
	if made == "" || secret("") != made {
		t.Error("want a secret that is made once")
	}
	if secret("given") != "given" || secret("") != "given" {
		t.Error("want the secret that is given, and kept")
	}
}

// TestReservationsThatAreLeftOverAreSettledAtTheStart has the ledger as the process leaves it when it ends at the worst moments: after a reservation
// whose job never came to be stored, and with ended jobs that nobody has been billed for.
func TestReservationsThatAreLeftOverAreSettledAtTheStart(t *testing.T) {
	ctx := context.Background()
	store := memstore.New(nil)
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	must(t, err)
	images := broker.Queue("images")
	enqueue := func() jobqueue.ID {
		j, err := images.Enqueue(ctx, jobqueue.NewJob{Account: "alice"})
		must(t, err)
		return j.ID
	}
	succeeded := enqueue()
	d, err := images.Receive(ctx, nil)
	must(t, err)
	must(t, d.Ack(ctx))
	failed := enqueue()
	d, err = images.Receive(ctx, nil)
	must(t, err)
	must(t, d.Fail(ctx, "code", "text"))
	canceled := enqueue()
	_, err = broker.Cancel(ctx, canceled)
	must(t, err)
	later, err := images.Enqueue(ctx, jobqueue.NewJob{Account: "alice", Delay: 1e15})
	must(t, err)
	must(t, broker.Shutdown(ctx))

	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	must(t, l.Add(app.Account{Account: "alice", Balance: 100}))
	never := "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, id := range []string{succeeded.String(), failed.String(), canceled.String(), later.ID.String(), never} {
		must(t, l.Reserve(id, "alice", 2))
	}
	wantBalance(t, l, 90)
	must(t, l.Close())
	for range 2 {
		a, err := app.New(store, app.Config{Tokens: map[string]string{"t": "alice"}, FloorCost: 2, FinalCost: 5, Ledger: path})
		must(t, err)
		must(t, a.Shutdown(ctx))
		l = open(t, path)
		wantBalance(t, l, 100-5-2)
		if reserved, err := l.Reserved(""); err != nil || !slices.Equal(reserved, []string{later.ID.String()}) {
			t.Errorf("got reservations %v, %v, want that of the job that has not ended", reserved, err)
		}
		must(t, l.Close())
	}
}

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// The jobs are in one database and the money in another, so nothing is done to both in one transaction. Before a job is stored its floor cost is
// reserved (admit), and when it has ended the reservation is settled by the job that the ended one left in the outbox queue "billing" (bill), which is
// delivered until that is done. If the process ends between the reservation and the job, or before the release of one whose job was not stored, there
// is a reservation without a job: reconcile finds it at the next start.

// admit is jobqueue.Options.Admit. Only images are ever asked for.
func (a *App) admit(_ context.Context, j *jobqueue.Job) error {
	err := a.ledger.Reserve(j.ID.String(), j.Account, a.config.FloorCost)
	if less := (*insufficientError)(nil); errors.As(err, &less) {
		return &httpapi.Problem{Status: http.StatusPaymentRequired, Code: "insufficient_balance", Detail: less.Error() + ": top it up and try again"}
	}
	return err
}

// forget is jobqueue.Options.Forget.
func (a *App) forget(_ context.Context, id jobqueue.ID) {
	if err := a.ledger.Settle(id.String(), 0); err != nil {
		a.config.Log.Error("a reservation could not be released; the next start will", "job", id, "error", err)
	}
}

// bill is told of each job that has ended, maybe several times.
func (a *App) bill(ctx context.Context, d *jobqueue.Delivery) error {
	ended, err := told(ctx, d)
	if err != nil {
		return err
	}
	return a.settle(ended.ID, ended.State == jobqueue.Succeeded.String())
}

// settle charges the final cost for a job that succeeded, and nothing for any other.
func (a *App) settle(job string, succeeded bool) error {
	cost := int64(0)
	if succeeded {
		cost = a.config.FinalCost
	}
	return a.ledger.Settle(job, cost)
}

// settleEnded settles what is reserved for jobs of an account that have ended, and that "billing" has not come to yet.
func (a *App) settleEnded(ctx context.Context, account string) error {
	return a.eachReserved(ctx, account, func(id string, j *jobqueue.Job, err error) error {
		if err != nil || !j.State.Ended() { // where there is no job yet it may still come
			return nil
		}
		return a.settle(id, j.State == jobqueue.Succeeded)
	})
}

// reconcile releases the reservations whose jobs do not exist, and settles those whose jobs have ended. It is called before there can be new ones.
func (a *App) reconcile(ctx context.Context) error {
	return a.eachReserved(ctx, "", func(id string, j *jobqueue.Job, err error) error {
		switch {
		case err == nil && !j.State.Ended():
			return nil
		case errors.Is(err, jobqueue.ErrCorrupt):
			a.config.Log.Error("the job of a reservation is damaged; the reservation stays", "job", id)
			return nil
		case err != nil && !errors.Is(err, jobqueue.ErrNotFound) && !errors.Is(err, jobqueue.ErrGone):
			return err
		}
		a.config.Log.Info("a reservation that was left over is settled", "job", id)
		return a.settle(id, err == nil && j.State == jobqueue.Succeeded)
	})
}

// eachReserved calls fn for the jobs that an account, "" for all, has reservations for, with the job or why there is none.
func (a *App) eachReserved(ctx context.Context, account string, fn func(id string, j *jobqueue.Job, err error) error) error {
	reserved, err := a.ledger.Reserved(account)
	if err != nil {
		return err
	}
	for _, text := range reserved {
		id, err := jobqueue.ParseID(text)
		if err != nil {
			return fmt.Errorf("ledger: reservation %q: %w", text, err)
		}
		j, err := a.broker.Job(ctx, id)
		if err := fn(text, j, err); err != nil {
			return err
		}
	}
	return nil
}

// An ending is what a job in an outbox queue says of the one that has ended.
type ending struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

func told(ctx context.Context, d *jobqueue.Delivery) (e ending, err error) {
	p, err := d.Payload(ctx)
	if err == nil {
		err = json.Unmarshal(p, &e)
	}
	return e, err
}

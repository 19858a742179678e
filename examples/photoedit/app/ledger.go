package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/httpapi/callback"
)

// A Ledger keeps the accounts' balances and secrets, and what is reserved of the balances, in a bbolt file of its own. What its methods return nil
// for survives the process. Every job has at most one reservation, and its deletion is what settling or releasing it means: so both happen once,
// however often they are asked for.
type Ledger struct {
	db        *bbolt.DB
	temporary bool
}

var (
	bucketAccounts     = []byte("accounts")     // by name: record
	bucketReservations = []byte("reservations") // by the id of the job: reservation
)

type record struct {
	Balance int64           `json:"balance"` // without what is reserved; negative if jobs cost more than was reserved and there
	Secret  callback.Secret `json:"secret"`
}

type reservation struct {
	Account string `json:"account"`
	Amount  int64  `json:"amount"`
}

// An insufficientError says that a balance has less than is to be reserved.
type insufficientError struct{ balance, amount int64 }

func (e *insufficientError) Error() string {
	return fmt.Sprintf("the balance is %d and the request reserves %d", e.balance, e.amount)
}

// OpenLedger opens a ledger's file, or creates it. A path of "" is a temporary file, which Close removes.
func OpenLedger(path string) (*Ledger, error) {
	l := &Ledger{temporary: path == ""}
	options := *bbolt.DefaultOptions
	options.Timeout = 5 * time.Second // another process has it
	if l.temporary {
		f, err := os.CreateTemp("", "ledger-*.db")
		if err != nil {
			return nil, err
		}
		path = f.Name()
		f.Close()
		options.NoSync = true
	}
	var err error
	if l.db, err = bbolt.Open(path, 0o600, &options); err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	if l.temporary {
		os.Remove(path) // where a file that is open can be removed, nothing is left of it however the process ends
	}
	err = l.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketAccounts)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(bucketReservations)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close closes the file.
func (l *Ledger) Close() error {
	path := l.db.Path()
	err := l.db.Close()
	if l.temporary {
		os.Remove(path) // unless it has been removed already
	}
	return err
}

// Add adds an account that is not there yet, with its balance. A secret that is given replaces the one that is there; if there is none, one is made.
func (l *Ledger) Add(a Account) error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		accounts := tx.Bucket(bucketAccounts)
		r := &record{Balance: a.Balance}
		if known, err := account(tx, a.Account); err == nil {
			r = known
		} else if !errors.Is(err, errNoAccount) {
			return err
		}
		if a.Secret != "" {
			r.Secret = a.Secret
		}
		if r.Secret == "" {
			r.Secret = callback.NewSecret()
		}
		return put(accounts, a.Account, r)
	})
}

// Balance returns what an account has left, without what is reserved.
func (l *Ledger) Balance(name string) (int64, error) {
	r, err := l.record(name)
	if err != nil {
		return 0, err
	}
	return r.Balance, nil
}

// Secret returns what an account's callbacks are signed with.
func (l *Ledger) Secret(name string) (callback.Secret, error) {
	r, err := l.record(name)
	if err != nil {
		return "", err
	}
	return r.Secret, nil
}

func (l *Ledger) record(name string) (r *record, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		r, err = account(tx, name)
		return err
	})
	return r, err
}

// Reserve takes an amount off an account's balance for a job: an *insufficientError if there is less. For a job that has a reservation it does nothing.
func (l *Ledger) Reserve(job, name string, amount int64) error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		reservations := tx.Bucket(bucketReservations)
		if reservations.Get([]byte(job)) != nil {
			return nil
		}
		r, err := account(tx, name)
		if err != nil {
			return err
		}
		if r.Balance < amount {
			return &insufficientError{r.Balance, amount}
		}
		r.Balance -= amount
		if err := put(tx.Bucket(bucketAccounts), name, r); err != nil {
			return err
		}
		return put(reservations, job, reservation{name, amount})
	})
}

// Settle ends a job's reservation: the account is charged the cost instead, which is 0 where the job came to nothing. If there is no reservation (any
// more) it does nothing.
func (l *Ledger) Settle(job string, cost int64) error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		reservations := tx.Bucket(bucketReservations)
		p := reservations.Get([]byte(job))
		if p == nil {
			return nil
		}
		var held reservation
		if err := json.Unmarshal(p, &held); err != nil {
			return err
		}
		r, err := account(tx, held.Account)
		if err != nil {
			return err
		}
		r.Balance += held.Amount - cost
		if err := put(tx.Bucket(bucketAccounts), held.Account, r); err != nil {
			return err
		}
		return reservations.Delete([]byte(job))
	})
}

// Reserved returns the ids of the jobs that an account, "" for all, has reservations for.
func (l *Ledger) Reserved(name string) (jobs []string, err error) {
	return jobs, l.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketReservations).ForEach(func(k, p []byte) error {
			var held reservation
			err := json.Unmarshal(p, &held)
			if err == nil && (name == "" || held.Account == name) {
				jobs = append(jobs, string(k))
			}
			return err
		})
	})
}

var errNoAccount = errors.New("there is no such account")

func account(tx *bbolt.Tx, name string) (*record, error) {
	p := tx.Bucket(bucketAccounts).Get([]byte(name))
	if p == nil {
		return nil, fmt.Errorf("ledger: %q: %w", name, errNoAccount)
	}
	r := new(record)
	if err := json.Unmarshal(p, r); err != nil {
		return nil, fmt.Errorf("ledger: %q: %w", name, err)
	}
	return r, nil
}

func put(b *bbolt.Bucket, key string, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), p)
}

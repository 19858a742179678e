package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

// ErrAccounts is matched by errors of New that say what is wrong with the accounts and tokens it was given.
var ErrAccounts = errors.New("bad accounts")

// MaxAmount bounds balances and costs.
const MaxAmount = 1_000_000_000_000

// An Account is a customer.
type Account struct {
	Account string          `json:"account"` // its name, at most jobqueue.MaxName bytes
	Token   string          `json:"token"`   // the bearer token; "" for none
	Balance int64           `json:"balance"` // counts only where the ledger has no such account yet
	Secret  callback.Secret `json:"secret"`  // signs its callbacks; "" for the one that the ledger has, or makes
}

// ReadAccounts reads a JSON list of accounts.
func ReadAccounts(r io.Reader) ([]Account, error) {
	d := json.NewDecoder(r)
	var accounts []Account
	if err := d.Decode(&accounts); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more after the list")
	}
	return accounts, nil
}

// tokens returns whose each token is, and says what is wrong with accounts. An account may be there several times, for several tokens.
func tokens(c Config) (map[string]string, error) {
	owners := make(map[string]string)
	for i, a := range c.Accounts {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("account %d (%q): %s", i+1, a.Account, fmt.Sprintf(format, args...))
		}
		switch {
		case a.Account == "" || len(a.Account) > jobqueue.MaxName:
			return nil, fail("the name must have 1 to %d bytes", jobqueue.MaxName)
		case a.Balance < 0 || a.Balance > MaxAmount:
			return nil, fail("the balance must be from 0 to %d", int64(MaxAmount))
		case a.Token != "" && owners[a.Token] != "" && owners[a.Token] != a.Account:
			return nil, fail("another account has the same token")
		}
		if a.Secret != "" {
			if _, err := callback.ParseSecret(string(a.Secret)); err != nil {
				return nil, fail("%v", err)
			}
		}
		if a.Token != "" {
			owners[a.Token] = a.Account
		}
	}
	for token, name := range c.Tokens {
		if token == "" || name == "" || owners[token] != "" && owners[token] != name {
			return nil, fmt.Errorf("a token of account %q is empty or another's", name)
		}
		owners[token] = name
	}
	if len(owners) == 0 {
		return nil, errors.New("nobody has a token")
	}
	return owners, nil
}

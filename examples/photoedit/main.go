// Command photoedit is an image service: requests that wait for their image or get a job to poll, signed download URLs and callbacks, and a prepaid
// balance that each job is charged to exactly once, kill -9 included.
//
//	go run ./examples/photoedit -db photo.db -accounts accounts.json
//
// where accounts.json has [{"token": "secret", "account": "alice", "balance": 100}]. Then
//
//	url=http://127.0.0.1:8080/v1/phota auth='Authorization: Bearer secret'
//	curl -H "$auth" $url/generate -d '{"prompt": "a rose", "response_mode": "urls"}'
//	curl -H "$auth" $url/edit -d '{"prompt": "rotate left, then blur", "image": "'$(base64 -w0 cat.png)'"}'
//	curl -H "$auth" $url/generate -d '{"prompt": "a rose", "response_mode": "urls", "async": true, "client_request_id": "rose-1"}'
//	curl -H "$auth" $url/jobs/01J...
//	curl -H "$auth" $url/balance
//	curl -H "$auth" $url/webhook-secret
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/internal/serve"
)

func main() { serve.Main("photoedit", define) }

// define declares the flags.
func define(f *flag.FlagSet) func(serve.Env) (serve.App, error) {
	var c app.Config
	f.Func("accounts", "JSON `file` with a list of {token, account, balance, secret}; a balance counts only for accounts that are not known yet", func(path string) (err error) {
		c.Accounts, err = readAccounts(path)
		return err
	})
	c.Tokens = serve.Tokens(f, "default")
	f.Int64Var(&c.FloorCost, "floor-cost", 1, "what is reserved of the balance when a job is submitted")
	f.Int64Var(&c.FinalCost, "final-cost", 2, "what is charged when it succeeds")
	f.DurationVar(&c.Retention, "retention", 24*time.Hour, "how long a job that has ended, and its image, can be had")
	f.DurationVar(&c.Tombstone, "tombstone", 30*24*time.Hour, "how long it is answered 410 after that")
	f.BoolVar(&c.AllowPrivateFetch, "allow-private-fetch", false, "let image_url be any address: for tests")
	f.BoolVar(&c.AllowPrivateCallbacks, "allow-private-callbacks", false, "let callback_url be any address, and plain HTTP: for tests")
	return func(env serve.Env) (serve.App, error) {
		switch {
		case len(c.Accounts)+len(c.Tokens) == 0:
			return nil, serve.Usage("nobody is let in: give -accounts or -token")
		case c.FloorCost < 0 || c.FinalCost < 0 || c.FloorCost > app.MaxAmount || c.FinalCost > app.MaxAmount:
			return nil, serve.Usage("-floor-cost and -final-cost must be from 0 to %d", int64(app.MaxAmount))
		case c.Retention <= 0 || c.Tombstone <= 0:
			return nil, serve.Usage("-retention and -tombstone must be more than 0")
		}
		var err error
		if c.SigningKey, err = serve.Key(env.DB); err != nil {
			return nil, err
		}
		if env.DB != "" {
			c.Ledger = env.DB + ".ledger"
		}
		c.BaseURL, c.Log = env.BaseURL, env.Log
		a, err := app.New(env.Store, c)
		if errors.Is(err, app.ErrAccounts) {
			return nil, serve.Usage("%v", err)
		}
		if err != nil {
			return nil, err
		}
		return a, nil
	}
}

func readAccounts(path string) ([]app.Account, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	accounts, err := app.ReadAccounts(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return accounts, nil
}

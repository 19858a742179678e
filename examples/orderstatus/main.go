// Command orderstatus is an automation's side of "we poll your status endpoint": a platform hands orders to its webhook, and asks its status endpoint
// from time to time how far they are. What it works on is made up: each order says which output it wants and how long that takes. Package app states
// the protocol.
//
//	go run ./examples/orderstatus -db orders.db -header 'X-Api-Key: seller' -prepare-url https://platform.example/prepare
//	curl -H 'X-Api-Key: seller' -d '{"order_id":"o-1","inputs":{"want":"xlsx","seconds":60}}' http://127.0.0.1:8080/webhook
//	curl -H 'X-Api-Key: seller' http://127.0.0.1:8080/orders/o-1/status
package main

import (
	"flag"
	"strings"

	"github.com/pollackq/pollack/examples/orderstatus/app"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/internal/serve"
)

func main() { serve.Main("orderstatus", define) }

func define(f *flag.FlagSet) func(serve.Env) (serve.App, error) {
	var c app.Config
	c.Header = serve.Header(f, "`header` that the platform's requests must have, and that ours to -prepare-url have")
	c.Tokens = serve.Tokens(f, app.Platform)
	f.StringVar(&c.PrepareURL, "prepare-url", "", "`URL` of the platform at which uploads are prepared; without it videos are answered as base64")
	f.StringVar(&c.PublicURL, "public-url", "", "HTTPS `URL` under which this server is reached by everybody, for result pages: https://example.com unless -base-url has https")
	return func(env serve.Env) (serve.App, error) {
		switch {
		case len(c.Header) == 0 && len(c.Tokens) == 0:
			return nil, serve.Usage("want a -header or a -token, since status and results are not for everybody")
		case c.PublicURL == "" && strings.HasPrefix(env.BaseURL, "https://"):
			c.PublicURL = env.BaseURL
		}
		if c.PrepareURL != "" {
			if _, err := outbound.CheckURL(c.PrepareURL, true); err != nil {
				return nil, serve.Usage("-prepare-url: %v", err)
			}
		}
		if c.PublicURL != "" {
			if _, err := outbound.CheckURL(c.PublicURL, false); err != nil {
				return nil, serve.Usage("-public-url: %v", err)
			}
		}
		var err error
		if c.SigningKey, err = serve.Key(env.DB); err != nil {
			return nil, err
		}
		c.Logger = env.Log
		return app.New(env.Store, c)
	}
}

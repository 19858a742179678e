// Command orderpoller is a marketplace's side of "we poll your status endpoint": it hands each order to a seller's webhook, asks the seller's status
// endpoint on a fixed schedule, and tells one address how the order ended. Sellers send large files ahead. Package app states the protocol.
//
//	go run ./examples/orderpoller -db orders.db -token buyer -header 'X-Api-Key: seller' \
//		-webhook-url https://seller.example/webhook -status-url 'https://seller.example/orders/{order_id}/status' \
//		-notify-url https://market.example/hooks -notify-secret "whsec_$(openssl rand -base64 32)"
//	curl -H 'Authorization: Bearer buyer' -d '{"order_id":"o-1","eta_bucket":"under_1_hr","inputs":{"name":"Ada"}}' http://127.0.0.1:8080/orders
//	curl -H 'Authorization: Bearer buyer' http://127.0.0.1:8080/orders/o-1
//	curl -H 'X-Api-Key: seller' -d '{"order_id":"o-1","filename":"cut.mp4","mime_type":"video/mp4","size":5}' http://127.0.0.1:8080/prepare
//
// The answer to the last has the put_url for the file. When the order has been completed the customer gets it, by the object_key in the result:
//
//	curl -G -H 'Authorization: Bearer buyer' --data-urlencode object_key=KEY http://127.0.0.1:8080/orders/o-1/files
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/pollackq/pollack/examples/orderpoller/app"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/internal/serve"
)

func main() { serve.Main("orderpoller", define) }

func define(f *flag.FlagSet) func(serve.Env) (serve.App, error) {
	c := app.Config{ETAs: make(map[string]time.Duration)}
	f.StringVar(&c.StatusURL, "status-url", "", "`template` of the seller's status endpoint: HTTPS, with {order_id} once in its path")
	f.StringVar(&c.WebhookURL, "webhook-url", "", "`URL` of the seller's webhook, which orders are POSTed to")
	f.BoolVar(&c.AllowHTTP, "allow-http", false, "take URLs without TLS: for tests")
	c.Header = serve.Header(f, "`header` sent to webhook and status endpoint, and demanded at /prepare")
	f.DurationVar(&c.FirstCheck, "first-check", 5*time.Minute, "from the start of an order to its first check")
	f.DurationVar(&c.Interval, "interval", 15*time.Minute, "from one check to the next")
	f.DurationVar(&c.AnswerLimit, "answer-limit", 8*time.Second, "how long the seller has for an answer")
	f.Func("eta", "`BUCKET=TIME`: after how long orders of an eta_bucket are given up; besides under_2_min=10m, under_1_hr=90m, within_24_hr=24h; may be repeated",
		func(s string) error {
			bucket, text, _ := strings.Cut(s, "=")
			d, err := time.ParseDuration(text)
			if bucket == "" || err != nil || d <= 0 {
				return errors.New("want BUCKET=TIME, such as under_2_min=10m")
			}
			c.ETAs[bucket] = d
			return nil
		})
	f.StringVar(&c.NotifyURL, "notify-url", "", "`URL` that is told, signed, of each order that ends; without it nobody is")
	secret := f.String("notify-secret", "", "what notifications are signed with: whsec_ and the base64 of 24 to 64 random bytes, or any other text")
	f.Func("token", "bearer `token` for /orders, and for /prepare too; may be repeated. Without any, /orders is open to everybody, and without -header /prepare, too",
		func(s string) error {
			if s == "" {
				return errors.New("a token cannot be empty")
			}
			c.Tokens = append(c.Tokens, s)
			return nil
		})
	return func(env serve.Env) (serve.App, error) {
		c.NotifySecret = callback.Secret(*secret)
		c.BaseURL, c.Logger = env.BaseURL, env.Log
		if err := check(&c); err != nil {
			return nil, serve.Usage("%v", err)
		}
		var err error
		if c.SigningKey, err = serve.Key(env.DB); err != nil {
			return nil, err
		}
		return app.New(env.Store, c)
	}
}

// check demands that the flags can be meant.
func check(c *app.Config) error {
	if _, err := statuspoll.ParseTemplate(c.StatusURL, c.AllowHTTP); err != nil {
		return fmt.Errorf("-status-url: %w", err)
	}
	for _, u := range []struct{ flag, url string }{
		{"webhook-url", c.WebhookURL}, {"notify-url", cmp.Or(c.NotifyURL, c.WebhookURL)},
	} {
		if _, err := outbound.CheckURL(u.url, c.AllowHTTP); err != nil {
			return fmt.Errorf("-%s: %w", u.flag, err)
		}
	}
	if _, err := outbound.CheckURL(c.BaseURL, true); err != nil {
		return fmt.Errorf("-base-url: %w", err)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"first-check", c.FirstCheck}, {"interval", c.Interval}, {"answer-limit", c.AnswerLimit}} {
		if d.value <= 0 {
			return fmt.Errorf("-%s %v: want a time above zero", d.flag, d.value)
		}
	}
	switch _, err := callback.ParseSecret(string(c.NotifySecret)); {
	case c.NotifyURL == "" && c.NotifySecret != "":
		return errors.New("-notify-secret: there is no -notify-url")
	case c.NotifyURL != "" && c.NotifySecret == "":
		return errors.New("-notify-url: needs a -notify-secret, for example whsec_ and what \"openssl rand -base64 32\" says")
	case c.NotifyURL != "" && err != nil:
		return fmt.Errorf("-notify-secret: %w", err)
	}
	return nil
}

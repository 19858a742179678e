// Command compressor takes files, or fetches them, and makes them smaller: JPEG and PNG images are encoded anew, everything else is gzipped. Its clients
// submit, poll the job's status, and download the output. Package app states the protocol.
//
//	go run ./examples/compressor -db compressor.db -token secret -user ada -password lovelace
//	curl -H 'Authorization: Bearer secret' -F file=@photo.jpg http://127.0.0.1:8080/1.0/compress
//	curl -u ada:lovelace -H 'Content-Type: application/json' -d '{"url":"https://example.com/"}' http://127.0.0.1:8080/1.0/compress
//	curl -u ada:lovelace http://127.0.0.1:8080/1.0/jobs/38a8bb5e-7b50-4a22-a0a6-b9602fccb225
package main

import (
	"flag"

	"github.com/pollackq/pollack/examples/compressor/app"
	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/internal/serve"
)

// account is whose the plain tokens and the user are.
const account = "default"

func main() { serve.Main("compressor", define) }

func define(f *flag.FlagSet) func(serve.Env) (serve.App, error) {
	tokens := serve.Tokens(f, account)
	user := f.String("user", "", "`name` for HTTP Basic authentication, of the same account as a plain -token")
	password := f.String("password", "", "`password` of -user")
	private := f.Bool("allow-private-fetch", false, "fetch files from private addresses and this machine, too: for tests")
	return func(env serve.Env) (serve.App, error) {
		c := app.Config{Tokens: tokens, AllowPrivateFetch: *private, BaseURL: env.BaseURL, Logger: env.Log}
		switch {
		case (*user == "") != (*password == ""):
			return nil, serve.Usage("-user and -password belong together")
		case *user == "" && len(tokens) == 0:
			return nil, serve.Usage("nobody could be let in: give a -token, or a -user and a -password")
		case *user != "":
			c.Logins = map[httpapi.Login]string{{User: *user, Password: *password}: account}
		}
		if _, err := outbound.CheckURL(env.BaseURL, true); err != nil {
			return nil, serve.Usage("-base-url: %v", err)
		}
		return app.New(env.Store, c)
	}
}

// Command imagesessions serves sessions of images to consumers that cannot be called, only polled: somebody opens a session and adds images, somebody
// else polls the session for them, downloads each and acknowledges it. An image that is not acknowledged within the ack window comes back.
//
// It shows how a protocol of one's own is laid over package httpapi: a session is a queue, an image is a job whose payload is the image.
//
//	go run ./examples/imagesessions -token aptr_secret -db images.db
//
//	auth='Authorization: Bearer aptr_secret' api=http://127.0.0.1:8080/v1
//	curl -H "$auth" -d '{"tags": {"user_id": "usr_abc123"}}' $api/sessions
//	curl -H "$auth" --data-binary @photo.jpg "$api/sessions/sess_01HX.../images?filename=photo.jpg"
//	curl -H "$auth" -F file=@photo.jpg $api/sessions/sess_01HX.../images
//	curl -H "$auth" "$api/sessions/sess_01HX.../poll?timeout=30"
//	curl -H "$auth" -o photo.jpg $api/images/img_01HX.../download
//	curl -X POST -H "$auth" $api/images/img_01HX.../ack
//	curl -X POST -H "$auth" $api/sessions/sess_01HX.../close
package main

import (
	"flag"
	"time"

	"github.com/pollackq/pollack/examples/imagesessions/app"
	"github.com/pollackq/pollack/internal/serve"
	"github.com/pollackq/pollack/jobqueue"
)

func main() {
	serve.Main("imagesessions", func(f *flag.FlagSet) func(serve.Env) (serve.App, error) {
		c := app.Config{Tokens: serve.Tokens(f, "default")}
		f.DurationVar(&c.AckWindow, "ack-window", app.DefaultAckWindow, "how long an image that was polled is kept from other polls, waiting for its ack")
		f.DurationVar(&c.Retention, "retention", app.DefaultRetention, "how long the record of an acknowledged image is kept; then only that it was")
		f.DurationVar(&c.Tombstone, "tombstone", app.DefaultTombstone, "how long an acknowledged image, and a session that is done, is answered 410; then 404")
		return func(env serve.Env) (serve.App, error) {
			switch {
			case len(c.Tokens) == 0:
				return nil, serve.Usage("nobody could be let in: give a -token")
			case c.AckWindow < jobqueue.MinLease || c.AckWindow > jobqueue.MaxLease:
				return nil, serve.Usage("-ack-window %v: want from %v to %v", c.AckWindow, jobqueue.MinLease, jobqueue.MaxLease)
			case c.Retention < time.Second || c.Retention > app.MaxKept:
				return nil, serve.Usage("-retention %v: want from 1s to %v", c.Retention, app.MaxKept)
			case c.Tombstone < time.Second || c.Tombstone > app.MaxKept:
				return nil, serve.Usage("-tombstone %v: want from 1s to %v", c.Tombstone, app.MaxKept)
			}
			c.Log = env.Log
			return app.New(env.Store, c)
		}
	})
}

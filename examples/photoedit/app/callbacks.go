package app

import (
	"context"
	"errors"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

// signatureHeader has "sha256=<hex>", HMAC-SHA256 over the body, keyed with the secret as GET webhook-secret answers it.
const signatureHeader = "X-Phota-Signature"

// callbackDelays are the pauses between the deliveries of a callback, of which there are up to five; each is up to 20 % longer or shorter.
var callbackDelays = []time.Duration{5 * time.Second, time.Minute, 8 * time.Minute, 50 * time.Minute}

// sendCallbacks tells those who gave a callback_url.
func (a *App) sendCallbacks(ctx context.Context) error {
	return callback.Send(ctx, a.broker.Queue(queueCallbacks), &callback.Options{
		Message: a.message, Client: a.config.CallbackClient, Delays: callbackDelays, Jitter: 0.2, Lease: lease, Logger: a.config.Log,
	})
}

// message makes a callback: its body is what a poll answers. As long as there are callbacks to be sent for a job it is kept; nobody is told of one
// that is not.
func (a *App) message(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
	ended, err := told(ctx, d)
	if err != nil {
		return nil, err
	}
	id, err := jobqueue.ParseID(ended.ID)
	if err != nil {
		return nil, err
	}
	j, err := a.broker.Job(ctx, id)
	if errors.Is(err, jobqueue.ErrGone) || errors.Is(err, jobqueue.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	body, err := encode(a.statusOf(j))
	if err != nil {
		return nil, err
	}
	secret, err := a.ledger.Secret(j.Account)
	if err != nil {
		return nil, err
	}
	return &callback.Message{
		URL: j.Tags[tagCallbackURL], Body: body, Secrets: []callback.Secret{secret}, SignatureHeader: signatureHeader,
	}, nil
}

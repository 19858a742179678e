// Package callback tells other people's servers, by signed HTTP requests, that something has happened; and checks such requests for those who
// get them.
//
// The sender is a consumer of a house queue that jobs name in their Outbox. So a callback is decided in the transaction that ends the job,
// and nothing is lost between "ended" and "told":
//
//	work.Enqueue(ctx, jobqueue.NewJob{Payload: p, Account: "acme", Outbox: []string{"callbacks"}})
//
//	err := callback.Send(ctx, broker.Queue("callbacks"), &callback.Options{
//		Message: func(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
//			c, err := customers.Find(ctx, d.Account)
//			if err != nil {
//				return nil, err
//			}
//			return &callback.Message{URL: c.CallbackURL, Secrets: c.Secrets}, nil
//		},
//	})
//
// # What is sent
//
// A POST with the headers of Standard Webhooks 1.0 (https://www.standardwebhooks.com):
//
//	webhook-id          the id of the outbox job: the same at every attempt, so that the receiver can tell a repetition
//	webhook-timestamp   when this attempt was made, in Unix seconds
//	webhook-signature   "v1,<base64>" for each secret, with a space between: HMAC-SHA256 over "<id>.<timestamp>.<body>"
//
// and, where a receiver wants it, one more header with "sha256=<hex>", HMAC-SHA256 over the body alone. Any 2xx answer is success. At most
// 64 KiB of an answer is read, and nothing of it is kept.
//
// # What happens otherwise
//
// The callback is tried again, after a pause that the answer may lengthen with Retry-After, until the attempts are used up; then its job fails
// with [CodeFailed] and stays as a dead letter, which can be redriven. A 410 answer ends it at once ([CodeGone]), as does a URL or address
// that is not allowed ([CodeForbidden]; see package outbound). Redirects are not followed: they are failures like others.
//
// Attempts are counted by the job's deliveries, so they stay bounded however often the process dies. An attempt that a killed process took
// with it counts, one that a stopping consumer interrupts does not. Delivery is at least once: when the process dies after the receiver has
// answered and before that is written down, the receiver is told again, with the same webhook-id. While a callback is unfinished the job that it
// tells of is kept. A limit of the queue on deliveries (MaxDeliveries) bounds the attempts, too; a broker with such a default needs the queue
// configured with none.
//
// # Receiving
//
// A [Verifier] checks what Send, or any sender of Standard Webhooks, has sent. [VerifyHex] checks the other header.
package callback

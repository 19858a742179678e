// Package client speaks to a queue served by package httpapi, and polls the status endpoints of other systems.
//
// A [Client] has a method for every route. One program submits:
//
//	c, err := client.New("https://jobs.example.com", &client.Options{Token: token})
//	...
//	job, err := c.Submit(ctx, "mail", client.NewJob{Payload: payload, Key: orderNumber})
//
// Another works, for as long as its context lives:
//
//	err = c.Consume(ctx, "mail", func(ctx context.Context, d *client.Delivery) error {
//		payload, err := d.Bytes(ctx, 1<<20)
//		if err != nil {
//			return err
//		}
//		return send(ctx, payload)
//	}, &client.ConsumeOptions{Workers: 8})
//
// [Client.Consume] polls, extends the lease while the handler runs, acknowledges when it returns nil, takes the next job in the same request, and gives
// back what it holds when it ends. Delivery is at least once: a handler may see a job twice. A loop of one's own does the same with [Client.Poll] and
// [Delivery.AckNext], or with [Client.AckReceive] for many at once.
//
// # Repeated requests
//
// A call is made again, a few times and after a pause with full jitter, when the network or the server (429, 502, 503, 504) fails it and a repetition
// can do no harm. Calls with a lease token can be repeated, since the server knows its own work again. So can a submit with a Key; without one it is
// only repeated, like Release, Redrive and Delete, where the server said that nothing has happened. A Retry-After is honoured, in seconds and as a
// date; one that is longer than Options.MaxPause is left to the caller.
//
// # Errors
//
// What the server refuses is an [*Error], which matches the sentinel errors of this package under errors.Is. An error of the context
// comes back as it is. Any other error is one of the network or of an answer that is none of httpapi's.
//
// # Other systems
//
// [Await] follows any URL that answers where a job stands until it has ended, whoever serves it.
package client

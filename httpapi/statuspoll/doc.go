// Package statuspoll is for results that are fetched from a status endpoint: a platform hands an order to somebody's automation, and asks it from time
// to time how far it is. The package has both sides.
//
// A Poller is the platform's: it POSTs an order to a webhook, then GETs its status endpoint on a fixed schedule until the answer is final or the
// order's time is over.
//
//	poller, err := statuspoll.NewPoller(broker, &statuspoll.PollerOptions{
//		WebhookURL: "https://automation.example/orders",
//		StatusURL:  "https://automation.example/orders/{order_id}/status",
//		Header:     http.Header{"X-Api-Key": {key}},
//		Outbox:     []string{"events"},
//	})
//	go poller.Run(ctx)
//	job, err := poller.Start(ctx, statuspoll.Order{ID: "o-17", ETA: "under_1_hr", Inputs: inputs})
//
// Endpoint is the automation's: it answers the state of the job whose key is the order's id, as httpapi.Handler.Func serves it. Its workers end a job
// with Complete.
//
//	mux.Handle("GET /orders/{order_id}/status", h.Func(statuspoll.Endpoint(jobqueue.QueueName{Account: "me", Name: "orders"})))
//
// # Answers
//
// An answer is a JSON object with a status, "processing", "completed" or "failed". A completed one has an output_type and one carrier of the output:
// result_text, result_url, file_base64 or files. Rules say which go together and how large they may be; a body that breaks one is a broken body, of
// which nothing is used. A field that is null or "" counts as not there, and a field that nobody asks for is not looked at.
//
// # Schedule
//
// The moment of the webhook's 2xx answer is t = 0. The first check is after 5 minutes, then there is one every 15 minutes, until the time that the
// order's ETA stands for is over: its cut-off. At the cut-off itself there is no check any more; the order has then failed with CodeTimedOut. A check
// that could not be made in time, because no poller ran, is made up once, at once; the schedule stays.
//
// # Crashes
//
// Each order is one job of the broker, which waits for its next check without a goroutine, and is taken up by the next process as the last one left
// it. A process that dies after a request and before it has written down what came of it repeats the request: the webhook takes a repeated order_id
// for the same order, and a check is repeated as if it had not been made.
package statuspoll

package statuspoll

import (
	"context"
	"net/http"

	"github.com/pollackq/pollack/jobqueue"
)

// Endpoint returns a status endpoint, to be served by httpapi.Handler.Func with credentials checked. The path value "order_id" is the Key of a job in
// the queue, which belongs to the caller; there being none is 404. A job that has not ended is processing, one that was ended with Complete is completed
// with that answer, and any other end is failed, with the failure's message.
//
// It reads the store once, and computes nothing. Only an answer of more than jobqueue.InlineLimit bytes takes more reads, one for each 64 KiB, which are
// made as the client takes it.
func Endpoint(queue jobqueue.QueueName) func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	return func(http.ResponseWriter, *http.Request, *jobqueue.Broker) error { return errNotYet }
}

// Complete ends a job with a completed answer, whose Status may be left out. One that breaks a rule of Writing is a *RuleError, and the job stays as it
// is. The broker's MaxResult must allow the answer.
func Complete(ctx context.Context, d *jobqueue.Delivery, a *Answer) error { return errNotYet }

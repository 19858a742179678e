// Package jobqueue hands work to consumers that cannot be called, only polled. A job is enqueued, leased to one consumer at a time,
// and acknowledged; a lease that lapses brings the job back. Consumers that find nothing wait and cost nothing while they do. The same
// job can be watched by whoever submitted it until it ends.
//
//	store, err := boltstore.Open("jobs.db", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer store.Close()
//	broker, err := jobqueue.New(store, nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer broker.Shutdown(context.Background())
//
//	mail := broker.Queue("mail")
//	mail.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("hello")})
//
//	d, err := mail.Receive(ctx, nil) // waits
//	if err != nil {
//		log.Fatal(err)
//	}
//	if err := send(d.Payload(ctx)); err == nil {
//		d.Ack(ctx)
//	}
//
// # Words
//
// A job is a piece of work: a payload, and what is known of it. It belongs to an account and is put into a queue, which belongs to an
// account too; the queues of the empty account are the house's. A delivery hands a job to one consumer under a lease, which has a
// token and expires after a window. To settle a delivery is to ack, complete or fail it; the job has then ended. A lease that expires
// unsettled has lapsed, and the job is delivered again. A job that failed because it has no delivery left is a dead letter. A job is
// due when time does something to it. An ended job is kept for its retention, and after that its name is kept, as a tombstone, for a
// further time.
//
// # A job's life
//
//	         delay over              delivered                 ack, complete
//	scheduled ---------> pending ------------------> running ----------------> succeeded
//	    ^                 ^  |                       |  |  |
//	    |                 |  |  lapse, release       |  |  | fail, no delivery left, deadline
//	    |                 +--|-----------------------+  |  +------------------> failed
//	    |                    |  release with a delay    |
//	    +--------------------|--------------------------+ cancel
//	                         +----------------------------------------------> canceled
//
//	succeeded, failed, canceled  --retention over-->  gone (a tombstone)  --its time over-->  deleted
//	failed, canceled             --redrive------->    pending
//
// Scheduled and pending jobs can be canceled and miss their deadline too. A job whose lease only lapsed can still be settled by the
// latest token, as long as it has not been delivered again.
//
// # What is promised
//
//   - On a durable store, what Enqueue returned survives the end of the process, and what Ack returned stays acknowledged.
//   - Delivery is at least once: a consumer may see a job twice, and must be able to bear that. Deliveries counts.
//   - At no time do two unlapsed leases exist for one job, and a superseded token changes nothing.
//   - Deliveries never exceed MaxDeliveries where it is set, crashes included: a delivery is counted before it is made.
//   - Jobs are delivered by priority, then position; one that comes back has its old position. Positions of a queue have no holes.
//   - One key, one job, however many submit at once.
//   - An idle broker does nothing: no reads, no writes.
//
// On memstore nothing outlives the process.
//
// # Outbox
//
// A job may name house queues in its Outbox. Each gets a job of its own when the first one ends, in the same transaction, so nothing
// is lost between "ended" and "told": its payload is the first one's JSON as [Job.MarshalJSON] writes it, its key "<id>/<n>" with n
// counting the first one's ends, its name "job.succeeded", "job.failed" or "job.canceled". It ignores backlog and closing. While it is
// unfinished, the first one is not retired.
//
// # Uploads
//
// A result can be sent ahead, apart from the call that ends the job: [Queue.Prepare] announces an upload, [Broker.PutUpload]
// writes it, once, and [NewResult].Upload makes its content a job's result in the transaction that ends the job. Until then it is no job,
// and it is forgotten when it expires. What a process that died was writing is deleted within an hour.
//
// # Tests
//
// Inside testing/synctest everything that has to do with time (leases, delays, retention) takes no time. Where the test speaks real
// HTTP, give memstore a clock of its own and advance it by hand. [Queue.Idle] waits until a queue's work is done.
package jobqueue

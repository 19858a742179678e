package jobqueue

import "context"

// AckReceive acks deliveries (up to MaxBatch, of any queue) and leases up to max of the queue's next jobs in the same transaction: a
// consumer that goes on like that needs one commit a job where AckMany and ReceiveMany need two. If an ack is refused, the others are
// done, and no job is leased: err is ErrEmpty, at once. Otherwise it waits as ReceiveMany does.
//
// The results are in the order of the acks. If they are nil nothing was done, and err says why (after ErrOutcomeUnknown it may have
// been: acking again does no harm); otherwise the acks were, whatever err says: the errors of ReceiveMany. During Shutdown it still acks.
func (q *Queue) AckReceive(ctx context.Context, acks []Ack, max int, o *ReceiveOptions) (results []AckResult, ds []*Delivery, err error) {
	if err := checkAcks(acks); err != nil {
		return nil, nil, err
	}
	r := newReceiver(ctx, q, max)
	r.acks = acks
	r.begin(o)
	r.await()
	return r.many()
}

// AckNext acks the delivery and leases the next job of its queue in one transaction; where nothing is ready it waits for a job as
// Receive does. Errors: ErrLeaseLost and the others of Ack say that it was refused, and no job leased; ErrEmpty, ErrDone and ErrShutdown
// that it was acked, and there is no job. After any other error the delivery may have been acked: acking it again does no harm.
func (d *Delivery) AckNext(ctx context.Context, o *ReceiveOptions) (*Delivery, error) {
	q := &Queue{b: d.broker(), name: d.Queue}
	results, ds, err := q.AckReceive(ctx, []Ack{{ID: d.ID, Token: d.Token}}, 1, o)
	switch {
	case len(results) == 1 && results[0].Err != nil:
		return nil, results[0].Err
	case err != nil:
		return nil, err
	}
	return ds[0], nil
}

// ackOnly does the acks where there are no more jobs to be had.
func (r *receiver) ackOnly() (err error) {
	if len(r.acks) > 0 {
		r.results, err = r.q.b.AckMany(r.ctx, r.acks)
	}
	if err == nil {
		err = ErrShutdown
	}
	return err
}

// ackAll does the acks in the transaction of the first look.
func (r *receiver) ackAll(s *step) (err error) {
	r.refused = false
	if r.results, err = s.ackAll(r.q.b, r.acks); err != nil {
		return err
	}
	for i := range r.results {
		r.refused = r.refused || r.results[i].Err != nil
	}
	return nil
}

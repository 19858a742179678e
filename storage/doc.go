// Package storage is the seam between the queue and what keeps it: the records, the interface of a backend, and their errors.
//
// A backend keeps three kinds of records ([Job], [Queue] and the chunks of large values) and four orders over the jobs. It knows
// nothing of leases, windows or retries: what makes a queue of them is written once, in package jobqueue, as functions that run
// inside a transaction. Users of the queue need only open a backend (memstore, boltstore) and hand it to jobqueue.New; the rest of
// this page is for those who write one. They prove it with package storagetest.
//
// # The laws of a Store
//
// Transactions.
//
//  1. View runs its function on one consistent snapshot; Update runs its function atomically: all of what it wrote happens, or none.
//     A function that returns an error, or panics, leaves no trace; the error comes back as it is, the panic is raised again in the caller.
//  2. Update returns nil only when what was written is as durable as the store can make it. [ErrOutcomeUnknown] means that it may
//     have happened; every other error means that it has not. An error of the context (returned unwrapped) is such an other error:
//     once it can no longer be known that nothing will happen, the outcome is awaited.
//  3. The function given to Update may run several times, also after it succeeded once. A Reader or Tx is used by one goroutine,
//     until the function returns, and never after. Calling the Store from inside the function is a deadlock.
//  4. A transaction reads what it wrote, in the records as well as in all orders and counts.
//  5. Transactions are serializable as far as they read through Job, JobByKey, Ready and Due: what these returned in an Update does not
//     change before it ends. A queue to which an Update adds a job (in whatever state) is also as that Update read it. Beyond that Queue and Counts
//     may be a moment old on a store that several processes share, and Ready and Due leave out what another
//     transaction is busy with there.
//
// Records.
//
//  6. A Job from or for a Tx is immutable, its Spec and everything it points to included: copy it, change the copy, SetJob. A store
//     may hand the same pointer to many callers. Byte slices given to a store may be reused after the call; those it returns belong
//     to the caller.
//  7. Times are in UTC and carry microseconds; whoever sets one truncates it ([Reader].Now already is). The zero time means none.
//  8. [Reader].Now does not change within one run of a transaction's function, never goes back from one committed transaction to a later one, and does not jump
//     when the wall clock is set. At open it is not before the last commit.
//  9. AddJob keeps the Spec, the Status and the payload, and gives the job its position: the next one of its queue, from 0 and without holes,
//     unless the job's state is [Staged] or [Gone], which leave Position as it is and use none. A position is used when AddJob has succeeded in a
//     transaction that commits, even if the same transaction deletes the job again. It is in the returned Job; the one given is not changed.
//     The job's queue must exist (ErrNotFound); an id or a key that is in use is ErrExists.
//  10. SetJob replaces the Status of an existing job (else ErrNotFound). The Spec must be the one that was read.
//  11. A payload or result is at most [MaxValue] bytes; larger ones are blobs of chunks, which only PutChunk and DeleteBlob touch.
//     Empty is a value: a job always has a payload until DeletePayload, of no bytes if none were given.
//  12. DeleteJob removes the job, its payload, result and key, and its places in every order, but no blob. DeleteQueue removes a queue that has
//     no jobs in any state, else [ErrInUse].
//
// Orders, all derived from the record alone:
//
//  13. By id: Jobs lists a queue's jobs by ascending id.
//  14. Ready: the jobs of a queue whose State is [Pending], by descending Priority, then ascending Position. Nothing but Pending jobs.
//  15. Due: the jobs of all queues whose Due is set and not after a given time, by ascending Due, then id.
//  16. Key: the job whose Spec has that Key, in whatever state. Jobs without a key (the empty string) are not in it.
//  17. Counts are the number of a queue's jobs in each state.
//
// Errors.
//
//  18. A record that is damaged is never served and never deleted by itself: reading it is an error that matches [ErrCorrupt], which spoils neither
//     the transaction nor the store. Orders skip it.
//  19. After ErrOutcomeUnknown a store may refuse all further work with [ErrFailed] until it is opened again.
//  20. A store that is full says [ErrFull], which is certain: nothing happened. It keeps enough in reserve that SetJob, DeleteJob and
//     DeleteBlob go on working.
package storage

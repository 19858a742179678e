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
//  1. View runs its function on one consistent snapshot; Update runs its function atomically: all of what it wrote happens, or none. A
//     function that returns an error, or panics, leaves no trace; the error comes back as it is (unless law 2 says otherwise), the
//     panic is raised again in the caller, and no other transaction notices.
//  2. What a function returned, its error included, is reported only once everything it read is as durable as the store can make it.
//     Where the commit fails, a transaction that wrote gets [ErrOutcomeUnknown] (it may have happened), one that wrote nothing or
//     failed gets [ErrFailed]; where the commit certainly had no effect ([ErrFull]) those that did not fit get that and the others are
//     run again. Every error but ErrOutcomeUnknown means that nothing happened. An error of the context (returned unwrapped) is such
//     an error: once it can no longer be known that nothing will happen, the outcome is awaited. A context that is over at the call
//     runs nothing, on a closed store too.
//  3. The function may run several times, also after it succeeded once, and in another goroutine than its caller's, but never before
//     the call nor after it has returned. It must not end its goroutine (runtime.Goexit, testing's FailNow). A Reader or Tx is used by
//     one goroutine, until the function returns. Calling the Store from inside the function is a deadlock.
//  4. A transaction reads what it wrote, in the records as well as in all orders and counts.
//  5. What Job, JobByKey, Ready and Due returned in an Update does not change before it ends. A queue that an Update adds a job to (in
//     whatever state), puts or deletes is as that Update read it, its absence included. A View's Queue, Counts and orders are of its
//     one snapshot; only in an Update may Counts, Jobs and NextPosition miss concurrent transactions, on a store that several
//     processes share. There Ready and Due leave out, in an Update, what another transaction is busy with; such a store follows up
//     with a Change (see Notifier).
//  6. A transaction that begins after an Update returned nil, in any process, or in or after its OnCommit, sees what that Update wrote.
//  7. After ErrNotFound, ErrExists, ErrInUse, ErrTooLarge, ErrFull or ErrCorrupt from a method nothing has changed and the function
//     may go on. After any other error the transaction is lost: Update returns an error even if its function returns nil.
//
// Time.
//
//  8. Times are in UTC and carry microseconds; whoever sets one truncates it ([Reader].Now already is). The zero time means none.
//  9. [Reader].Now does not change within one run of a function, is not before the Now of any transaction whose writes this one
//     read through what its Reads named, never goes back in one process, and does not jump when the wall clock is set. At open it is not
//     before the last commit.
//
// Records.
//
//  10. A Job from or for a Tx is immutable, its Spec and everything it points to included: copy it, change the copy, SetJob. A store
//     may hand the same pointer to many callers. Byte slices given to a store may be reused after the call; those it returns belong
//     to the caller.
//  11. Values are in normal form: states from Staged to Gone; ids that are not zero; names of queues not empty; strings of valid UTF-8
//     without NUL, those of a Key together at most [MaxKey] bytes; a Spec of at most [MaxSpec] bytes of strings; Position and Version
//     below 2^63; Progress finite; maps and slices nil when empty. jobqueue sees to that; a store may do anything with others. Strings
//     sort by bytes.
//  12. AddJob keeps the Spec, the Status and the payload, and gives the job its position: the next one of its queue, from 0 and
//     without holes, unless its state is [Staged], [Entering] or [Gone], which leave Position as it is and use none. AddJob takes the
//     job given over, and may set its Position: the caller goes on with the returned one. The position is final when Update returns
//     nil; until then the function neither keeps it nor decides by it. A position is used when AddJob has succeeded in a transaction
//     that commits, even if the same transaction deletes the job again. A queue deleted and created again starts at 0.
//  13. SetJob, SetResult, DeleteResult, DeletePayload and DeleteJob take a job that this transaction got from Job, JobByKey, Ready,
//     Due or AddJob, or one that shares its Spec. What the Status was before is the store's knowledge, never the caller's. A job never
//     enters or leaves Staged or Entering, and never leaves Gone, by SetJob: delete it and add it again, which frees id and key within
//     the transaction.
//  14. A payload or result is at most [MaxValue] bytes; larger ones are blobs of chunks, which only PutChunk and DeleteBlob touch.
//     No bytes are a value, and nil and empty are the same one: a job always has a payload until DeletePayload.
//  15. DeleteJob removes the job, its payload, result and key, and its places in every order, but no blob. DeleteQueue removes a queue
//     that has no jobs in any state, else ErrInUse; it is exact, concurrent AddJobs included.
//  16. Where there is no such job, queue or chunk the answer is ErrNotFound; the orders, Counts and OldestPending then have none, and
//     NextPosition is 0. Deleting a payload, result or blob that is not there is nothing. Faults are looked for in the order
//     ErrTooLarge, ErrNotFound, ErrExists or ErrInUse, ErrFull. PutChunk replaces a chunk that exists; leaving one out is ErrNotFound.
//     A max below 1 returns none. Results of no elements may be nil or empty.
//
// Orders, all derived from the records alone:
//
//  17. By id: Jobs lists a queue's jobs by ascending id.
//  18. Ready: the jobs of a queue whose State is [Pending], by descending Priority, then ascending Position.
//  19. Due: the jobs of all queues whose Due is set and not after a given time, by ascending Due, then id. NextDue is the Due of the first.
//  20. Key: the job whose Spec has that Key, in whatever state. Jobs without a key (the empty string) are not in it.
//  21. Counts are the number of a queue's jobs in each state.
//
// Damage and want.
//
//  22. A record that is damaged is never served and never deleted by itself: reading or changing it is an error that matches
//     [ErrCorrupt], which spoils neither the transaction nor the store. Orders, NextDue and OldestPending pass over it, and it does
//     not count towards a max. Counts, keys and DeleteQueue still count it.
//  23. After ErrOutcomeUnknown a store may refuse all further work with ErrFailed until it is opened again.
//  24. A store that gets full says ErrFull, first to those that bring something new: AddJob of a job that is neither Gone nor has an
//     Origin, PutChunk, PutQueue of a new queue. All else may use a reserve, so that deliveries, acks and retention go on. It comes
//     from the method or from Update, and to no transaction merely because another's writes did not fit.
package storage

// Package boltstore keeps jobs in one bbolt file. It is the durable backend of storage.Store for one process.
//
//	store, err := boltstore.Open("jobs.db", nil)
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	broker := jobqueue.New(store, nil)
//
// # Durability
//
// What Update returned survives a kill of the process and a loss of power, as far as the disk keeps what it acknowledged. Transactions that
// wait together are committed together, by one goroutine: two syncs of the file for all of them. A lone caller waits for nobody.
//
// If a commit fails, nobody can know whether it happened: its callers get storage.ErrOutcomeUnknown, and the store refuses further
// work (storage.ErrFailed) until it is opened again. A full disk, or a file at its MaxSize, is the exception: that is storage.ErrFull,
// and work goes on. About 1 MiB is kept in reserve that new jobs, chunks and queues may not use, so that deliveries, acks and
// deletions go on when the file is at its MaxSize. On a disk that is full there is a reserve only as far as the file has free pages.
//
// # Damage
//
// bbolt checks none of its pages but the first two. Every record here carries a CRC32C over its key and value; one that fails it is
// reported (storage.CorruptError), never served and never deleted, until Discard removes what is left of the job. A fault in the
// mapped file while reading becomes an error of that transaction. One thing stays dangerous: after a crash bbolt scans the whole file
// in a goroutine of its own when it is opened, and a damaged page found there ends the process. Run Verify on a file that is in doubt,
// in a child process.
//
// # The file
//
// All is in one bucket, "pollack", so that the file can be somebody else's (see Wrap): the status of jobs by id, what never changes of
// them together with their payloads and results by queue and id, the orders as buckets of their own, values above 4 KiB in buckets of
// their own. A payload of up to 1 KiB stands in one record with what never changes of its job. While the store is open the list of
// free pages is only in memory; a clean Close writes it, so that opening a large file is instant. Use a local disk: file locks and
// memory maps are not to be trusted on a network. ext4 with fast_commit loses data on kernels before 5.17 (5.15.27, 5.10.94).
package boltstore

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
// and work goes on. New jobs, chunks and queues leave free about 1 MiB (a quarter of a small file), and beside that about 300 bytes for each
// job that has not ended: what its record grows by until it is acked, or fails with a short text. So what has been accepted
// can be delivered and ended, kept for its retention, and deleted. Results, long texts and the jobs of an outbox have no room
// of their own beyond the reserve: where they do not fit the call is ErrFull, nothing is lost, and it works again once there is room. For
// disks that fill up, the file has blocks for the reserve before anything new is let in (fallocate: Linux, and file systems that can). On others, and
// in a user's own file, there is a reserve on a full disk only as far as the file has free pages.
//
// # Trees, journal, overlay
//
// All is in one bucket, "pollack", so that the file can be somebody else's (see Wrap). Most of it are trees: the status of jobs by id,
// what never changes of them together with their payloads and results by queue and id, the orders (ready, due, key) as buckets of their
// own, values above 4 KiB in buckets of their own. A payload of up to 1 KiB stands in one record with what never changes of its job.
//
// Most jobs live for a few commits only, and to insert each into every tree and delete it again would be nearly all the work. So what a
// batch of calls does to jobs goes into the journal instead: one record of a batch, durable with its commit. In memory the overlay
// holds the jobs whose latest state is in the journal. It stands before the trees: a job is looked for in the overlay first, and the orders are
// merged of both. Three rules make that simple.
//
//   - A job has its places in the orders of the overlay or in those of the trees, never in both. A job of the trees that changes, or is
//     deleted, leaves their orders at once, in the same commit as the journal's record of it. What else the trees have of it is out of
//     sight, behind the job in the overlay, until that is written back.
//   - An overlay belongs to one commit and does not change. The next batch works on a copy that shares all that it leaves as it is; a view
//     takes the overlay of the commit that its snapshot of the trees is of. If a commit fails, or a user's transaction is rolled back,
//     nobody ever asks for its overlay. Where an overlay is not known, after open or behind a user's transaction, it is replayed from
//     the journal.
//   - The overlay and the journal are bounded (4096 jobs, 8 MiB). Beyond that each batch writes those jobs that entered the overlay first to
//     the trees, which most never live to see, says so in the journal, and deletes the journal's oldest records, which nobody needs any more.
//
// Large payloads and results, chunks, queues and their counters are always in the trees. A clean Close writes the overlay back.
//
// While the store is open the list of free pages is only in memory; a clean Close writes it, so that opening a large file is instant. Use a
// local disk: file locks and memory maps are not to be trusted on a network. ext4 with fast_commit loses data on kernels before 5.17
// (5.15.27, 5.10.94).
//
// # Damage
//
// bbolt checks none of its pages but the first two. Every record here carries a CRC32C over its key and value; one that fails it is
// reported (storage.CorruptError), never served and never deleted, until Discard removes what is left of the job. A fault in the
// mapped file while reading becomes an error of that transaction. A record of the journal is read only when the store is opened: if it is
// damaged nobody can say which jobs it changed, so Open refuses the file (ErrDamaged) and leaves it as it is, for a backup or a repair by
// hand. If the journal is whole but changes a job whose own records are damaged, that change is lost; it is logged, and Check reports the job.
//
// Some things stay dangerous, since bbolt believes what its pages say of themselves:
//
//   - A damaged length can have it copy gigabytes, or free millions of pages, within one commit; pages that lead in a circle end the process.
//   - After a crash bbolt scans the whole file in a goroutine of its own when it is opened, and a damaged page found there ends the process, or
//     keeps it busy. It does so too after a commit that damage, or a full disk, made fail. Run Verify on a file that is in doubt, in a child
//     process.
//   - A damaged file can be read, and its jobs be worked on, but where a page that leads to others is damaged, what is written may later not be
//     found, or stand behind what it replaced. Check does not see that as long as each record can be found; Verify looks at those pages
//     too. Bring what is whole to a new file, or restore a backup.
//   - The list of free pages has no checksum. If it is damaged, what is written may take the place of something else, which is then found
//     damaged or missing.
//   - If the newest of the two meta pages is damaged after a crash, the file is as it was one commit before: that looks like a commit that a loss of
//     power had torn. It is logged.
package boltstore

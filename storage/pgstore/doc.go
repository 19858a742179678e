// Package pgstore keeps jobs in PostgreSQL, so that several copies of a server, the nodes, share their queues. It is the backend of storage.Store
// for more than one process.
//
//	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
//	if err != nil {
//		return err
//	}
//	defer pool.Close()
//	store, err := pgstore.New(ctx, pool, nil)
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	broker, err := jobqueue.New(store, nil)
//
// Above that line nothing differs from a queue on memstore or boltstore, but for what is said below. It is a module of its own, as it requires pgx.
//
// # Opening
//
// All is in one schema, "pollack" unless Options.Schema says otherwise. Each schema is a store of its own: tests, or tenants, may have one each.
// New makes the schema, or brings it up to date, and any number of nodes may start at once. The role then needs CREATE on the database; where the
// schema has been made for it, CREATE on that. Where a role must not create anything, somebody who may runs [Migrate] before a new version is
// started, and the nodes set Options.NoMigrate. They need USAGE on the schema, SELECT, INSERT, UPDATE and DELETE on its tables, and USAGE on its
// sequences. Migrations only go forward. A new one says which versions of the code can still work with what it makes, so nodes may be replaced one
// by one; a node that is too old does not start.
//
// The store takes the configuration of the pool that it is given, hooks included, but opens connections of its own: Options.Connections at most,
// and one that listens. Whoever holds all connections of the pool can so still enqueue. The pool itself is used by New, and not after that. Close
// the broker, then the store, then the pool.
//
// Callers of a node that come at the same time share a transaction: what they read is fetched in one round trip, and what they wrote is sent in
// another, together with the commit. Where the node knows what they read (an ack of what it leased, an enqueue to a queue in use) there is only
// the second, in which that is compared. So more connections do not make a node faster. Four are enough: one for what is changed, one for what is only
// read, and two for what takes a transaction by itself.
//
// # Several nodes
//
// A node that commits something for which consumers or watchers wait at another tells that one so, by NOTIFY. Notifications are hints: they may be
// lost, or not be passed on. So each node also looks, every Options.Fallback, whether anything has happened that somebody waits for there. That is
// one query, by indexes; its price grows with what is waited for at that node, and not with the jobs. A lost hint costs that time and nothing else.
//
// What a node held when it died comes back when its leases lapse, as with any consumer. A node that is cut off from the database gives its callers
// errors and comes back by itself. Some things are less exact with several nodes than with one:
//
//   - Counts that a change looks at may miss what other nodes are about to commit: of a Backlog of 1,000, a few more may be taken. What must be
//     certain, that a closed queue is done, is certain. What is read by itself (Queue.Info) is one snapshot, and exact.
//   - With Retention off a job is deleted as it ends. Who waits for it at the node that ended it gets its last state; at another node it is gone.
//   - Jobs are delivered by priority, then position, at each node. A job that one node is just busy with is passed over by the others.
//   - Admit and Forget are called by the node that enqueues. Enqueues of one key take turns there, and not between nodes.
//   - URLs for uploads are good at all nodes if they have the same httpapi.Options.SigningKey.
//
// # Inside your own transaction
//
// [Store.Tx] makes of a pgx.Tx what jobqueue's Broker.EnqueueTx takes: the row and the job commit together, or not at all. The job gets its
// position after that, from the first node that hears of it: it stands behind what was enqueued meanwhile, and its Position and State as EnqueueTx
// returns them are not final. So a transaction may take long. Only an enqueue of the same key waits for its end, up to Options.LockTimeout; then it
// is ErrBusy.
//
// A queue that is not there yet is made at once, outside of that transaction, and stays even if that is rolled back.
//
// # Time
//
// The clock is the database's, read by the function clock of the schema at the beginning of each transaction. Clocks of the nodes do not matter. A
// server whose clock is set back, or that takes over from one that was ahead, makes time stand still until it has caught up.
//
// # Errors
//
// Deadlocks, serialization failures, and what another node did first are run again inside, and not seen. Callers see:
//
//   - storage.ErrOutcomeUnknown if the connection ended while a commit was on its way: it may have happened. Ask again with the same key or token.
//     Unlike boltstore the store goes on.
//   - storage.ErrBusy if the database could not be reached for half a minute, or somebody kept what was wanted locked for longer than
//     Options.LockTimeout. Nothing happened.
//   - storage.ErrFull if the server says that its disk is full. It has no reserve for what was accepted already: acks then fail, too.
//   - storage.ErrCorrupt for a record that cannot be read. It stays, and the others are served. [Store.Check] finds all of them.
//   - The context's own error as soon as it ends, unless the commit is on its way.
//
// # The server
//
// PostgreSQL 13 or later, and a database of encoding UTF8; any collation. The tables carry their own settings for autovacuum. The rest is up to
// whoever runs the server:
//
//   - max_connections: Options.Connections and one more, for each node, besides the nodes' own pools.
//   - synchronous_commit and fsync stay on. Without, a crash of the server takes back what Enqueue and Ack have returned, and leases too: a job may
//     then be in two hands. The same holds for a failover to a replica that was not synchronous.
//   - autovacuum_naptime: a busy queue likes 10 s better than the minute that is usual.
//   - Whatever holds back vacuum makes a busy queue slower from minute to minute, since each look for a job steps over those that are gone:
//     transactions of the same database that stay open for long; hot_standby_feedback of a replica with long queries, or its slot when it is gone;
//     prepared transactions that were forgotten. A short idle_in_transaction_session_timeout for everybody else is a good thing.
//   - A pooler is best left out, or in session mode. In transaction mode LISTEN reaches nobody, and settings of a connection reach strangers:
//     set Options.NoListen.
//
// What PostgreSQL-compatible databases lack of this stands in the module's README.
package pgstore

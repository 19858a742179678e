// Package pollack is the root of a queue for consumers that cannot be called, only polled: a server imports it to hand out work
// that is leased, acknowledged, and comes back if it is not.
//
// The package itself is empty. The queue is package jobqueue, on a store from storage/memstore or storage/boltstore; httpapi mounts it on
// a mux; longpoll is the waiting by itself. Who writes a store of their own begins with package storage.
package pollack

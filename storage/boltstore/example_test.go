package boltstore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A row of the user's own and a job commit together, or not at all.
func ExampleStore_Tx() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := bbolt.Open(filepath.Join(dir, "my.db"), 0o600, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := boltstore.Wrap(db, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	ctx := context.Background()
	mails := storage.QueueName{Name: "mails"}
	if err := store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
		return tx.PutQueue(&storage.Queue{QueueName: mails})
	}); err != nil {
		log.Fatal(err)
	}
	err = db.Update(func(btx *bbolt.Tx) error {
		users, err := btx.CreateBucketIfNotExists([]byte("users"))
		if err != nil {
			return err
		}
		if err := users.Put([]byte("ann"), []byte("ann@example.org")); err != nil {
			return err
		}
		return store.Tx(btx).Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
			_, err := tx.AddJob(&storage.Job{
				Spec:   &storage.Spec{ID: storage.NewID(tx.Now()), Queue: mails, Created: tx.Now()},
				Status: storage.Status{State: storage.Pending},
			}, []byte("welcome, ann"))
			return err
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	err = store.View(ctx, storage.Reads{}, func(r storage.Reader) error {
		jobs, err := r.Ready(mails, 1)
		if err != nil {
			return err
		}
		p, err := r.Payload(jobs[0])
		fmt.Printf("%s\n", p)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: welcome, ann
}

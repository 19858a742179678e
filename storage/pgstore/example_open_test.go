package pgstore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
)

// Any number of nodes run this. Each may take the jobs of all.
func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL")) // the server's own
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := pgstore.New(ctx, pool, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Shutdown(ctx)

	mail := broker.Queue("mail")
	if _, err := mail.Enqueue(ctx, jobqueue.NewJob{Key: "welcome ann", Payload: []byte("welcome, ann")}); err != nil {
		log.Fatal(err)
	}
	d, err := mail.Receive(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	text, err := d.Payload(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", text)
	if err := d.Ack(ctx); err != nil {
		log.Fatal(err)
	}
}

// The order and the job commit together, or not at all.
func ExampleStore_Tx_order() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := pgstore.New(ctx, pool, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Shutdown(ctx)

	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO orders (id, what) VALUES (17, '100 nails')"); err != nil {
			return err
		}
		_, err := broker.EnqueueTx(ctx, store.Tx(tx), "pack", jobqueue.NewJob{Payload: []byte("17")})
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}

// A deployment makes the schema, with a role that may; the nodes then do with less.
func ExampleMigrate() {
	ctx := context.Background()
	admin, err := pgxpool.New(ctx, os.Getenv("ADMIN_DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	o := &pgstore.Options{Schema: "jobs", NoMigrate: true} // Migrate does not mind NoMigrate
	if err := pgstore.Migrate(ctx, admin, o); err != nil {
		log.Fatal(err)
	}
	_, err = admin.Exec(ctx, `
		GRANT USAGE ON SCHEMA jobs TO node;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobs TO node;
		GRANT USAGE ON ALL SEQUENCES IN SCHEMA jobs TO node`)
	if err != nil {
		log.Fatal(err)
	}
}

// Package pgstore keeps jobs in PostgreSQL, so that several nodes share their queues.
package pgstore

package boltstore

import (
	"log/slog"
	"os"
	"time"
)

// Options are what may be set; nil and zero values mean the defaults.
type Options struct {
	// Timeout is how long to wait for another process to let go of the file; 0 is one second. Wrap ignores it.
	Timeout time.Duration
	// MaxSize bounds the file, in bytes; 0 is no bound, values below 1 MiB count as 1 MiB. Wrap ignores it: there the bound is that of
	// the user's DB.
	MaxSize int64
	// MaxBatch bounds how many transactions are committed together; 0 is 1024.
	MaxBatch int
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// WallClock is read once, when the store is opened; nil is time.Now.
	WallClock func() time.Time
	// TrustWallClock accepts a wall clock that is earlier than the last commit. Without it the store's clock then goes on from that
	// commit, so that no lease is longer than it was given, but runs ahead of the wall clock.
	TrustWallClock bool

	limits   limits                                   // of the overlay; the zero value means the default
	allocate func(f *os.File, from, size int64) error // nil means fallocate
}

const minMaxSize = 1 << 20

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Timeout <= 0 {
		d.Timeout = time.Second
	}
	if d.MaxSize > 0 {
		d.MaxSize = max(d.MaxSize, minMaxSize)
	}
	if d.MaxBatch <= 0 {
		d.MaxBatch = 1024
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.WallClock == nil {
		d.WallClock = time.Now
	}
	return d
}

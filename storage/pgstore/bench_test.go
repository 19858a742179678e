package pgstore_test

import (
	"testing"

	"github.com/pollackq/pollack/storage/storagetest"
)

// BenchmarkCycle needs a server with all its syncs on, named by the PG* variables: one that the tests start has none.
func BenchmarkCycle(b *testing.B) { storagetest.Benchmark(b, open) }

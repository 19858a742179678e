package memstore_test

import (
	"testing"

	"github.com/pollackq/pollack/storage/storagetest"
)

func BenchmarkStore(b *testing.B) { storagetest.Benchmark(b, open) }

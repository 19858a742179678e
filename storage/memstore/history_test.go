package memstore_test

import (
	"testing"

	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

func TestHistories(t *testing.T) {
	for seed := range uint64(50) {
		storagetest.Compare(t, memstore.New(nil), memstore.New(nil), seed, 200)
	}
}

func FuzzHistory(f *testing.F) { storagetest.Fuzz(f, open) }

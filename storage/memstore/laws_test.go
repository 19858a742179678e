package memstore_test

import (
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

func open(testing.TB) storage.Store { return memstore.New(nil) }

func TestLaws(t *testing.T) { storagetest.Run(t, open) }

package storagetest_test

import (
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

func TestRunOutsideOfBubbles(t *testing.T) {
	storagetest.RunWith(t, func(testing.TB) storage.Store { return memstore.New(nil) }, storagetest.RunOptions{RealTime: true})
}

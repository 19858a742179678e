// Package contracts runs the contracts of the five systems in examples on PostgreSQL, in bubbles as on the other stores.
package contracts_test

import (
	"testing"

	compressor "github.com/pollackq/pollack/examples/compressor/contract"
	imagesessions "github.com/pollackq/pollack/examples/imagesessions/contract"
	orderpoller "github.com/pollackq/pollack/examples/orderpoller/contract"
	orderstatus "github.com/pollackq/pollack/examples/orderstatus/contract"
	photoedit "github.com/pollackq/pollack/examples/photoedit/contract"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgbubble"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestImageSessions(t *testing.T) { run(t, imagesessions.Run) }
func TestCompressor(t *testing.T)    { run(t, compressor.Run) }
func TestPhotoEdit(t *testing.T)     { run(t, photoedit.Run) }
func TestOrderStatus(t *testing.T)   { run(t, orderstatus.Run) }
func TestOrderPoller(t *testing.T)   { run(t, orderpoller.Run) }

func run(t *testing.T, suite func(*testing.T, contract.Opener)) {
	t.Parallel()
	open := pgbubble.Opener(t)
	suite(t, func(t testing.TB) storage.Store {
		s := open(t)
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return s
	})
}

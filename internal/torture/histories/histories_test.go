package histories_test

import (
	"context"
	"testing"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/histories"
)

// The rest is done by the torture itself.
func TestAFewHistories(t *testing.T) {
	r := histories.Technique.Do(context.Background(), &attack.Run{Seed: 1, N: 100, Dir: t.TempDir()})
	t.Logf("%d histories: %v", r.Done, r.Figures)
	for _, bad := range r.Bad {
		t.Error(bad)
	}
}

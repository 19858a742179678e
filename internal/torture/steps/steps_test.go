package steps_test

import (
	"context"
	"testing"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/steps"
)

// The rest is done by the torture itself.
func TestAFewSteps(t *testing.T) {
	r := steps.Technique.Do(context.Background(), &attack.Run{Seed: 1, N: 40_000, Dir: t.TempDir()})
	t.Logf("%+v", r.Figures)
	for _, bad := range r.Bad {
		t.Error(bad)
	}
}

func TestAFewTransactions(t *testing.T) {
	r := steps.Stores.Do(context.Background(), &attack.Run{Seed: 1, N: 8000, Dir: t.TempDir()})
	for _, bad := range r.Bad {
		t.Error(bad)
	}
}

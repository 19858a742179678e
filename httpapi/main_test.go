package httpapi_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/pollackq/pollack/internal/leaks"
)

// TestMain ends the brokers of the examples, and demands that nothing else is left.
func TestMain(m *testing.M) {
	os.Exit(leaks.Run(func() int {
		status := m.Run()
		for _, b := range exampleBrokers {
			if err := b.Shutdown(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				status = 1
			}
		}
		return status
	}))
}

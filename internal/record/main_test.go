package record_test

import (
	"testing"

	"github.com/pollackq/pollack/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

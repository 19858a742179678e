package pgstore_test

import (
	"testing"

	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

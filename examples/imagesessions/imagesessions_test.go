package main

import (
	"testing"

	"github.com/pollackq/pollack/examples/imagesessions/contract"
	internal "github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/proc"
)

// TestMain is the program itself for the processes that the tests start.
func TestMain(m *testing.M) { proc.Main(m, main) }

func TestContract(t *testing.T) { internal.RunAll(t, contract.Run) }

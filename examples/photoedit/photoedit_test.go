package main

import (
	"testing"

	photo "github.com/pollackq/pollack/examples/photoedit/contract"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, main) }

func TestContract(t *testing.T) { contract.RunAll(t, photo.Run) }

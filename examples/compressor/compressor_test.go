package main

import (
	"testing"

	compressor "github.com/pollackq/pollack/examples/compressor/contract"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, main) }

func TestContract(t *testing.T) { contract.RunAll(t, compressor.Run) }

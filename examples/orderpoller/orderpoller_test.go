package main

import (
	"testing"

	"github.com/pollackq/pollack/examples/orderpoller/contract"
	suites "github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, main) }

func TestContract(t *testing.T) { suites.RunAll(t, contract.Run) }

package main

import (
	"testing"

	"github.com/leatbus/leat/bench/ring"
)

// TestArguments: without arguments the command has nothing to do and must say so.
func TestArguments(t *testing.T) {
	if err := ring.Work(nil, t.Output()); err == nil {
		t.Error("Work without arguments = nil; want an error")
	}
}

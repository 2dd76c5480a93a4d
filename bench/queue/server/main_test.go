package main

import (
	"strings"
	"testing"

	"github.com/leatbus/leat/bench/queue"
)

// TestArguments: without arguments the command has nothing to serve and must say so.
func TestArguments(t *testing.T) {
	for _, arguments := range [][]string{nil, {"nats"}, {"echo", "more"}, {"other"}} {
		if err := queue.Serve(arguments, strings.NewReader(""), t.Output()); err == nil {
			t.Errorf("Serve(%q) = nil; want an error", arguments)
		}
	}
}

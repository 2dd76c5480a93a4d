//go:build !linux

package main

import "testing"

func TestPowerCuts(t *testing.T) {
	if _, err := run(1, 1, 1, 1); err == nil {
		t.Error("run = nil, want an error that tells why not")
	}
	t.Skip("it needs FUSE and loop devices: Linux only")
}

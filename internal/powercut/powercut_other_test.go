//go:build !linux

package main

import "testing"

func TestPowerCuts(t *testing.T) {
	if _, err := run(plan{seed: 1, cuts: 1, perRun: 1, steps: 1, fs: "ext4"}); err == nil {
		t.Error("run = nil, want an error that tells why not")
	}
	t.Skip("it needs FUSE and loop devices: Linux only")
}

//go:build !linux

package ringbuf

func canBarrier() bool { return false }

func barrier() {}

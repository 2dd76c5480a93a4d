//go:build amd64 && !leat_noasm

package ringbuf

// pause executes n PAUSE instructions, n at least 1: some 30 to 140 cycles each without touching memory.
func pause(n uint32)

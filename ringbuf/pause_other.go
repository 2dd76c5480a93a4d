//go:build !amd64 || leat_noasm

package ringbuf

// pause burns n short moments, n at least 1, without touching memory.
//
//go:noinline
func pause(n uint32) {
	for range n * 16 {
	}
}

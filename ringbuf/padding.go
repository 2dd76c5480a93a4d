package ringbuf

import "sync/atomic"

// cacheGap is the distance in bytes kept between words that different cores write: two lines of 64
// bytes, because Intel's adjacent-line prefetcher pulls pairs and some arm64 lines are 128 bytes.
const cacheGap = 128

// paddedSequence is a count of slots (always growing) alone on its pair of cache lines.
type paddedSequence struct {
	_     [cacheGap]byte
	value atomic.Int64
	_     [cacheGap - 8]byte
}

// paddedPosition is a count of bytes (always growing) alone on its pair of cache lines.
type paddedPosition struct {
	_     [cacheGap]byte
	value atomic.Uint64
	_     [cacheGap - 8]byte
}

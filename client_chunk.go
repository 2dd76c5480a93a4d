package leat

import (
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// chunk is one BATCH frame that was read and is not yet delivered.
type chunk struct {
	buf    []byte // the log frames
	size   int64  // as the credit counts it
	source *source
	cursor *remoteCursor
}

var chunkPools [sizeClasses]sync.Pool

// newChunk gives a chunk with room for n bytes, or with none if n is too large to be trusted at once.
func newChunk(n int) *chunk {
	class := sizeClass(n)
	if class >= len(chunkPools) {
		return &chunk{}
	}
	if c, ok := chunkPools[class].Get().(*chunk); ok {
		return c
	}
	return &chunk{buf: make([]byte, 0, classBytes(class))}
}

func (c *chunk) free() {
	class := sizeClass(cap(c.buf))
	if class >= len(chunkPools) || cap(c.buf) != classBytes(class) {
		return
	}
	c.buf, c.source, c.cursor = c.buf[:0], nil, nil
	chunkPools[class].Put(c)
}

// frameRun checks the headers of the frames in a BATCH that begins at offset want, and gives the offset it
// ends at. Payloads are checked where they are delivered.
func frameRun(run []byte, partition uint16, want int64) (end int64, err error) {
	if len(run) == 0 {
		return 0, wire.Errorf("BATCH of partition %d without a frame", partition)
	}
	end = want
	for at := 0; at < len(run); {
		if len(run)-at < core.FrameHeaderSize {
			return 0, wire.Errorf("BATCH of partition %d: %d bytes left", partition, len(run)-at)
		}
		h := core.ParseFrameHeader(run[at:])
		if h.Length < core.FrameHeaderSize || h.Size() > int64(len(run)-at) {
			return 0, wire.Errorf("BATCH of partition %d: frame of %d bytes, %d left", partition, h.Length,
				len(run)-at)
		}
		if h.Version == 0 || h.Version > core.FrameVersion || h.Type() == core.FrameFiller {
			return 0, wire.Errorf("BATCH of partition %d: frame of version %d, type %d", partition, h.Version,
				h.Type())
		}
		// Only the first may begin before what is wanted; none may leave something out or repeat it.
		if h.BaseOffset > end || h.BaseOffset < end && at > 0 || h.NextOffset() < end {
			return 0, core.Errorf(core.CodeCorrupt, "read batch", "partition %d: frame [%d, %d) where %d follows",
				partition, h.BaseOffset, h.NextOffset(), end)
		}
		end = h.NextOffset()
		at += int(h.Size())
	}
	return end, nil
}

package mmaplog

import (
	"errors"
	"slices"

	"github.com/leatbus/leat/core"
)

// arena is the Go memory in which the pwrite sink builds a batch. Arenas are shared by all logs of a
// store, so that an idle log holds none.
type arena struct{ b []byte }

const (
	arenaStart = 64 << 10
	arenaKept  = 4 << 20 // larger ones are left to the garbage collector
)

// growArena makes w.buf hold size bytes from bufAt on, and the zeros that follow a batch.
func (l *Log) growArena(size int64) {
	w := &l.w
	size += core.FrameHeaderSize
	if w.arena == nil {
		w.arena = l.store.arenas.Get().(*arena)
		w.buf = w.arena.b
	}
	if size <= int64(len(w.buf)) {
		return
	}
	room := max(int64(len(w.buf)), arenaStart)
	for room < size {
		room *= 2
	}
	grown := make([]byte, room)
	copy(grown, w.buf)
	w.arena.b, w.buf = grown, grown
}

func (l *Log) releaseArena() {
	w := &l.w
	if len(w.arena.b) <= arenaKept {
		l.store.arenas.Put(w.arena)
	}
	w.arena, w.buf = nil, nil
}

// flushArena writes the sealed frames in the arena, and zeros after them: a length word, or all that is
// left where that is no room for a frame. So nothing that a failed write or an earlier life of the file
// left behind is taken for the next frame. On an error the arena is as it was.
func (l *Log) flushArena() error {
	w := &l.w
	if w.pos == w.bufAt {
		return nil
	}
	n := w.pos - w.bufAt
	end := n + endMark(w.pos, w.dataEnd) - w.pos
	clear(w.buf[n:end])
	if _, err := w.seg.live.Load().file.WriteAt(w.buf[:end], w.bufAt); err != nil {
		return l.writeFailed(err)
	}
	w.bufAt = w.pos
	return nil
}

// writeFailed gives the error of a failed write. A full disk passes; anything else fences the log.
func (l *Log) writeFailed(cause error) error {
	err := ioError(l.name(), cause)
	if !errors.Is(err, core.ErrStorageFull) {
		l.fenceWith(err)
	}
	return err
}

// dropBatch returns to the state of the last Publish: segments started since are removed, and what
// was written behind it is overwritten with zeros as far as the disk lets us. (If it does not, the
// zero word after the next batch keeps recovery from taking the remains for frames.)
func (l *Log) dropBatch() {
	w := &l.w
	if w.arena != nil {
		l.releaseArena()
	}
	if !w.start.known {
		l.fenceWith(core.Errorf(core.CodeIO, l.name(), "a batch that began in a mapped segment was not written"))
		return
	}
	l.dropSegmentsAfter(w.start.seg)
	written := w.pos
	if len(w.rolled) > 0 {
		written = w.rolled[0].end
	}
	w.rolled = w.rolled[:0]
	w.next, w.open = w.start.next, frameDraft{}
	if w.start.seg == nil {
		w.seg, w.pos, w.dataEnd = nil, 0, 0
		return
	}
	l.enter(w.start.seg, w.start.pos)
	if res := w.seg.pinned(); res != nil {
		_ = writeZeros(res.file, w.start.pos, written)
		res.unpin()
	}
}

// dropSegmentsAfter takes the segments behind last, which hold nothing published, out of the log and
// removes their files.
func (l *Log) dropSegmentsAfter(last *segment) {
	l.mu.Lock()
	list := l.segs.recent()
	keep := slices.Index(list, last) + 1
	l.segs.change(func(list []*segment) []*segment { return list[:keep:keep] })
	l.mu.Unlock()
	for _, s := range list[keep:] {
		s.cool()
		l.store.manifest.removed(s)
		l.store.janitor.do(func() { l.store.removeFile(s.path) })
	}
}

var zeros [64 << 10]byte

// writeZeros overwrites [lo, hi).
func writeZeros(f File, lo, hi int64) error {
	for lo < hi {
		n := min(hi-lo, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:n], lo); err != nil {
			return err
		}
		lo += n
	}
	return nil
}

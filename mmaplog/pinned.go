package mmaplog

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// maxPinned bounds the maps that the runs of one reader keep; runs beyond it are copies.
const maxPinned = 16

// Pinned is a run of frames that stays as it is until Release: a part of the log's map, which retention and
// Close leave alone until then, or memory of its own. What is in a map is read only: a store to it would
// change the log.
type Pinned struct {
	bytes  []byte
	res    *resource     // of the map; nil for memory of its own
	pins   *atomic.Int64 // of the reader; nil likewise
	memory []byte        // goes back to runMemory; nil for a map
}

// runMemory lends the memory of runs that are not parts of a map.
var runMemory = sync.Pool{New: func() any { return new([]byte) }}

// Bytes are the frames, valid until Release.
func (p *Pinned) Bytes() []byte { return p.bytes }

// Mapped reports whether the run is a part of the log's map.
func (p *Pinned) Mapped() bool { return p.res != nil }

// Release gives the run up. It may be called by any goroutine, and once; it does not block.
func (p *Pinned) Release() {
	given := *p
	*p = Pinned{}
	if given.res != nil {
		given.pins.Add(-1)
		given.res.unpin()
	} else if given.memory != nil {
		runMemory.Put(&given.memory)
	}
}

// NextPinned is Next with a run that stays valid until it is released, also when the cursor moves on, the
// segment is trimmed, or reader and store are closed. What this process wrote lately is not copied, as long
// as at most 16 such runs of this reader are held. It is nil, nil when there is nothing below limit.
func (r *Reader) NextPinned(limit int64) (run *Pinned, err error) {
	l := r.log
	if err := r.usable(); err != nil {
		return nil, err
	}
	limit = min(limit, l.End())
	if r.offset >= limit {
		return nil, nil
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	r.letGo()
	for r.offset < limit {
		if r.seg == nil && !r.locate() {
			return nil, r.outOfRange()
		}
		run, more, err := r.stepPinned(limit)
		if err != nil || run != nil || !more {
			return run, err
		}
	}
	return nil, nil
}

// usable refuses a cursor that cannot be read from.
func (r *Reader) usable() error {
	if r.closed || r.log.closed.Load() {
		return core.NewError(core.CodeClosed, "read "+r.log.name(), nil)
	}
	if r.cutAway() || r.offset < r.log.Start() {
		return r.outOfRange()
	}
	return nil
}

// stepPinned is step for NextPinned.
func (r *Reader) stepPinned(limit int64) (run *Pinned, more bool, err error) {
	if hi := r.seg.published.Load(); r.pos < hi {
		if res := r.hotToPin(); res != nil {
			w := frameWalk{src: res.region.Bytes()[r.pos:hi], check: r.verified}
			w.walk(r.offset, limit, r.seg.seed)
			got, more, err := r.take(&w, hi)
			if len(got) == 0 {
				res.unpin()
				return nil, more, err
			}
			r.pinned.Add(1)
			return &Pinned{bytes: got, res: res, pins: &r.pinned}, false, nil
		}
	}
	if r.buf == nil {
		r.buf = *runMemory.Get().(*[]byte)
	}
	got, more, err := r.step(limit)
	if len(got) == 0 {
		return nil, more, err
	}
	run = &Pinned{bytes: got, memory: r.buf}
	r.buf = nil
	return run, false, nil
}

// hotToPin gives the pinned map if it may be handed out. Unlike hot it takes pages that a sync took out of
// the page tables: they are in memory, and the fault of one costs less than to copy 16 of them.
func (r *Reader) hotToPin() *resource {
	s := r.seg
	if r.pinned.Load() >= maxPinned || r.pos < s.hotFrom ||
		r.log.writtenBytes()-(s.cum+r.pos) > r.log.store.opts.HotBytes {
		return nil
	}
	res := s.pinned()
	if res != nil && res.region == nil {
		res.unpin()
		return nil
	}
	r.log.store.maps.lookedAt(s)
	return res
}

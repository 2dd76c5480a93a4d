package mmaplog

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// segmentList is the segments of a log, ascending by offset. The older ones of a log that was just opened
// exist as lines of the manifest only, until somebody wants the whole list.
type segmentList struct{ state atomic.Pointer[segmentState] }

// segmentState is replaced, never changed.
type segmentState struct {
	older *olderSegments // before recent; nil if there are none
	list  []*segment
}

// Load gives all segments. The slice and what the pointer points to never change. The first call makes the
// older ones, which takes a few hundred nanoseconds for each.
func (s *segmentList) Load() *[]*segment {
	for {
		state := s.state.Load()
		if state.older == nil {
			return &state.list
		}
		older := state.older.make()
		all := append(older[:len(older):len(older)], state.list...)
		s.state.CompareAndSwap(state, &segmentState{list: all}) // else somebody added one
	}
}

// Store replaces all segments. Log.mu must be held, and Load called before.
func (s *segmentList) Store(list *[]*segment) { s.state.Store(&segmentState{list: *list}) }

// recent gives the youngest segments, of which there are any if the log has any: all that were written
// since it was opened are among them.
func (s *segmentList) recent() []*segment { return s.state.Load().list }

// from gives the segments from one that holds offset on at least, if there is one.
func (s *segmentList) from(offset int64) []*segment {
	if list := s.recent(); len(list) > 0 && list[0].header.base.offset <= offset {
		return list
	}
	return *s.Load()
}

// change replaces the recent segments by what f makes of them. Log.mu must be held.
func (s *segmentList) change(f func(recent []*segment) []*segment) {
	for {
		state := s.state.Load()
		if s.state.CompareAndSwap(state, &segmentState{older: state.older, list: f(state.list)}) {
			return
		}
	}
}

// size gives the number of segments and the bytes of their files.
func (s *segmentList) size() (n int, bytes int64) {
	state := s.state.Load()
	if state.older != nil {
		n, bytes = len(state.older.edits), state.older.bytes
	}
	for _, seg := range state.list {
		bytes += seg.bytes()
	}
	return n + len(state.list), bytes
}

// olderSegments are sealed segments that the manifest tells of and nobody has looked at since the log was
// opened. They are known to be sound as far as edits tell: each continues the one before.
type olderSegments struct {
	dir   string
	image *manifestImage
	edits []int32
	bytes int64

	once sync.Once
	made []*segment
}

// start is the first offset.
func (o *olderSegments) start() int64 { return o.image.edit(o.edits[0]).base() }

// make makes the segments.
func (o *olderSegments) make() []*segment {
	o.once.Do(func() {
		slab := make([]segment, len(o.edits))
		o.made = make([]*segment, len(o.edits))
		for i, n := range o.edits {
			e, _ := o.image.edit(n).decode() // it was decoded when the log was opened
			slab[i].initSealed(&e, filepath.Join(o.dir, segmentName(e.header.base.offset, e.header.id)))
			o.made[i] = &slab[i]
		}
		o.image, o.edits = nil, o.edits[:0:0]
	})
	return o.made
}

// initSealed makes s the segment that the edit tells of, which nobody has read.
func (s *segment) initSealed(e *manifestEdit, path string) {
	end := e.end
	if end == 0 {
		end = e.header.dataEnd
	}
	s.header, s.path, s.seed = e.header, path, core.HeaderSeed(e.header.id)
	s.hotFrom, s.cum = e.header.size, -end
	s.published.Store(end)
	s.synced.Store(end)
	s.entrySynced.Store(true)
	s.sealed.Store(true)
}

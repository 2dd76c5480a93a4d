package mmaplog

import (
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// prepState is what writer and preparer of a log share.
type prepState struct {
	mu sync.Mutex
	// mu guards the following.
	spares  []*prepared   // ready, in the order they were made
	halfway *prepared     // a new file that is not filled to its end; nil mostly
	tail    *resource     // the last segment, opened for a writer that has none
	size    int64         // class of the next segment
	keep    int           // spares to have ready
	need    int64         // room that was asked for with Await; 0 if none is
	attach  bool          // and the writer has no segment
	queued  bool          // in the preparer's queue
	busy    chan struct{} // closed when the file being made is ready; nil if none is being made
	hurry   chan struct{} // closed by a writer that waits for busy
	failed  error         // why there is no room for need; Await tells it once
	ailing  bool          // the last file was not made, and that was logged
	closed  bool

	coming  atomic.Int64 // files of trimmed segments the janitor is about to put into the pool, or to delete
	room    atomic.Int64 // in the largest spare, or in tail
	window  atomic.Int64
	asked   atomic.Bool // a longer window was asked for
	askedAt int64       // on the clock's Mono; owned by the preparer
}

// Room is how many bytes of frames, headers included, can certainly be added now without waiting for a
// file. It belongs to the writer. One that must not wait looks before it adds, and if there is too little
// asks with Await; one that may wait need not look.
func (l *Log) Room() int64 {
	w := &l.w
	room := int64(0)
	if w.seg != nil {
		room = w.dataEnd - w.pos
		if w.open.records > 0 {
			room -= int64(core.FrameHeaderSize + w.open.fill)
		}
	}
	return max(room, l.prep.room.Load())
}

// Await asks for room for need bytes of frames. When there is, or it turned out that there will be none,
// LogOptions.Ready is called, once. If the last attempt failed Await tells why instead, CodeStorageFull or
// CodeIO, and asks for nothing; the next call tries again. It belongs to the writer and does not block.
func (l *Log) Await(need int64) error {
	s := &l.prep
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed; err != nil {
		s.failed = nil
		return err
	}
	if s.closed {
		return core.NewError(core.CodeClosed, l.name(), nil)
	}
	s.need, s.attach, s.size = max(s.need, need), l.w.seg == nil, l.nextSize()
	s.hurryLocked()
	l.enqueueLocked()
	return nil
}

// askSpares asks for keep files to be ready.
func (l *Log) askSpares(keep int) {
	s := &l.prep
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep, s.size = keep, l.nextSize()
	l.enqueueLocked()
}

func (l *Log) enqueueLocked() {
	if s := &l.prep; !s.queued && s.busy == nil { // who makes a file looks again after it
		s.queued = true
		l.store.preparer.enqueue(l)
	}
}

// prepare makes one file of those the log needs, slowly unless the writer waits for it. It runs on a worker
// of the preparer.
func (l *Log) prepare() {
	s := &l.prep
	s.mu.Lock()
	s.queued = false
	size, tail := l.nextJobLocked()
	if s.busy != nil || size == 0 && tail == nil {
		l.endJob(nil)
		return
	}
	busy, hurry, awaited := make(chan struct{}), make(chan struct{}), s.need > 0
	fast := s.keep > 1
	s.busy, s.hurry = busy, hurry
	s.mu.Unlock()

	var made *prepared
	var opened *resource
	var err error
	switch {
	case tail != nil:
		opened, err = l.openTail(tail)
	case awaited:
		made, err = l.prepareFile(size, nil)
	default:
		made, err = l.prepareFile(size, func(f File, at int64) {
			// Zeros that lie around would count against everybody's dirty pages; those of a fast log are
			// overwritten before anybody writes them out.
			if !fast {
				f.BeginWriteOut(at-paceEvery, at)
			}
			l.store.preparer.pace(hurry, l.opts.mapped())
		})
	}

	s.mu.Lock()
	s.busy, s.hurry = nil, nil
	switch {
	case err != nil:
		if !s.ailing {
			l.store.opts.Logger.Warn("cannot prepare segment", "log", l.name(), "err", err)
		}
	case s.closed && made != nil:
		l.store.janitor.discard(made)
	case s.closed:
		opened.unpin()
	default:
		s.putLocked(made, opened, tail)
	}
	s.ailing = err != nil
	close(busy)
	l.endJob(err)
}

// nextJobLocked is the size of the file to make next, or the segment to open; neither if all is there.
func (l *Log) nextJobLocked() (size int64, tail *segment) {
	s := &l.prep
	list := l.segs.recent()
	switch n := len(s.spares); {
	case s.closed:
		return 0, nil
	case s.need > 0 && s.attach && s.tail == nil && len(list) > 0:
		return 0, list[len(list)-1]
	case s.need > s.room.Load():
		return classFor(s.size, s.need), nil
	case n < s.keep:
		size := min(s.size<<n, l.opts.SegmentBytes)
		if s.coming.Load() > 0 && !l.store.pool.has(size) {
			// Were a new file made for each that a fast log may need, as many would have to be deleted.
			return 0, nil // fileCame looks again
		}
		return size, nil
	}
	return 0, nil
}

// fileCame is told of each trimmed segment when its file is gone, into the pool or for good.
func (l *Log) fileCame() {
	l.prep.coming.Add(-1)
	s := &l.prep
	s.mu.Lock()
	defer s.mu.Unlock()
	if size, _ := l.nextJobLocked(); size > 0 {
		l.enqueueLocked()
	}
}

// endJob tells a writer that asked with Await, if there is something to tell, and goes on with what else the
// log needs. It unlocks mu.
func (l *Log) endJob(err error) {
	s := &l.prep
	told := s.need > 0 && s.busy == nil && (err != nil || s.closed || s.need <= s.room.Load())
	if told {
		s.need, s.attach, s.failed = 0, false, err
	}
	if size, tail := l.nextJobLocked(); err == nil && (size > 0 || tail != nil) {
		l.enqueueLocked()
	}
	s.mu.Unlock()
	if told {
		l.opts.Ready()
	}
}

// putLocked keeps what was made.
func (s *prepState) putLocked(made *prepared, tail *resource, seg *segment) {
	s.failed = nil
	if made != nil {
		s.spares = append(s.spares, made)
	} else {
		s.tail = tail
	}
	s.measureLocked()
	if s.tail != nil && seg != nil {
		s.room.Store(max(s.room.Load(), seg.header.dataEnd-seg.published.Load()))
	}
}

func (s *prepState) measureLocked() {
	room := int64(0)
	for _, p := range s.spares {
		room = max(room, classDataEnd(p.size)-headerSize)
	}
	s.room.Store(room)
}

// takeSpare gives the writer a prepared segment with room for a frame of need bytes: a spare if one is made
// or being made, else a file it prepares itself.
func (l *Log) takeSpare(need int64) (*prepared, error) {
	s := &l.prep
	s.mu.Lock()
	for {
		for i, p := range s.spares {
			if classDataEnd(p.size)-headerSize >= need {
				s.spares = append(s.spares[:i], s.spares[i+1:]...)
				s.measureLocked()
				s.mu.Unlock()
				return p, nil
			}
		}
		if s.busy == nil {
			break
		}
		s.awaitLocked()
	}
	s.mu.Unlock()
	return l.prepareFile(classFor(l.nextSize(), need), nil)
}

// takeTail gives the last segment if it was opened for the writer; nil if it was not.
func (s *prepState) takeTail() *resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy != nil {
		s.awaitLocked()
	}
	tail := s.tail
	s.tail = nil
	s.measureLocked()
	return tail
}

// awaitLocked hurries the file that is being made and waits for it. mu is released meanwhile.
func (s *prepState) awaitLocked() {
	busy := s.busy
	s.hurryLocked()
	s.mu.Unlock()
	<-busy
	s.mu.Lock()
}

func (s *prepState) hurryLocked() {
	if s.hurry != nil {
		close(s.hurry)
		s.hurry = nil
	}
}

// closeSpares gives up what was prepared; nothing is made from now on, and no file of the log is being
// written when it returns.
func (l *Log) closeSpares() {
	s := &l.prep
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.busy != nil {
		s.awaitLocked()
	}
	for _, p := range s.spares {
		l.store.janitor.discard(p)
	}
	if s.tail != nil {
		s.tail.unpin()
	}
	if s.halfway != nil {
		l.store.janitor.discard(s.halfway)
	}
	s.spares, s.tail, s.halfway = nil, nil, nil
	s.room.Store(0)
}

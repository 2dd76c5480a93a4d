package mmaplog

import (
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
)

var errNotExist = fs.ErrNotExist

const (
	firstWindow = 16 << 10 // prefaulted ahead of an idle log's end
	lastWindow  = 16 << 20 // and of a busy one's
	windowStep  = 1 << 20  // prefaulted in one call, so that a writer on its heels profits soon
	rest        = time.Millisecond
)

// prepState is what writer and preparer of a log share.
type prepState struct {
	mu sync.Mutex
	// mu guards the following.
	spare  *prepared
	busy   chan struct{} // closed when the spare being made is ready; nil if none is being made
	hurry  chan struct{} // closed by a writer that waits for busy
	closed bool

	size    int64 // class of the spare asked for
	window  atomic.Int64
	asked   atomic.Bool // a longer window was asked for
	askedAt int64       // on the clock's Mono; owned by the preparer
}

// preparer makes files and prefaults windows before the writers need them. One goroutine per store.
type preparer struct {
	store *Store
	wake  chan struct{} // capacity 1
	quit  chan struct{}

	mu sync.Mutex
	// mu guards the following; a log is in each list at most once, which bounds them.
	spares  []*Log
	windows []windowRequest
}

type windowRequest struct {
	log *Log
	seg *segment
	pos int64
}

// planNudges sets the positions of the current segment at which the preparer is asked for more.
func (l *Log) planNudges() {
	w := &l.w
	n := &w.seg.nudges
	n.spareAt = w.pos + (w.dataEnd-w.pos)/4
	n.windowAt = w.dataEnd
	n.indexAt = w.pos + indexEvery
	if w.seg.live.Load().region != nil {
		n.windowAt = w.pos
	}
	n.next = min(n.spareAt, n.windowAt, n.indexAt)
}

// nudgePreparer asks for what the writer will need soon. It does not block.
func (l *Log) nudgePreparer() {
	w := &l.w
	n := &w.seg.nudges
	if w.pos >= n.indexAt {
		l.noteIndex()
	}
	if w.pos >= n.spareAt {
		n.spareAt = w.dataEnd
		l.store.preparer.askSpare(l, l.nextSize())
	}
	if w.pos >= n.windowAt {
		n.windowAt = w.dataEnd
		populated, window := n.populated.Load(), max(l.prep.window.Load(), firstWindow)
		switch {
		case populated >= w.dataEnd:
		case populated-w.pos >= window/2:
			n.windowAt = populated - window/2
		default:
			// Look again after half a window, when the preparer has long answered.
			n.windowAt = w.pos + window/2
			if l.prep.asked.CompareAndSwap(false, true) {
				l.store.preparer.askWindow(windowRequest{l, w.seg, w.pos})
			}
		}
	}
	n.next = min(n.spareAt, n.windowAt, n.indexAt)
}

func (p *preparer) askSpare(l *Log, size int64) {
	p.mu.Lock()
	l.prep.size = size
	p.spares = append(p.spares, l)
	p.mu.Unlock()
	p.nudge()
}

func (p *preparer) askWindow(r windowRequest) {
	p.mu.Lock()
	p.windows = append(p.windows, r)
	p.mu.Unlock()
	p.nudge()
}

func (p *preparer) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run serves requests until the store closes.
func (p *preparer) run() {
	for {
		p.serveWindows()
		if l, size := p.popSpare(); l != nil {
			p.makeSpare(l, size)
			continue
		}
		select {
		case <-p.wake:
		case <-p.quit:
			return
		}
	}
}

// behind reports whether logs wait for a file.
func (p *preparer) behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.spares) > 0
}

func (p *preparer) popSpare() (*Log, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spares) == 0 {
		return nil, 0
	}
	l := p.spares[0]
	p.spares = append(p.spares[:0], p.spares[1:]...)
	return l, l.prep.size
}

func (p *preparer) serveWindows() {
	for {
		p.mu.Lock()
		if len(p.windows) == 0 {
			p.mu.Unlock()
			return
		}
		r := p.windows[0]
		p.windows = append(p.windows[:0], p.windows[1:]...)
		p.mu.Unlock()
		p.extendWindow(r)
	}
}

// extendWindow prefaults ahead of the writer. The window doubles while requests follow each other
// closely and halves when they do not, so that an idle log holds little memory.
func (p *preparer) extendWindow(r windowRequest) {
	l := r.log
	defer l.prep.asked.Store(false)
	now := p.store.opts.Clock.Mono()
	window := max(l.prep.window.Load(), firstWindow)
	switch since := time.Duration(now - l.prep.askedAt); {
	case since < 100*time.Millisecond:
		window = min(2*window, lastWindow)
	case since > time.Second:
		window = firstWindow
	}
	l.prep.askedAt = now
	l.prep.window.Store(window)
	res := r.seg.pinned()
	if res == nil {
		return
	}
	defer res.unpin()
	if res.region == nil {
		return
	}
	// The writer goes on meanwhile: the window is filled up to where it is at the end, so that a burst
	// after a pause finds a whole one.
	for {
		lo := max(r.seg.nudges.populated.Load(), r.seg.published.Load())
		hi := min(lo+windowStep, r.seg.published.Load()+window, r.seg.header.dataEnd)
		if lo >= hi {
			return
		}
		if err := res.region.Populate(lo, hi); err != nil {
			p.store.opts.Logger.Warn("cannot prefault", "segment", r.seg.path, "err", err)
			return
		}
		r.seg.nudges.populated.Store(hi)
	}
}

// makeSpare prepares the next segment of l, slowly unless the writer waits for it.
func (p *preparer) makeSpare(l *Log, size int64) {
	s := &l.prep
	s.mu.Lock()
	if s.closed || s.spare != nil || s.busy != nil {
		s.mu.Unlock()
		return
	}
	busy, hurry := make(chan struct{}), make(chan struct{})
	s.busy, s.hurry = busy, hurry
	s.mu.Unlock()

	made, err := l.prepareFile(size, func() { p.pace(hurry, l.opts.mapped()) })
	if err != nil {
		// The writer meets the same error when it needs the segment, and answers it.
		p.store.opts.Logger.Warn("cannot prepare segment", "log", l.name(), "err", err)
	}

	s.mu.Lock()
	s.busy, s.hurry = nil, nil
	if s.closed && made != nil {
		p.store.janitor.discard(made)
	} else {
		s.spare = made
	}
	s.mu.Unlock()
	close(busy)
}

// pace gives way to the windows of other logs and then rests, unless a writer is in a hurry. For a log whose
// writer does not wait for the disk it does not rest either while other logs wait for a file: they
// are as busy, and would soon wait for this goroutine.
func (p *preparer) pace(hurry <-chan struct{}, mapped bool) {
	p.serveWindows()
	if mapped && p.behind() {
		return
	}
	timer := p.store.opts.Clock.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-hurry:
	case <-p.quit:
	}
}

// takeSpare gives the writer a prepared segment with room for a frame of need bytes: the spare if one
// is made or being made, else a file it prepares itself.
func (l *Log) takeSpare(need int64) (*prepared, error) {
	s := &l.prep
	s.mu.Lock()
	s.awaitLocked()
	spare := s.spare
	s.spare = nil
	s.mu.Unlock()
	if spare != nil {
		if classDataEnd(spare.size)-headerSize >= need {
			return spare, nil
		}
		l.store.janitor.discard(spare)
	}
	return l.prepareFile(classFor(l.nextSize(), need), nil)
}

// awaitLocked hurries the spare that is being made and waits for it. mu is released meanwhile.
func (s *prepState) awaitLocked() {
	for s.busy != nil {
		busy := s.busy
		if s.hurry != nil {
			close(s.hurry)
			s.hurry = nil
		}
		s.mu.Unlock()
		<-busy
		s.mu.Lock()
	}
}

// closeSpare gives up the spare; none is made from now on, and no file of the log is being written
// when it returns.
func (l *Log) closeSpare() {
	s := &l.prep
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.awaitLocked()
	if s.spare != nil {
		l.store.janitor.discard(s.spare)
		s.spare = nil
	}
}

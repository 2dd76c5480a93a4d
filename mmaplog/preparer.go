package mmaplog

import (
	"io/fs"
	"sync"
	"time"
)

var errNotExist = fs.ErrNotExist

const (
	firstWindow = 16 << 10 // prefaulted ahead of an idle log's end
	lastWindow  = 16 << 20 // and of a busy one's
	windowStep  = 1 << 20  // prefaulted in one call, so that a writer on its heels profits soon
	rest        = time.Millisecond

	// prepareWorkers bounds how many files are made at a time. A disk that hangs in one of them holds up no
	// other log as long as there are workers left.
	prepareWorkers = 4
)

// preparer makes files and prefaults windows before the writers need them: one goroutine per store for
// the windows, a few for the files.
type preparer struct {
	store *Store
	wake  chan struct{} // capacity 1, for the windows
	quit  chan struct{}

	mu   sync.Mutex
	work sync.Cond // queue or closed changed
	// mu guards the following; a log is in each list at most once, which bounds them.
	queue   []*Log // wait for a file
	windows []windowRequest
	active  int // workers that make a file
	closed  bool
}

func newPreparer(s *Store) *preparer {
	p := &preparer{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	p.work.L = &p.mu
	return p
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
	n.spareAt = w.pos
	if w.keep < 2 {
		n.spareAt += (w.dataEnd - w.pos) / 4
	}
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
		l.askSpares(w.keep)
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

// enqueue puts a log that needs a file at the end of the queue.
func (p *preparer) enqueue(l *Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, l)
	p.work.Signal()
}

// run prefaults until the store closes.
func (p *preparer) run() {
	for {
		p.serveWindows()
		select {
		case <-p.wake:
		case <-p.quit:
			return
		}
	}
}

// runWorker makes files until the store closes.
func (p *preparer) runWorker() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.queue) == 0 && !p.closed {
			p.work.Wait()
		}
		if p.closed {
			return
		}
		l := p.queue[0]
		p.queue = append(p.queue[:0], p.queue[1:]...)
		p.active++
		p.mu.Unlock()
		l.prepare()
		p.mu.Lock()
		p.active--
	}
}

// close ends the goroutines; a file that is being made is finished first.
func (p *preparer) close() {
	close(p.quit)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.work.Broadcast()
}

// load tells how many workers make a file, and whether logs wait for one.
func (p *preparer) load() (active int, behind bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active, len(p.queue) > 0
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

// pace rests for a while, the longer the more workers are at it, unless a writer is in a hurry. For a log
// whose writer does not wait for the disk it does not rest while other logs wait for a file: they are as
// busy, and would soon wait for this goroutine.
func (p *preparer) pace(hurry <-chan struct{}, mapped bool) {
	active, behind := p.load()
	if mapped && behind {
		return
	}
	timer := p.store.opts.Clock.NewTimer(rest * time.Duration(max(active, 1)))
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-hurry:
	case <-p.quit:
	}
}

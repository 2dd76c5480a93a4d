package mmaplog

import (
	"errors"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// segment is one file of a log. It is made by the writer or by recovery; readers see it once it is in
// the log's list.
// Invariant: headerSize <= synced <= published <= header.dataEnd.
type segment struct {
	header segmentHeader // immutable
	path   string
	seed   uint32 // core.HeaderSeed of the segment id
	// cum + position is the number of bytes written to the log, counted from when it was opened.
	cum     int64
	hotFrom int64 // from this position on the bytes were written by this process
	filled  bool  // this process wrote every block of the file: once synced, none is new to the disk

	_           [64]byte
	published   atomic.Int64 // position behind the last frame readers may see; alone on its cache line
	_           [64]byte
	synced      atomic.Int64 // position behind the last byte known durable; moved by the sync round
	unmapped    atomic.Int64 // a sync took the pages below it out of the page tables
	begun       int64        // the disk began to write up to this position; owned by the sync round
	entrySynced atomic.Bool  // header and folder entry are durable
	sealed      atomic.Bool  // a later segment exists and published is final
	live        atomic.Pointer[resource]
	users       atomic.Int32 // resources of this segment that are not closed yet
	nudges      nudges

	lookedAt  atomic.Int64 // tick of the map budget when the map was used last
	index     sparseIndex
	indexUsed atomic.Bool // somebody looked into it lately
	noFooter  atomic.Bool // the file has none that can be used, and the janitor was told
	indexHeld bool        // counted in the store's indexCache; guarded by its mu
	completed bool        // index and footer were written, or that was tried; owned by the janitor
	last      logState    // behind the last frame, when the writer left the segment; before sealed is set
	replaced  atomic.Bool // the file may be a compacted one, which has its frames elsewhere

	noHeader bool                   // the file's is damaged: header was made of the frames; immutable
	holes    atomic.Pointer[[]hole] // what of it cannot be read; nil if nobody looked
}

// resource is the open file of a segment and its map, kept alive by pins: one of the segment itself
// while it is hot, and one of everyone who is inside a copy or sync. The janitor closes it when the
// last pin goes.
type resource struct {
	file   File
	region Region // nil for the pwrite sink
	device uint64 // file's
	pins   atomic.Int64
	last   func(*resource) // hands the resource to the janitor; must not block
	users  *atomic.Int32   // counts it while it is open; nil before it belongs to a segment
}

func newResource(f File, r Region, last func(*resource)) *resource {
	res := &resource{file: f, region: r, device: f.Device(), last: last}
	res.pins.Store(1)
	return res
}

// pin keeps the resource from being closed; false if it is closed already.
func (r *resource) pin() bool {
	for {
		n := r.pins.Load()
		if n == 0 {
			return false
		}
		if r.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (r *resource) unpin() {
	if r.pins.Add(-1) == 0 {
		r.last(r)
	}
}

// close unmaps and closes; only the janitor calls it, after the last pin.
func (r *resource) close() error {
	var err error
	if r.region != nil {
		err = r.region.Close()
	}
	err = errors.Join(err, r.file.Close())
	if r.users != nil {
		r.users.Add(-1)
	}
	return err
}

// pinned gives the segment's open file and map, pinned, or nil if the segment is cold.
func (s *segment) pinned() *resource {
	if res := s.live.Load(); res != nil && res.pin() {
		return res
	}
	return nil
}

// warm makes res the segment's open file.
func (s *segment) warm(res *resource) {
	res.users = &s.users
	s.users.Add(1)
	s.live.Store(res)
}

// cool gives up the segment's own pin.
func (s *segment) cool() {
	if res := s.live.Swap(nil); res != nil {
		res.unpin()
	}
}

func newSegment(h segmentHeader, path string) *segment {
	s := &segment{header: h, path: path, seed: core.HeaderSeed(h.id), hotFrom: headerSize}
	s.published.Store(headerSize)
	s.synced.Store(headerSize)
	return s
}

// bytes is what the file takes on disk. One that was compacted has no blocks between the last frame and the
// index.
func (s *segment) bytes() int64 {
	if s.header.compacted {
		return alignPage(s.published.Load()) + s.header.size - s.header.dataEnd
	}
	return s.header.size
}

// nudges are the positions at which the writer asks the preparer for something, or notes a place. They
// are owned by the writer, but for populated.
type nudges struct {
	next      int64        // the lowest one of those below
	spareAt   int64        // ask for the next segment
	windowAt  int64        // ask for a longer prefaulted window
	indexAt   int64        // note a place in the index
	populated atomic.Int64 // position up to which pages are prefaulted; moved by the preparer
}

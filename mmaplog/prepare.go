package mmaplog

import (
	"errors"
	"io"
	"path/filepath"
)

// prepared is a segment file with all its blocks reserved and written, not yet part of a log.
type prepared struct {
	id        uint64
	path      string
	size      int64
	populated int64
	recycled  bool  // the bytes of an earlier segment are in it
	zeroed    int64 // a new file is filled up to here
	filled    bool  // see segment.filled
	res       *resource
}

const (
	// The unit in which files are filled with zeros decides how large the page cache's folios get, and
	// on recent kernels a synced store through a map writes a whole folio. Large segments belong to
	// busy logs: at page their syncs cover more than a folio anyway, and filling takes a third of the
	// time with the larger unit.
	preWrite      = 4 << 10
	preWriteLarge = 64 << 10
	largeSegment  = 4 << 20

	rereadUnit = 256 << 10

	paceEvery = 1 << 20 // bytes between two calls of pace
	syncEvery = 4 << 20 // bytes between two syncs of a file prepared for the disk level
)

// prepareFile makes a segment file of size bytes: one from the pool, or a new one, whose blocks are
// reserved first, so that a full disk is an error and not a signal, and then filled with zeros, so that a
// later sync has no block to convert. Then it is mapped and prefaulted. pace is called after each MiB, with
// the file and the position, to leave the disk to others; nil means hurry, and then nothing is synced either.
func (l *Log) prepareFile(size int64, pace func(f File, at int64)) (*prepared, error) {
	if err := l.store.fs.MkdirAll(l.dir); err != nil {
		return nil, ioError(l.name(), err)
	}
	p, err := l.reuse(size), error(nil)
	if p != nil {
		err = l.reread(p, pace)
	} else {
		if p, err = l.newFile(size); err != nil {
			return nil, err
		}
		if err = l.fill(p, pace); errors.Is(err, errNotNeeded) {
			l.putHalfway(p)
			return l.prepareFile(size, pace)
		}
	}
	if err == nil {
		err = l.prefault(p)
	}
	if err != nil {
		l.store.janitor.discard(p)
		return nil, ioError(l.name(), err)
	}
	return p, nil
}

// errNotNeeded is why a new file was not filled: there is one in the pool now.
var errNotNeeded = errors.New("a recycled file can be used")

// newFile gives one that takes to be filled, maybe from where somebody stopped.
func (l *Log) newFile(size int64) (*prepared, error) {
	if p := l.takeHalfway(size); p != nil {
		return p, nil
	}
	if err := l.store.admitFile(size); err != nil {
		return nil, err
	}
	id := l.newID()
	p := &prepared{id: id, path: filepath.Join(l.dir, spareName(id)), size: size}
	f, err := l.store.fs.Open(p.path, Create)
	if err != nil {
		return nil, ioError(l.name(), err)
	}
	p.res = newResource(f, nil, l.store.janitor.close)
	return p, nil
}

// fill reserves and writes the blocks of a new file.
func (l *Log) fill(p *prepared, pace func(f File, at int64)) error {
	f := p.res.file
	if err := f.Allocate(p.size); err != nil {
		return err
	}
	synced := l.opts.mapped() || pace == nil // the first sync round takes care of it
	unit := int64(preWrite)
	if l.opts.mapped() && p.size >= largeSegment {
		unit = preWriteLarge
	}
	for at := p.zeroed + unit; at <= p.size; at += unit {
		if _, err := f.WriteAt(zeros[:unit], at-unit); err != nil {
			return err
		}
		if at%paceEvery == 0 {
			if p.zeroed = at; at < p.size && l.store.pool.has(p.size) {
				return errNotNeeded
			}
			if pace != nil {
				pace(f, at)
			}
		}
		if !synced && at%syncEvery == 0 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	p.filled = true
	if !synced {
		return f.Sync()
	}
	return nil
}

// reread brings the pages of a recycled file back into memory, where the disk has them alone: the writer
// stores parts of pages, and each would have to be read first.
func (l *Log) reread(p *prepared, pace func(f File, at int64)) error {
	if pace == nil || p.res.file.Cached(p.size) {
		return nil
	}
	buf := make([]byte, rereadUnit)
	for at := int64(rereadUnit); at <= p.size; at += rereadUnit {
		if _, err := p.res.file.ReadAt(buf, at-rereadUnit); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if at%paceEvery == 0 {
			pace(p.res.file, at)
		}
	}
	return nil
}

// putHalfway keeps a new file that is not filled yet for the next time one is needed.
func (l *Log) putHalfway(p *prepared) {
	s := &l.prep
	s.mu.Lock()
	if !s.closed {
		p, s.halfway = s.halfway, p
	}
	s.mu.Unlock()
	if p != nil {
		l.store.janitor.discard(p)
	}
}

// takeHalfway gives what putHalfway kept, nil if there is none of that size.
func (l *Log) takeHalfway(size int64) *prepared {
	s := &l.prep
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.halfway
	if p == nil || p.size != size {
		return nil
	}
	s.halfway = nil
	return p
}

// prefault maps a file for the map sink.
func (l *Log) prefault(p *prepared) error {
	region, err := l.mapFile(p.res.file, p.size)
	if err != nil || region == nil {
		return err
	}
	p.res.region = region
	p.populated = headerSize + firstWindow
	return region.Populate(0, p.populated)
}

// removeFile deletes a file that is no longer needed; a failure is only worth a line, for the file is
// removed or found again when the log is opened.
func (s *Store) removeFile(path string) {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, errNotExist) {
		s.opts.Logger.Warn("cannot remove file", "path", path, "err", err)
	}
}

package mmaplog

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"github.com/leatbus/leat/core"
)

// A dropped segment becomes the file of a later one instead of being deleted: its blocks are reserved and
// written already, so that nobody allocates, fills or frees anything while a log with retention runs.
//
//	segment ──drop──▶ spare-<new id>.tmp, header and footer blank ──▶ pool ──▶ preparer ──▶ segment
//
// The bytes between header and footer stay. They are not evidence of anything, because the header
// checksums of frames are seeded with the id of their segment, and the id is new. What follows the end of
// a log reads as no frame because of the zeros that seal stores there.

const (
	poolPerClass = 4         // files of a size that wait; more are deleted
	poolBytes    = 256 << 20 // and bytes of all sizes
)

// blankHead is what is overwritten at the start of a recycled file: the header page and the length word of
// the first frame.
const blankHead = headerSize + 8

// pool holds files of dropped segments that wait to be used again, by any log of the store.
type pool struct {
	mu sync.Mutex
	// mu guards the following.
	files []pooled // the oldest first
	bytes int64
}

type pooled struct {
	id   uint64
	path string
	size int64

	filled bool // see segment.filled
}

// room reports whether a file of size bytes may be put.
func (p *pool) room(size int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := 0
	for i := range p.files {
		if p.files[i].size == size {
			same++
		}
	}
	return same < poolPerClass && p.bytes+size <= poolBytes
}

// has reports whether there is a file of exactly size bytes.
func (p *pool) has(size int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.files, func(f pooled) bool { return f.size == size })
}

func (p *pool) put(f pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = append(p.files, f)
	p.bytes += f.size
}

// empty forgets all files and gives them.
func (p *pool) empty() []pooled {
	p.mu.Lock()
	defer p.mu.Unlock()
	files := p.files
	p.files, p.bytes = nil, 0
	return files
}

// take gives a file of exactly size bytes, one that lies in dir if there is one.
func (p *pool) take(dir string, size int64) (f pooled, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	best := -1
	for i := range p.files {
		if p.files[i].size != size {
			continue
		}
		if best < 0 {
			best = i
		}
		if filepath.Dir(p.files[i].path) == dir {
			best = i
			break
		}
	}
	if best < 0 {
		return pooled{}, false
	}
	f = p.files[best]
	p.files = append(p.files[:best], p.files[best+1:]...)
	p.bytes -= f.size
	return f, true
}

// recycle takes away the file of a dropped segment: it waits in the pool to be used again, or is deleted
// if it cannot or there are enough. The segment's name is gone for good when it returns without error.
// Only the janitor calls it, oldest segment first, when the segment is in no list and the drop is durable.
func (s *Store) recycle(seg *segment) error {
	dir, size := filepath.Dir(seg.path), seg.header.size
	reusable := seg.users.Load() == 0 && !seg.header.compacted &&
		size >= core.MinSegmentBytes && size <= core.MaxSegmentBytes && size&(size-1) == 0 && s.pool.room(size)
	if !reusable {
		return s.unlink(seg.path)
	}
	id := mixIDs(seg.header.id, s.ids.Add(1), uint64(s.opts.Clock.Now()))
	f := pooled{id: id, path: filepath.Join(dir, spareName(id)), size: size, filled: seg.filled}
	s.point("recycle.before-rename")
	if err := s.fs.Rename(seg.path, f.path); err != nil {
		if errors.Is(err, errNotExist) {
			return s.fs.SyncDir(dir)
		}
		return s.unlink(seg.path)
	}
	if err := s.fs.SyncDir(dir); err != nil {
		return err
	}
	s.point("recycle.after-rename")
	if err := s.blank(&f); err != nil {
		s.opts.Logger.Warn("cannot use a segment again", "path", f.path, "err", err)
		s.removeFile(f.path)
		return nil
	}
	s.pool.put(f)
	return nil
}

// unlink deletes the file of a dropped segment durably.
func (s *Store) unlink(path string) error {
	s.point("trim.before-unlink")
	err := s.fs.Remove(path)
	if err == nil || errors.Is(err, errNotExist) {
		err = s.fs.SyncDir(filepath.Dir(path))
	}
	return err
}

// blank makes a file tell of no segment. It is synced: the file gets the name of a segment later, and a
// power cut may keep that name without the header that is written under it; an old header with a valid
// checksum would then look like a segment somebody renamed.
func (s *Store) blank(p *pooled) error {
	f, err := s.fs.Open(p.path, ReadWrite)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil && size > p.size {
		err = core.Errorf(core.CodeInternal, "recycle "+p.path, "%d bytes, want %d", size, p.size)
	}
	if err == nil {
		err = f.Allocate(p.size) // a power cut may have left it shorter
	}
	if err == nil {
		err = writeZeros(f, 0, blankHead)
	}
	if err == nil {
		err = writeZeros(f, p.size-footerSize, p.size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// reuse gives a file from the pool that is of size bytes and lies in the log's folder; nil if there is none.
func (l *Log) reuse(size int64) *prepared {
	s := l.store
	for {
		f, ok := s.pool.take(l.dir, size)
		if !ok {
			return nil
		}
		path := filepath.Join(l.dir, filepath.Base(f.path))
		if path != f.path {
			// The folder it comes from may be gone, and the file with it.
			if err := s.fs.Rename(f.path, path); err != nil {
				s.removeFile(f.path)
				continue
			}
		}
		file, err := s.fs.Open(path, ReadWrite)
		if err != nil {
			s.removeFile(path)
			continue
		}
		return &prepared{id: f.id, path: path, size: size, recycled: true, filled: f.filled,
			res: newResource(file, nil, s.janitor.close)}
	}
}

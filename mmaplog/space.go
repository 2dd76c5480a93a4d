package mmaplog

import (
	"fmt"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// A disk that is filled to the last byte stops everything on it, the log's own bookkeeping included. So a
// log takes no new segment where that would leave less than a twentieth of the file system, or 4 GiB if that
// is less; and once this happened not before twice as much is free. What fits the segments that are there,
// and those that wait to be used again, is taken all the same. Nobody asks per record: only when a file is
// about to be made.
const (
	spacePart = 20
	spaceMax  = int64(4) << 30
)

// spaceGuard remembers that new segments are refused.
type spaceGuard struct{ refusing atomic.Bool }

// lowSpace is how many free bytes a file system of total bytes keeps.
func lowSpace(total int64) int64 { return min(total/spacePart, spaceMax) }

// admitFile refuses a new file of size bytes with CodeStorageFull where it would leave too little space.
func (s *Store) admitFile(size int64) error {
	free, total, err := s.fs.Space(s.dir)
	if err != nil {
		return nil // unknown: a full disk is an error of the file system then
	}
	want := lowSpace(total)
	if s.space.refusing.Load() {
		want *= 2
	}
	if free-size >= want {
		s.space.refusing.Store(false)
		return nil
	}
	s.space.refusing.Store(true)
	return core.NewError(core.CodeStorageFull, "make a segment in "+s.dir,
		fmt.Errorf("%d bytes of %d are free, and a segment of %d has to leave %d", free, total, size, want))
}

// LowOnSpace reports whether new segments are refused because too little of the file system is free. It asks
// the file system if one was.
func (s *Store) LowOnSpace() bool {
	return s.space.refusing.Load() && s.admitFile(core.MinSegmentBytes) != nil
}

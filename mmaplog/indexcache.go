package mmaplog

import (
	"errors"
	"sync"
)

// indexCache bounds the memory of the indexes of all segments that were left, whichever log they belong
// to. A segment that was looked into since the last round of the hand stays.
type indexCache struct {
	budget int64

	mu sync.Mutex
	// mu guards the following.
	held  []*segment
	hand  int
	bytes int64
}

// add gives a segment the block, in place of the one it has, and counts it. Others may lose theirs.
func (c *indexCache) add(s *segment, b *indexBlock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := s.index.block.Swap(b)
	if s.indexHeld {
		c.bytes -= old.memory()
	} else {
		s.indexHeld = true
		c.held = append(c.held, s)
	}
	c.bytes += b.memory()
	for c.bytes > c.budget && len(c.held) > 1 {
		c.evictLocked(s)
	}
}

// evictLocked moves the hand to the next segment nobody looked into, other than the new one, and takes its
// block.
func (c *indexCache) evictLocked(added *segment) {
	for {
		c.hand %= len(c.held)
		s := c.held[c.hand]
		if s.indexUsed.Swap(false) || s == added {
			c.hand++
			continue
		}
		c.bytes -= s.index.block.Load().memory()
		s.index.block.Store(nil)
		s.indexHeld = false
		last := len(c.held) - 1
		c.held[c.hand] = c.held[last]
		c.held[last] = nil
		c.held = c.held[:last]
		return
	}
}

// indexOf gives the segment's index as far as it is in memory or f, the segment's open file, has it. It
// may be nil.
func (l *Log) indexOf(s *segment, f func() (File, error)) *indexBlock {
	if b := s.index.block.Load(); b != nil {
		if !s.indexUsed.Load() {
			s.indexUsed.Store(true)
		}
		l.askEarly(s, b)
		return b
	}
	if !s.sealed.Load() || s.noFooter.Load() {
		return nil
	}
	file, err := f()
	if err != nil {
		return nil // whoever reads the segment next meets it too
	}
	b, _, err := readTail(file, &s.header)
	if err != nil {
		if !errors.Is(err, errNoFooter) {
			l.store.opts.Logger.Warn("the index of a segment is not usable; it is made again", "segment", s.path,
				"err", err)
		}
		if s.noFooter.CompareAndSwap(false, true) {
			l.store.janitor.do(func() { l.completeCold(s) })
		}
		return nil
	}
	l.store.indexes.add(s, b)
	return b
}

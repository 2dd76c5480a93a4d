package mmaplog

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// usualMaps is the limit where the system does not tell.
const usualMaps = 65_530

// usualFiles and leastFiles are limits of open files where the system does not tell, or lets a process have
// few.
const (
	usualFiles = 192
	leastFiles = 16
)

// mapBudget bounds the maps of a store. Half of what the process may have is left to the Go heap, which
// dies without. A log that gets no map writes by system calls, and while there are few left those of segments
// that were left are given up, the ones that were read or written longest ago first.
type mapBudget struct {
	limit  int64
	used   atomic.Int64
	tick   atomic.Int64 // rises with every map
	scarce atomic.Bool  // the janitor was asked to give maps up
}

// take reports whether there is a map left.
func (s *Store) takeMap() bool {
	b := &s.maps
	b.tick.Add(1)
	n := b.used.Add(1)
	if n > b.limit-b.limit/8 && b.scarce.CompareAndSwap(false, true) {
		s.janitor.do(s.giveUpMaps)
	}
	if n > b.limit {
		b.used.Add(-1)
		return false
	}
	return true
}

// lookedAt notes that somebody used the segment's map.
func (b *mapBudget) lookedAt(s *segment) {
	if now := b.tick.Load(); s.lookedAt.Load() != now {
		s.lookedAt.Store(now)
	}
}

// mappedSegment is a segment whose map may be given up.
type mappedSegment struct {
	log  *Log
	seg  *segment
	last int64 // use
}

// giveUpMaps closes segments that were left and are synced although they are in the hot window, until a
// quarter of the maps is free. It runs on the janitor.
func (s *Store) giveUpMaps() {
	s.maps.scarce.Store(false)
	s.mu.Lock()
	logs := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	s.mu.Unlock()
	var list []mappedSegment
	for _, l := range logs {
		for _, seg := range l.segs.recent() {
			if res := seg.live.Load(); res != nil && res.region != nil && seg.settled() {
				list = append(list, mappedSegment{l, seg, seg.lookedAt.Load()})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b mappedSegment) int { return cmp.Compare(a.last, b.last) })
	excess := max(0, s.maps.used.Load()-s.maps.limit*3/4)
	for _, m := range list[:min(int64(len(list)), excess)] {
		if res := m.seg.live.Load(); res != nil {
			m.log.complete(m.seg, res)
			m.seg.cool()
		}
	}
}

// settled reports whether the segment was left and is durable.
func (s *segment) settled() bool {
	return s.sealed.Load() && s.entrySynced.Load() && s.synced.Load() >= s.published.Load()
}

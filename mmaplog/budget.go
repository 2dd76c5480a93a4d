package mmaplog

import "sync/atomic"

// usualMaps is the limit where the system does not tell.
const usualMaps = 65_530

// mapBudget bounds the maps of a store. Half of what the process may have is left to the Go heap, which
// dies without. A log that gets no map writes by system calls, and the maps of segments that were left are
// given up early while there are few left.
type mapBudget struct {
	limit  int64
	used   atomic.Int64
	scarce atomic.Bool // the janitor was asked to give maps up
}

// take reports whether there is a map left.
func (s *Store) takeMap() bool {
	b := &s.maps
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

// giveUpMaps closes segments that were left and are synced although they are in the hot window, the ones
// that were left first in each log first. It runs on the janitor.
func (s *Store) giveUpMaps() {
	s.maps.scarce.Store(false)
	s.mu.Lock()
	logs := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	s.mu.Unlock()
	for _, l := range logs {
		for _, seg := range l.segs.recent() {
			if res := seg.live.Load(); res != nil && res.region != nil && seg.settled() {
				l.complete(seg, res)
				seg.cool()
			}
		}
	}
}

// settled reports whether the segment was left and is durable.
func (s *segment) settled() bool {
	return s.sealed.Load() && s.entrySynced.Load() && s.synced.Load() >= s.published.Load()
}

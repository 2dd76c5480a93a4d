package mmaplog

const (
	// parallelMax is how many logs are synced each by itself, at the same time. A disk does a few flushes at
	// once about as fast as one; many stand in line.
	parallelMax = 4
	// manyMax bounds the logs of one round.
	manyMax = 1024
)

// outSegment is the part of a file that a round of many writes out. The resource is pinned.
type outSegment struct {
	seg    *segment
	res    *resource
	lo, to int64 // published
}

// hi is where the write ends: the zeros behind the last frame go with it.
func (o *outSegment) hi() int64 { return endMark(o.to, o.seg.header.dataEnd) }

// syncMany is one round of each of the logs, which were begun: their bytes are written to the device, file by
// file, and then one sync empties the cache of the device, which makes all of them durable. That is enough
// only where no block of the file is new, see flushDevice. If the bytes of a log cannot be written that log
// is fenced; if the sync fails, all that it was to cover are.
func (y *syncer) syncMany(logs []*Log) {
	y.store.point("sync.before")
	covered, alone := make([]*Log, 0, len(logs)), []*Log(nil)
	for _, l := range logs {
		switch {
		case !l.beginRound():
			y.end(l)
		case l.planOut():
			covered = append(covered, l)
		default: // it started a segment a moment ago
			alone = append(alone, l)
		}
	}
	covered = y.writeOut(covered)
	if len(covered) > 0 {
		err := covered[0].round.plan.out.res.file.Sync()
		for _, l := range covered {
			l.finishOut(err)
			y.end(l)
		}
	}
	for _, l := range alone {
		l.finishRound(l.syncSegments())
		y.end(l)
	}
	y.store.point("sync.after")
}

// writeOut has the device take the bytes of all logs but the first, whose sync writes them too, and gives
// those logs whose bytes it took. All writes are begun before the first is waited for.
func (y *syncer) writeOut(logs []*Log) []*Log {
	kept := logs[:0]
	for i, l := range logs {
		if i > 0 {
			out := &l.round.plan.out
			out.res.file.BeginWriteOut(out.lo, out.hi())
		}
	}
	for i, l := range logs {
		if i > 0 {
			out := &l.round.plan.out
			if err := out.res.file.WriteOut(out.lo, out.hi()); err != nil {
				l.finishOut(err)
				y.end(l)
				continue
			}
		}
		kept = append(kept, l)
	}
	return kept
}

// flushDevice names the device whose cache the log's next round has to empty, if all that round does
// besides is to write into blocks that are on the disk already; else it is 0. Those blocks must have been
// written, by this process, and synced as a whole with everything that leads to them: then no metadata
// changes when they are written again.
func (l *Log) flushDevice() uint64 {
	if s := l.onlyUnsynced(); s != nil {
		if res := s.live.Load(); res != nil && res.region == nil && s.filled {
			return res.device
		}
	}
	return 0
}

// onlyUnsynced gives the segment that needs a sync, if it is the only one and had one before.
func (l *Log) onlyUnsynced() (one *segment) {
	for _, s := range l.unfinished() {
		if !s.needsSync() {
			continue
		}
		if one != nil || !s.entrySynced.Load() {
			return nil
		}
		one = s
	}
	return one
}

// planOut notes what is to be written out and pins it. It reports false if that is not enough for a round.
func (l *Log) planOut() bool {
	s := l.onlyUnsynced()
	if s == nil || l.flushDevice() == 0 {
		return false
	}
	res := s.pinned()
	if res == nil {
		return false
	}
	l.round.plan.out = outSegment{s, res, s.synced.Load(), s.published.Load()}
	return true
}

// finishOut is finishRound for a log whose segment was written out.
func (l *Log) finishOut(err error) {
	out := &l.round.plan.out
	if err == nil {
		out.seg.synced.Store(out.to)
		if out.seg.sealed.Load() && out.seg.live.Load() != nil {
			l.askCooling()
		}
	}
	out.res.unpin()
	l.round.plan.out = outSegment{}
	l.finishRound(err)
}

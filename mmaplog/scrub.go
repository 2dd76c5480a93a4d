package mmaplog

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// scrubber reads all sealed segments again and again, as they lie on the disk, so that damage is found while
// there may still be a copy. One goroutine per store.
//
//	pass ──▶ each log ──▶ each sealed segment ──pread, paced──▶ header, frames, chain, index, footer
//	                                 └──suspect──▶ janitor: look again ──damaged──▶ log, counter, OnScrub
//
// A pass is spread over ScrubEvery, within a lowest and a highest rate, and rests at least as long as its
// reads take. It begins at a place that depends on the wall clock, so that a process that is often started
// anew does not always read the same part; nothing is written down.
//
// It holds up nobody: what is trimmed, compacted or truncated meanwhile is left, and since only the janitor
// changes the files of sealed segments, what it finds at its second look is no half-done change.
type scrubber struct {
	store *Store
	every time.Duration
	quit  chan struct{}

	left  int64         // bytes of the pass that are not read yet, as far as known
	due   int64         // when the pass should be over, on the clock's Mono
	owed  time.Duration // of rest
	known map[scrubKey]struct{}
	seen  map[scrubKey]struct{} // damage found in this pass; known has that of the one before

	bytes, damaged, passes, took atomic.Int64
}

// scrubKey is a place of damage.
type scrubKey struct {
	segment  string
	position int64
}

const (
	scrubLowest  = 1 << 20   // bytes per second: below it a pass would be no gentler
	scrubHighest = 128 << 20 // and above it would not be gentle
	scrubDelay   = time.Minute
	scrubShort   = 2 * time.Millisecond // no rest is shorter
	scrubKnown   = 10_000               // places that are remembered; more are told of in every pass

	leastScrubEvery = 50 * time.Millisecond
)

// ScrubStats is what the scrubber has done since the store was opened.
type ScrubStats struct {
	Bytes    int64         // read
	Damaged  int64         // places where records, or what is needed to open the log, cannot be read
	Passes   int64         // over all sealed segments
	LastPass time.Duration // how long the last one took; 0 before
}

// ScrubStats tells what the scrubber has done. It does not block.
func (s *Store) ScrubStats() ScrubStats {
	c := s.scrubber
	return ScrubStats{c.bytes.Load(), c.damaged.Load(), c.passes.Load(), time.Duration(c.took.Load())}
}

func newScrubber(s *Store) *scrubber {
	return &scrubber{store: s, every: s.opts.ScrubEvery, quit: make(chan struct{})}
}

// run does passes until the store closes.
func (c *scrubber) run() {
	now := c.store.opts.Clock.Mono
	for wait := min(scrubDelay, c.every/16); c.rest(wait); {
		began := now()
		if !c.pass(began) {
			return
		}
		wait = max(c.every-time.Duration(now()-began), c.every/16)
	}
}

// rest waits; false if the store closes.
func (c *scrubber) rest(d time.Duration) bool {
	timer := c.store.opts.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-c.quit:
		return false
	}
}

// pass reads everything once.
func (c *scrubber) pass(began int64) bool {
	turns, total := c.turns()
	c.left, c.due, c.owed = total, began+int64(c.every-c.every/16), 0
	c.known, c.seen = c.seen, map[scrubKey]struct{}{}
	for _, t := range turns {
		if !c.turn(t) {
			return false
		}
	}
	c.took.Store(max(1, c.store.opts.Clock.Mono()-began))
	c.passes.Add(1)
	return true
}

// scrubTurn is the segments of a log that begin in [from, to).
type scrubTurn struct {
	log      *Log
	from, to int64
}

// turns lists all logs, the one with the place where the pass begins first and, for what is before that
// place, last; and the bytes of their segments.
func (c *scrubber) turns() ([]scrubTurn, int64) {
	logs := c.logs()
	total := int64(0)
	for _, l := range logs {
		total += l.Bytes()
	}
	every := int64(c.every)
	skip := int64(float64(total) * float64((c.store.opts.Clock.Now()%every+every)%every) / float64(every))
	for i, l := range logs {
		if n := l.Bytes(); skip >= n {
			skip -= n
			continue
		}
		at := l.offsetBehind(skip)
		turns := []scrubTurn{{l, at, math.MaxInt64}}
		for _, other := range append(logs[i+1:len(logs):len(logs)], logs[:i]...) {
			turns = append(turns, scrubTurn{other, 0, math.MaxInt64})
		}
		return append(turns, scrubTurn{l, 0, at}), total
	}
	return nil, total
}

// logs gives the logs that are open and recovered, in an order that stays.
func (c *scrubber) logs() []*Log {
	s := c.store
	s.mu.Lock()
	var logs []*Log
	for _, l := range s.logs {
		if l.recovered.Load() {
			logs = append(logs, l)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(logs, func(a, b *Log) int {
		return logKey{a.topic, a.partition}.compare(logKey{b.topic, b.partition})
	})
	return logs
}

// offsetBehind is where the first segment begins that lies behind the first n bytes of the log's files.
func (l *Log) offsetBehind(n int64) int64 {
	for _, s := range *l.segs.Load() {
		if n -= s.bytes(); n < 0 {
			return s.header.base.offset
		}
	}
	return l.End()
}

// turn reads some segments of a log.
func (c *scrubber) turn(t scrubTurn) bool {
	for offset, after := t.from, (*segment)(nil); ; {
		seg, next := t.log.sealedFrom(offset, after)
		if seg == nil || seg.header.base.offset >= t.to || t.log.closed.Load() {
			return true
		}
		check := segmentCheck{scrubber: c, log: t.log, seg: seg, next: next}
		left := c.left - seg.bytes()
		if !check.run() {
			return false
		}
		if c.left = left; !check.gone {
			offset, after = seg.header.base.offset, seg
		}
	}
}

// sealedFrom gives the first segment that begins at an offset or behind, and comes behind another one, and
// the segment after it; none if it was not left, or is not durable.
func (l *Log) sealedFrom(offset int64, after *segment) (seg, next *segment) {
	list := *l.segs.Load()
	i, _ := slices.BinarySearchFunc(list, offset, segmentAt)
	for j := i; j < len(list) && list[j].header.base.offset == offset; j++ {
		if list[j] == after {
			i = j + 1
		}
	}
	if i+1 >= len(list) || !list[i].settled() {
		return nil, nil
	}
	return list[i], list[i+1]
}

func segmentAt(s *segment, offset int64) int { return cmp.Compare(s.header.base.offset, offset) }

// holds reports whether a segment is one of the log's, as before: it was not trimmed, compacted or
// truncated, and the log is open.
func (l *Log) holds(s *segment) bool {
	if l.closed.Load() {
		return false
	}
	offset := s.header.base.offset
	list := l.segs.from(offset)
	i, _ := slices.BinarySearchFunc(list, offset, segmentAt)
	for ; i < len(list) && list[i].header.base.offset == offset; i++ {
		if list[i] == s {
			return true
		}
	}
	return false
}

// pace rests before n bytes are read, as long as the rate asks for and at least as long as the last read
// took.
func (c *scrubber) pace(n int64, took time.Duration) bool {
	span := float64(max(c.due-c.store.opts.Clock.Mono(), 1))
	wait := time.Duration(span * float64(n) / float64(max(c.left, n)))
	wait = min(max(wait, rateTime(n, scrubHighest)), rateTime(n, scrubLowest))
	c.left -= n
	c.bytes.Add(n)
	if c.owed += max(wait, took); c.owed < scrubShort {
		return true
	}
	owed := c.owed
	c.owed = 0
	return c.rest(owed)
}

// rateTime is how long n bytes take at a rate in bytes per second.
func rateTime(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// report tells of damage that was not there in the pass before.
func (c *scrubber) report(l *Log, d *Damaged) {
	key := scrubKey{d.Segment, d.Position}
	_, known := c.known[key]
	if _, again := c.seen[key]; again {
		return
	}
	if len(c.seen) < scrubKnown {
		c.seen[key] = struct{}{}
	}
	if known {
		return
	}
	c.damaged.Add(1)
	c.store.opts.Logger.Error("damage on the disk", "topic", l.topic, "partition", l.partition, "from", d.From,
		"to", d.To, "segment", d.Segment, "position", d.Position, "reason", d.Reason)
	if f := c.store.opts.OnScrub; f != nil {
		f(l.topic, l.partition, d)
	}
}

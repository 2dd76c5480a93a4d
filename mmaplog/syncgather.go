package mmaplog

import (
	"runtime"
	"time"
)

const (
	// gatherIdle is the longest a round waits for the next to join it.
	gatherIdle = 50 * time.Microsecond
	// gatherMin is too short to be worth a look at the clock.
	gatherMin = time.Microsecond
	// gatherYields bounds the wait where the clock stands still.
	gatherYields = 2000
	// missesMax is how many times in a row the pause between two waits that failed doubles.
	missesMax = 3
)

// gather decides how long a group commit waits for its group. Appenders that wait for the disk come back
// when the round before has woken them, one after the other, within microseconds. A round that began with
// the first would make the others wait for the next one, and from then on half of them would always be
// on the way while the disk works for the other half. So it waits for as many as the last round had and
// as came during it: for 50 us after the last who joined, and for half of what a sync takes in all. If hardly
// anybody comes, which a load that does not wait for answers shows, some rounds begin at once.
type gather struct {
	expected int64 // how many may join
	took     int64 // nanoseconds of a sync, smoothed
	misses   uint8
	pause    uint8 // rounds that begin at once
}

// note tells of a round: how many it had, how many came meanwhile, and how many nanoseconds it took.
func (g *gather) note(joined, queued, took int64) {
	g.expected = joined + queued
	if g.took == 0 {
		g.took = took
	}
	g.took += (took - g.took) / 8
}

// wait lets other goroutines run until joined gives what is expected, or long enough.
func (g *gather) wait(mono func() int64, joined func() int64) {
	first := joined()
	if g.took/2 < int64(gatherMin) || first >= g.expected {
		return
	}
	if g.pause > 0 {
		g.pause--
		return
	}
	if last := g.yield(mono, joined, first); 4*(last-first) >= g.expected-first {
		g.misses = 0
		return
	}
	g.misses = min(g.misses+1, missesMax)
	g.pause = 1<<g.misses - 1
}

// yield gives how many have joined in the end.
func (g *gather) yield(mono func() int64, joined func() int64, seen int64) int64 {
	start := mono()
	for last, i := start, 0; i < gatherYields && seen < g.expected; i++ {
		runtime.Gosched()
		now := mono()
		if n := joined(); n > seen {
			seen, last = n, now
		}
		if now-last > int64(gatherIdle) || now-start > g.took/2 {
			break
		}
	}
	return seen
}

// awaitOthers waits for those who will append and wait for this round too, if somebody does already.
func (l *Log) awaitOthers() {
	if !l.round.waited.Load() {
		return
	}
	l.round.waited.Store(false)
	l.round.plan.gather.wait(l.store.opts.Clock.Mono, l.unsynced)
}

// unsynced is the number of records that are published and not known durable.
func (l *Log) unsynced() int64 { return l.marks.end.Load() - l.marks.durableEnd.Load() }

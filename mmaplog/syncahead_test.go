package mmaplog

import (
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
)

// leadRound begins a round, which the test goes through step by step.
func leadRound(t *testing.T, l *Log) {
	t.Helper()
	if !l.store.syncer.lead(l) {
		t.Fatal("somebody else has a round of a log nobody wrote to")
	}
}

// TestRoundBeginsWithWhatComesAfterIt: a round has the disk begin with all whole pages there are, and moves
// the marks no further than it planned.
func TestRoundBeginsWithWhatComesAfterIt(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage})
	if err != nil {
		t.Fatal(err)
	}
	leadRound(t, l)
	big := strings.Repeat("x", 60<<10)
	for range 40 { // more than aheadMin, in several segments
		appendValues(t, l, big)
	}
	if !l.beginRound() {
		t.Fatal("no round")
	}
	planned := l.End()
	l.planSegments()
	for range 100 {
		appendValues(t, l, big)
	}
	l.writeAhead()
	begun := int64(0)
	for _, seg := range *l.segs.Load() {
		if seg.begun > seg.published.Load() || seg.begun > seg.unmapped.Load() {
			t.Errorf("segment %s: the disk began with %d bytes of %d, %d are unmapped",
				seg.path, seg.begun, seg.published.Load(), seg.unmapped.Load())
		}
		begun += seg.begun
	}
	if begun < 3<<20 {
		t.Errorf("the disk began with %d bytes", begun)
	}
	if l.DurableEnd() > planned {
		t.Errorf("durable end %d: want no more than was planned", l.DurableEnd())
	}
	s.syncer.end(l)
	if err := l.Sync(t.Context()); err != nil || l.DurableEnd() != 140 {
		t.Errorf("durable end %d, error %v: want 140", l.DurableEnd(), err)
	}
}

// TestRoundOfASegmentLeftMeanwhile: what follows the plan of a round is the next one's.
func TestRoundOfASegmentLeftMeanwhile(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l := openLog(t, s, core.AckPage)
	leadRound(t, l)
	appendValues(t, l, "a")
	l.planSegments()
	plan := l.round.plan.segs
	for range 10 {
		appendValues(t, l, strings.Repeat("x", 60<<10))
	}
	for _, e := range plan {
		if err := l.syncSegment(e.seg, e.to); err != nil {
			t.Fatal(err)
		}
		if e.seg.synced.Load() != e.to {
			t.Errorf("synced up to %d: want %d", e.seg.synced.Load(), e.to)
		}
	}
	if first := (*l.segs.Load())[0]; !first.needsSync() {
		t.Error("a segment that got more after the plan needs no sync")
	}
	s.syncer.end(l)
	if err := l.Sync(t.Context()); err != nil || l.UnsyncedBytes() != 0 {
		t.Errorf("%d bytes are not synced, error %v", l.UnsyncedBytes(), err)
	}
}

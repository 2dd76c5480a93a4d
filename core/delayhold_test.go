package core

import (
	"testing"
	"time"
)

func TestDelayHold(t *testing.T) {
	d := NewDelay()
	d.Add(DelayEntry{Due: 100, Offset: 1})
	d.Add(DelayEntry{Due: 100, Offset: 2})
	if _, held, outcome, busy := d.Hold(1, 7, false); held || busy || outcome != DelayUnknown {
		t.Errorf("held another message: %v, %v, %v", held, outcome, busy)
	}
	e, held, _, _ := d.Hold(1, 7, true)
	if !held || e.Due != 100 {
		t.Fatalf("Hold = %+v, %v", e, held)
	}
	if _, held, _, busy := d.Hold(1, 7, true); held || !busy {
		t.Errorf("held twice: %v, busy %v", held, busy)
	}
	wantOffsets(t, "Take", d.Take(100, 10, nil), 2)
	if _, held, outcome, busy := d.Hold(2, 7, true); held || busy || outcome != DelayFired {
		t.Errorf("held what is being delivered: %v, %v, %v", held, outcome, busy)
	}
	d.Release(e)
	wantOffsets(t, "Take of what was released", d.Take(100, 10, nil), 1)
	d.Return(DelayEntry{Due: 100, Offset: 1})
	if _, held, _, _ = d.Hold(1, 7, true); !held {
		t.Fatal("what was released cannot be held again")
	}
	d.Apply(&DelayRecord{Kind: DelayEnd, End: DelayedEnd{Offset: 1, Outcome: DelayCancelled, Tag: 7}}, 3, 0)
	d.Replaced(1)
	d.Release(e) // of one that ended meanwhile
	if _, held, outcome, busy := d.Hold(1, 7, true); held || busy || outcome != DelayCancelled {
		t.Errorf("held what ended: %v, %v, %v", held, outcome, busy)
	}
}

func TestDelayApply(t *testing.T) {
	d := NewDelay()
	key := DelayKey{1, 2}
	d.Apply(&DelayRecord{Key: key, Message: Delayed{Due: 5_000_001, Replaces: -1}}, 10, 99)
	wantOffsets(t, "Take before", d.Take(5, 10, nil))
	d.Apply(&DelayRecord{Key: key, Message: Delayed{Due: 1, Relative: true, Replaces: 10}}, 11, 9_000_000)
	if d.State(10) != DelayGone || d.Outcome(10, key.Tag()) != DelayMoved {
		t.Errorf("what was replaced has state %d, outcome %v", d.State(10), d.Outcome(10, key.Tag()))
	}
	d.Apply(&DelayRecord{Kind: DelayMark, Mark: DelayMarkAt{Offset: 11}}, 12, 0)
	wantOffsets(t, "Take at 9", d.Take(9, 10, nil))
	wantOffsets(t, "Take at 10", d.Take(10, 10, nil), 11)
	d.Apply(&DelayRecord{Kind: DelayEnd, End: DelayedEnd{Offset: 11, Outcome: DelayFired}}, 13, 0)
	if d.Taken() != 0 {
		t.Error("an end did not end a message")
	}
}

func TestDelayDelivered(t *testing.T) {
	d := NewDelay()
	key := DelayKey{1, 2}
	r := DelayRecord{Key: key, Message: Delayed{Due: 5, Replaces: -1}}
	d.Apply(&r, 10, 0)
	if d.Delivered(DelayHandle{Offset: 10, Tag: key.Tag()}, &DelayRecord{Key: DelayKey{1, 3}}) {
		t.Error("the handle of another message ended one")
	}
	if d.Delivered(DelayHandle{Offset: 10, Tag: key.Tag() + 1}, &r) {
		t.Error("a handle with another tag ended a message")
	}
	if !d.Delivered(DelayHandle{Offset: 10, Tag: key.Tag()}, &r) || d.Waiting() != 0 ||
		d.Outcome(10, key.Tag()) != DelayFired {
		t.Errorf("%d wait, outcome %v", d.Waiting(), d.Outcome(10, key.Tag()))
	}
	if d.Delivered(DelayHandle{Offset: 10, Tag: key.Tag()}, &r) {
		t.Error("ended twice")
	}
}

func TestDelayRest(t *testing.T) {
	d := NewDelay()
	if _, _, found := d.Left(0); found {
		t.Error("a time that is left until nothing")
	}
	const ms = int64(time.Millisecond)
	d.Add(DelayEntry{Due: 100, Offset: 1})
	at, left, found := d.Left(10 * ms)
	if then := 10*ms + int64(left); !found || left <= 0 || at > 100 || DelayNow(then) != at {
		t.Errorf("Left = %d, %v, %v", at, left, found)
	}
	if DelayNow(100*ms) != 99 || DelayNow(100*ms+delayMargin) != 100 {
		t.Error("a message is due before its time and a margin have passed")
	}
	for left, want := range map[time.Duration]time.Duration{time.Second: time.Second,
		time.Minute: delayRestMin, 256 * time.Minute: time.Minute, 1e6 * time.Hour: delayRestMax} {
		if got := DelayRest(left); got != want {
			t.Errorf("DelayRest(%v) = %v, want %v", left, got, want)
		}
	}
}

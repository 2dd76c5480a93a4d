package core

import "testing"

func wantMark(t *testing.T, what string, l *DelayLane, look bool, end, at int64) {
	t.Helper()
	got, write := l.NextMark(look, end)
	if !write {
		got = -1
	}
	if got != at {
		t.Errorf("%s: the next mark is at %d, want %d", what, got, at)
	}
}

func TestDelayLaneMarks(t *testing.T) {
	var l DelayLane
	wantMark(t, "no mark yet", &l, true, 1<<30, -1)
	opened := func(what string, start, end, at int64, mark, sure bool) {
		t.Helper()
		gotAt, gotMark, gotSure := l.Opened(start, end)
		if gotMark != mark || gotSure != sure || mark && gotAt != at {
			t.Errorf("Opened %s = %d, %v, %v", what, gotAt, gotMark, gotSure)
		}
	}
	opened("without a mark", 3, 7, 7, true, false)
	l.Found()
	opened("without a mark, and something was found", 3, 7, 3, true, false)
	l.Read(&DelayMarkAt{Offset: 5})
	opened("far from its mark, and something was found", 3, 6+delayMarkAgain, 0, false, false)
	l = DelayLane{}
	if l.Since(3, 7) != 3 {
		t.Errorf("without a mark read from %d on", l.Since(3, 7))
	}
	l.Read(&DelayMarkAt{Offset: 5})
	if l.Since(3, 7) != 5 || l.Since(6, 7) != 6 || l.Since(0, 4) != 4 {
		t.Errorf("read from %d, %d and %d on", l.Since(3, 7), l.Since(6, 7), l.Since(0, 4))
	}
	opened("near its mark", 0, 7, 0, false, false)
	opened("after it lost its end", 0, 4, 4, true, true)
	opened("far from its mark", 0, 6+delayMarkAgain, 6+delayMarkAgain, true, false)
	wantMark(t, "idle and grown", &l, true, 5+delayMarkIdle, 5+delayMarkIdle)
	wantMark(t, "idle, not the time", &l, false, 5+delayMarkIdle, -1)
	var ends DelayEndings
	l.Sent()
	wantMark(t, "one in flight", &l, true, 5+delayMarkIdle, -1)
	l.Stored()
	ends.Add(DelayEnding{Lane: &l, At: 10, Offset: 1})
	wantMark(t, "an end that is not read back", &l, true, 11, -1)
	ends.ReadBack(1)
	wantMark(t, "one delivery, not the time", &l, false, 11, -1)
	wantMark(t, "one delivery", &l, true, 11, 11)
	l.Wrote(11)
	wantMark(t, "after the mark", &l, true, 11, -1)
	for i := range int64(delayMarkFires) {
		l.Sent()
		l.Stored()
		ends.Add(DelayEnding{Lane: &l, At: 11 + i, Offset: 2 + i})
		ends.ReadBack(2 + i)
	}
	wantMark(t, "many deliveries", &l, false, 2000, 11+delayMarkFires)
	l.Read(&DelayMarkAt{Removed: true})
	if l.Marked() {
		t.Error("a removed mark is there")
	}
}

// TestDelayEndingsThatWereRefused: those before one that was read back are given to be written again, and no
// mark passes them until they are there.
func TestDelayEndingsThatWereRefused(t *testing.T) {
	var l, other DelayLane
	l.Read(&DelayMarkAt{})
	other.Read(&DelayMarkAt{})
	var ends DelayEndings
	add := func(e DelayEnding) {
		e.Lane.Sent()
		e.Lane.Stored()
		ends.Add(e)
	}
	for i := range int64(4) {
		add(DelayEnding{Lane: &l, At: 10 + i, Offset: i})
	}
	add(DelayEnding{Lane: &other, At: 3, Offset: 9})
	refused := ends.ReadBack(2)
	if len(refused) != 2 || refused[0].Offset != 0 || refused[1].Offset != 1 {
		t.Fatalf("refused are %+v, want those of 0 and 1", refused)
	}
	for _, e := range refused {
		ends.Add(e)
	}
	wantMark(t, "two are missing", &l, true, 20, -1)
	ends.ReadBack(9) // has 3 written again
	wantMark(t, "of another target", &other, true, 20, 4)
	if ends.Len() != 2 {
		t.Errorf("%d ends are on their way, want 2", ends.Len())
	}
	ends.ReadBack(0)
	wantMark(t, "one is missing", &l, true, 20, -1)
	if again := ends.ReadBack(1); len(again) != 0 {
		t.Errorf("refused again are %+v", again)
	}
	wantMark(t, "none of those is missing", &l, true, 20, -1)
	if ends.ReadBack(77) != nil || ends.Len() != 0 || l.Idle() || !other.Idle() {
		t.Errorf("%d ends are on their way, idle %v and %v", ends.Len(), l.Idle(), other.Idle())
	}
}

func TestDelayLaneThatRefuses(t *testing.T) {
	var l DelayLane
	now, told := int64(1000), 0
	for _, want := range []int64{10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000} {
		l.Sent()
		l.Sent()
		retry, long := l.Refused(now)
		if again, more := l.Refused(now); retry != now+want || again != retry || more {
			t.Errorf("tried again after %d ms, and %d; want %d", retry-now, again-now, want)
		}
		if long {
			told++
		}
		if l.Blocked(retry-1) != retry || l.Blocked(retry) != 0 {
			t.Errorf("blocked until %d, want %d", l.Blocked(retry-1), retry)
		}
		now = retry
	}
	if told != 5 || !l.Idle() {
		t.Errorf("told %d times, idle %v", told, l.Idle())
	}
	l.Sent()
	l.Stored()
	l.Sent()
	if retry, _ := l.Refused(now); retry != now+10 {
		t.Errorf("after one that was stored, tried again after %d ms", retry-now)
	}
	if until := l.Block(now); until != now+10_000 || l.Blocked(now) != until {
		t.Errorf("Block gives %d", until-now)
	}
	if until := l.Blocked(now - 1); until != 0 {
		t.Errorf("blocked for %d ms by a clock that was set back", until-now+1)
	}
	l.Sent()
	if retry, _ := l.Refused(now - 1); retry > now-1+delayBackoffMax {
		t.Errorf("refused by a clock that was set back, tried again after %d ms", retry-now+1)
	}
}

// TestDelayLaneUnready: messages at disk wait until their records are on the disk, in order, and those at
// page do not.
func TestDelayLaneUnready(t *testing.T) {
	var l DelayLane
	const stored = 1000_000_000
	want := func(what string, level Ack, offset, durable, now, want int64) {
		t.Helper()
		e := DelayEntry{Due: 100, Offset: offset}
		if got := l.Unready(&Delayed{Level: level}, e, stored, durable, now); got != want {
			t.Errorf("%s waits until %d, want %d", what, got, want)
		}
	}
	want("at page", AckPage, 10, 10, 1000, 0)
	want("on the disk", AckDisk, 9, 10, 1000, 0)
	want("not on the disk", AckDisk, 10, 10, 1000, 1001)
	want("behind it", AckDisk, 11, 10, 1000, 1001)
	want("behind it, on the disk", AckDisk, 11, 12, 1000, 1001)
	want("before it", AckDisk, 9, 12, 1000, 0)
	want("when its time has come", AckDisk, 10, 12, 1001, 0)
	want("behind it", AckDisk, 11, 12, 1001, 0)
	want("after 40 ms", AckDisk, 12, 12, 1040, 1050)
	want("at quorum", AckQuorum, 13, 12, 1041, 1050)
	want("an older one", AckDisk, 12, 12, 1049, 1050)
	want("after a second", AckDisk, 12, 12, 2000, 2100)
	want("one before it", AckDisk, 11, 11, 2040, 2140)
	want("behind that", AckDisk, 12, 13, 2100, 2140)
	want("behind that, by a clock that was set back", AckDisk, 12, 13, 1500, 0)
}

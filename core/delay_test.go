package core

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func offsetsOf(list []DelayEntry) []int64 {
	var offsets []int64
	for _, e := range list {
		offsets = append(offsets, e.Offset)
	}
	return offsets
}

func wantOffsets(t *testing.T, what string, got []DelayEntry, want ...int64) {
	t.Helper()
	if !slices.Equal(offsetsOf(got), want) {
		t.Errorf("%s gave out %v, want %v", what, offsetsOf(got), want)
	}
}

func TestDelayGivesOutInOrderAndNeverEarly(t *testing.T) {
	d := NewDelay()
	for offset, due := range []int64{30, 10, 20, 10} {
		d.Add(DelayEntry{Due: due, Offset: int64(offset)})
	}
	wantOffsets(t, "Take at 9", d.Take(9, 10, nil))
	if at, found := d.Next(); !found || at > 10 {
		t.Errorf("Next = %d, %v; want at most 10", at, found)
	}
	wantOffsets(t, "Take at 10", d.Take(10, 10, nil), 1, 3)
	wantOffsets(t, "Take at 100, one", d.Take(100, 1, nil), 2)
	wantOffsets(t, "Take at 100", d.Take(100, 10, nil), 0)
	if d.Waiting() != 0 || d.Taken() != 4 {
		t.Errorf("%d wait, %d are taken; want 0 and 4", d.Waiting(), d.Taken())
	}
}

func TestDelayWithAClockThatIsSet(t *testing.T) {
	d := NewDelay()
	d.Add(DelayEntry{Due: 1000, Offset: 0})
	d.Add(DelayEntry{Due: 5000, Offset: 1})
	wantOffsets(t, "Take at 2000", d.Take(2000, 10, nil), 0)
	wantOffsets(t, "Take at 500, after a step back", d.Take(500, 10, nil))
	d.Add(DelayEntry{Due: 700, Offset: 2}) // the wheels are at 2000
	wantOffsets(t, "Take at 600", d.Take(600, 10, nil))
	if at, _ := d.Next(); at != 700 {
		t.Errorf("Next = %d, want 700", at)
	}
	wantOffsets(t, "Take at 700", d.Take(700, 10, nil), 2)
	wantOffsets(t, "Take at 2000 again", d.Take(2000, 10, nil))
	wantOffsets(t, "Take at 9000, a step forward", d.Take(9000, 10, nil), 1)
}

func TestDelayTriesAgainWhenTheClockWasSetBack(t *testing.T) {
	d := NewDelay()
	for offset, due := range []int64{1000, 400, 700} {
		d.Add(DelayEntry{Due: due, Offset: int64(offset)})
	}
	for i, e := range d.Take(1000, 10, nil) {
		e.Retry = 1010 + 10*int64(i)
		d.Return(e)
	}
	wantOffsets(t, "Take before the time to try again", d.Take(1009, 10, nil))
	wantOffsets(t, "Take at 600, after a step back", d.Take(600, 10, nil), 1)
	wantOffsets(t, "Take at 999", d.Take(999, 10, nil), 2)
	wantOffsets(t, "Take at 1000", d.Take(1000, 10, nil), 0)
}

func TestDelayRemoveReturnEnd(t *testing.T) {
	d := NewDelay()
	for offset := range int64(4) {
		d.Add(DelayEntry{Due: 100, Offset: offset})
	}
	if e, ok := d.Remove(1); !ok || e.Due != 100 {
		t.Fatalf("Remove(1) = %v, %v", e, ok)
	}
	if _, ok := d.Remove(1); ok || d.State(1) != DelayTaken {
		t.Errorf("a removed message can be removed again, state %d", d.State(1))
	}
	d.End(DelayedEnd{Offset: 1, Outcome: DelayCancelled})
	if d.State(1) != DelayGone || d.Outcome(1, 0) != DelayCancelled || d.Outcome(7, 0) != DelayUnknown {
		t.Errorf("state %d, outcome %v; want gone and cancelled", d.State(1), d.Outcome(1, 0))
	}
	taken := d.Take(100, 10, nil)
	wantOffsets(t, "Take", taken, 0, 2, 3)
	taken[1].Retry = 300
	d.Return(taken[1])
	if d.State(2) != DelayWaiting {
		t.Errorf("a returned message has state %d", d.State(2))
	}
	wantOffsets(t, "Take before Retry", d.Take(299, 10, nil))
	wantOffsets(t, "Take at Retry", d.Take(300, 10, nil), 2)
	taken[1].Retry = 400
	d.Return(taken[1])
	if _, ok := d.Remove(2); !ok {
		t.Error("a returned message cannot be cancelled")
	}
	d.End(DelayedEnd{Offset: 0, Outcome: DelayFired})
	if d.Outcome(0, 0) != DelayFired || d.Outcome(0, 1) != DelayUnknown || d.Waiting() != 0 {
		t.Errorf("outcome %v, %d wait", d.Outcome(0, 0), d.Waiting())
	}
}

func TestDelayLimitsWhatIsOverdue(t *testing.T) {
	d := NewDelay()
	const n = 10_000
	for offset := range int64(n) {
		d.Add(DelayEntry{Due: 1000 + offset/10, Offset: offset})
	}
	d.Add(DelayEntry{Due: 100_000, Offset: n})
	now, total := int64(100_000), d.Take(100_000, n, nil)
	if len(total) != delayOverdueBurst {
		t.Errorf("the first Take gave out %d, want %d", len(total), delayOverdueBurst)
	}
	for len(total) < n {
		now++
		before := len(total)
		if total = d.Take(now, n, total); len(total)-before > DelayOverduePerMilli {
			t.Fatalf("%d in a millisecond, want at most %d", len(total)-before, DelayOverduePerMilli)
		}
		if now > 200_000 {
			t.Fatal("overdue messages are held back for ever")
		}
	}
	if !slices.IsSortedFunc(total, DelayEntry.Compare) {
		t.Error("overdue messages are out of order")
	}
	total = d.Take(now+5, n, total)
	if last := total[len(total)-1]; last.Offset != n {
		t.Errorf("what is not overdue came as %d, want it last", last.Offset)
	}
}

func TestDelayForgetsOldOutcomes(t *testing.T) {
	d := NewDelay()
	for offset := range int64(delayRemembered + 10) {
		d.End(DelayedEnd{Offset: offset, Outcome: DelayFired})
	}
	if d.Outcome(9, 0) != DelayUnknown || d.Outcome(10, 0) != DelayFired || len(d.ended) != delayRemembered {
		t.Errorf("outcomes %v and %v, %d remembered", d.Outcome(9, 0), d.Outcome(10, 0), len(d.ended))
	}
}

func TestDelayScan(t *testing.T) {
	d := NewDelay()
	var want []int64
	for offset := range int64(5000) {
		d.Add(DelayEntry{Due: 10_000 - offset, Offset: offset})
	}
	for offset := range int64(5000) {
		if offset%7 == 0 {
			d.End(DelayedEnd{Offset: offset, Outcome: DelayCancelled})
		} else {
			want = append(want, offset)
		}
	}
	var got []int64
	for next, done := int64(0), false; !done; {
		next, done = d.Scan(next, 100, func(e DelayEntry) {
			if e.Due != 10_000-e.Offset {
				t.Fatalf("offset %d is due at %d", e.Offset, e.Due)
			}
			got = append(got, e.Offset)
		})
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d found, want %d", len(got), len(want))
	}
}

// TestDelayModel compares a Delay with lists, while the clock jumps.
func TestDelayModel(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		d := NewDelay()
		waiting, taken := map[int64]int64{}, map[int64]DelayEntry{}
		now, next := int64(1_000_000), int64(0)
		for range 2000 {
			switch random.IntN(8) {
			case 0, 1, 2:
				due := now + random.Int64N(3000)
				d.Add(DelayEntry{Due: due, Offset: next})
				waiting[next] = due
				next++
			case 3:
				now += random.Int64N(2000) - 700 // often back
			case 4:
				if next > 0 {
					offset := random.Int64N(next)
					e, ok := d.Remove(offset)
					if due, waits := waiting[offset]; ok != waits || ok && e.Due != due {
						t.Fatalf("LEAT_SEED=%d: Remove(%d) = %v, %v; it is due at %d, %v", seed, offset, e,
							ok, due, waits)
					}
					if ok {
						taken[offset] = e
						delete(waiting, offset)
					}
				}
			case 5:
				for offset, e := range taken {
					if delete(taken, offset); random.IntN(2) == 0 {
						d.Return(e)
						waiting[offset] = e.Due
					} else {
						d.End(DelayedEnd{Offset: offset, Outcome: DelayFired})
					}
					break
				}
			default:
				for _, e := range d.Take(now, 1+random.IntN(30), nil) {
					due, waits := waiting[e.Offset]
					if !waits || due != e.Due || due > now {
						t.Fatalf("LEAT_SEED=%d: at %d gave out %v, which is due at %d, waits %v", seed, now,
							e, due, waits)
					}
					delete(waiting, e.Offset)
					taken[e.Offset] = e
				}
			}
			if d.Waiting() != len(waiting) || d.Taken() != len(taken) {
				t.Fatalf("LEAT_SEED=%d: %d wait and %d are taken, want %d and %d", seed, d.Waiting(),
					d.Taken(),
					len(waiting), len(taken))
			}
		}
		now += 10_000
		for i := 0; len(waiting) > 0; i++ {
			for _, e := range d.Take(now+int64(i), 1000, nil) {
				delete(waiting, e.Offset)
			}
			if i > 100_000 {
				t.Fatalf("LEAT_SEED=%d: %d are never given out", seed, len(waiting))
			}
		}
	}
}

package core

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// delayModel is a list that does the same.
type delayModel struct {
	now  int64
	list []delayed // by offset
}

type delayed struct{ due, offset int64 }

func (m *delayModel) advance(now int64, most int) []delayed {
	m.now = max(m.now, now)
	var due []delayed
	for _, e := range m.list {
		if e.due <= m.now {
			due = append(due, e)
		}
	}
	slices.SortStableFunc(due, func(a, b delayed) int { return int(min(max(a.due-b.due, -1), 1)) })
	due = due[:min(most, len(due))]
	m.list = slices.DeleteFunc(m.list, func(e delayed) bool { return slices.Contains(due, e) })
	return due
}

func TestDelayIndexModel(t *testing.T) {
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 2))
		reach := int64(1) << (1 + seed%40)
		start := dice.Int64N(1 << 41)
		d, m := NewDelayIndex(start), &delayModel{now: start}
		offset := int64(0)
		for range 1500 {
			switch dice.IntN(5) {
			case 0, 1, 2:
				offset += 1 + dice.Int64N(3)
				due := m.now + dice.Int64N(reach) - reach/8
				d.Add(due, offset)
				m.list = append(m.list, delayed{max(due, m.now), offset})
			case 3:
				at := dice.Int64N(offset + 1)
				due, found := d.Remove(at)
				i := slices.IndexFunc(m.list, func(e delayed) bool { return e.offset == at })
				if found != (i >= 0) || found && due != m.list[i].due {
					t.Fatalf("LEAT_SEED=%d: Remove(%d) = %d, %v; want %v", seed, at, due, found, i >= 0)
				}
				if found {
					m.list = slices.Delete(m.list, i, i+1)
				}
			case 4:
				now, most := m.now+dice.Int64N(reach/4+1)-1, dice.IntN(20)
				before := m.now
				wakes, waits := d.Next()
				var got []delayed
				d.Advance(now, most, func(due, offset int64) { got = append(got, delayed{due, offset}) })
				want := m.advance(now, most)
				if most == 0 || len(want) == most {
					m.now = d.now // it stops where there is more
				}
				if !slices.Equal(got, want) || d.Len() != len(m.list) {
					t.Fatalf("LEAT_SEED=%d: Advance(%d, %d) fired %v, want %v; %d wait, want %d",
						seed, now, most, got, want, d.Len(), len(m.list))
				}
				if len(want) > 0 && (!waits || wakes > max(want[0].due, before)) {
					t.Fatalf("LEAT_SEED=%d: Next was %d, %v; the first was due at %d", seed, wakes, waits, want[0].due)
				}
			}
		}
	}
}

// TestDelayIndexWakes says when to look again, so that following it fires everything in time, with few looks.
func TestDelayIndexWakes(t *testing.T) {
	const year = int64(365 * 24 * 3600 * 1000)
	d := NewDelayIndex(1_800_000_000_000)
	dues := []int64{d.now + 1, d.now + 999, d.now + 86_400_000, d.now + 10*year}
	for i, due := range dues {
		d.Add(due, int64(i))
	}
	looks, fired := 0, []int64(nil)
	for at, found := d.Next(); found; at, found = d.Next() {
		looks++
		d.Advance(at, 100, func(due, _ int64) {
			if due != at {
				t.Errorf("due at %d fired at %d", due, at)
			}
			fired = append(fired, due)
		})
	}
	if !slices.Equal(fired, dues) || looks > len(dues)*delayLevels {
		t.Errorf("fired %v after %d looks, want %v", fired, looks, dues)
	}
}

// TestDelayIndexKeepsFew: one in a thousand that waits long keeps no more than its share.
func TestDelayIndexKeepsFew(t *testing.T) {
	d := NewDelayIndex(0)
	for i := range int64(1_000_000) {
		due := i + 50
		if i%1000 == 0 {
			due = 10_000_000 + i
		}
		d.Add(due, i)
		d.Advance(i, 100, func(int64, int64) {})
	}
	d.Advance(2_000_000, 100, func(int64, int64) {})
	if d.Len() != 1000 || len(d.order) > 8 {
		t.Errorf("%d wait in %d chunks", d.Len(), len(d.order))
	}
	next := int64(0)
	d.Advance(20_000_000, 2000, func(due, offset int64) {
		if offset != next || due != 10_000_000+offset {
			t.Fatalf("offset %d fired at %d, want offset %d", offset, due, next)
		}
		next += 1000
	})
	if d.Len() != 0 {
		t.Errorf("%d wait", d.Len())
	}
}

// TestDelayIndexReusesMemory: what fired long ago costs nothing.
func TestDelayIndexReusesMemory(t *testing.T) {
	d := NewDelayIndex(0)
	for i := range int64(200_000) {
		d.Add(i+50, i)
		d.Advance(i, 100, func(int64, int64) {})
	}
	if d.Len() != 50 || len(d.chunks) > 3 || len(d.order) > 3 {
		t.Errorf("%d wait in %d chunks of %d", d.Len(), len(d.order), len(d.chunks))
	}
}

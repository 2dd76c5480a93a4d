package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
)

// strike is what the actor reads of one.
type strike struct {
	Cost string `json:"Cost Total $"` // decimal
}

// airport is the totals of one.
type airport struct {
	strikes int
	cost    int64 // dollars
}

// getTotals asks for the totals as soon as a number of strikes have been handled.
type getTotals struct {
	actors.Reply[map[string]airport]
	handled int64
}

// totals is the actor. Only its Receive touches it, one message at a time, so it needs no lock.
type totals struct {
	airports map[string]airport
	next     map[int32]int64 // by partition: the offset after the last one counted
	handled  int64
	waiting  []getTotals
}

func newTotals() *totals {
	return &totals{airports: map[string]airport{}, next: map[int32]int64{}}
}

// Receive implements actors.Actor.
func (t *totals) Receive(ctx actors.Context) {
	switch m := ctx.Message().(type) {
	case *leat.Message:
		t.count(m)
	case getTotals:
		t.waiting = append(t.waiting, m)
	default:
		return
	}
	t.answer()
}

// count adds a strike. A message is delivered again if Receive panicked over it, so it is counted last,
// and one that was counted is left out.
func (t *totals) count(m *leat.Message) {
	if m.Offset < t.next[m.Partition] {
		return
	}
	var s strike
	if err := json.Unmarshal(m.Value, &s); err != nil {
		panic(fmt.Errorf("strike at %d/%d: %w", m.Partition, m.Offset, err))
	}
	cost, err := strconv.ParseInt(s.Cost, 10, 64)
	if err != nil {
		panic(fmt.Errorf("cost at %d/%d: %w", m.Partition, m.Offset, err))
	}
	a := t.airports[string(m.Key)]
	t.airports[string(m.Key)] = airport{a.strikes + 1, a.cost + cost}
	t.next[m.Partition] = m.Offset + 1
	t.handled++
}

// answer tells those who wait for no more strikes than there were.
func (t *totals) answer() {
	late := t.waiting[:0]
	for _, m := range t.waiting {
		if t.handled < m.handled {
			late = append(late, m)
			continue
		}
		m.Answer(maps.Clone(t.airports), nil)
	}
	t.waiting = late
}

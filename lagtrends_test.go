package leat

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// groupsBackend answers nothing but Groups.
type groupsBackend struct {
	Backend
	groups []GroupInfo
	err    error
}

func (b *groupsBackend) Groups(context.Context) ([]GroupInfo, error) {
	list := make([]GroupInfo, len(b.groups))
	for i, g := range b.groups {
		list[i] = g
		list[i].Partitions = append([]GroupPartition(nil), g.Partitions...)
	}
	return list, b.err
}

func TestGroupsTellTrends(t *testing.T) {
	backend := &groupsBackend{groups: []GroupInfo{{Group: "g", Topic: "t", Partitions: []GroupPartition{
		{Partition: 0, Committed: 100, LagRecords: 50}, {Partition: 1, Committed: -1, LagRecords: 9},
		{Partition: 2, Committed: 7, LagRecords: 0}}}}}
	bus, now := NewBus(backend), clock.NewManual(0)
	bus.lags.clock = now
	step := func(d time.Duration, acked, appended int64) []GroupPartition {
		t.Helper()
		now.Advance(d)
		p := &backend.groups[0].Partitions[0]
		p.Committed += acked
		p.LagRecords += appended - acked
		groups, err := bus.Groups(t.Context())
		if !errors.Is(err, backend.err) || len(groups) != 1 {
			t.Fatalf("Groups = %+v, %v", groups, err)
		}
		return groups[0].Partitions
	}
	for i, p := range step(0, 0, 0) {
		want := time.Duration(-1)
		if i == 2 {
			want = 0
		}
		if p.AckRate != -1 || p.TimeToZero != want {
			t.Errorf("partition %d, seen once: %v/s, zero in %v; want -1, %v", i, p.AckRate, p.TimeToZero, want)
		}
	}
	got := step(10*time.Second, 40, 20)
	if p := got[0]; p.AckRate != 4 || p.TimeToZero != 15*time.Second {
		t.Errorf("acked 40 and 20 came in 10 s: %v/s, zero in %v; want 4/s and 15s", p.AckRate, p.TimeToZero)
	}
	if p := got[1]; p.AckRate != -1 || p.TimeToZero != -1 {
		t.Errorf("nothing was ever acked: %+v", p)
	}
	if p := got[2]; p.AckRate != 0 || p.TimeToZero != 0 {
		t.Errorf("nothing to do: %+v", p)
	}
	if p := step(10*time.Second, 0, 200)[0]; p.AckRate != 2 || p.TimeToZero != -1 {
		t.Errorf("the lag grows: %v/s, zero in %v; want 2/s and never", p.AckRate, p.TimeToZero)
	}
	// A node that does not answer: what is missing is not forgotten.
	all := backend.groups
	backend.groups, backend.err = nil, ErrUnavailable
	if _, err := bus.Groups(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	backend.groups, backend.err = all, nil
	if p := step(10*time.Second, 60, 0)[0]; p.AckRate != 100.0/30 {
		t.Errorf("after an answer that was not complete: %v/s, want 3.33/s", p.AckRate)
	}
	// A group that is gone is.
	backend.groups = nil
	if _, err := bus.Groups(t.Context()); err != nil {
		t.Fatal(err)
	}
	backend.groups = all
	if p := step(time.Second, 1, 0)[0]; p.AckRate != -1 {
		t.Errorf("a group that was gone: %v/s, want -1", p.AckRate)
	}
}

func TestTrendsAreBounded(t *testing.T) {
	backend := &groupsBackend{}
	for range maxLagTrends/1000 + 1 {
		name := string(rune('a' + len(backend.groups)))
		backend.groups = append(backend.groups, GroupInfo{Group: name, Topic: "t"})
	}
	for i := range backend.groups {
		for p := range int32(1000) {
			backend.groups[i].Partitions = append(backend.groups[i].Partitions, GroupPartition{Partition: p})
		}
	}
	bus, now := NewBus(backend), clock.NewManual(0)
	bus.lags.clock = now
	known := 0
	for range 2 {
		now.Advance(time.Second)
		groups, err := bus.Groups(t.Context())
		if err != nil || len(bus.lags.known) != maxLagTrends {
			t.Fatalf("%d trends are kept, %v; want %d", len(bus.lags.known), err, maxLagTrends)
		}
		known = 0
		for i := range groups {
			for _, p := range groups[i].Partitions {
				if p.AckRate >= 0 {
					known++
				}
			}
		}
	}
	if known != maxLagTrends {
		t.Errorf("%d trends are told, want %d", known, maxLagTrends)
	}
}

func TestGroupLagSumsUp(t *testing.T) {
	g := GroupInfo{Partitions: []GroupPartition{
		{LagRecords: 3, LagTime: time.Second, AckRate: 2, TimeToZero: time.Minute},
		{LagRecords: 4, LagTime: time.Minute, AckRate: 0.5, TimeToZero: time.Second}}}
	if got, want := g.Lag(), (GroupLag{7, time.Minute, 2.5, time.Minute}); got != want {
		t.Errorf("Lag() = %+v, want %+v", got, want)
	}
	g.Partitions[1] = GroupPartition{LagRecords: -1, LagTime: -1, AckRate: -1, TimeToZero: -1}
	g.Partitions = append(g.Partitions, GroupPartition{LagRecords: 5})
	if got, want := g.Lag(), (GroupLag{-1, -1, -1, -1}); got != want {
		t.Errorf("with one that is not known: %+v, want %+v", got, want)
	}
	if got := (&GroupInfo{}).Lag(); got != (GroupLag{}) {
		t.Errorf("without partitions: %+v", got)
	}
}

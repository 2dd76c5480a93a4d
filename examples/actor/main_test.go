package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
)

// expect computes the totals from the file alone.
func expect(t *testing.T) map[string]airport {
	t.Helper()
	want := map[string]airport{}
	for _, line := range strings.Split(strings.TrimSpace(strikes), "\n") {
		var fields map[string]string
		if err := json.Unmarshal([]byte(line[strings.IndexByte(line, '{'):]), &fields); err != nil {
			t.Fatal(err)
		}
		cost, err := json.Number(fields["Cost Total $"]).Int64()
		if err != nil {
			t.Fatal(err)
		}
		a := want[fields["Airport Name"]]
		want[fields["Airport Name"]] = airport{a.strikes + 1, a.cost + cost}
	}
	return want
}

func runActor(t *testing.T, data string, actor actors.Actor) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := run(ctx, data, actor)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReplayGivesTheSameTotals(t *testing.T) {
	want, data := expect(t), t.TempDir()
	total := int64(strings.Count(strikes, "\n"))
	for round, counts := range []result{{published: total}, {replayed: total}, {replayed: total}} {
		got := runActor(t, data, newTotals())
		if got.published != counts.published || got.replayed != counts.replayed {
			t.Errorf("run %d: %d replayed, %d published; want %d and %d", round,
				got.replayed, got.published, counts.replayed, counts.published)
		}
		if !maps.Equal(got.airports, want) {
			t.Errorf("run %d: totals differ from the file: %v, want %v", round, got.airports, want)
		}
	}
}

// failing panics over some messages, before or after the actor behind it has counted them.
type failing struct {
	actors.Actor
	fail   func(m *leat.Message, attempt int) (before, after bool)
	panics int
}

func (f *failing) Receive(ctx actors.Context) {
	m, ok := ctx.Message().(*leat.Message)
	if !ok {
		f.Actor.Receive(ctx)
		return
	}
	before, after := f.fail(m, actors.Attempt(ctx))
	if before {
		f.panics++
		panic("before counting")
	}
	f.Actor.Receive(ctx)
	if after {
		f.panics++
		panic("after counting")
	}
}

func TestPanicIsRetriedAndCountedOnce(t *testing.T) {
	tests := []struct {
		name   string
		fail   func(m *leat.Message, attempt int) (before, after bool)
		panics int
	}{
		{"before counting", func(m *leat.Message, attempt int) (bool, bool) {
			return m.Partition == 1 && m.Offset == 50 && attempt == 1, false
		}, 1},
		{"after counting", func(m *leat.Message, attempt int) (bool, bool) {
			return false, m.Partition == 1 && m.Offset == 50 && attempt == 1
		}, 1},
		{"twice, the first of every partition", func(m *leat.Message, attempt int) (bool, bool) {
			return m.Offset == 0 && attempt <= 2, false
		}, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			actor := &failing{Actor: newTotals(), fail: tt.fail}
			got := runActor(t, t.TempDir(), actor)
			if want := expect(t); !maps.Equal(got.airports, want) {
				t.Errorf("totals differ from the file: %v, want %v", got.airports, want)
			}
			if actor.panics != tt.panics {
				t.Errorf("%d panics, want %d", actor.panics, tt.panics)
			}
		})
	}
}

// TestInterruptedPublishingGoesOn: what an interrupted run stored is not published again.
func TestInterruptedPublishingGoesOn(t *testing.T) {
	data := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	interrupting := &failing{Actor: newTotals(), fail: func(m *leat.Message, _ int) (bool, bool) {
		if m.Offset == 10 {
			cancel()
		}
		return false, false
	}}
	if _, err := run(ctx, data, interrupting); !errors.Is(err, context.Canceled) {
		t.Fatalf("run, interrupted = %v, want %v", err, context.Canceled)
	}
	got := runActor(t, data, newTotals())
	total := int64(strings.Count(strikes, "\n"))
	if got.replayed == 0 || got.replayed+got.published != total {
		t.Errorf("%d replayed and %d published, want %d together", got.replayed, got.published, total)
	}
	if want := expect(t); !maps.Equal(got.airports, want) {
		t.Errorf("totals differ from the file: %v, want %v", got.airports, want)
	}
}

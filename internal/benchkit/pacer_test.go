package benchkit

import (
	"testing"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func TestPacerKeepsIntendedTimes(t *testing.T) {
	c := clock.NewManual(0)
	p := NewPacer(c, 3)
	start := c.Mono()
	if _, ok := p.Take(start); !ok {
		t.Fatal("message 0 is not due at the start")
	}
	if _, ok := p.Take(start); ok {
		t.Fatal("message 1 of 3 per second is due at the start")
	}
	for i := int64(1); i < 1000; i++ {
		want := start + i*1e9/3
		if got := waitAt(c, p, want); got != want {
			t.Fatalf("intended time of message %d = %d; want %d", i, got-start, want-start)
		}
	}
}

// waitAt moves the clock to at before it waits, since nobody else does.
func waitAt(c *clock.Manual, p *Pacer, at int64) int64 {
	c.Advance(time.Duration(at - c.Mono()))
	return p.Wait()
}

func TestPacerChargesAStallToEveryMessage(t *testing.T) {
	c := clock.NewManual(0)
	p := NewPacer(c, 10_000)
	h := NewHistogram()
	for i := range 10_000 {
		if i == 5_000 {
			c.Advance(100 * time.Millisecond)
		}
		if behind := p.Due() - c.Mono(); behind > 0 {
			c.Advance(time.Duration(behind))
		}
		h.Record(c.Mono() - p.Wait())
	}
	got := h.Summary()
	if got.P99 < 70e3 || got.Max < 99e3 {
		t.Errorf("p99 %.0f µs, max %.0f µs after a stall of 100 ms; want at least 70,000 and 99,000",
			got.P99, got.Max)
	}
}

func TestPacerPostponed(t *testing.T) {
	c := clock.NewManual(0)
	p := NewPacer(c, 1000)
	p.Postpone(int64(time.Second))
	c.Advance(time.Second - 1)
	if due, ok := p.Take(c.Mono()); ok {
		t.Errorf("Take 1 ns before the postponed start = %d, true; want false", due)
	}
	c.Advance(1)
	if due, ok := p.Take(c.Mono()); !ok || due != c.Mono() {
		t.Errorf("Take at the postponed start = %d, %v; want %d, true", due, ok, c.Mono())
	}
}

func TestPacerDoesNotOverflow(t *testing.T) {
	c := clock.NewManual(0)
	p := NewPacer(c, 100_000_000)
	p.next = 1 << 50
	if due := p.Due() - p.start; due != (1<<50)*10 {
		t.Errorf("Due of message 2^50 at 10 ns = %d; want %d", due, int64(1<<50)*10)
	}
}

func TestRealPacerIsExact(t *testing.T) {
	p, h := NewPacer(clock.System, 100_000), NewHistogram()
	for range 2_000 {
		due := p.Wait()
		if now := clock.System.Mono(); now < due {
			t.Fatalf("Wait returned %d ns early", due-now)
		} else {
			h.Record(now - due)
		}
	}
	if got := h.Summary(); got.Count != 2_000 {
		t.Errorf("recorded %d of 2,000", got.Count)
	}
}

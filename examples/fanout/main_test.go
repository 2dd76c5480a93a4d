package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	for over := range lines {
		t.Run(over, func(t *testing.T) {
			o := options{over: over, subscribers: 100, rate: 1000, lasts: 500 * time.Millisecond, seed: 7}
			r, err := run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.ticks != 500 || r.delivered != 50_000 || !r.clean() || r.latencies.TotalCount() != 50_000 {
				t.Errorf("%d ticks, %d deliveries, %d measured, verdict %+v; want 500 and 50,000 and nothing lost",
					r.ticks, r.delivered, r.latencies.TotalCount(), r.verdict)
			}
			if r.took < 490*time.Millisecond {
				t.Errorf("a feed of half a second took %v", r.took)
			}
			checkReport(t, r, "100 subscribers, 500 ticks", "50000 deliveries", "lost 0, duplicated 0, reordered 0",
				"p50 ", "p99.9 ", "max ", "≤ ")
		})
	}
}

func checkReport(t *testing.T, r *result, wants ...string) {
	t.Helper()
	var out strings.Builder
	r.print(&out)
	for _, want := range wants {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

// TestLossyLosesAndTells: a reader that does not come in time loses ticks, and the report says so.
func TestLossyLosesAndTells(t *testing.T) {
	l, err := openRing(true)
	if err != nil {
		t.Fatal(err)
	}
	follow, err := l.subscribe()
	if err != nil {
		t.Fatal(err)
	}
	m := newMarket(1)
	const ticks = 3 * ringSlots
	for range ticks {
		sent := m.next(0)
		if err := l.send(&sent); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.send(&tick{number: ticks}); err != nil {
		t.Fatal(err)
	}
	s := newSubscriber(time.Now())
	if err := follow(t.Context(), s.handle); err != nil {
		t.Fatal(err)
	}
	r := newResult([]*subscriber{s}, ticks, time.Second)
	if r.lost < 2*ringSlots || r.lost+r.delivered != ticks || r.duplicated+r.reordered > 0 || r.clean() {
		t.Errorf("%d ticks through a ring of %d: %+v", ticks, ringSlots, r.verdict)
	}
	checkReport(t, r, fmt.Sprint("lost ", r.lost))
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

// TestInterrupted: what was sent until then is delivered and counted.
func TestInterrupted(t *testing.T) {
	o := options{over: "bus", subscribers: 10, rate: 200, lasts: time.Hour, seed: 7}
	for after := 500 * time.Millisecond; ; after *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		r, err := run(ctx, o)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if r.ticks == 0 && after < 30*time.Second {
			continue // a slow machine had not begun
		}
		if most := uint64(400 * after.Seconds()); r.ticks == 0 || r.ticks > most || r.delivered != 10*r.ticks ||
			!r.clean() {
			t.Errorf("%d ticks within %v, verdict %+v", r.ticks, after, r.verdict)
		}
		return
	}
}

// TestJudge: the report tells what went wrong.
func TestJudge(t *testing.T) {
	for feed, want := range map[string]verdict{
		"0 1 2 3 4":         {delivered: 5},
		"":                  {lost: 5},
		"0 1 4":             {delivered: 3, lost: 2},
		"1 2":               {delivered: 2, lost: 3},
		"0 1 1 2 3 4 0":     {delivered: 7, duplicated: 2},
		"0 2 1 3 4":         {delivered: 5, reordered: 1},
		"4 3 2 1 0":         {delivered: 5, reordered: 4},
		"0 3 1 1 4":         {delivered: 5, lost: 1, duplicated: 1, reordered: 1},
		"0 1 2 3 4 4 3 2 1": {delivered: 9, duplicated: 4},
	} {
		s := newSubscriber(time.Now())
		for _, number := range strings.Fields(feed) {
			tick := tick{price: 1}
			if _, err := fmt.Sscan(number, &tick.number); err != nil {
				t.Fatal(err)
			}
			s.handle(&tick)
		}
		if got := s.judge(5); got != want {
			t.Errorf("%q of 5: %+v, want %+v", feed, got, want)
		}
	}
	s := newSubscriber(time.Now())
	for number := range uint64(200) {
		s.observe(number)
	}
	s.observe(100) // too late to know it
	if s.observe(1000); s.judge(1001) != (verdict{delivered: 202, lost: 800, duplicated: 1}) {
		t.Errorf("after a long gap: %+v", s.judge(1001))
	}
}

// TestLatencyIsFromTheIntendedTime: a feed that begins late counts against the result.
func TestLatencyIsFromTheIntendedTime(t *testing.T) {
	s := newSubscriber(time.Now().Add(-time.Second))
	due := 600 * time.Millisecond
	s.handle(&tick{price: 1, due: due})
	if got := time.Duration(s.latencies.Max()); got < 400*time.Millisecond || got > 20*time.Second {
		t.Errorf("a tick that was due 400 ms ago took %v", got)
	}
}

func TestTick(t *testing.T) {
	a, b := newMarket(1), newMarket(1)
	traded := map[uint32]int{}
	var buf [tickBytes]byte
	for i := range 10_000 {
		sent, again := a.next(time.Duration(i)), b.next(time.Duration(i))
		if sent != again {
			t.Fatalf("one seed gives %+v and %+v", sent, again)
		}
		if sent.number != uint64(i) || sent.price == 0 || sent.size == 0 || int(sent.symbol) >= len(symbols) {
			t.Fatalf("tick %d: %+v", i, sent)
		}
		sent.encode(buf[:])
		var got tick
		if got.decode(buf[:]); got != sent {
			t.Fatalf("%+v came back as %+v", sent, got)
		}
		traded[sent.symbol]++
	}
	if len(traded) != len(symbols) || traded[0] < 2*traded[uint32(len(symbols))-1] {
		t.Errorf("trades by symbol %v: want all, the first most", traded)
	}
	if other := newMarket(2).next(0); other == newMarket(1).next(0) {
		t.Errorf("two seeds give %+v", other)
	}
}

func TestOptions(t *testing.T) {
	for _, wrong := range []options{
		{"bus", 0, 1, 1, 0}, {"bus", 1, 0, 1, 0}, {"bus", 1, 1, 0, 0}, {"bu", 1, 1, 1, 0},
	} {
		if wrong.check() == nil {
			t.Errorf("%+v is accepted", wrong)
		}
	}
	if o := (options{"lossy", 1, 1, 1, 0}); o.check() != nil {
		t.Errorf("%+v: %v", o, o.check())
	}
}

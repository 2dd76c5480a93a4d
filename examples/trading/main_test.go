package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRun: the fast consumer sees all, the slow one the latest, and both end at the closing prices.
func TestRun(t *testing.T) {
	o := options{instruments: 50, rate: 20_000, lasts: 200 * time.Millisecond, slow: time.Millisecond, seed: 7}
	r, err := run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
	const ticks = 4000 + 50 // and the closing prices
	if r.ticks != ticks || r.fast.ages.TotalCount() != ticks || r.slow.ages.TotalCount() != r.slow.ticks {
		t.Errorf("%d ticks, %d and %d measured, want %d and all that were seen", r.ticks, r.fast.ages.TotalCount(),
			r.slow.ages.TotalCount(), ticks)
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{"50 instruments, 4050 ticks in ",
		"fast: saw 4050 ticks, missed 0, out of order 0\n",
		fmt.Sprintf("slow: saw %d ticks, %d were superseded, out of order 0\n", r.slow.ticks, ticks-r.slow.ticks),
		"age of a tick: p50 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report %q, want %q in it", out.String(), want)
		}
	}
}

// TestInterrupted: a market that closes early is consumed to its end.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := run(ctx, options{instruments: 3, rate: 1, lasts: time.Hour, seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.check(); err != nil || r.ticks != 3 {
		t.Errorf("%d ticks, %v; want the closing prices", r.ticks, err)
	}
}

func take(t *testing.T, c *conflator) tick {
	t.Helper()
	got, ok := c.tryTake()
	if !ok {
		t.Fatal("there is nothing to take")
	}
	return got
}

// TestConflator: what is taken is the latest of each instrument, in the order in which they changed.
func TestConflator(t *testing.T) {
	c := newConflator(4)
	for number, instrument := range []uint32{2, 0, 2, 2, 3} {
		c.put(&tick{number: uint64(number), instrument: instrument})
	}
	if got := take(t, c); got.instrument != 2 || got.number != 3 {
		t.Errorf("first %+v, want instrument 2 at its tick 3", got)
	}
	c.put(&tick{number: 5, instrument: 2}) // behind the others now
	c.put(&tick{number: 6, instrument: 0}) // keeps its place
	for _, want := range []tick{
		{number: 6, instrument: 0}, {number: 4, instrument: 3}, {number: 5, instrument: 2},
	} {
		if got := take(t, c); got != want {
			t.Errorf("took %+v, want %+v", got, want)
		}
	}
	if got, ok := c.tryTake(); ok {
		t.Errorf("took %+v, all was taken", got)
	}
	if c.lost() != 3 {
		t.Errorf("%d superseded, want 3", c.lost())
	}
	for round := range uint64(10) { // the ring goes round with all of it in use
		for i := range uint32(4) {
			c.put(&tick{number: round, instrument: i})
			c.put(&tick{number: round, instrument: i})
		}
		for i := range uint32(4) {
			if got := take(t, c); got.instrument != i || got.number != round {
				t.Errorf("round %d took %+v, want instrument %d", round, got, i)
			}
		}
	}
}

// TestConflatorWaits: a consumer that waits is fed by the next tick, or ends with its context.
func TestConflatorWaits(t *testing.T) {
	c := newConflator(1)
	fed := make(chan tick)
	go func() {
		got, _ := c.take(t.Context()) // zero with an error, which the test sees
		fed <- got
	}()
	c.put(&tick{number: 1})
	if got := <-fed; got.number != 1 {
		t.Errorf("took %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.take(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("take = %v, want %v", err, context.Canceled)
	}
}

// TestCheck: the report tells what went wrong.
func TestCheck(t *testing.T) {
	play := func(fast, slow string, superseded int64) error {
		r := &result{options: options{instruments: 1}, ticks: 4, superseded: superseded,
			closing: []tick{{number: 3, price: 1}}}
		for i, feed := range []string{fast, slow} {
			c := newConsumer(time.Now(), 1)
			for _, number := range strings.Fields(feed) {
				t := tick{price: 1, size: 1}
				_, _ = fmt.Sscan(number, &t.number) // digits all of them
				if t.number == 3 {
					t.size = 0
				}
				c.see(&t)
			}
			*[]**consumer{&r.fast, &r.slow}[i] = c
		}
		return r.check()
	}
	const all = "0 1 2 3"
	if err := errors.Join(play(all, all, 0), play(all, "1 3", 2), play(all, "3", 3)); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"fast one missed":    play("0 1 3", all, 0),
		"fast one repeated":  play("0 1 1 2 3", all, 0),
		"fast out of order":  play("0 2 1 3", all, 0),
		"slow one missed":    play(all, "1 3", 1),
		"slow out of order":  play(all, "2 1 3", 1),
		"slow without close": play(all, "0 1 2", 1),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestTick(t *testing.T) {
	a, b := newMarket(1, 20), newMarket(1, 20)
	next := map[uint32]uint64{}
	var buf [tickBytes]byte
	for i := range 10_000 {
		sent, again := a.trade(time.Duration(i)), b.trade(time.Duration(i))
		if *sent != *again {
			t.Fatalf("one seed gives %+v and %+v", *sent, *again)
		}
		if sent.number != next[sent.instrument] || sent.price == 0 || sent.closing() {
			t.Fatalf("tick %d: %+v, want number %d", i, *sent, next[sent.instrument])
		}
		next[sent.instrument]++
		sent.encode(buf[:])
		var got tick
		if err := got.decode(buf[:], 20); err != nil || got != *sent {
			t.Fatalf("%+v came back as %+v, %v", *sent, got, err)
		}
	}
	if len(next) != 20 || next[0] < 2*next[19] {
		t.Errorf("trades by instrument %v: want all, the first most", next)
	}
	var got tick
	if got.decode(buf[:tickBytes-1], 20) == nil || got.decode(buf[:], 0) == nil {
		t.Error("a tick that is none is taken for one")
	}
}

func TestOptions(t *testing.T) {
	good := options{instruments: 1, rate: 1, lasts: 1}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for _, wrong := range []options{{0, 1, 1, 0, 0}, {1, 0, 1, 0, 0}, {1, 1, 0, 0, 0}, {1, 1, 1, -1, 0}} {
		if wrong.check() == nil {
			t.Errorf("%+v is accepted", wrong)
		}
	}
}

package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
)

// found looks at topic t page by page, and tells offsets and how many records were looked at.
func (b *bed) found(q leat.PeekQuery) string {
	b.t.Helper()
	var offsets []string
	for scanned := int64(0); ; {
		page, err := b.Bus.Peek(soon(b.t), "t", q)
		if err != nil {
			b.t.Fatalf("Peek(%+v): %v", q, err)
		}
		scanned += page.Scanned
		if q.Scan > 0 && page.Scanned > q.Scan {
			b.t.Errorf("Peek(%+v) has looked at %d", q, page.Scanned)
		}
		for i := range page.Messages {
			if page.Messages[i].ID != q.ID {
				b.t.Errorf("Peek(%+v) gave the id %q", q, page.Messages[i].ID)
			}
			offsets = append(offsets, fmt.Sprint(page.Messages[i].Offset))
		}
		if page.Next == nil {
			return fmt.Sprintf("%s of %d", strings.Join(offsets, " "), scanned)
		}
		q.After = page.Next
	}
}

// TestPeekByID: what the partition remembers is found at once, and the rest by a look at the records.
func TestPeekByID(t *testing.T) {
	manual := clock.NewManual(1e18)
	b := one(t, leat.TopicConfig{Ack: leat.AckPage}, withClock(manual))
	p := b.producer("t")
	plain := func(n int) {
		for range n {
			p.PublishAsync(text("plain"), nil)
		}
		if err := p.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	plain(100)
	publish(t, p, leat.Message{Key: []byte("a"), Value: []byte("1"), ID: "x"})
	plain(98)
	publish(t, p, leat.Message{Key: []byte("b"), ID: "short", TTL: time.Minute})
	check := func(want string, q leat.PeekQuery) {
		t.Helper()
		if got := b.found(q); got != want {
			t.Errorf("Peek(%+v) = %s; want %s", q, got, want)
		}
	}
	check("100 of 1", leat.PeekQuery{ID: "x"})
	check("199 of 1", leat.PeekQuery{ID: "short", From: leat.AtOffset(150), Key: []byte("b")})
	check(" of 200", leat.PeekQuery{ID: "nobody"})
	check(" of 99", leat.PeekQuery{ID: "x", From: leat.AtOffset(101), Scan: 7})
	check(" of 100", leat.PeekQuery{ID: "x", To: leat.AtOffset(100), Partitions: []int32{0}})
	check(" of 200", leat.PeekQuery{ID: "x", Key: []byte("other")})

	manual.Advance(time.Hour)
	publish(t, p, leat.Message{ID: "z"}) // the partition forgets the others
	check("100 of 201", leat.PeekQuery{ID: "x"})
	check("100 of 101", leat.PeekQuery{ID: "x", To: leat.AtOffset(101), Scan: 30, Limit: 1})
	check(" of 201", leat.PeekQuery{ID: "short", Scan: 3}) // its time to live is over
	check("200 of 1", leat.PeekQuery{ID: "z"})

	if r := publish(t, p, leat.Message{Key: []byte("b"), Value: []byte("2"), ID: "x"}); r.Offset != 201 {
		t.Fatalf("x again: %+v", r)
	}
	check("201 of 1", leat.PeekQuery{ID: "x"})
	check("100 of 201", leat.PeekQuery{ID: "x", To: leat.AtOffset(201)})
	check("100 of 202", leat.PeekQuery{ID: "x", Filter: `key == "a"`})
	manual.Advance(time.Hour)
	publish(t, p, leat.Message{ID: "w"})
	check("100 201 of 203", leat.PeekQuery{ID: "x", Scan: 11})

	b = b.reopen(withClock(manual), WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}))
	check("202 of 1", leat.PeekQuery{ID: "w"})
}

package node

import (
	"context"
	"testing"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestIdleMark: whoever waits learns of the next moment at which nothing is left, and of one that is now.
func TestIdleMark(t *testing.T) {
	var m idleMark
	if !isClosed(m.wait()) {
		t.Error("nothing is left from the start")
	}
	m.set(2)
	first := m.wait()
	m.set(1)
	if isClosed(first) || isClosed(m.wait()) {
		t.Error("one is left")
	}
	m.set(0)
	m.set(1) // before those who wait have looked
	if !isClosed(first) {
		t.Error("nothing was left")
	}
	if isClosed(m.wait()) {
		t.Error("one is there again")
	}
	m.set(0)
	m.set(0)
	if !isClosed(m.wait()) {
		t.Error("nothing is left")
	}
}

// TestQuota: count and bytes are bounded, and what is larger than all of it passes alone.
func TestQuota(t *testing.T) {
	q := quota{most: 3, mostBytes: 100}
	idle := q.whenIdle()
	if !isClosed(idle) {
		t.Error("a quota that nobody used is not idle")
	}
	steps := []struct {
		size int // below 0: given back
		ok   bool
	}{
		{1000, true}, {1, false}, {0, false}, {-1000, true}, // alone
		{60, true}, {41, false}, {40, true}, {0, true}, {0, false}, // three
		{-40, true}, {41, false}, {40, true}, {-60, true}, {-40, true},
	}
	for i, s := range steps {
		if s.size < 0 {
			q.give(-s.size)
			continue
		}
		if got := q.take(s.size); got != s.ok {
			t.Fatalf("step %d: take(%d) = %t with %d under way, %d bytes", i, s.size, got, q.count, q.bytes)
		}
	}
	idle = q.whenIdle()
	if q.count != 1 || isClosed(idle) {
		t.Errorf("%d are under way, idle %t", q.count, isClosed(idle))
	}
	q.give(0)
	if !isClosed(idle) || q.bytes != 0 {
		t.Errorf("%d bytes are under way, idle %t", q.bytes, isClosed(idle))
	}
}

// TestSessionAwait: a wait ends with what it waits for, with its context and with the connection.
func TestSessionAwait(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	now, never := make(chan struct{}), make(chan struct{})
	close(now)
	for _, one := range []struct {
		of, ctx context.Context
		idle    chan struct{}
	}{
		{context.Background(), context.Background(), now},
		{ended, context.Background(), never},
		{context.Background(), ended, never},
	} {
		(&session{ctx: one.of}).await(one.ctx, one.idle) // a wait that does not end is found by the timeout
	}
}

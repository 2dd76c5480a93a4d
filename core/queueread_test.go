package core

import (
	"math/bits"
	"slices"
	"testing"
	"time"
)

func TestQueueInputSkips(t *testing.T) {
	in := QueueInput{Skip: []uint64{1<<63 | 1<<5, 1<<0 | 1<<63}}
	tests := []struct {
		i, n int64
		want uint64
	}{{0, 64, 1<<63 | 1<<5}, {5, 1, 1}, {6, 1, 0}, {60, 10, 1<<3 | 1<<4}, {63, 64, 1 | 1<<1}, {64, 64,
		1 | 1<<63},
		{127, 64, 1}, {128, 64, 0}, {1000, 1, 0}, {0, 5, 0}}
	for _, tt := range tests {
		if got := in.skips(tt.i, tt.n); got != tt.want {
			t.Errorf("skips(%d, %d) = %#x, want %#x", tt.i, tt.n, got, tt.want)
		}
	}
}

// TestQueueLeavesOut: what a filter leaves out is settled, nobody has it, and it counts for no rate.
func TestQueueLeavesOut(t *testing.T) {
	passing := []int64{3, 63, 64, 128, 129}
	for _, ordered := range []bool{false, true} {
		q, out := NewQueue(QueueConfig{Ordered: ordered, Filtered: true, Rate: 10}, 0, 100, 1), QueueEffects{}
		step := func(in QueueInput, now time.Duration) []QueueEffect {
			out.Reset()
			q.Step(&in, int64(now), &out)
			return out.List
		}
		step(QueueInput{Kind: QueueJoin, Member: 1, Max: 100}, time.Second)
		asked := step(QueueInput{Kind: QueueReadable, Offset: 150}, 2*time.Second)
		if len(asked) != 1 || asked[0].Kind != QueueRead || asked[0].Offset != 0 || asked[0].Count != 150 {
			t.Fatalf("ordered %v: asked for %+v", ordered, asked)
		}
		in := QueueInput{Kind: QueueKeys, Keys: make([]uint64, 150), Skip: []uint64{^uint64(0), ^uint64(0),
			^uint64(0)}}
		for _, offset := range passing {
			in.Skip[offset/64] &^= 1 << uint(offset%64)
		}
		// A rate of 10 lets 1 out at once, and one more each 100 ms, whatever was left out.
		effects := slices.Clone(step(in, 2*time.Second))
		if q.Next() != 150 || q.Unsettled() != int64(len(passing)) || q.Lag() != int64(len(passing)) {
			t.Errorf("ordered %v: next %d, %d unsettled, lag %d", ordered, q.Next(), q.Unsettled(), q.Lag())
		}
		for i := range 10 {
			effects = append(effects, step(QueueInput{Kind: QueueTick}, time.Duration(2100+100*i)*time.Millisecond)...)
		}
		var got []int64
		for _, e := range effects {
			for left := e.Grant.Left; e.Kind == QueueDeliver && left != 0; left &= left - 1 {
				got = append(got, e.Grant.Lo+int64(bits.TrailingZeros64(left)))
			}
		}
		if !slices.Equal(got, passing) {
			t.Errorf("ordered %v: handed out %v, want %v", ordered, got, passing)
		}
		if !q.Dirty() {
			t.Errorf("ordered %v: no progress was made", ordered)
		}
	}
}

// TestQueueLeavesOutRestored: a record that was with somebody before a restart, and that another filter
// leaves out, is settled, and its attempts are forgotten; a dead letter in the making becomes one.
func TestQueueLeavesOutRestored(t *testing.T) {
	q, out := NewQueue(QueueConfig{Filtered: true}, 0, 100, 1), QueueEffects{}
	q.RestoreFailed(2, 0, 1, 0)
	q.RestoreFailed(3, 0, 1, CodeRejected)
	q.Restored(0)
	step := func(in QueueInput) []QueueEffect {
		out.Reset()
		q.Step(&in, 1000, &out)
		return out.List
	}
	if effects := step(QueueInput{Kind: QueueJoin, Member: 1, Max: 10}); len(effects) != 1 ||
		effects[0].Kind != QueueRead || effects[0].Count != 4 {
		t.Fatalf("join: %+v", effects)
	}
	effects := step(QueueInput{Kind: QueueKeys, Keys: make([]uint64, 4), Skip: []uint64{1<<0 | 1<<2 | 1<<3}})
	var erased, buried, delivered []int64
	for _, e := range effects {
		switch e.Kind {
		case QueueErase:
			erased = append(erased, e.Offset)
		case QueueBury:
			buried = append(buried, e.Offset)
		case QueueDeliver:
			delivered = append(delivered, e.Offset)
		}
	}
	if !slices.Equal(erased, []int64{2}) || !slices.Equal(buried, []int64{3}) || !slices.Equal(delivered,
		[]int64{1}) {
		t.Errorf("erased %v, buried %v, delivered %v; want [2], [3], [1]", erased, buried, delivered)
	}
}

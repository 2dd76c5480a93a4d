package core

import "testing"

// TestQueueAbsent: offsets without records are passed over, and those before stay as they were.
func TestQueueAbsent(t *testing.T) {
	tests := []struct{ offset, next, behind int64 }{{2, 3, 7}, {3, 3, 7}, {7, 7, 3}, {10, 10, 0}, {12, 12, 0}}
	for _, tt := range tests {
		q, out := NewQueue(QueueConfig{}, 0, 100, 1), QueueEffects{}
		step := func(in QueueInput) { q.Step(&in, 1, &out) }
		step(QueueInput{Kind: QueueReadable, Offset: 3})
		step(QueueInput{Kind: QueueJoin, Member: 1, Max: 3})
		step(QueueInput{Kind: QueueReadable, Offset: 10})
		step(QueueInput{Kind: QueueAbsent, Offset: tt.offset})
		next, open := q.Next(), q.Unsettled()
		if behind := q.Lag() - open; next != tt.next || behind != tt.behind || open != 3 {
			t.Errorf("absent up to %d: next %d, %d behind it, %d unsettled, want %d, %d, 3", tt.offset, next,
				behind, open, tt.next, tt.behind)
		}
	}
}

package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
)

// TestQueueRenewal: what waits for a loop keeps its lease while the loop goes on, however slowly, and goes to
// others when it does not.
func TestQueueRenewal(t *testing.T) {
	for name, mode := range map[string]func(...leat.QueueConfig) leat.SubscribeOption{
		"queue": leat.Queue, "key-shared": leat.KeyShared,
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := leat.QueueConfig{Lease: 8 * time.Second, Retry: leat.Backoff{Max: 1}}
			b := one(t, leat.TopicConfig{Ack: leat.AckPage})
			b.fill(20)
			sub := b.subscribe("t", leat.Group("g"), mode(cfg))
			for range 16 { // with a lease from the first moment the last would wait for more than five
				m := next(t, sub)
				wantAttempt(t, m, m.Offset, 1)
				passAll(3 * time.Second)
				mustDo(t, name+": Ack", m.Ack())
			}
			other := b.subscribe("t", leat.Group("g"), mode(cfg))
			none(t, other, 4*time.Second) // the loop was there a moment ago
			stuck := next(t, sub)
			r := b.read(other, func(m *leat.Message) {
				wantAttempt(t, m, m.Offset, 2)
				mustDo(t, name+": Ack", m.Ack())
			})
			passAll(time.Minute)
			wantStale(t, name+": what a stuck loop has", stuck.Ack())
			if n := r.count(); n != 4 {
				t.Errorf("%s: %d messages of a stuck loop went to the other, want 4", name, n)
			}
			if lag := b.queueLag(); lag != 0 {
				t.Errorf("%s: lag %d", name, lag)
			}
		})
	}
}

// TestQueueRenewalOfARun: a lease belongs to a run, but nothing holds the messages of a loop that has the
// whole of it.
func TestQueueRenewalOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		b.fill(3)
		cfg := leat.QueueConfig{Lease: 8 * time.Second}
		sub := b.subscribe("t", leat.Group("g"), leat.Queue(cfg), leat.MaxHeld(3))
		first, second := next(t, sub), next(t, sub)
		passAll(9 * time.Second) // renewed while the loop was there, with the third
		mustDo(t, "Ack", first.Ack())
		third := next(t, sub)
		wantAttempt(t, third, 2, 1)
		passAll(17 * time.Second)
		wantStale(t, "Ack of the second", second.Ack())
		wantStale(t, "Ack of the third", third.Ack())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range sub.Messages(ctx) {
			if err == nil {
				t.Error("a loop that has ended got a message")
			}
		}
	})
}

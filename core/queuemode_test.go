package core

import (
	"testing"
	"time"
)

func TestQueueConfigDiffers(t *testing.T) {
	c := QueueConfig{Rate: 7}.WithDefaults()
	for want, other := range map[string]QueueConfig{
		"":             {},
		"Lease":        {Lease: time.Second},
		"MaxUnsettled": {MaxUnsettled: 1},
		"MaxAttempts":  {MaxAttempts: 1},
		"Retry":        {Retry: Backoff{Max: 1}},
		"Rate":         {Rate: 8},
	} {
		if got := c.Differs(&other); got != want {
			t.Errorf("differs in %q, want %q", got, want)
		}
	}
	same := c
	if got := c.Differs(&same); got != "" {
		t.Errorf("differs from itself in %q", got)
	}
	if GroupStream.String() != "stream" || GroupKeyShared.String() != "key-shared" ||
		GroupMode(9).String() != "unknown" {
		t.Error("names of modes")
	}
}

// TestQueueOffer: a member of whom a shell says how much it may be handed gets that, and no more when it
// acks.
func TestQueueOffer(t *testing.T) {
	s := newQueueScript(t, QueueConfig{})
	s.step(QueueInput{Kind: QueueReadable, Offset: 100})
	s.q.Offer(1, 3)
	s.step(QueueInput{Kind: QueueTick}, "deliver 0+111 to 1, attempt 1")
	g := s.last()
	s.q.Offer(1, 0)
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: g})
	s.step(QueueInput{Kind: QueueTick})
	if s.q.Ready() < 1 || s.q.Lag() != 97 {
		t.Errorf("%d ready, lag %d", s.q.Ready(), s.q.Lag())
	}
	s.q.Offer(1, 1)
	s.q.Offer(2, 1)
	s.step(QueueInput{Kind: QueueTick}, "deliver 3+1 to 1, attempt 1", "deliver 4+1 to 2, attempt 1")
	ending := 0
	s.q.Ending(int64(QueueLease)-1, func(int32) { ending++ })
	if ending != 0 {
		t.Errorf("%d leases end too early", ending)
	}
	s.q.Ending(int64(QueueLease), func(int32) { ending++ })
	if ending != 2 {
		t.Errorf("%d leases end, want 2", ending)
	}
}

// TestQueueFailures: what is to be stored again after a restart, and what a log that lost its tail forgets.
func TestQueueFailures(t *testing.T) {
	s := newQueueScript(t, QueueConfig{})
	s.step(QueueInput{Kind: QueueReadable, Offset: 3})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 3}, "deliver 0+111 to 1, attempt 1")
	g := s.last()
	g.Left = 0b100
	s.step(QueueInput{Kind: QueueNack, Member: 1, Grant: g, Delay: 50}, "store 2: attempt 1, due 50")
	s.q.Failures(func(offset, due int64, attempts int32, code Code) {
		if offset != 2 || due != 50 || attempts != 1 || code != 0 {
			t.Errorf("failure of %d: due %d, %d attempts, code %d", offset, due, attempts, code)
		}
	})
	again := NewQueue(QueueConfig{}, 0, 1, 1)
	if err := again.RestoreProgress(s.q.EncodeProgress(nil)); err != nil {
		t.Fatal(err)
	}
	again.RestoreFailed(2, 50, 1, 0)
	again.RestoredEnd(1)
	again.Restored(0)
	if again.Next() != 1 || again.Unsettled() != 1 {
		t.Errorf("next %d, %d unsettled; want 1 and 1", again.Next(), again.Unsettled())
	}
}

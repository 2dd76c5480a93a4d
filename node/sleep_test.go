package node

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestNoSleepOverACommit publishes one way, with pauses about as long as the executor stays awake, so that
// it goes to sleep just then again and again. Nobody else journals: each record must be journaled soon.
func TestNoSleepOverACommit(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	publish(t, p, text("warm"))
	part := b.partition(0)
	first := part.log.End()
	n := int64(20_000)
	if testing.Short() || raceEnabled {
		n = 2_000
	}
	random := rand.New(rand.NewPCG(1, 2))
	slept := 0
	for i := range n {
		if !part.shard.awake.Load() {
			slept++
		}
		if err := p.TryPublish(text("v")); err != nil {
			t.Fatal(err)
		}
		limit := time.Now().Add(patience)
		for part.log.End() != first+i+1 {
			if time.Now().After(limit) {
				t.Fatalf("record %d was not journaled; the executor is awake: %v", i, part.shard.awake.Load())
			}
			runtime.Gosched()
		}
		for range random.IntN(2 * executorYields) {
			runtime.Gosched()
		}
	}
	if slept == 0 {
		t.Error("the executor never slept, so that this shows nothing")
	}
	t.Logf("the executor was asleep at %d of %d publishes", slept, n)
}

package leat

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

// TestRemotePullLetters: a topic for dead letters that could not be made is made later, and one that is there
// is not asked for again.
func TestRemotePullLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 2)
		f.topic("t", core.TopicConfig{Partitions: 4})
		_, c := f.client()
		topic, err := c.topic(t.Context(), "pull from", "t")
		if err != nil {
			t.Fatal(err)
		}
		name, err := core.DeadLetterName("t", "g")
		if err != nil {
			t.Fatal(err)
		}
		prepared := func(when string, want bool) {
			t.Helper()
			c.prepareOnce(topic, "g")
			f.mu.Lock()
			defer f.mu.Unlock()
			if got := f.topics[name] != nil; got != want {
				t.Errorf("%s: %t, want %t", when, got, want)
			}
			delete(f.topics, name)
		}
		meta := c.metaNode().id
		f.cut(meta, true)
		prepared("while nobody can make it", false)
		f.up(meta)
		prepared("soon after", false)
		pass(2 * prepareAgain)
		prepared("later", true)
		pass(24 * time.Hour)
		prepared("once it was there", false)
	})
}

// TestRemoteNackReasonUnsupported: a node that takes no reasons is not told of a nack that has one.
func TestRemoteNackReasonUnsupported(t *testing.T) {
	_, bus := queued(t, 1, 0)
	results, err := bus.Answer(soon(t), "t", "g", Answer{Kind: AnswerNack, Reason: "no stock"}, []Loan{{}})
	if err != nil || !errors.Is(results[0], ErrUnsupported) {
		t.Errorf("a reason for a node that takes none: %v, %v", results, err)
	}
}

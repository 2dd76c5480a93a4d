package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// loansOf gives what names the messages.
func loansOf(list []leat.Lent) []leat.Loan {
	loans := make([]leat.Loan, len(list))
	for i := range list {
		loans[i] = list[i].Loan
	}
	return loans
}

var _ = register("messages that are pulled are answered from anywhere, once", func(t *testing.T, c *carrier) {
	const n = 300
	topic := c.topic(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	lease := time.Minute // one that ends early is lent again, which is no fault
	if c.cuts {
		lease = 5 * time.Second // an answer that was cut off is lent again after it
	}
	p := c.producer(t, topic)
	for i := range n {
		p.PublishAsync(leat.Message{Key: fmt.Append(nil, i%50), Value: fmt.Append(nil, i), ID: fmt.Sprint("id", i),
			TTL: time.Hour, Headers: []leat.Header{{Key: "h", Value: fmt.Append(nil, i)}}}, nil)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(soon(t))
	defer stop()
	var mu sync.Mutex
	acked := map[string]int{}
	var working sync.WaitGroup
	for i := range 3 {
		pulling, answering := c.dial(t), c.dial(t)
		working.Go(func() {
			for ctx.Err() == nil {
				list, err := pulling.Pull(ctx, topic, topic, leat.PullConfig{Max: 5 + 20*i, Wait: time.Second,
					Queue: leat.QueueConfig{Lease: lease, Retry: quickly.Retry, MaxAttempts: -1}})
				if err != nil && ctx.Err() == nil && !c.cuts {
					t.Errorf("Pull: %v", err)
					return
				}
				results, err := answering.Answer(ctx, topic, topic, leat.Answer{Kind: leat.AnswerAck}, loansOf(list))
				if err != nil && ctx.Err() == nil && !c.cuts {
					t.Errorf("Answer: %v", err)
				}
				for i := range results {
					m := &list[i].Message
					if string(m.Headers[0].Value) != string(m.Value) || m.ID != "id"+string(m.Value) ||
						m.TTL != time.Hour || m.Topic != topic || m.Time.IsZero() || m.Attempt < 1 {
						t.Errorf("message %+v", m)
					}
					if results[i] != nil && !c.cuts {
						t.Errorf("ack: %v", results[i])
					}
					mu.Lock()
					if acked[string(m.Value)]++; len(acked) == n {
						stop()
					}
					mu.Unlock()
				}
			}
		})
	}
	working.Wait()
	if len(acked) != n {
		t.Errorf("%d different messages, want %d", len(acked), n)
	}
	for value, times := range acked {
		if times != 1 && !c.cuts {
			t.Errorf("%s was pulled %d times", value, times)
		}
	}
})

var _ = register("what is said of a pulled message counts within its lease", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	publish(t, c.producer(t, topic), "k", "v")
	pull := func() leat.Lent {
		t.Helper()
		for ctx := soon(t); ctx.Err() == nil; {
			list, err := c.bus.Pull(ctx, topic, "g", leat.PullConfig{Mode: leat.GroupKeyShared,
				Wait: 10 * time.Second})
			if len(list) == 1 {
				return list[0]
			}
			if err != nil && !c.cuts {
				t.Fatal(err)
			}
		}
		t.Fatal("nothing came")
		return leat.Lent{}
	}
	answer := func(a leat.Answer, loans ...leat.Loan) []error {
		t.Helper()
		results, err := c.bus.Answer(soon(t), topic, "g", a, loans)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	first := pull()
	if c.cuts {
		return // whether an answer was heard is not known there
	}
	none := first.Loan
	none.Partition = 99
	if results := answer(leat.Answer{Kind: leat.AnswerExtend}, first.Loan, none); results[0] != nil ||
		!errors.Is(results[1], leat.ErrStaleAck) {
		t.Errorf("extend: %v", results)
	}
	if results := answer(leat.Answer{Kind: leat.AnswerNack}, first.Loan); results[0] != nil {
		t.Errorf("nack: %v", results)
	}
	ack := leat.Answer{Kind: leat.AnswerAck}
	if results := answer(ack, first.Loan); !errors.Is(results[0], leat.ErrStaleAck) {
		t.Errorf("ack after nack: %v", results)
	}
	again := pull()
	if again.Attempt != 2 || string(again.Value) != "v" {
		t.Errorf("after a nack came %+v", again)
	}
	if results := answer(leat.Answer{Kind: leat.AnswerReject, Reason: "bad"}, again.Loan); results[0] != nil {
		t.Errorf("reject: %v", results)
	}
	groups, err := c.bus.Groups(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(groups, func(g leat.GroupInfo) bool { return g.Topic == topic })
	if at < 0 || groups[at].Mode != leat.GroupKeyShared || !slices.Contains(groups[at].Members, "pull") {
		t.Errorf("groups %+v", groups)
	}
	if _, err := c.bus.Pull(soon(t), topic, "g", leat.PullConfig{Mode: leat.GroupQueue}); !errors.Is(err,
		leat.ErrConfigMismatch) {
		t.Errorf("another mode: %v", err)
	}
	if _, err := c.bus.Pull(soon(t), "no-"+topic, "g", leat.PullConfig{}); !errors.Is(err,
		leat.ErrTopicNotFound) {
		t.Errorf("no topic: %v", err)
	}
})

package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/leatbus/leat"
)

// euOnly lets 19 of the 200 messages of publishRegions through.
const euOnly = `header("region") == "eu" and int(header("n")) < 190`

// publishRegions publishes 200 messages, every tenth of which is from eu.
func publishRegions(t *testing.T, c *carrier) (topic string, want map[string]bool) {
	t.Helper()
	topic = c.topic(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	p := c.producer(t, topic)
	want = map[string]bool{}
	for i := range 200 {
		m := leat.Message{Key: fmt.Append(nil, i%50), Value: fmt.Append(nil, i),
			Headers: []leat.Header{{Key: "n", Value: fmt.Append(nil, i)}}}
		if i%10 == 0 {
			m.Headers = append(m.Headers, leat.Header{Key: "region", Value: []byte("eu")})
			if i < 190 {
				want[string(m.Value)] = true
			}
		}
		p.PublishAsync(m, nil)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	return topic, want
}

// sameValues compares what was read with what passes.
func sameValues(t *testing.T, what string, got, want map[string]bool) {
	t.Helper()
	for value := range got {
		if !want[value] {
			t.Errorf("%s: %s does not pass", what, value)
		}
	}
	for value := range want {
		if !got[value] {
			t.Errorf("%s: %s is missing", what, value)
		}
	}
}

var _ = register("a filter gives what passes", func(t *testing.T, c *carrier) {
	topic, want := publishRegions(t, c)
	seen := map[string]bool{}
	for _, m := range take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest), leat.Filter(euOnly)),
		len(want)) {
		seen[string(m.Value)] = true
	}
	sameValues(t, "messages", seen, want)

	seen = map[string]bool{}
	sub := subscribe(t, c.bus, topic, leat.From(leat.Earliest), leat.Filter(euOnly))
	for b, err := range sub.Batches(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		for m, err := range b.Messages() {
			if err != nil {
				t.Fatal(err)
			}
			seen[string(m.Value)] = true
		}
		b.Release()
		if len(seen) >= len(want) {
			break
		}
	}
	sameValues(t, "batches", seen, want)

	seen = map[string]bool{}
	q := leat.PeekQuery{Filter: euOnly, Limit: 4}
	for more := true; more; {
		page, err := c.bus.Peek(soon(t), topic, q)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Messages {
			seen[string(page.Messages[i].Value)] = true
		}
		q.After, more = page.Next, page.Next != nil
	}
	sameValues(t, "peek", seen, want)

	// Live, and together with what is not there: 10 does not pass, and is not in the way.
	sub = subscribe(t, c.bus, topic, leat.Filter(`header("region") == nil and key != nil and size == 6`))
	p := c.producer(t, topic)
	for i := range 20 {
		publish(t, p, "k", fmt.Sprint(i%2*10000+i))
	}
	for i, m := range take(t, sub, 10) {
		if string(m.Value) != fmt.Sprint(10001+2*i) {
			t.Errorf("live message %d is %s", i, m.Value)
		}
	}
})

var _ = register("what a filter leaves out is no lag", func(t *testing.T, c *carrier) {
	for _, options := range [][]leat.SubscribeOption{nil, {leat.Queue(quickly)}, {leat.KeyShared(quickly)}} {
		topic, want := publishRegions(t, c)
		ctx, stop := context.WithCancel(soon(t))
		var mu sync.Mutex
		seen := map[string]bool{}
		var working sync.WaitGroup
		for range 2 {
			sub := subscribe(t, c.dial(t), topic,
				append([]leat.SubscribeOption{leat.Group(topic), leat.Filter(euOnly)}, options...)...)
			working.Go(func() {
				for m, err := range sub.Messages(ctx) {
					if err == nil {
						mu.Lock()
						seen[string(m.Value)] = true
						mu.Unlock()
						err = m.Ack()
					}
					if err != nil && !errors.Is(err, leat.ErrStaleAck) && !errors.Is(err, leat.ErrFenced) {
						t.Errorf("member: %v", err)
						return
					}
				}
			})
		}
		awaitNoLag(t, c, topic)
		stop()
		working.Wait()
		sameValues(t, fmt.Sprintf("a group with %d options", len(options)), seen, want)
	}
})

var _ = register("a filter that is none, or not that of the group, is refused", func(t *testing.T,
	c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 2})
	queue := []leat.SubscribeOption{leat.Group(topic), leat.Queue(quickly)}
	for _, options := range [][]leat.SubscribeOption{nil, {leat.Group(topic + "s")}, queue} {
		_, err := c.dial(t).Subscribe(topic, append(options, leat.Filter(`key == "a" and heder("b") == "c"`))...)
		if !errors.Is(err, leat.ErrInvalidConfig) || !strings.Contains(fmt.Sprint(err), `column 16, at "heder(`) {
			t.Errorf("an unknown name: %v; want ErrInvalidConfig with the column", err)
		}
	}
	if _, err := c.bus.Peek(soon(t), topic, leat.PeekQuery{Filter: "size"}); !errors.Is(err,
		leat.ErrInvalidConfig) {
		t.Errorf("peek with a filter that gives a number: %v", err)
	}
	subscribe(t, c.dial(t), topic, append(queue, leat.Filter(`key == "a"`))...)
	for _, other := range []string{`key == "b"`, ""} {
		_, err := c.dial(t).Subscribe(topic, append(queue, leat.Filter(other))...)
		name := "none"
		if other != "" {
			name = fmt.Sprintf("%q", other)
		}
		if text := fmt.Sprint(err); !errors.Is(err, leat.ErrConfigMismatch) || !c.cuts &&
			(!strings.Contains(text, fmt.Sprintf("%q", `key == "a"`)) || !strings.Contains(text, name)) {
			t.Errorf("the filter %q: %v; want ErrConfigMismatch that names both", other, err)
		}
	}
	subscribe(t, c.dial(t), topic, append(queue, leat.Filter(`key == "a"`))...)
})

package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// publishSlowly publishes numbers to two partitions in turn. published is closed when all are answered.
func publishSlowly(ctx context.Context, p *leat.Producer, messages int) (
	published chan struct{}, failed chan error,
) {
	failed = make(chan error, messages+1)
	published = make(chan struct{})
	go func() {
		defer close(published)
		for i := range messages {
			p.PublishAsync(leat.Message{Partition: int32(i % 2), Value: fmt.Append(nil, i)},
				func(_ leat.Receipt, err error) {
					if err != nil {
						failed <- err
					}
				})
			if i%100 == 0 {
				<-time.After(time.Millisecond)
			}
		}
		if err := p.Flush(ctx); err != nil {
			failed <- err
		}
	}()
	return published, failed
}

// TestDialThroughADrain: a client publishes and a group reads across restarts of the server, and every
// message comes once and in order.
func TestDialThroughADrain(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	cfg := ServeConfig{Listen: freeAddress(t), DrainFor: patience}
	s, err := Serve(soon(t), b.Bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := leat.Dial(soon(t), cfg.Listen, leat.WithUnreachableAfter(patience))
	if err != nil {
		t.Fatal(err)
	}
	p := openProducer(t, bus, "t", leat.WithPartitioner(leat.Manual))
	sub, err := bus.Subscribe("t", leat.Group("g"))
	if err != nil {
		t.Fatal(err)
	}
	const messages, restarts = 3000, 3
	published, failed := publishSlowly(soon(t), p, messages)
	next := [2]int{0, 1}
	read := func(count int) {
		t.Helper()
		for _, m := range take(t, sub, count) {
			if want := fmt.Sprint(next[m.Partition]); string(m.Value) != want {
				t.Fatalf("partition %d: %s, want %s", m.Partition, m.Value, want)
			}
			next[m.Partition] += 2
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range restarts {
		read(messages / (restarts + 1))
		if err := sub.Commit(soon(t)); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s, err = Serve(soon(t), b.Bus, cfg); err != nil {
			t.Fatal(err)
		}
	}
	read(messages / (restarts + 1))
	receive(t, "all are published", published)
	select {
	case err := <-failed:
		t.Errorf("a publish failed: %v", err)
	default:
	}
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

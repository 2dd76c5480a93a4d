package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

func openBus(t testing.TB, dir string, opts ...Option) *leat.Bus {
	t.Helper()
	bus, err := Open(soon(t), dir, opts...)
	if err != nil {
		t.Fatalf("Open: %v\nhint: %s", err, leat.HintFor(err))
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return bus
}

func openProducer(t testing.TB, bus *leat.Bus, topic string, opts ...leat.ProducerOption) *leat.Producer {
	t.Helper()
	p, err := bus.Producer(topic, opts...)
	if err != nil {
		t.Fatalf("Producer: %v", err)
	}
	return p
}

// collect reads n messages as "partition/offset key=value".
func collect(t *testing.T, sub *leat.Subscription, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			t.Fatalf("Messages after %d: %v", len(got), err)
		}
		got = append(got, fmt.Sprintf("%d/%d %s=%s", m.Partition, m.Offset, m.Key, m.Value))
		if len(got) == n {
			return got
		}
	}
	t.Fatalf("loop ended after %d of %d messages", len(got), n)
	return nil
}

func TestPublishAndRead(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			dir := t.TempDir()
			bus := openBus(t, dir, WithTopic("trades", leat.TopicConfig{Partitions: 4, Ack: level}))
			p := openProducer(t, bus, "trades")
			for i := range 10 {
				r, err := p.Publish(t.Context(), leat.Message{Key: []byte("k"), Value: fmt.Append(nil, i)})
				if err != nil {
					t.Fatal(err)
				}
				if r.Offset != int64(i) || r.Topic != "trades" {
					t.Errorf("receipt %d: %+v", i, r)
				}
			}
			answers := make(chan leat.Receipt, 100)
			for i := range 100 {
				p.PublishAsync(leat.Message{Key: []byte("k"), Value: fmt.Append(nil, 10+i)},
					func(r leat.Receipt, err error) {
						if err != nil {
							t.Error(err)
						}
						answers <- r
					})
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				if r := <-answers; r.Offset != int64(10+i) {
					t.Fatalf("answer %d: offset %d", i, r.Offset)
				}
			}
			sub, err := bus.Subscribe("trades", leat.From(leat.Earliest))
			if err != nil {
				t.Fatal(err)
			}
			got := collect(t, sub, 110)
			if want := got[0][:2] + "109 k=109"; got[109] != want {
				t.Errorf("last message %q, want %q", got[109], want)
			}
			if err := bus.Close(); err != nil {
				t.Fatal(err)
			}
			again := openBus(t, dir)
			sub, err = again.Subscribe("trades", leat.From(leat.Earliest))
			if err != nil {
				t.Fatal(err)
			}
			if after := collect(t, sub, 110); fmt.Sprint(after) != fmt.Sprint(got) {
				t.Error("messages differ after reopening")
			}
		})
	}
}

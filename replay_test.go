package leat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// replayed is a message and when it came, since the loop began.
type replayed struct {
	value string
	after time.Duration
}

// replayBed is a bus in virtual time.
type replayBed struct {
	t   *testing.T
	bus *leat.Bus
	p   *leat.Producer
}

func newReplayBed(t *testing.T, partitions int) *replayBed {
	bus, err := node.Open(t.Context(), "", node.InMemory(), node.WithTopic("t", leat.TopicConfig{
		Partitions: partitions, Ack: leat.AckPage}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close() })
	p, err := bus.Producer("t", leat.WithPartitioner(leat.Manual))
	if err != nil {
		t.Fatal(err)
	}
	return &replayBed{t, bus, p}
}

// publish publishes after a pause.
func (b *replayBed) publish(after time.Duration, partition int32, value string) leat.Receipt {
	b.t.Helper()
	r, err := b.tryPublish(after, partition, value)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// tryPublish is publish for any goroutine.
func (b *replayBed) tryPublish(after time.Duration, partition int32, value string) (leat.Receipt, error) {
	<-time.After(after)
	return b.p.Publish(b.t.Context(), leat.Message{Partition: partition, Value: []byte(value),
		Headers: []leat.Header{{Key: "v", Value: []byte(value)}}})
}

func (b *replayBed) subscribe(options ...leat.SubscribeOption) *leat.Subscription {
	b.t.Helper()
	sub, err := b.bus.Subscribe("t", options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = sub.Close() })
	return sub
}

// read reads n messages and notes when they came.
func (b *replayBed) read(sub *leat.Subscription, n int) (list []replayed) {
	b.t.Helper()
	began := time.Now()
	for m, err := range sub.Messages(b.t.Context()) {
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, replayed{string(m.Value), time.Since(began)})
		if len(m.Headers) != 1 || string(m.Headers[0].Value) != string(m.Value) {
			b.t.Errorf("message %s has headers %v", m.Value, m.Headers)
		}
		if len(list) == n {
			break
		}
	}
	return list
}

// check compares with a tolerance for what passes between a deadline and the loop in virtual time.
func (b *replayBed) check(what string, got, want []replayed) {
	b.t.Helper()
	same := func(a, b replayed) bool {
		return a.value == b.value && (a.after-b.after).Abs() <= 100*time.Millisecond
	}
	if !slices.EqualFunc(got, want, same) {
		b.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestReplaySpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 2)
		b.publish(0, 0, "a")
		start := b.publish(20*time.Second, 1, "b")
		b.publish(10*time.Second, 0, "c")
		b.publish(time.Hour, 1, "d") // a gap
		b.publish(2*time.Second, 0, "e")
		b.publish(0, 1, "f")
		<-time.After(24 * time.Hour)
		second := time.Second
		for _, tt := range []struct {
			name    string
			options []leat.SubscribeOption
			want    []replayed
		}{
			{"as it was published", []leat.SubscribeOption{leat.From(leat.Earliest), leat.ReplaySpeed(1),
				leat.ReplayGap(2 * time.Hour)}, []replayed{{"a", 0}, {"b", 20 * second}, {"c", 30 * second},
				{"d", 3630 * second}, {"e", 3632 * second}, {"f", 3632 * second}}},
			{"gaps are bounded", []leat.SubscribeOption{leat.From(leat.Earliest), leat.ReplaySpeed(1)},
				[]replayed{{"a", 0}, {"b", 10 * second}, {"c", 20 * second}, {"d", 30 * second}, {"e", 32 * second},
					{"f", 32 * second}}},
			{"ten times as fast", []leat.SubscribeOption{leat.From(leat.Earliest), leat.ReplaySpeed(10)},
				[]replayed{{"a", 0}, {"b", 2 * second}, {"c", 3 * second}, {"d", 13 * second}, {"e",
					13200 * second / 1000},
					{"f", 13200 * second / 1000}}},
			{"from a time", []leat.SubscribeOption{leat.From(leat.AtTime(start.Time)), leat.ReplaySpeed(2)},
				[]replayed{{"b", 0}, {"c", 5 * second}, {"d", 15 * second}}},
			{"from an offset", []leat.SubscribeOption{leat.From(leat.AtOffset(1)), leat.ReplaySpeed(1)},
				[]replayed{{"c", 0}, {"d", 10 * second}, {"e", 12 * second}}},
			{"one partition", []leat.SubscribeOption{leat.FromEach(map[int32]leat.Position{1: leat.Earliest}),
				leat.ReplaySpeed(1)}, []replayed{{"b", 0}, {"d", 10 * second}, {"f", 12 * second}}},
			{"with a filter", []leat.SubscribeOption{leat.From(leat.Earliest), leat.ReplaySpeed(10),
				leat.Filter(`header("v") in ["a", "c"]`)}, []replayed{{"a", 0}, {"c", 3 * second}}},
		} {
			b.check(tt.name, b.read(b.subscribe(tt.options...), len(tt.want)), tt.want)
		}
	})
}

// TestReplayBecomesLive: behind the replay the subscription goes on, misses nothing, and waits for nothing.
func TestReplayBecomesLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 3)
		for i := range 5 {
			b.publish(10*time.Second, int32(i%2), fmt.Sprint(i))
		}
		sub := b.subscribe(leat.From(leat.Earliest), leat.ReplaySpeed(4), leat.ReplayGap(time.Minute))
		go func() {
			for i := range 20 { // also while the replay runs, and to a partition that had nothing
				if _, err := b.tryPublish(time.Second, int32(i%3), fmt.Sprint(5+i)); err != nil {
					t.Error(err)
				}
			}
		}()
		got := b.read(sub, 25)
		seen := map[string]bool{}
		for i, r := range got {
			seen[r.value] = true
			// The first five were published 10 s apart; the replay reaches what comes each second.
			if i < 5 && (r.value != fmt.Sprint(i) ||
				(r.after-time.Duration(i)*2500*time.Millisecond).Abs() > time.Second/10) {
				t.Errorf("message %d is %v", i, r)
			}
		}
		if len(seen) != 25 {
			t.Errorf("%d different messages, want 25: %v", len(seen), got)
		}
		if last := got[24].after; last < 20*time.Second || last > 20500*time.Millisecond {
			t.Errorf("the last came after %v, it was published after 20 s", last)
		}
		sub.Backend().Pause(2)
		b.publish(0, 2, "paused")
		b.publish(0, 1, "more")
		if more := b.read(sub, 1); more[0].value != "more" || more[0].after > time.Second {
			t.Errorf("live: %v", more)
		}
		sub.Backend().Resume(2)
		if more := b.read(sub, 1); more[0].value != "paused" {
			t.Errorf("after Resume: %v", more)
		}
		// Where there is nothing to replay it is live at once.
		bare := b.subscribe(leat.From(leat.AtTime(time.Now().Add(time.Hour))), leat.ReplaySpeed(1))
		b.publish(0, 0, "bare")
		if more := b.read(bare, 1); more[0].value != "bare" || more[0].after > time.Second {
			t.Errorf("without anything to replay: %v", more)
		}
	})
}

// TestReplayEnds: a loop that waits for its time ends with its context and with its subscription.
func TestReplayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 2)
		b.publish(0, 0, "a")
		b.publish(time.Hour, 1, "b")
		for name, end := range map[string]func(*leat.Subscription, context.CancelFunc){
			"context":      func(_ *leat.Subscription, cancel context.CancelFunc) { cancel() },
			"subscription": func(sub *leat.Subscription, _ context.CancelFunc) { _ = sub.Close() },
		} {
			sub := b.subscribe(leat.From(leat.Earliest), leat.ReplaySpeed(1), leat.ReplayGap(time.Hour))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan []string, 1)
			go func() {
				var values []string
				for m, err := range sub.Messages(ctx) {
					if err != nil {
						values = append(values, err.Error())
						break
					}
					values = append(values, string(m.Value))
				}
				ended <- values
			}()
			<-time.After(time.Minute)
			end(sub, cancel)
			synctest.Wait()
			select {
			case got := <-ended:
				if !slices.Equal(got, []string{"a"}) {
					t.Errorf("%s: the loop had %v, want a", name, got)
				}
			default:
				t.Errorf("%s: the loop goes on", name)
			}
			cancel()
			if err := sub.Close(); err != nil {
				t.Errorf("%s: Close: %v", name, err)
			}
		}
	})
}

// TestReplayEndsWithTheBus: the loop ends, and so do the readers of a subscription that nobody closes.
func TestReplayEndsWithTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 3)
		b.publish(0, 0, "a")
		b.publish(time.Hour, 1, "b")
		sub, err := b.bus.Subscribe("t", leat.From(leat.Earliest), leat.ReplaySpeed(1), leat.ReplayGap(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan []string, 1)
		go func() {
			var values []string
			for m, err := range sub.Messages(t.Context()) {
				if err != nil {
					values = append(values, err.Error())
					break
				}
				values = append(values, string(m.Value))
			}
			ended <- values
		}()
		<-time.After(time.Minute)
		if err := b.bus.Close(); err != nil {
			t.Fatal(err)
		}
		if got := <-ended; !slices.Equal(got, []string{"a"}) {
			t.Errorf("the loop had %v, want a", got)
		}
		for m, err := range sub.Messages(t.Context()) {
			t.Errorf("behind the end comes %v, %v", m, err)
		}
	})
}

// shortPeeks answers with few records at a time, as a node does where many have expired.
type shortPeeks struct{ leat.Backend }

func (s shortPeeks) Peek(ctx context.Context, topic string, q leat.PeekSlice) (leat.PeekRun, error) {
	q.Scan = min(q.Scan, 3)
	return s.Backend.Peek(ctx, topic, q)
}

// expire publishes messages that are gone when it returns.
func (b *replayBed) expire(partition int32, n int) {
	b.t.Helper()
	for range n {
		if _, err := b.p.Publish(b.t.Context(), leat.Message{Partition: partition, Value: []byte("brief"),
			TTL: time.Millisecond}); err != nil {
			b.t.Fatal(err)
		}
	}
	<-time.After(10 * time.Millisecond)
}

// TestReplayBehindExpired: the pace is kept where the log begins with many messages that have expired.
func TestReplayBehindExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 1)
		b.expire(0, 10)
		b.publish(0, 0, "a")
		b.publish(5*time.Second, 0, "b")
		<-time.After(time.Hour)
		b.bus = leat.NewBus(shortPeeks{b.bus.Backend()})
		sub := b.subscribe(leat.From(leat.Earliest), leat.ReplaySpeed(1))
		b.check("behind what has expired", b.read(sub, 2), []replayed{{"a", 0}, {"b", 5 * time.Second}})
	})
}

func TestReplayIsRefused(t *testing.T) {
	bus, err := node.Open(t.Context(), "", node.InMemory(), node.WithTopic("t", leat.TopicConfig{}),
		node.WithTopic("wide", leat.TopicConfig{Partitions: leat.MaxReplayPartitions + 1}))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	from := leat.From(leat.Earliest)
	for name, tt := range map[string]struct {
		topic   string
		options []leat.SubscribeOption
		want    error
	}{
		"a speed below 0": {"t", []leat.SubscribeOption{from, leat.ReplaySpeed(-1)}, leat.ErrInvalidConfig},
		"a large one":     {"t", []leat.SubscribeOption{from, leat.ReplaySpeed(1e7)}, leat.ErrInvalidConfig},
		"a gap below 0": {"t", []leat.SubscribeOption{from, leat.ReplaySpeed(1), leat.ReplayGap(-1)},
			leat.ErrInvalidConfig},
		"a gap alone": {"t", []leat.SubscribeOption{from, leat.ReplayGap(1)}, leat.ErrInvalidConfig},
		"a group": {"t", []leat.SubscribeOption{from, leat.ReplaySpeed(1), leat.Group("g")},
			leat.ErrInvalidConfig},
		"no start": {"t", []leat.SubscribeOption{leat.ReplaySpeed(1)}, leat.ErrInvalidConfig},
		"the end": {"t", []leat.SubscribeOption{leat.ReplaySpeed(1), leat.From(leat.Latest)},
			leat.ErrInvalidConfig},
		"no topic": {"x", []leat.SubscribeOption{from, leat.ReplaySpeed(1)}, leat.ErrTopicNotFound},
		"an offset that is not there": {"t", []leat.SubscribeOption{leat.From(leat.AtOffset(5)),
			leat.ReplaySpeed(1)},
			leat.ErrOffsetOutOfRange},
		"a partition that is not there": {"t", []leat.SubscribeOption{leat.ReplaySpeed(1),
			leat.FromEach(map[int32]leat.Position{7: leat.Earliest})}, leat.ErrPartitionUnknown},
		"many partitions": {"wide", []leat.SubscribeOption{from, leat.ReplaySpeed(1)}, leat.ErrLimited},
	} {
		if _, err := bus.Subscribe(tt.topic, tt.options...); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	sub, err := bus.Subscribe("t", from, leat.ReplaySpeed(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range sub.Batches(t.Context()) {
		if !errors.Is(err, leat.ErrUnsupported) {
			t.Errorf("Batches of a replay: %v", err)
		}
	}
	if err := errors.Join(sub.Commit(t.Context()), sub.Close(), sub.Close()); err != nil {
		t.Error(err)
	}
}

package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

var _ = register("positions: earliest, latest, offset, time", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	var receipts []leat.Receipt
	for i := range 10 {
		receipts = append(receipts, publish(t, p, "k", fmt.Sprint(i)))
	}
	latest := subscribe(t, c.bus, topic)
	for from, want := range map[leat.Position]string{
		leat.Earliest: "0", leat.AtOffset(4): "4", leat.AtTime(receipts[0].Time): "0",
	} {
		if got := take(t, subscribe(t, c.bus, topic, leat.From(from)), 1)[0]; string(got.Value) != want {
			t.Errorf("From(%+v) begins at %s, want %s", from, got.Value, want)
		}
	}
	at := receipts[7]
	got := take(t, subscribe(t, c.bus, topic, leat.From(leat.AtTime(at.Time))), 1)[0]
	if got.Time.Before(at.Time) || got.Offset > at.Offset {
		t.Errorf("From(AtTime(%v)) begins at offset %d, %v; want the first not earlier",
			at.Time, got.Offset, got.Time)
	}
	publish(t, p, "k", "new")
	if got := take(t, latest, 1)[0]; string(got.Value) != "new" {
		t.Errorf("from latest came %q, want new", got.Value)
	}
	_, err := c.bus.Subscribe(topic, leat.From(leat.AtOffset(1000)))
	if !errors.Is(err, leat.ErrOffsetOutOfRange) {
		t.Errorf("From(AtOffset(1000)): %v, want ErrOffsetOutOfRange", err)
	}
})

var _ = register("a reader goes on at places of its own, in the partitions that it names", func(
	t *testing.T, c *carrier,
) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 3})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	for i := range 9 {
		m := leat.Message{Value: fmt.Append(nil, i), Partition: int32(i % 3)}
		if _, err := p.Publish(soon(t), m); err != nil {
			t.Fatal(err)
		}
	}
	sub := subscribe(t, c.bus, topic, leat.FromEach(map[int32]leat.Position{0: leat.AtOffset(1),
		2: leat.Latest}))
	latest := leat.Message{Value: []byte("new"), Partition: 2}
	if _, err := p.Publish(soon(t), latest); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, m := range take(t, sub, 3) {
		got[string(m.Value)] = m.Offset
	}
	if want := map[string]int64{"3": 1, "6": 2, "new": 3}; !maps.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	for want, places := range map[error]map[int32]leat.Position{
		leat.ErrPartitionUnknown: {0: leat.Earliest, 3: leat.Earliest},
		leat.ErrOffsetOutOfRange: {0: leat.Earliest, 1: leat.AtOffset(4)},
	} {
		if _, err := c.bus.Subscribe(topic, leat.FromEach(places)); !errors.Is(err, want) {
			t.Errorf("FromEach(%v): %v, want %v", places, err, want)
		}
	}
})

var _ = register("a group goes on where it committed", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	for i := range 10 {
		publish(t, p, "k", fmt.Sprint(i))
	}
	sub := subscribe(t, c.bus, topic, leat.Group(topic))
	got := take(t, sub, 6)
	ack(t, sub, got[3])
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	// A later loop of the same subscription goes on behind what was delivered.
	if next := take(t, sub, 1)[0]; string(next.Value) != "6" {
		t.Errorf("the next loop begins at %s, want 6", next.Value)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	again := subscribe(t, c.bus, topic, leat.Group(topic))
	if first := take(t, again, 1)[0]; string(first.Value) != "4" {
		t.Errorf("the group goes on at %s, want 4: what was not acked comes again", first.Value)
	}
	checkLag(t, c, topic, topic, 6)
})

// ack acks a kept message, as its subscription.
func ack(t *testing.T, sub *leat.Subscription, m *leat.Message) {
	t.Helper()
	if err := sub.Backend().Ack(m.Partition, m.Offset); err != nil {
		t.Errorf("Ack(%d, %d): %v", m.Partition, m.Offset, err)
	}
}

func checkLag(t *testing.T, c *carrier, group, topic string, want int64) {
	t.Helper()
	infos, err := c.bus.Groups(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Group == group && info.Topic == topic {
			lag := int64(0)
			for _, p := range info.Partitions {
				lag += p.LagRecords
			}
			if lag != want {
				t.Errorf("group %s: lag %d, want %d", group, lag, want)
			}
			return
		}
	}
	t.Errorf("Groups does not list %s on %s", group, topic)
}

var _ = register("members share the partitions and hand them over", func(t *testing.T, c *carrier) {
	const partitions, each = 6, 300
	topic := c.topic(t, leat.TopicConfig{Partitions: partitions, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	g := &gathered{seen: map[int32][]int64{}}
	stopFirst := g.member(t, c, topic, nil)
	for i := range each {
		if i == each/3 {
			g.await(t, partitions) // the first has begun
			g.member(t, c, topic, nil)
		}
		if i == 2*each/3 {
			stopFirst()
		}
		for n := range int32(partitions) {
			p.PublishAsync(leat.Message{Partition: n, Value: fmt.Append(nil, i)}, nil)
		}
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	g.await(t, partitions*each)
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, offsets := range g.seen {
		slices.Sort(offsets)
		if got := slices.Compact(offsets); len(got) != each || got[0] != 0 || got[each-1] != each-1 {
			t.Errorf("partition %d: %d different offsets, want %d", n, len(got), each)
		}
	}
	if extra := g.total - partitions*each; extra > 0 && !c.cuts {
		t.Errorf("%d messages came twice, though every member acked all before it gave up a partition", extra)
	}
})

// gathered is what the members of a group got.
type gathered struct {
	mu    sync.Mutex
	seen  map[int32][]int64
	total int
	more  chan struct{}
}

// member reads and acks until the test ends or the returned function is called, which lets it ack what it
// was given before it leaves.
func (g *gathered) member(
	t *testing.T, c *carrier, topic string, onAssign func(assigned, revoked []int32),
) (stop func()) {
	t.Helper()
	options := []leat.SubscribeOption{leat.Group("members-" + topic), leat.AutoAck()}
	if onAssign != nil {
		options = append(options, leat.OnAssign(onAssign))
	}
	sub, err := c.dial(t).Subscribe(topic, options...)
	if err != nil {
		t.Fatal(err)
	}
	loop, leave := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for m, err := range sub.Messages(loop) {
			if err != nil {
				t.Errorf("member: %v", err)
				return
			}
			g.add(m)
		}
	})
	stop = sync.OnceFunc(func() {
		leave()
		done.Wait()
		if err := sub.Close(); err != nil {
			t.Errorf("member Close: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (g *gathered) add(m *leat.Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen[m.Partition] = append(g.seen[m.Partition], m.Offset)
	g.total++
	if g.more != nil {
		close(g.more)
		g.more = nil
	}
}

// await waits for n messages.
func (g *gathered) await(t *testing.T, n int) {
	t.Helper()
	deadline := soon(t)
	for {
		g.mu.Lock()
		if g.total >= n {
			g.mu.Unlock()
			return
		}
		if g.more == nil {
			g.more = make(chan struct{})
		}
		more, have := g.more, g.total
		g.mu.Unlock()
		select {
		case <-more:
		case <-deadline.Done():
			t.Fatalf("%d of %d messages", have, n)
		}
	}
}

var _ = register("closing a subscription ends its loop without an error", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage})
	p := c.producer(t, topic)
	publish(t, p, "k", "handled while the subscription is closed")
	publish(t, p, "k", "never delivered")
	sub, err := c.bus.Subscribe(topic, leat.Group("close-"+topic), leat.AutoAck())
	if err != nil {
		t.Fatal(err)
	}
	handling, closed := make(chan struct{}), make(chan struct{})
	var loop sync.WaitGroup
	loop.Go(func() {
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				t.Errorf("the loop of a closed subscription yields %v", err)
				return
			}
			if m.Offset != 0 {
				t.Errorf("a closed subscription delivers offset %d", m.Offset)
				return
			}
			close(handling)
			<-closed
		}
	})
	<-handling
	if err := sub.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	close(closed)
	loop.Wait()
	again := subscribe(t, c.bus, topic, leat.Group("close-"+topic))
	if m := take(t, again, 1)[0]; m.Offset != 0 {
		t.Errorf("the group goes on at offset %d, want 0: it was not acked", m.Offset)
	}
})

var _ = register("OnAssign tells what a member has", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	var mu sync.Mutex
	owned := map[int32]bool{}
	changed := make(chan struct{}, 64)
	g := &gathered{seen: map[int32][]int64{}}
	g.member(t, c, topic, func(assigned, revoked []int32) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range assigned {
			owned[n] = true
		}
		for _, n := range revoked {
			delete(owned, n)
		}
		changed <- struct{}{}
	})
	awaitOwned := func(n int) {
		t.Helper()
		for {
			mu.Lock()
			have := slices.Sorted(maps.Keys(owned))
			mu.Unlock()
			if len(have) == n {
				return
			}
			select {
			case <-changed:
			case <-soon(t).Done():
				t.Fatalf("the member has %v, want %d partitions", have, n)
			}
		}
	}
	awaitOwned(4)
	stop := g.member(t, c, topic, nil)
	awaitOwned(2)
	for n := range int32(4) {
		p.PublishAsync(leat.Message{Partition: n}, nil)
	}
	g.await(t, 4)
	stop()
	awaitOwned(4)
})

var _ = register("acks that are not a member's are refused", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	publish(t, c.producer(t, topic), "k", "v")
	sub := subscribe(t, c.bus, topic, leat.Group(topic))
	m := take(t, sub, 1)[0]
	if err := sub.Backend().Ack(0, m.Offset+1); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("ack of what was not delivered: %v, want ErrInvalidRecord", err)
	}
	if err := sub.Backend().Ack(5, 0); !errors.Is(err, leat.ErrFenced) {
		t.Errorf("ack in a partition that is not there: %v, want ErrFenced", err)
	}
	ack(t, sub, m)
	ack(t, sub, m) // again is fine
})

var _ = register("groups are reset and deleted while nobody is in them", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 2})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	for i := range 10 {
		m := leat.Message{Partition: int32(i % 2), Value: fmt.Append(nil, i)}
		if _, err := p.Publish(soon(t), m); err != nil {
			t.Fatal(err)
		}
	}
	group := "g-" + topic
	if err := c.bus.ResetGroup(soon(t), group, topic, leat.Earliest); !errors.Is(err, leat.ErrGroupNotFound) {
		t.Errorf("ResetGroup of nothing: %v, want ErrGroupNotFound", err)
	}
	sub := subscribe(t, c.bus, topic, leat.Group(group), leat.AutoAck())
	take(t, sub, 10)
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.bus.ResetGroup(soon(t), group, topic, leat.Earliest); !errors.Is(err, leat.ErrGroupActive) {
		t.Errorf("ResetGroup of a group in use: %v, want ErrGroupActive", err)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.bus.ResetGroup(soon(t), group, topic, leat.AtOffset(3)); err != nil {
		t.Fatalf("ResetGroup: %v", err)
	}
	checkLag(t, c, group, topic, 4)
	again := subscribe(t, c.bus, topic, leat.Group(group))
	for _, m := range take(t, again, 4) {
		if m.Offset < 3 {
			t.Errorf("offset %d of partition %d after a reset to 3", m.Offset, m.Partition)
		}
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.bus.DeleteGroup(soon(t), group, topic); err != nil {
		t.Fatalf("DeleteGroup: %v", err)
	}
	if err := c.bus.DeleteGroup(soon(t), group, topic); !errors.Is(err, leat.ErrGroupNotFound) {
		t.Errorf("DeleteGroup again: %v, want ErrGroupNotFound", err)
	}
})

var _ = register("a named producer fences the one before it", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 3})
	old, err := c.bus.Producer(topic, leat.WithID("feed"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close() // its error is that it was fenced
	publish(t, old, "a", "1")
	new, err := c.dial(t).Producer(topic, leat.WithID("feed"))
	if err != nil {
		t.Fatal(err)
	}
	defer new.Close()
	publish(t, new, "a", "2")
	if _, err := old.Publish(soon(t), leat.Message{Key: []byte("a")}); !errors.Is(err, leat.ErrProducerFenced) {
		t.Errorf("the older producer: %v, want ErrProducerFenced", err)
	}
	if r := publish(t, new, "a", "3"); r.Offset != 2 {
		t.Errorf("the newer producer is at offset %d, want 2", r.Offset)
	}
})

var _ = register("a topic is altered", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{MaxRecordBytes: 1000})
	p := c.producer(t, topic)
	larger, bytes := 100_000, int64(1<<30)
	age, count := 36*time.Hour, int64(1e6)
	change := leat.TopicChange{MaxRecordBytes: &larger, Retention: &age, RetentionBytes: &bytes,
		RetentionRecords: &count}
	if err := c.bus.AlterTopic(soon(t), topic, change); err != nil {
		t.Fatal(err)
	}
	infos, err := c.bus.Topics(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		got := info.Config
		if info.Name == topic && (got.MaxRecordBytes != larger || got.Retention != age ||
			got.RetentionBytes != bytes || got.RetentionRecords != count) {
			t.Errorf("Topics tells %+v", info.Config)
		}
	}
	// A producer that was open before learns of it with its next attempts.
	deadline := soon(t)
	for {
		_, err := p.Publish(deadline, leat.Message{Value: make([]byte, 50_000)})
		if err == nil {
			break
		}
		if !errors.Is(err, leat.ErrRecordTooLarge) || deadline.Err() != nil {
			t.Fatalf("50,000 bytes after the change: %v", err)
		}
	}
	wrong := -1
	err = c.bus.AlterTopic(soon(t), topic, leat.TopicChange{MaxRecordBytes: &wrong})
	if !errors.Is(err, leat.ErrInvalidConfig) {
		t.Errorf("MaxRecordBytes -1: %v, want ErrInvalidConfig", err)
	}
})

var _ = register("a closed bus says so", func(t *testing.T, c *carrier) {
	if c.dial(t) == c.bus {
		t.Skip("one bus per process: the suite of package node tests this")
	}
	topic := c.topic(t, leat.TopicConfig{})
	bus := c.dial(t)
	p, err := bus.Producer(topic)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := bus.Subscribe(topic)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	p.PublishAsync(leat.Message{Value: []byte("before")}, func(_ leat.Receipt, err error) { answered <- err })
	if err := bus.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("what was published before Close: %v", err)
	}
	select {
	case <-bus.Done():
	case <-soon(t).Done():
		t.Error("Done is not closed after Close")
	}
	if _, err := p.Publish(soon(t), leat.Message{}); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("Publish after Close: %v, want ErrClosed", err)
	}
	for _, err := range sub.Messages(soon(t)) {
		t.Errorf("a loop after Close yields %v", err)
	}
	if _, err := bus.Producer(topic); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("Producer after Close: %v, want ErrClosed", err)
	}
})

var _ = register("groups tell the age of what was not acked", func(t *testing.T, c *carrier) {
	const partitions = 6
	topic := c.topic(t, leat.TopicConfig{Partitions: partitions, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	stored := make([]time.Time, partitions)
	for i := range 2 * partitions {
		r, err := p.Publish(soon(t), leat.Message{Partition: int32(i % partitions), Value: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if i < partitions || i%partitions == 3 {
			stored[i%partitions] = r.Time
		}
	}
	sub := subscribe(t, c.bus, topic, leat.Group(topic))
	for _, m := range take(t, sub, 2*partitions) {
		// Of partition 3 the first is acked, of partition 4 all.
		if m.Partition == 3 && m.Offset == 0 || m.Partition == 4 {
			ack(t, sub, m)
		}
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	infos, err := c.bus.Groups(soon(t))
	after := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(infos, func(g leat.GroupInfo) bool { return g.Group == topic })
	if at < 0 || len(infos[at].Partitions) != partitions {
		t.Fatalf("groups %+v", infos)
	}
	for i, gp := range infos[at].Partitions {
		low, high := before.Sub(stored[i]), after.Sub(stored[i])
		if i == 4 {
			low, high = 0, 0
		}
		if gp.LagTime < low || gp.LagTime > high {
			t.Errorf("partition %d: the lag is %v old, want %v to %v: %+v", i, gp.LagTime, low, high, gp)
		}
	}
})

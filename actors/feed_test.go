package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// reports collects failures.
type reports struct {
	mu   sync.Mutex
	list []Failure
}

func (r *reports) add(f Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, f)
}

func (r *reports) all(a Action) (found []Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.list {
		if f.Action == a {
			found = append(found, f)
		}
	}
	return found
}

func mustFeed(t testing.TB, bus *leat.Bus, receive func(Context), feeds ...Feed) *PID {
	t.Helper()
	pid, err := Spawn(bus, PropsFromFunc(receive), feeds...)
	if err != nil {
		t.Fatalf("Spawn = %v", err)
	}
	return pid
}

// TestFeedPoison feeds 500 messages on 4 partitions, some of which fail one to three times: each
// partition is handled in order, nothing is lost or handled twice, and nothing is acked before.
func TestFeedPoison(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) { checkFeedPoison(t, seed) })
	}
}

func checkFeedPoison(t *testing.T, seed uint64) {
	const n, partitions = 500, 4
	random := rand.New(rand.NewPCG(seed, 0))
	var failures reports
	bus, backend := newFakeBus(t, SystemOptions{OnFailure: failures.add, Seed: seed}, "t", partitions)
	fails := map[string]int{} // place → failures still to come
	panics := 0
	handled := make([][]int64, partitions)
	attempts := map[string]int{}
	var mu sync.Mutex
	for i := range n {
		p := int32(random.IntN(partitions))
		if random.IntN(20) == 0 {
			fails[fmt.Sprint(p, "/", len(backend.topics["t"][p]))] = 1 + random.IntN(3)
		}
		backend.publish("t", leat.Message{Partition: p, Key: []byte{byte(p)}, Value: fmt.Append(nil, i)})
	}
	mustFeed(t, bus, func(ctx Context) {
		m, ok := ctx.Message().(*leat.Message)
		if !ok {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		place := fmt.Sprint(m.Partition, "/", m.Offset)
		attempts[place]++
		if got := Attempt(ctx); got != attempts[place] {
			t.Errorf("seed %d: Attempt of %s = %d, want %d", seed, place, got, attempts[place])
		}
		if got := backend.committed("g", "t", m.Partition); got != m.Offset {
			t.Errorf("seed %d: while %s is handled, %d is committed", seed, place, got)
		}
		if string(m.Value) != string(backend.topics["t"][m.Partition][m.Offset].Value) {
			t.Errorf("seed %d: value of %s is %q", seed, place, m.Value)
		}
		if fails[place] > 0 {
			fails[place]--
			panics++
			panic("poison " + place)
		}
		handled[m.Partition] = append(handled[m.Partition], m.Offset)
	}, On("t", leat.Group("g")))
	<-time.After(10 * time.Minute) // of the bubble
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	for p, offsets := range handled {
		want := len(backend.topics["t"][p])
		if len(offsets) != want {
			t.Errorf("seed %d: partition %d handled %d of %d", seed, p, len(offsets), want)
		}
		for i, offset := range offsets {
			if offset != int64(i) {
				t.Fatalf("seed %d: partition %d, message %d has offset %d", seed, p, i, offset)
			}
		}
		if got := backend.committed("g", "t", int32(p)); got != int64(want) {
			t.Errorf("seed %d: partition %d committed %d of %d", seed, p, got, want)
		}
	}
	checkRetries(t, seed, panics, failures.all(Retrying))
}

// checkRetries holds the reports to the panics there were.
func checkRetries(t *testing.T, seed uint64, panics int, retried []Failure) {
	t.Helper()
	if panics == 0 || len(retried) != panics {
		t.Errorf("seed %d: %d panics, %d reported", seed, panics, len(retried))
	}
	for _, f := range retried {
		place := fmt.Sprint("poison ", f.Partition, "/", f.Offset)
		low, high := 80*time.Millisecond<<(f.Attempt-1), 120*time.Millisecond<<(f.Attempt-1)
		if f.Topic != "t" || !strings.Contains(f.Err.Error(), place) || len(f.Stack) == 0 ||
			f.Delay < low || f.Delay > high {
			t.Errorf("seed %d: report %+v, want topic t, %s and a delay in [%v, %v]", seed, f, place, low, high)
		}
	}
}

// TestFeedHoldsOnePartition fails one message for ever: its partition waits and is paused, memory is
// bounded, and the other partition goes on. Then the message succeeds, and the partition catches up.
func TestFeedHoldsOnePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5_000
		bus, backend := newFakeBus(t, SystemOptions{}, "t", 2)
		var broken atomic.Bool
		broken.Store(true)
		var handled [2]atomic.Int64
		mustFeed(t, bus, func(ctx Context) {
			if m, ok := ctx.Message().(*leat.Message); ok {
				if m.Partition == 0 && m.Offset == 3 && broken.Load() {
					panic("broken")
				}
				if got := handled[m.Partition].Add(1) - 1; got != m.Offset {
					t.Errorf("partition %d: message %d has offset %d", m.Partition, got, m.Offset)
				}
			}
		}, On("t", leat.Group("g")))
		for range n {
			backend.publish("t", leat.Message{Partition: 0, Value: []byte("v")})
			backend.publish("t", leat.Message{Partition: 1, Value: []byte("v")})
		}
		<-time.After(time.Minute)
		synctest.Wait()
		sub := backend.last()
		pauses, resumes, delivered := sub.counts()
		if handled[0].Load() != 3 || handled[1].Load() != n || pauses != 1 || resumes != 0 {
			t.Errorf("handled %d and %d, %d pauses, %d resumes; want 3, %d, 1, 0",
				handled[0].Load(), handled[1].Load(), pauses, resumes, n)
		}
		if queued := delivered - n - 3; queued > laneCapacity+2 {
			t.Errorf("%d messages queued behind the failing one, want at most %d", queued, laneCapacity+2)
		}
		broken.Store(false)
		<-time.After(time.Minute)
		synctest.Wait()
		if _, resumes, _ := sub.counts(); handled[0].Load() != n || resumes != 1 {
			t.Errorf("after the repair: handled %d, %d resumes; want %d, 1", handled[0].Load(), resumes, n)
		}
		if got := backend.committed("g", "t", 0); got != n {
			t.Errorf("committed %d, want %d", got, n)
		}
	})
}

// TestFeedWithoutGroup replays from the beginning and acks nothing.
func TestFeedWithoutGroup(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	for i := range 10 {
		backend.publish("t", leat.Message{Value: fmt.Append(nil, i)})
	}
	var all, late journal
	mustFeed(t, bus, keep(&all), On("t"))
	mustFeed(t, bus, keep(&late), On("t", leat.From(leat.Latest)))
	backend.publish("t", leat.Message{Value: []byte("last")})
	eventually(t, "both got the last", func() bool {
		return slices.Contains(all.lines(), "last") && slices.Contains(late.lines(), "last")
	})
	if len(all.lines()) != 11 || len(late.lines()) != 1 {
		t.Errorf("got %q and %q, want 11 messages and 1", all.lines(), late.lines())
	}
}

// keep writes down the values of messages.
func keep(j *journal) func(Context) {
	return func(ctx Context) {
		if m, ok := ctx.Message().(*leat.Message); ok {
			j.add(string(m.Value))
		}
	}
}

// TestFeedAutoAck checks that AutoAck does not ack before Receive has returned.
func TestFeedAutoAck(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	mustFeed(t, bus, func(Context) {}, On("t", leat.Group("g"), leat.AutoAck()))
	if backend.last().options.AutoAck {
		t.Error("the feed subscribed with AutoAck")
	}
}

// TestFeedMailboxIsRing proves that user actors have our mailbox.
func TestFeedMailboxIsRing(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	pid := mustFeed(t, bus, func(Context) {}, On("t"))
	m, ok := backend.system.lookup(pid).mailbox.(*RingMailbox[delivery])
	if !ok || m.data.Cap() != laneCapacity {
		t.Fatalf("the mailbox is %T", backend.system.lookup(pid).mailbox)
	}
	for range 7 {
		backend.publish("t", leat.Message{})
	}
	eventually(t, "7 messages passed its data lane", func() bool { return m.handed.Load() == 7 })
}

// TestFeedStop stops an actor inside Receive: that message is acked, what waits behind it is not, and
// the actor has left its group. The next actor goes on there.
func TestFeedStop(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	for range 50 {
		backend.publish("t", leat.Message{})
	}
	entered, release := make(chan struct{}), make(chan struct{})
	pid := mustFeed(t, bus, func(ctx Context) {
		if m, ok := ctx.Message().(*leat.Message); ok && m.Offset == 10 {
			close(entered)
			<-release
		}
	}, On("t", leat.Group("g")))
	<-entered
	result := make(chan error)
	go func() { result <- Stop(context.Background(), bus, pid) }()
	mailbox := backend.system.lookup(pid).mailbox.(*RingMailbox[delivery])
	eventually(t, "stop requested", mailbox.system.pending)
	close(release)
	if err := <-result; err != nil {
		t.Fatalf("Stop = %v", err)
	}
	if got := backend.committed("g", "t", 0); got != 11 {
		t.Errorf("committed %d, want 11", got)
	}
	if !backend.last().isClosed() {
		t.Error("the subscription is open after Stop")
	}
	if err := Stop(t.Context(), bus, pid); err != nil {
		t.Errorf("second Stop = %v", err)
	}
	var rest atomic.Int64
	mustFeed(t, bus, func(ctx Context) {
		if m, ok := ctx.Message().(*leat.Message); ok && m.Offset == rest.Add(1)+10 {
			return
		}
	}, On("t", leat.Group("g")))
	eventually(t, "the rest handled", func() bool { return backend.committed("g", "t", 0) == 50 })
	if got := rest.Load(); got != 39 {
		t.Errorf("the next actor handled %d, want 39", got)
	}
}

// TestFeedActorStopsItself checks that the subscription goes with the actor.
func TestFeedActorStopsItself(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	mustFeed(t, bus, func(ctx Context) {
		if _, ok := ctx.Message().(*leat.Message); ok {
			ctx.Stop(ctx.Self())
		}
	}, On("t", leat.Group("g")))
	for range 1_000 { // more than the lane holds: the feed waits when the actor goes
		backend.publish("t", leat.Message{})
	}
	eventually(t, "subscription closed", backend.last().isClosed)
	if got := backend.committed("g", "t", 0); got != 1 {
		t.Errorf("committed %d, want 1", got)
	}
}

// TestFeedFenced takes the membership away: the feed joins again, and the messages that the old one had
// delivered are dropped and come again from the commit.
func TestFeedFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures reports
		bus, backend := newFakeBus(t, SystemOptions{OnFailure: failures.add}, "t", 1)
		for range 100 {
			backend.publish("t", leat.Message{})
		}
		block := make(chan struct{})
		var got []int64
		mustFeed(t, bus, func(ctx Context) {
			if m, ok := ctx.Message().(*leat.Message); ok {
				if got = append(got, m.Offset); len(got) == 6 {
					<-block
				}
			}
		}, On("t", leat.Group("g")))
		synctest.Wait()
		first := backend.last()
		backend.mu.Lock()
		delete(backend.members, "g")
		backend.mu.Unlock()
		first.fail(leat.ErrFenced)
		<-time.After(time.Second)
		synctest.Wait()
		if backend.last() == first {
			t.Fatal("the feed did not subscribe again")
		}
		close(block)
		synctest.Wait()
		want := []int64{0, 1, 2, 3, 4, 5}
		for i := range int64(95) {
			want = append(want, i+5) // 5 was handled but its ack came too late
		}
		if !slices.Equal(got, want) {
			t.Errorf("handled %v, want 0 to 5, then 5 to 99", got)
		}
		if c := backend.committed("g", "t", 0); c != 100 {
			t.Errorf("committed %d, want 100", c)
		}
		if len(failures.all(Resubscribing)) != 1 || len(failures.all(Resubscribed)) != 1 ||
			len(failures.all(AckFailed)) != 1 {
			t.Errorf("reports %+v, want one each of resubscribing, resubscribed, ack failed", failures.list)
		}
	})
}

// TestFeedFencedBeforeReceive takes the membership away while delivered messages wait in the lane: they
// come once, from the new subscription.
func TestFeedFencedBeforeReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
		block := make(chan struct{})
		var got []int64
		pid := mustFeed(t, bus, func(ctx Context) {
			switch m := ctx.Message().(type) {
			case string:
				<-block
			case *leat.Message:
				got = append(got, m.Offset)
			}
		}, On("t", leat.Group("g")))
		backend.system.Send(pid, "block")
		synctest.Wait()
		for range 100 {
			backend.publish("t", leat.Message{})
		}
		synctest.Wait()
		backend.last().fail(leat.ErrFenced)
		<-time.After(time.Second)
		close(block)
		synctest.Wait()
		for i, offset := range got {
			if offset != int64(i) {
				t.Fatalf("handled %v, want 0 to 99 once", got)
			}
		}
		if len(got) != 100 {
			t.Errorf("handled %d messages, want 100", len(got))
		}
	})
}

// TestFeedEnds lists what a feed does about the error of its subscription.
func TestFeedEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		feed   Feed
		rejoin bool
	}{
		{"corrupt", core.NewError(core.CodeCorrupt, "read", nil), On("t", leat.Group("g")), false},
		{"retryable", core.NewError(core.CodeStorageFull, "read", nil), On("t", leat.Group("g")), true},
		{"retryable without a group", core.NewError(core.CodeStorageFull, "read", nil), On("t"), false},
		{"fenced", leat.ErrFenced, On("t", leat.Group("g")), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var failures reports
				bus, backend := newFakeBus(t, SystemOptions{OnFailure: failures.add}, "t", 1)
				var got journal
				mustFeed(t, bus, keep(&got), tt.feed)
				backend.last().fail(tt.err)
				<-time.After(time.Second)
				backend.publish("t", leat.Message{Value: []byte("v")})
				synctest.Wait()
				ended := failures.all(FeedEnded)
				if tt.rejoin != (len(got.lines()) == 1) || tt.rejoin != (len(ended) == 0) {
					t.Errorf("got %q, ended %+v; want rejoin %v", got.lines(), ended, tt.rejoin)
				}
				if !tt.rejoin && (!errors.Is(ended[0].Err, tt.err) || ended[0].Topic != "t") {
					t.Errorf("reported %+v, want %v on t", ended[0], tt.err)
				}
			})
		})
	}
}

// TestFeedStartedPanics restarts an actor that cannot start, more and more slowly, for ever.
func TestFeedStartedPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures reports
		bus, backend := newFakeBus(t, SystemOptions{OnFailure: failures.add}, "t", 1)
		backend.publish("t", leat.Message{Value: []byte("v")})
		var got journal
		start := time.Now()
		mustFeed(t, bus, func(ctx Context) {
			switch m := ctx.Message().(type) {
			case *Started:
				if time.Since(start) < 10*time.Minute {
					panic("not yet")
				}
			case *leat.Message:
				got.add(string(m.Value))
			}
		}, On("t"))
		<-time.After(9 * time.Minute)
		synctest.Wait()
		if len(got.lines()) != 0 {
			t.Errorf("an actor that did not start got %q", got.lines())
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if n := len(failures.all(Restarted)); len(got.lines()) != 1 || n < 20 || n > 60 {
			t.Errorf("got %q after %d restarts, want 1 message and 20 to 60 restarts", got.lines(), n)
		}
	})
}

// TestFeedCopies checks that what Receive sees is a copy that keeps nil and empty apart.
func TestFeedCopies(t *testing.T) {
	big := strings.Repeat("x", maxKeptBytes+1)
	messages := []leat.Message{
		{},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k")},
		{Value: []byte("v"), Headers: []leat.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
		{Key: []byte("big"), Value: []byte(big)},
		{Key: []byte("k"), Value: []byte("small again")},
	}
	var d delivery
	for i := range messages {
		m := &messages[i]
		m.Offset = int64(i)
		d.fill(m, nil, nil, messageSize(m))
		clone := d.msg.Clone()
		for _, pair := range [][2][]byte{{clone.Key, m.Key}, {clone.Value, m.Value}} {
			if string(pair[0]) != string(pair[1]) || (pair[0] == nil) != (pair[1] == nil) {
				t.Errorf("message %d: %q (nil %v), want %q (nil %v)",
					i, pair[0], pair[0] == nil, pair[1], pair[1] == nil)
			}
		}
		if fmt.Sprint(clone.Headers) != fmt.Sprint(m.Headers) || clone.Offset != m.Offset {
			t.Errorf("message %d: headers %v at %d, want %v", i, clone.Headers, clone.Offset, m.Headers)
		}
		d.trim()
		if cap(d.buf) > maxKeptBytes {
			t.Errorf("message %d: the slot keeps %d bytes, want at most %d", i, cap(d.buf), maxKeptBytes)
		}
	}
}

// TestFeedBoundsBytes gives an actor that does not move large messages.
func TestFeedBoundsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
		block := make(chan struct{})
		var handled atomic.Int64
		mustFeed(t, bus, func(ctx Context) {
			if _, ok := ctx.Message().(*leat.Message); ok {
				<-block
				handled.Add(1)
			}
		}, On("t", leat.Group("g")))
		value := make([]byte, 1<<20)
		for range 40 {
			backend.publish("t", leat.Message{Value: value})
		}
		synctest.Wait()
		if _, _, delivered := backend.last().counts(); delivered != maxInFlightBytes>>20+1 {
			t.Errorf("%d MiB were taken for an actor that does not move, want %d and one that waits",
				delivered, maxInFlightBytes>>20)
		}
		close(block)
		synctest.Wait()
		if handled.Load() != 40 {
			t.Errorf("handled %d, want 40", handled.Load())
		}
	})
}

// TestFeedAllocates holds the way from subscription to Receive to no allocation per message.
func TestFeedAllocates(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	var got atomic.Int64
	pid := mustFeed(t, bus, func(ctx Context) {
		if _, ok := ctx.Message().(*leat.Message); ok {
			got.Add(1)
		}
	}, On("t"))
	u := backend.system.lookup(pid).mailbox.(*RingMailbox[delivery]).feeder.(*userActor)
	f := u.feeds[0]
	m := &leat.Message{Key: []byte("key"), Value: make([]byte, 100),
		Headers: []leat.Header{{Key: "a", Value: []byte("b")}}}
	// The feed's own goroutine sleeps in Next: its handle is borrowed.
	var sent int64
	round := func() {
		for range 2_000 {
			f.send(context.Background(), f.sub.Load(), m)
		}
		sent += 2_000
		for got.Load() != sent {
			runtime.Gosched() // a timer would count among the allocations
		}
	}
	round()
	if perMessage := testing.AllocsPerRun(10, round) / 2_000; perMessage > 0.005 { // goroutine starts
		t.Errorf("%.3f allocations per message, want 0", perMessage)
	}
}

func TestSpawnErrors(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	props := PropsFromFunc(func(Context) {})
	if _, err := Spawn(bus, props, On("t"), On("absent")); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("Spawn on an absent topic = %v, want %v", err, leat.ErrTopicNotFound)
	}
	if !backend.last().isClosed() {
		t.Error("the other subscription was left open")
	}
	failing := PropsFromProducer(func() Actor { panic("no actor today") })
	if _, err := Spawn(bus, failing, On("t")); err == nil || !strings.Contains(err.Error(), "no actor today") {
		t.Errorf("Spawn of a producer that panics = %v", err)
	}
	if !backend.last().isClosed() {
		t.Error("the subscription of an actor that never was is open")
	}
	if _, err := Spawn(bus, props); err != nil {
		t.Errorf("Spawn without feeds = %v", err)
	}
	closeSystem(t, backend.system)
	if _, err := Spawn(bus, props, On("t")); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("Spawn after Close = %v, want %v", err, leat.ErrClosed)
	}
}

// TestSystemPerBus runs actors on a backend that has no actor system, until the bus closes.
func TestSystemPerBus(t *testing.T) {
	_, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	bus := leat.NewBus(backend)
	stopped := make(chan struct{})
	mustFeed(t, bus, func(ctx Context) {
		if _, ok := ctx.Message().(*Stopped); ok {
			close(stopped)
		}
	}, On("t"))
	first, err := SystemFor(bus)
	second, _ := SystemFor(bus)
	if err != nil || first != second || first == backend.system {
		t.Errorf("SystemFor = %p, %p, %v; want one system of its own", first, second, err)
	}
	bus.Close()
	<-stopped
	eventually(t, "system forgotten", func() bool {
		busSystems.mu.Lock()
		defer busSystems.mu.Unlock()
		return busSystems.own[bus] == nil
	})
	if _, err := SystemFor(bus); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("SystemFor after Close = %v, want %v", err, leat.ErrClosed)
	}
}

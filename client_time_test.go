package leat

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// pass lets virtual time pass.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// TestRemotePing: a node that says nothing any more is given up within 2 s, if somebody waits for it; an idle
// one is left alone.
func TestRemotePing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.topic("t", core.TopicConfig{})
		bus, _ := f.client()
		p := producerOn(t, bus, "t")
		if _, err := p.Publish(t.Context(), Message{}); err != nil {
			t.Fatal(err)
		}
		var silent atomic.Bool
		f.mu.Lock()
		f.ponging = func() bool { return !silent.Load() }
		hold := make(chan struct{})
		f.answer = func(*fakePart, *core.FrameHeader) core.Code {
			f.answer = nil // only this one hangs
			f.mu.Unlock()
			<-hold
			f.mu.Lock()
			return 0
		}
		f.mu.Unlock()
		pass(time.Minute) // idle
		if f.nodes[0].dials != 1 {
			t.Errorf("%d connections of an idle client", f.nodes[0].dials)
		}
		answered := make(chan error, 1)
		go func() {
			_, err := p.Publish(context.Background(), Message{})
			answered <- err
		}()
		pass(20 * time.Second) // it answers PINGs
		if f.nodes[0].dials != 1 {
			t.Errorf("%d connections to a slow node that lives", f.nodes[0].dials)
		}
		silent.Store(true)
		pass(2 * time.Second)
		if f.nodes[0].dials != 2 {
			t.Errorf("%d connections 2 s after the node fell silent, want 2", f.nodes[0].dials)
		}
		close(hold)
		if err := <-answered; err != nil {
			t.Errorf("the publish: %v", err)
		}
		_ = bus.Close()
		f.stop()
	})
}

// TestRemoteUnreachable: while a node is away for longer than the client waits, publishes fail; once it is
// back they succeed, and what was told to have failed is stored at most once.
func TestRemoteUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		topic := f.topic("t", core.TopicConfig{})
		bus, c := f.client(WithUnreachableAfter(3 * time.Second))
		p := producerOn(t, bus, "t")
		if _, err := p.Publish(t.Context(), Message{Value: []byte("0")}); err != nil {
			t.Fatal(err)
		}
		f.cut(0, true)
		began := time.Now()
		a := &answersOf{t: t}
		p.PublishAsync(Message{Value: []byte("1")}, a.done)
		if _, err := p.Publish(t.Context(), Message{Value: []byte("2")}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("publish: %v", err)
		}
		if waited := time.Since(began); waited < 3*time.Second || waited > 4*time.Second {
			t.Errorf("failed after %v, want 3 s", waited)
		}
		began = time.Now()
		if _, err := p.Publish(t.Context(), Message{Value: []byte("3")}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a later publish: %v", err)
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("a later publish failed after %v", waited)
		}
		if err := p.TryPublish(Message{}); !errors.Is(err, ErrFull) {
			t.Errorf("TryPublish: %v", err)
		}
		if _, err := bus.Topics(t.Context()); !errors.Is(err, ErrUnavailable) || HintFor(err) == "" {
			t.Errorf("topics: %v", err)
		}
		pass(time.Minute)
		f.mu.Lock()
		dials := f.nodes[0].dials
		f.mu.Unlock()
		if dials < 30 || dials > 300 {
			t.Errorf("%d attempts to connect within a minute", dials)
		}
		f.up(0)
		pass(3 * time.Second)
		for i := range 3 {
			if r, err := p.Publish(t.Context(), Message{Value: fmt.Append(nil, 4+i)}); err != nil ||
				r.Offset != int64(1+i) {
				t.Errorf("after it came back: %+v, %v", r, err)
			}
		}
		if got := f.values(topic.parts[0]); len(got) != 4 || a.count != 1 || !errors.Is(a.errs[0], ErrUnavailable) {
			t.Errorf("log has %q, callbacks %v", got, a.errs)
		}
		_ = c
		_ = bus.Close()
		f.stop()
	})
}

// TestRemoteIdleCut: a connection that is lost while nothing is published makes no publish fail, however
// short the patience of the client, if the node can be reached. The same with a node that refuses the
// stream for a while.
func TestRemoteIdleCut(t *testing.T) {
	for _, lived := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, 1)
			f.topic("t", core.TopicConfig{})
			bus, _ := f.client(WithUnreachableAfter(300 * time.Millisecond))
			p := producerOn(t, bus, "t")
			for i := range 3 {
				if _, err := p.Publish(t.Context(), Message{}); err != nil {
					t.Errorf("publish %d, each on a connection that lived %v: %v", i, lived, err)
				}
				pass(lived)
				f.cut(0, false)
				pass(lived)
			}
			f.mu.Lock()
			f.opening = func(uint16, wire.Type) core.Code { return core.CodeDenied }
			f.mu.Unlock()
			f.cut(0, false)
			if _, err := p.Publish(t.Context(), Message{}); !errors.Is(err, ErrDenied) {
				t.Errorf("publish where the node refuses: %v", err)
			}
			pass(lived)
			f.mu.Lock()
			f.opening = nil
			f.mu.Unlock()
			pass(3 * time.Second)
			if _, err := p.Publish(t.Context(), Message{}); err != nil {
				t.Errorf("publish where the node refuses no longer: %v", err)
			}
			_ = bus.Close()
			f.stop()
		})
	}
}

// TestRemoteUnreachableInFlight: a batch that was sent and not answered when its node went away may be
// stored. It is neither lost track of nor sent again after its caller was told.
func TestRemoteUnreachableInFlight(t *testing.T) {
	for _, stored := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, 1)
			topic := f.topic("t", core.TopicConfig{})
			bus, _ := f.client()
			p := producerOn(t, bus, "t")
			if _, err := p.Publish(t.Context(), Message{Value: []byte("0")}); err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			hold := make(chan struct{})
			f.answer = func(*fakePart, *core.FrameHeader) core.Code {
				f.answer = nil
				f.mu.Unlock()
				<-hold
				f.mu.Lock()
				if stored {
					return 0
				}
				return core.CodeStorageFull // not stored, and the answer gets lost
			}
			f.mu.Unlock()
			a := &answersOf{t: t}
			p.PublishAsync(Message{Value: []byte("1")}, a.done)
			synctest.Wait()
			f.cut(0, true)
			close(hold)
			pass(5 * time.Second)
			if a.count != 1 || !errors.Is(a.errs[0], ErrUnavailable) {
				t.Fatalf("%d callbacks, %v", a.count, a.errs)
			}
			f.up(0)
			pass(5 * time.Second)
			want := int64(1)
			if stored {
				want = 2
			}
			for i := range int64(3) {
				if r, err := p.Publish(t.Context(), Message{Value: []byte("x")}); err != nil || r.Offset != want+i ||
					r.Duplicate {
					t.Errorf("stored %t: %+v, %v; want offset %d", stored, r, err, want+i)
				}
			}
			if got := len(f.values(topic.parts[0])); got != int(want)+3 {
				t.Errorf("stored %t: %d records", stored, got)
			}
			_ = bus.Close()
			f.stop()
		})
	}
}

// TestRemoteSuspendedExpire: a member whose partitions do not come back within a session gives them up.
func TestRemoteSuspendedExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		topic := f.topic("t", core.TopicConfig{})
		bus, _ := f.client()
		fillTopic(t, bus, "t", 1, 5)
		sub := subscribeTo(t, bus, "t", Group("g"))
		m := takeFrom(t, sub, 1)[0]
		f.mu.Lock()
		f.groups["g"] = &fakeGroup{topic: topic, committed: map[int32]int64{},
			owner: map[int32]*fakeMember{0: {name: "another"}}}
		f.mu.Unlock()
		f.cut(0, false)
		pass(5 * time.Second)
		if err := sub.Backend().Ack(m.Partition, m.Offset); err != nil {
			t.Errorf("ack while it may come back: %v", err)
		}
		if err := sub.Commit(t.Context()); !errors.Is(err, ErrFenced) {
			t.Errorf("commit of what another member has: %v", err)
		}
		if err := sub.Backend().Ack(m.Partition, m.Offset+1); !errors.Is(err, ErrFenced) {
			t.Errorf("ack after it was given up: %v", err)
		}
		_ = bus.Close()
		f.stop()
	})
}

// TestDialTime: Dial tries until its context ends, and gives up at once on what cannot pass.
func TestDialTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.nodes[0].down = true
		c := newClient("n9:4740, n0:4740", f.dial, dialOptions{}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.connect(ctx); !errors.Is(err, ErrUnavailable) || ctx.Err() == nil {
			t.Errorf("connect: %v", err)
		}
		f.up(0)
		if err := c.connect(t.Context()); err != nil {
			t.Errorf("one of two addresses answers: %v", err)
		}
		_ = c.Close()
		f.opening = func(uint16, wire.Type) core.Code { return core.CodeDenied }
		c = newClient("n0:4740", f.dial, dialOptions{}, 1)
		began := time.Now()
		if err := c.connect(t.Context()); !errors.Is(err, ErrDenied) || time.Since(began) > time.Second {
			t.Errorf("denied: %v after %v", err, time.Since(began))
		}
		_ = c.Close()
		f.stop()
	})
}

// TestRemoteMuteNode: a node that answers PINGs and nothing else costs a call without a context no more than
// one that cannot be reached.
func TestRemoteMuteNode(t *testing.T) {
	for _, mute := range []wire.Type{wire.Response, wire.Subscribed, wire.Joined, wire.ProducerOK} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, 1)
			f.topic("t", core.TopicConfig{})
			bus, _ := f.client(WithUnreachableAfter(time.Second))
			f.mu.Lock()
			f.garble = func(ty wire.Type, frame []byte) []byte {
				if ty == mute {
					return nil
				}
				return frame
			}
			f.mu.Unlock()
			calls := map[string]func() error{}
			switch mute {
			case wire.Response, wire.ProducerOK:
				calls["Producer"] = func() error { _, err := bus.Producer("t", WithID("x")); return err }
			case wire.Joined:
				calls["Group"] = func() error { _, err := bus.Subscribe("t", Group("g")); return err }
			}
			if mute == wire.Response || mute == wire.Subscribed {
				calls["Subscribe"] = func() error { _, err := bus.Subscribe("t"); return err }
			}
			for name, call := range calls {
				began := time.Now()
				if err := call(); !errors.Is(err, ErrUnavailable) || time.Since(began) > 3*time.Second {
					t.Errorf("%s without %v: %v after %v", name, mute, err, time.Since(began))
				}
			}
			_ = bus.Close()
			f.stop()
		})
	}
}

// TestRemoteWatchUnderCalls: calls that follow one another closely do not hide that the node is gone.
func TestRemoteWatchUnderCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		bus, _ := f.client()
		f.mu.Lock()
		f.garble = func(ty wire.Type, frame []byte) []byte {
			if ty == wire.Response || ty == wire.Pong {
				return nil
			}
			return frame
		}
		f.mu.Unlock()
		for range 30 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			go func() { _, _ = bus.Topics(t.Context()) }()
			_, _ = bus.Topics(ctx)
			cancel()
		}
		f.mu.Lock()
		dials := f.nodes[0].dials
		f.mu.Unlock()
		if dials < 2 {
			t.Error("no new connection 3 s after the node fell silent")
		}
		_ = bus.Close()
		f.stop()
	})
}

// TestRemoteCloseWithoutServer: acks that cannot be told hold Close up as long as any other call, and are
// reported.
func TestRemoteCloseWithoutServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.topic("t", core.TopicConfig{})
		bus, _ := f.client()
		fillTopic(t, bus, "t", 1, 5)
		sub := subscribeTo(t, bus, "t", Group("g"))
		takeAcked(t, sub, 1)
		f.cut(0, true)
		began := time.Now()
		if err := sub.Close(); !errors.Is(err, ErrUnavailable) || time.Since(began) > 3*time.Second {
			t.Errorf("close: %v after %v", err, time.Since(began))
		}
		_ = bus.Close()
		f.stop()
	})
}

package transport

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// gated is a stream whose writes wait to be let through.
type gated struct {
	entered chan []byte // a write that has begun
	result  chan error  // how it ends
	ended   bool
}

func newGated() *gated { return &gated{entered: make(chan []byte), result: make(chan error)} }

// Write implements Stream.
func (g *gated) Write(p []byte) (int, error) {
	g.entered <- bytes.Clone(p)
	if err := <-g.result; err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements Stream.
func (g *gated) Close() error { g.ended = true; return nil }

// Read implements Stream.
func (g *gated) Read([]byte) (int, error) { panic("a lane does not read") }

// Reset implements Stream.
func (g *gated) Reset(core.Code) { panic("a lane does not reset") }

// sending calls Send in a goroutine.
func sending(l *Lane, frames string) chan error {
	done := make(chan error, 1)
	go func() { done <- l.Send([]byte(frames)) }()
	return done
}

// inBubble runs a test whose goroutines synctest watches.
func inBubble(t *testing.T, f func(t *testing.T, g *gated, l *Lane)) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		f(t, g, NewLane(g, 10))
	})
}

func (g *gated) want(t *testing.T, want string, result error) {
	t.Helper()
	if got := <-g.entered; string(got) != want {
		t.Errorf("one write of %q, want %q", got, want)
	}
	g.result <- result
}

func pending(done chan error) bool {
	synctest.Wait()
	return len(done) == 0
}

func TestIdleLaneWritesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gated, l *Lane) {
		for _, frames := range []string{"a", "b", "more than the bound"} {
			done := sending(l, frames)
			if !pending(done) {
				t.Errorf("Send(%q) returned before it had written", frames)
			}
			g.want(t, frames, nil)
			wantCode(t, "Send", <-done, 0)
		}
	})
}

func TestLaneBatchesWhatComesMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gated, l *Lane) {
		first := sending(l, "1")
		pending(first)
		for _, frame := range []string{"2", "3", "4"} {
			wantCode(t, "Send", l.Send([]byte(frame)), 0)
		}
		wantCode(t, "Queue", l.Queue([]byte("5")), 0)
		g.want(t, "1", nil)
		wantCode(t, "Send", <-first, 0) // it does not wait for the others
		if got := <-g.entered; string(got) != "2345" {
			t.Errorf("one write of %q, want %q", got, "2345")
		}
		wantCode(t, "Send", l.Send([]byte("6")), 0)
		g.result <- nil
		g.want(t, "6", nil)
		l.Wait()
		wantCode(t, "Close", l.Close(), 0)
	})
}

func TestLaneHasABound(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gated, l *Lane) {
		first := sending(l, "1")
		pending(first)
		wantCode(t, "Send below the bound", l.Send([]byte("234567890")), 0)
		wantCode(t, "Send across the bound", l.Send([]byte("ab")), 0)
		wantCode(t, "Queue at the bound", l.Queue([]byte("c")), core.CodeFull)
		waiting := sending(l, "d")
		if !pending(waiting) {
			t.Fatal("Send at the bound returned")
		}
		g.want(t, "1", nil)
		<-first
		if got := <-g.entered; string(got) != "234567890ab" {
			t.Errorf("one write of %q", got)
		}
		wantCode(t, "the Send that waited", <-waiting, 0) // queued, while that write is under way
		g.result <- nil
		g.want(t, "d", nil)
		l.Wait()
	})
}

func TestErrorsOfALaneAreFinal(t *testing.T) {
	lost := core.NewError(core.CodeUnavailable, "write stream", errors.New("cut"))
	inBubble(t, func(t *testing.T, g *gated, l *Lane) {
		first := sending(l, "1")
		pending(first)
		wantCode(t, "Send", l.Send([]byte("2345678901")), 0)
		waiting := sending(l, "x")
		if !pending(waiting) {
			t.Fatal("Send at the bound returned")
		}
		g.want(t, "1", lost)
		for call, err := range map[string]error{"the Send that wrote": <-first, "the Send that waited": <-waiting,
			"a later Send": l.Send([]byte("y")), "a later Queue": l.Queue([]byte("y")), "Close": l.Close()} {
			if !errors.Is(err, lost) {
				t.Errorf("%s: %v, want the error of the write", call, err)
			}
		}
		if g.ended {
			t.Error("Close ended a stream that had failed")
		}
	})
	inBubble(t, func(t *testing.T, g *gated, l *Lane) {
		wantCode(t, "Queue", l.Queue([]byte("1")), 0)
		g.want(t, "1", lost)
		l.Wait()
		wantCode(t, "Send after a failed drain", l.Send([]byte("2")), core.CodeUnavailable)
	})
}

func TestCloseOfALaneFlushes(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gated, l *Lane) {
		first := sending(l, "1")
		pending(first)
		wantCode(t, "Queue", l.Queue([]byte("2")), 0)
		closed := make(chan error, 1)
		go func() { closed <- l.Close() }()
		if !pending(closed) || g.ended {
			t.Error("Close did not wait for what was sent")
		}
		g.want(t, "1", nil)
		g.want(t, "2", nil)
		wantCode(t, "Close", <-closed, 0)
		if !g.ended {
			t.Error("Close left the stream open")
		}
		<-first
		wantCode(t, "Send after Close", l.Send([]byte("x")), core.CodeClosed)
		wantCode(t, "Queue after Close", l.Queue([]byte("x")), core.CodeClosed)
	})
}

// TestLaneOfManySenders: frames of one sender stay in order, and none is torn or lost.
func TestLaneOfManySenders(t *testing.T) {
	const senders, frames = 8, 500
	dialed, accepted := Pipe(testProtocol)
	defer dialed.Close(0, "")
	here, err := dialed.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there, err := accepted.AcceptStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	lane := NewLane(here, 4<<10)
	var all sync.WaitGroup
	for sender := range senders {
		all.Go(func() {
			for i := range frames {
				h := wire.Header{Length: uint32(i % 100), Type: wire.Produce, Aux: uint16(sender), Arg: uint64(i)}
				whole := append(h.Append(nil), bytes.Repeat([]byte{byte(sender)}, i%100)...)
				for send := lane.Send; ; {
					if i%3 == 0 {
						send = lane.Queue
					}
					if err := send(whole); err == nil {
						break
					} else if !errors.Is(err, core.ErrFull) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	go func() {
		all.Wait()
		_ = lane.Close()
	}()
	var next [senders]int
	r := NewReader(there, 100)
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		payload, err := r.Small()
		if err != nil {
			t.Fatal(err)
		}
		if int(h.Arg) != next[h.Aux] || !bytes.Equal(payload, bytes.Repeat([]byte{byte(h.Aux)}, int(h.Length))) {
			t.Fatalf("sender %d: frame %d, want %d", h.Aux, h.Arg, next[h.Aux])
		}
		next[h.Aux]++
	}
	for sender, n := range next {
		if n != frames {
			t.Errorf("sender %d: %d frames arrived, want %d", sender, n, frames)
		}
	}
}

// sink is a stream that takes everything.
type sink struct{ Stream }

// Write implements Stream.
func (sink) Write(p []byte) (int, error) { return len(p), nil }

func TestLaneDoesNotAllocate(t *testing.T) {
	lane := NewLane(sink{}, 1<<20)
	whole := frame(wire.Produce, 100<<10)
	if n := testing.AllocsPerRun(100, func() { _ = lane.Send(whole) }); n != 0 {
		t.Errorf("%v allocations of a Send on an idle lane, want 0", n)
	}
}

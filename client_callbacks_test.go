package leat

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/leatbus/leat/core"
)

// TestRemoteFlushMixed: a flush waits for the callbacks of what was published before it, although those who
// wait for later messages are answered earlier.
func TestRemoteFlushMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.topic("t", core.TopicConfig{})
		bus, _ := f.client()
		p := producerOn(t, bus, "t")
		hold, called := make(chan struct{}), false
		p.PublishAsync(Message{}, func(Receipt, error) { <-hold; called = true })
		synctest.Wait()
		flushed := make(chan bool)
		go func() {
			if err := p.Flush(t.Context()); err != nil {
				t.Errorf("flush: %v", err)
			}
			flushed <- called
		}()
		synctest.Wait()
		if _, err := p.Publish(t.Context(), Message{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case <-flushed:
			t.Error("flushed before the callback returned")
		default:
			close(hold)
			if !<-flushed {
				t.Error("flushed before the callback returned")
			}
		}
		_ = bus.Close()
		f.stop()
	})
}

// TestRemoteCallbackPanic: a callback that panics costs no other answer, and is reported once.
func TestRemoteCallbackPanic(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	p := producerOn(t, bus, "t")
	a := &answersOf{t: t}
	p.PublishAsync(Message{}, a.done)
	p.PublishAsync(Message{}, func(Receipt, error) { panic("by the test") })
	p.PublishAsync(Message{}, a.done)
	if err := p.Flush(soon(t)); !errors.Is(err, ErrHandlerFailed) {
		t.Errorf("flush: %v", err)
	}
	if a.count != 2 || len(a.errs) > 0 {
		t.Errorf("%d callbacks, errors %v", a.count, a.errs)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Errorf("second flush: %v", err)
	}
	p.PublishAsync(Message{Value: make([]byte, 2<<20)}, func(Receipt, error) { panic("by the test") })
	if err := p.Close(); !errors.Is(err, ErrHandlerFailed) {
		t.Errorf("close: %v", err)
	}
}

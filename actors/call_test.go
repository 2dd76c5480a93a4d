package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

// callPing calls with no deadline but that of the test.
func callPing(t *testing.T, s *System, pid *PID) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return Call(ctx, s, pid, func(r Reply[int]) any { return ping{r} })
}

func TestCallAnswers(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	sorry := errors.New("sorry")
	n := 0
	pid := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
		if m, ok := ctx.Message().(ping); ok {
			n++
			m.Answer(n, nil)
			m.Answer(-1, sorry) // only the first counts
			m.Abandoned(sorry)
		}
	})))
	for want := 1; want <= 3; want++ {
		if got, err := callPing(t, s, pid); got != want || err != nil {
			t.Errorf("Call = %d, %v; want %d, nil", got, err, want)
		}
	}
	if _, err := Call(t.Context(), s, pid, func(Reply[int]) any { return "no reply inside" }); err == nil {
		t.Error("Call with a message that cannot be abandoned succeeded")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Call(ended, s, pid, func(r Reply[int]) any { return ping{r} })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Call with an ended context = %v, want %v", err, context.Canceled)
	}
	Reply[int]{}.Answer(1, nil) // the zero Reply swallows it
}

// TestCallNeverHangs calls actors that cannot answer.
func TestCallNeverHangs(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	stopped := mustSpawn(t, s, s.Props(receive(func(Context) {})))
	if err := s.Stop(t.Context(), stopped); err != nil {
		t.Fatalf("Stop = %v", err)
	}
	panics := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
		if _, ok := ctx.Message().(ping); ok {
			panic("over a call")
		}
	})))
	for _, tt := range []struct {
		name string
		pid  *PID
		want error
	}{
		{"stopped", stopped, core.ErrClosed},
		{"unknown", s.inner.NewLocalPID("nobody"), core.ErrClosed},
		{"panics", panics, core.NewError(core.CodeHandlerFailed, "", nil)},
	} {
		if _, err := callPing(t, s, tt.pid); !errors.Is(err, tt.want) {
			t.Errorf("%s: Call = %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestCallWhileStopping calls an actor again and again while it is being stopped.
func TestCallWhileStopping(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	for range 50 {
		pid := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			if m, ok := ctx.Message().(ping); ok {
				m.Answer(1, nil)
			}
		})))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					if _, err := callPing(t, s, pid); errors.Is(err, core.ErrClosed) {
						return
					} else if err != nil {
						t.Errorf("Call = %v, want an answer or %v", err, core.ErrClosed)
						return
					}
				}
			})
		}
		if err := s.Stop(t.Context(), pid); err != nil {
			t.Errorf("Stop = %v", err)
		}
		wg.Wait()
	}
}

func TestReplyFunc(t *testing.T) {
	var got []string
	r := ReplyFunc(func(n int, err error) { got = append(got, fmt.Sprint(n, err)) })
	r.Answer(7, nil)
	r.Abandoned(core.ErrClosed)
	if len(got) != 1 || got[0] != "7 <nil>" {
		t.Errorf("delivered %q, want one answer of 7", got)
	}
}

func TestReplyWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := NewReply[int]().Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

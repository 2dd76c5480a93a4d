package actors

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/leatbus/leat/core"
)

// TestSystemCloseOrder closes users first, then the latest actor first.
func TestSystemCloseOrder(t *testing.T) {
	bus, backend := newFakeBus(t, SystemOptions{}, "t", 1)
	s := backend.system
	var got journal
	named := func(name string) *Props {
		return s.Props(receive(func(ctx Context) {
			if _, ok := ctx.Message().(*Stopped); ok {
				got.add(name)
			}
		}))
	}
	mustSpawn(t, s, named("first"))
	mustFeed(t, bus, func(ctx Context) {
		if _, ok := ctx.Message().(*Stopped); ok {
			got.add("user")
		}
	}, On("t"))
	mustSpawn(t, s, named("second"))
	closeSystem(t, s)
	if want := []string{"user", "second", "first"}; !slices.Equal(got.lines(), want) {
		t.Errorf("stopped %q, want %q", got.lines(), want)
	}
	if _, err := s.Spawn(named("late"), "late"); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Spawn after Close = %v, want %v", err, core.ErrClosed)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

// TestSystemCloseLeavesNothing spawns, sends and closes at the same time, many times.
func TestSystemCloseLeavesNothing(t *testing.T) {
	for range 20 {
		s := NewSystem(SystemOptions{})
		var wg sync.WaitGroup
		var toldAll sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					pid, err := s.Spawn(s.Props(receive(func(ctx Context) {
						if m, ok := ctx.Message().(ping); ok {
							m.Answer(0, nil)
						}
					})), "")
					if errors.Is(err, core.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("Spawn = %v", err)
						return
					}
					toldAll.Add(1)
					s.Send(pid, ping{ReplyFunc(func(int, error) { toldAll.Done() })})
				}
			})
		}
		<-time.After(time.Millisecond)
		closeSystem(t, s)
		wg.Wait()
		toldAll.Wait() // every message was answered or abandoned
		if n := s.routines.count.Load(); n != 0 || len(s.entries) != 0 {
			t.Fatalf("%d goroutines and %d actors left", n, len(s.entries))
		}
	}
}

// TestSystemCloseInTime has an actor that does not return.
func TestSystemCloseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(SystemOptions{})
		release := make(chan struct{})
		pid := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			if _, ok := ctx.Message().(string); ok {
				<-release
			}
		})))
		s.Send(pid, "block")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), pid.Id) {
			t.Errorf("Close = %v, want one that names %s", err, pid.Id)
		}
		close(release)
		synctest.Wait()
		if n := s.routines.count.Load(); n != 0 {
			t.Errorf("%d goroutines left after the actor returned", n)
		}
	})
}

func TestSystemSpawnErrors(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	props := func() *Props { return s.Props(receive(func(Context) {})) }
	if _, err := s.Spawn(props(), "a"); err != nil {
		t.Fatalf("Spawn = %v", err)
	}
	again := props()
	if _, err := s.Spawn(again, "a"); !errors.Is(err, actor.ErrNameExists) {
		t.Errorf("Spawn of a taken name = %v, want %v", err, actor.ErrNameExists)
	}
	if _, err := s.Spawn(again, "b"); err != nil {
		t.Errorf("Spawn of the same props under a free name = %v", err)
	}
	if _, err := s.Spawn(PropsFromFunc(func(Context) {}), "c"); err == nil ||
		!strings.Contains(err.Error(), "RingMailbox") {
		t.Errorf("Spawn without our mailbox = %v, want an error that says so", err)
	}
}

// TestSystemStopRespawn gives a name to a new actor as soon as the old one is stopped.
func TestSystemStopRespawn(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	for i := range 200 {
		pid, err := s.Spawn(s.Props(receive(func(ctx Context) {
			if m, ok := ctx.Message().(ping); ok {
				m.Answer(i, nil)
			}
		})), "name")
		if err != nil {
			t.Fatalf("Spawn %d = %v", i, err)
		}
		if got, err := callPing(t, s, pid); got != i || err != nil {
			t.Fatalf("Call = %d, %v; want %d", got, err, i)
		}
		if err := s.Stop(t.Context(), pid); err != nil {
			t.Fatalf("Stop = %v", err)
		}
	}
}

// TestSystemWatch watches an actor that stops, and one that is gone.
func TestSystemWatch(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	gone := mustSpawn(t, s, s.Props(receive(func(Context) {})))
	if err := s.Stop(t.Context(), gone); err != nil {
		t.Fatalf("Stop = %v", err)
	}
	alive := mustSpawn(t, s, s.Props(receive(func(Context) {})))
	terminated := make(chan string, 2)
	watching := make(chan struct{})
	mustSpawn(t, s, s.Props(receive(func(ctx Context) {
		switch m := ctx.Message().(type) {
		case *Started:
			ctx.Watch(gone)
			ctx.Watch(alive)
			close(watching)
		case *Terminated:
			terminated <- m.Who.Id
		}
	})))
	<-watching
	if got := <-terminated; got != gone.Id {
		t.Errorf("Terminated %s, want %s", got, gone.Id)
	}
	if err := s.Stop(t.Context(), alive); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if got := <-terminated; got != alive.Id {
		t.Errorf("Terminated %s, want %s", got, alive.Id)
	}
}

// TestSystemDeadLetters logs at most one line a second, and leaves no goroutine behind as protoactor's
// own logging would.
func TestSystemDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := NewSystem(SystemOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		defer closeSystem(t, s)
		<-time.After(time.Second)
		nobody := s.inner.NewLocalPID("nobody")
		for range 100 {
			s.Send(nobody, "hello")
		}
		stacks := make([]byte, 1<<20)
		if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("NewThrottle")) {
			t.Error("protoactor logs dead letters with a goroutine of its own")
		}
		<-time.After(time.Second)
		s.Send(nobody, "hello")
		if lines := strings.Count(log.String(), "\n"); lines != 2 || s.DeadLetters() != 101 {
			t.Errorf("%d lines for %d dead letters, want 2 for 101:\n%s", lines, s.DeadLetters(), log.String())
		}
		if !strings.Contains(log.String(), "messages=100") {
			t.Errorf("the second line does not count the first hundred:\n%s", log.String())
		}
	})
}

// TestSystemRequest answers a request to nobody, as protoactor does.
func TestSystemRequest(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	answered := make(chan string, 1)
	mustSpawn(t, s, s.Props(receive(func(ctx Context) {
		switch m := ctx.Message().(type) {
		case *Started:
			ctx.Request(s.inner.NewLocalPID("nobody"), "anyone?")
		case *actor.DeadLetterResponse:
			answered <- m.Target.Id
		}
	})))
	if got := <-answered; got != "nobody" {
		t.Errorf("DeadLetterResponse of %q, want nobody", got)
	}
}

// forbidden are the parts of protoactor with defects that were reproduced: lost, reordered or racing
// messages, and queues without a bound.
var forbidden = []string{"Future", "NewFuture", "RequestFuture", "StopFuture", "PoisonFuture", "ReenterAfter",
	"Stash", "Bounded", "BoundedDropping", "Unbounded", "UnboundedLockfree", "UnboundedPriority",
	"UnboundedPriorityMpsc", "NewOneForOneStrategy", "NewExponentialBackoffStrategy",
	"DefaultSupervisorStrategy", "NewDefaultDispatcher", "WithMetricProviders", "SetReceiveTimeout"}

// TestSystemAvoidsDefects reads the package's own source.
func TestSystemAvoidsDefects(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("Glob = %d files, %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(syntax, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok && slices.Contains(forbidden, selector.Sel.Name) {
				t.Errorf("%s uses %s", file, selector.Sel.Name)
			}
			return true
		})
	}
}

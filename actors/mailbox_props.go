package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// Props makes props whose actor has this mailbox. One mailbox is for one actor: spawning a second one
// with the same props is an error. d runs the mailbox; nil means a goroutine of the System whenever
// there is something to do. Children are supervised as the actors of the bus are.
func (m *RingMailbox[T]) Props(producer func() Actor, d Dispatcher) *Props {
	return actor.PropsFromProducer(guarded(producer), m.options(d)...)
}

func (m *RingMailbox[T]) options(d Dispatcher) []actor.PropsOption {
	options := []actor.PropsOption{
		actor.WithMailbox(func() actor.Mailbox { return m }),
		actor.WithSupervisor(supervision),
		actor.WithSpawnFunc(m.spawn),
	}
	if m.onSystem = d == nil; d != nil {
		options = append(options, actor.WithDispatcher(d))
	}
	return options
}

// spawn is actor.DefaultSpawner for a mailbox that may be used once; a panic of the producer is an
// error of the caller, not a crash.
func (m *RingMailbox[T]) spawn(
	system *actor.ActorSystem, id string, props *actor.Props, parent actor.SpawnerContext,
) (pid *actor.PID, err error) {
	if !m.bound.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("actors: spawn %q: the mailbox belongs to actor %s: make one for each", id, m.name())
	}
	defer func() {
		if value := recover(); value != nil {
			pid, err = nil, fmt.Errorf("actors: spawn %q: %w", id, newPanic(value))
		}
		if err != nil {
			m.bound.Store(false)
		}
	}()
	return actor.DefaultSpawner(system, id, props, parent)
}

// guard keeps panics in the lifecycle handlers of an actor from leaving it half stopped: protoactor
// takes no second Stop, and would wait for ever.
type guard struct {
	actor    Actor
	stopping bool
}

func guarded(producer func() Actor) func() Actor {
	return func() Actor { return &guard{actor: producer()} }
}

// Receive passes everything to the actor.
func (g *guard) Receive(ctx Context) {
	switch ctx.Message().(type) {
	case *Stopping:
		g.stopping = true
		g.contain(ctx)
	case *Stopped, *Restarting:
		g.contain(ctx)
	case *Terminated:
		if g.stopping {
			g.contain(ctx)
			return
		}
		g.actor.Receive(ctx)
	default:
		g.actor.Receive(ctx)
	}
}

func (g *guard) contain(ctx Context) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if s := systemOf(ctx.ActorSystem()); s != nil {
			p := newPanic(value)
			s.reportFailure(Failure{PID: ctx.Self(), Err: p, Stack: p.Stack, Offset: -1, Action: Ignored})
		}
	}()
	g.actor.Receive(ctx)
}

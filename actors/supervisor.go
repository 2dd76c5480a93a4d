package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

const (
	// restartBudget restarts without progress within restartWindow stop an actor of the bus.
	restartBudget = 5
	restartWindow = time.Minute
)

// supervision is the strategy of all our actors and guardians. It has no state: what it knows of an
// actor is in the actor's entry, so that the whole tree may share it.
var supervision actor.SupervisorStrategy = supervisor{}

type supervisor struct{}

// HandleFailure decides about an actor that panicked and is suspended. It runs on the goroutine of the
// supervisor, or of the failing actor where that has no parent.
func (supervisor) HandleFailure(system *actor.ActorSystem, _ actor.Supervisor, child *actor.PID,
	_ *actor.RestartStatistics, reason, _ any) {
	s := systemOf(system)
	if s == nil {
		return
	}
	e := s.lookup(child)
	if e == nil {
		return // stopped since
	}
	p, ok := reason.(*Panic)
	if !ok {
		p = &Panic{Value: reason}
	}
	failure := s.decide(e, p)
	failure.PID, failure.Err, failure.Stack = child, p, p.Stack
	s.reportFailure(failure)
	switch failure.Action {
	case StoppedActor:
		e.mailbox.PostSystemMessage(stopNow{})
	case Restarted:
		s.restart(e, failure.Delay)
	case Retrying: // the delay is the message's, not the actor's
		s.restart(e, 0)
	}
}

// decide fills in action, delay and attempt.
func (s *System) decide(e *entry, p *Panic) Failure {
	if p.failure.Action == Retrying {
		e.restarts.clear()
		return p.failure
	}
	now, progress := s.clock.Mono(), e.mailbox.progress()
	failure := Failure{Offset: -1, Action: Restarted}
	recent := e.restarts.recent(now, progress)
	n := e.restarts.total
	failure.Attempt = n + 1
	if recent >= restartBudget && !e.user {
		failure.Action = StoppedActor
		return failure
	}
	if e.user && p.Lane == "control" {
		// The message is gone with the incarnation, so the next one does not meet it again.
		return failure
	}
	failure.Delay = restartBackoff.delay(n, &s.jitter)
	e.restarts.add(now)
	return failure
}

// restart lets the next incarnation begin after a delay. It does nothing for an actor stopped by then.
func (s *System) restart(e *entry, delay time.Duration) {
	again := func() { e.mailbox.PostSystemMessage(&actor.Restart{}) }
	if delay == 0 {
		again()
		return
	}
	s.timers.call(delay, again)
}

// restarts are the latest restarts of one actor since it last made progress. Failures of one actor are
// decided one after the other.
type restarts struct {
	times    []int64 // nanoseconds of the clock's Mono, the latest ones
	total    int     // also those that the window has left behind: the delay keeps growing
	progress uint64  // of the mailbox at the last failure
}

// recent forgets what progress or time have made void, and returns the number of restarts in the window.
func (r *restarts) recent(now int64, progress uint64) int {
	if progress != r.progress {
		r.clear()
		r.progress = progress
	}
	for len(r.times) > 0 && now-r.times[0] >= int64(restartWindow) {
		r.times = r.times[1:]
	}
	return len(r.times)
}

func (r *restarts) add(now int64) {
	r.total++
	r.times = append(r.times, now)
	if len(r.times) > restartBudget {
		r.times = r.times[1:]
	}
}

func (r *restarts) clear() { r.times, r.total = nil, 0 }

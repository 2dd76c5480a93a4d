package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/leatbus/leat/core"
)

// controlBurst is how many control messages are handled before data gets its turn.
const controlBurst = 16

// Messages that the mailbox takes for itself from the system lane.
type (
	stopNow    struct{}              // stop without handling what is queued
	feederNote struct{ content any } // for feeder.notify
)

type turnEnd uint8

const (
	turnAgain turnEnd = iota // a panic was handled: look at the lanes again
	turnIdle                 // nothing left that may be handled now
	turnYield                // others should run first
)

// turnUntilIdle owns the mailbox until there is nothing to do, or passes it to the dispatcher again.
func (m *RingMailbox[T]) turnUntilIdle() {
	for {
		switch m.turn() {
		case turnAgain:
			continue
		case turnYield:
			m.dispatch()
			return
		}
		if m.state.CompareAndSwap(stateRunning, stateIdle) {
			return
		}
		// Something was added. The mark is taken back before the lanes are looked at.
		m.state.Store(stateRunning)
	}
}

// turn handles messages for as long as there are any, it may, and others need not wait too long.
func (m *RingMailbox[T]) turn() (end turnEnd) {
	defer m.escalate() // then end is turnAgain
	run := &m.run
	for budget := m.throughput; ; {
		if msg, ok := m.system.pop(); ok {
			m.handleSystem(msg)
			continue
		}
		if m.closed.Load() {
			m.abandonQueued()
			return turnIdle
		}
		if run.suspended {
			return turnIdle
		}
		if run.draining && run.controls <= 0 && run.datas <= 0 {
			m.stopActor()
			continue
		}
		n := m.handleControls() + m.handleData()
		if n == 0 && !run.draining {
			return turnIdle
		}
		if n == 0 { // what was counted is claimed by a sender and not published: do not wait for it
			run.controls, run.datas = 0, 0
		}
		if budget -= n; budget <= 0 {
			return turnYield
		}
	}
}

func (m *RingMailbox[T]) handleSystem(msg any) {
	run := &m.run
	run.current, run.kind = msg, laneSystem
	switch msg := msg.(type) {
	case *actor.SuspendMailbox:
		if run.suspended = true; run.draining {
			m.stopActor()
		}
	case *actor.ResumeMailbox:
		run.suspended = false
	case *actor.Stop:
		m.drainThenStop()
	case stopNow:
		m.stopActor()
	case feederNote:
		m.feeder.notify(msg.content)
	case *actor.Restart:
		// protoactor would bring an actor back to life that waits for its children, or is gone.
		if !run.stopping {
			m.invoker.InvokeSystemMessage(msg)
		}
	case *actor.Watch:
		m.invoker.InvokeSystemMessage(msg)
	default:
		if !m.closed.Load() {
			m.invoker.InvokeSystemMessage(msg)
		}
	}
	m.settle()
}

// settle ends the handling of a message, after which the actor may be gone.
func (m *RingMailbox[T]) settle() {
	m.run.current, m.run.kind = nil, laneNone
	if m.run.stopping && !m.closed.Load() && m.gone() {
		m.close()
	}
}

// drainThenStop notes how much is queued now; turn stops the actor when that much was handled. An actor
// that failed and waits for its restart is stopped as it is.
func (m *RingMailbox[T]) drainThenStop() {
	run := &m.run
	if run.stopping || run.draining {
		return
	}
	if m.stopAtOnce || run.suspended {
		m.stopActor()
		return
	}
	run.draining, run.controls, run.datas = true, m.control.len(), 0
	if m.data != nil {
		run.datas = m.data.Len()
	}
}

func (m *RingMailbox[T]) stopActor() {
	m.run.draining = false
	if m.run.stopping {
		return
	}
	m.run.stopping = true
	m.run.current, m.run.kind = nil, laneSystem
	m.invoker.InvokeSystemMessage(&actor.Stop{})
	m.settle()
}

// gone tells whether protoactor has taken the actor out of its registry, which is the last thing it
// does before Stopped; the name may have been given to another one since.
func (m *RingMailbox[T]) gone() bool {
	if m.inner == nil {
		return false
	}
	process, ok := m.inner.ProcessRegistry.GetLocal(m.self.Id)
	return !ok || process != m.process
}

// close is the end of the actor: from here on whatever arrives is abandoned.
func (m *RingMailbox[T]) close() {
	m.closed.Store(true)
	m.abandonQueued()
	if m.feeder != nil {
		m.feeder.stopped()
	}
	if m.owner != nil {
		m.owner.forget(m.entry)
	}
}

func (m *RingMailbox[T]) handleControls() (n int) {
	for n < controlBurst {
		msg, ok := m.control.pop()
		if !ok {
			return n
		}
		m.run.controls--
		m.run.current, m.run.kind = msg, laneControl
		m.invoker.InvokeUserMessage(msg)
		m.run.current, m.run.kind = nil, laneNone
		m.handed.Add(1)
		if n++; m.system.pending() {
			return n
		}
	}
	return n
}

func (m *RingMailbox[T]) handleData() (n int) {
	if m.data == nil || m.system.pending() {
		return 0
	}
	run := &m.run
	if m.feeder != nil {
		run.kind = laneOverdue
		n = m.feeder.overdue()
		run.kind = laneNone
	}
	run.poll()
	if run.batch.Len() == 0 || m.system.pending() {
		return n
	}
	run.current, run.kind = &run.batch, laneData
	if m.feeder != nil {
		run.batch.done = m.feeder.deliver(&run.batch)
	} else {
		m.invoker.InvokeUserMessage(&run.batch)
		run.batch.done = run.batch.Len()
	}
	return n + m.releaseBatch()
}

// poll makes a batch of what was not released, which includes what a run before did not handle.
func (run *mailboxRun[T]) poll() {
	run.consumer.Rewind()
	run.batch.clip(run.consumer.Poll())
}

// releaseBatch frees the slots of the messages that were handled, and takes the others from the actor.
func (m *RingMailbox[T]) releaseBatch() int {
	run := &m.run
	n := run.batch.done
	run.consumer.ReleaseTo(n)
	run.batch.clip(nil, nil)
	run.current, run.kind = nil, laneNone
	run.datas -= n
	m.handed.Add(uint64(n))
	return n
}

// hurried tells a feeder that the system lane should get its turn.
func (m *RingMailbox[T]) hurried() bool { return m.system.pending() }

// abandonQueued empties control and data lane of a stopped actor.
func (m *RingMailbox[T]) abandonQueued() {
	err := m.closedError("send")
	for {
		msg, ok := m.control.pop()
		if !ok {
			break
		}
		m.abandon(msg, err)
	}
	if m.data == nil {
		return
	}
	batch := &m.run.batch
	for m.run.poll(); batch.Len() > 0; m.run.poll() {
		for i := range batch.Len() {
			m.abandonSlot(batch.At(i), err)
		}
		m.run.consumer.ReleaseTo(batch.Len())
	}
}

func (m *RingMailbox[T]) abandonSlot(slot *T, err error) {
	if msg, ok := any(slot).(Abandonable); ok {
		msg.Abandoned(err)
		return
	}
	m.abandon(*slot, err) // a copy: the slot is about to be reused
}

// abandon tells the sender, if it wants to know, and the dead letters.
func (m *RingMailbox[T]) abandon(msg any, err error) {
	content := actor.UnwrapEnvelopeMessage(msg)
	if abandonable, ok := content.(Abandonable); ok {
		abandonable.Abandoned(err)
	}
	if m.inner != nil {
		m.inner.EventStream.Publish(&actor.DeadLetterEvent{PID: m.self,
			Message: &Undelivered{Message: content, Err: err}, Sender: actor.UnwrapEnvelopeSender(msg)})
	}
}

// escalate turns a panic of the actor into a failure that its supervisor decides on. What is left of a
// batch stays in its ring; the message of the control lane is lost to the actor, and its sender told.
func (m *RingMailbox[T]) escalate() {
	value := recover()
	if value == nil {
		return
	}
	run := &m.run
	p := newPanic(value)
	msg, kind := run.current, run.kind
	run.current, run.kind = nil, laneNone
	switch kind {
	case laneControl:
		p.Lane = "control"
		if abandonable, ok := actor.UnwrapEnvelopeMessage(msg).(Abandonable); ok {
			abandonable.Abandoned(core.NewError(core.CodeHandlerFailed, "actor "+m.name(), p))
		}
	case laneData, laneOverdue:
		p.Lane = "data"
		if m.feeder != nil {
			p.failure = m.feeder.failed(p)
		}
		if kind == laneData {
			m.releaseBatch()
		}
	default:
		p.Lane = "system"
	}
	m.invoker.EscalateFailure(p, nil)
}

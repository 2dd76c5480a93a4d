package actors

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/ringbuf"
)

const (
	// maxRun is the most data messages handed to Receive at once.
	maxRun = 512
	// controlWait is how long a sender waits for room in a full control lane.
	controlWait = 5 * time.Second
)

// Abandonable is a message that wants to know when nobody will handle it: its actor stopped
// (core.ErrClosed), was overwhelmed (core.ErrFull) or failed on it (core.CodeHandlerFailed).
type Abandonable interface {
	// Abandoned is called once, by any goroutine. It must not block.
	Abandoned(err error)
}

// MailboxOptions says how large the data lane of a RingMailbox is. The zero value is no data lane.
type MailboxOptions struct {
	DataCapacity int // slots of the data lane, a power of two; 0 for none
	Senders      int // handles that Sender gives out; 0 means 1, which is faster
	MaxBatch     int // messages in one Batch, 1 to 512; 0 means 512
	SendBatch    int // slots that one claim may take; 0 leaves it to ringbuf.Options.MaxBatch
	Wait         ringbuf.WaitStrategy
}

// RingMailbox is the mailbox of one actor: three lanes and the word that says who runs it.
//
// System messages go first, then control messages, at most 16 in a row, then one batch of data.
//
// Invariant: whoever moves state from idle to running owns the receiving ends of the lanes and all
// fields marked so, until state is idle again. A sender that finds it running leaves a mark, so that
// the owner looks once more: no wake-up is lost, and nobody looks at a lane it does not own.
type RingMailbox[T any] struct {
	system  systemLane
	control controlLane
	data    *ringbuf.Ring[T] // nil without a data lane

	state  atomic.Int32
	closed atomic.Bool   // the actor has stopped: what comes now is abandoned
	bound  atomic.Bool   // some actor has this mailbox
	handed atomic.Uint64 // control messages and data messages handled without failing

	// Set by RegisterHandlers, before state leaves starting:
	invoker    actor.MessageInvoker
	owner      *System // nil under an actor system that is not ours
	entry      *entry  // likewise
	inner      *actor.ActorSystem
	self       *actor.PID
	process    actor.Process
	start      func() // makes the dispatcher call run
	throughput int

	// Set by Props:
	onSystem   bool // dispatched by the System's goroutines
	stopAtOnce bool // Stop does not handle what is queued
	feeder     feeder[T]

	run mailboxRun[T]
}

// feeder replaces the way data reaches the actor. All methods are called by the mailbox's run.
type feeder[T any] interface {
	// deliver handles messages of b in order and returns how many; it stops early when hurried. A
	// panic leaves it at b.Done.
	deliver(b *Batch[T]) int
	// overdue handles what was put off, and returns how many messages that were.
	overdue() int
	// notify takes a message of the system lane that is meant for the feeder; it runs no user code.
	notify(msg any)
	// failed is told of a panic inside deliver or overdue, and returns what to report of it.
	failed(p *Panic) Failure
	// stopped is called once, when the actor has stopped.
	stopped()
}

// mailboxRun is what only the owner of the state word touches.
type mailboxRun[T any] struct {
	consumer  *ringbuf.Consumer[T]
	batch     Batch[T]
	current   any // what the actor is handling
	kind      laneKind
	suspended bool // failed, and not restarted yet
	draining  bool // to be stopped once the next two are used up
	controls  int
	datas     int
	stopping  bool // Stop reached the actor; it may wait for its children
}

type laneKind uint8

const (
	laneNone laneKind = iota
	laneSystem
	laneControl
	laneData
	laneOverdue
)

// The values of RingMailbox.state.
const (
	stateStarting int32 = iota // not started yet: messages wait
	stateIdle
	stateRunning
	stateAgain // running, and something was added since
)

// NewMailbox makes a mailbox for one actor; see Props.
func NewMailbox[T any](o MailboxOptions) (*RingMailbox[T], error) {
	m := &RingMailbox[T]{}
	if o.DataCapacity == 0 {
		return m, nil
	}
	if o.MaxBatch < 0 || o.MaxBatch > maxRun {
		return nil, fmt.Errorf("actors: MaxBatch %d: want 1 to %d, or 0 for %d", o.MaxBatch, maxRun, maxRun)
	}
	ring, err := ringbuf.New[T](o.DataCapacity,
		// Fenced: Publish is followed by a look at state, which must not come before it.
		ringbuf.Options{Producers: max(1, o.Senders), MaxBatch: o.SendBatch, Wait: o.Wait, Fenced: true})
	if err != nil {
		return nil, fmt.Errorf("actors: data lane: %w", err)
	}
	if m.run.consumer, err = ring.Consumer(); err != nil {
		return nil, fmt.Errorf("actors: data lane: %w", err)
	}
	m.data = ring
	m.run.batch.limit = o.MaxBatch
	if o.MaxBatch == 0 {
		m.run.batch.limit = maxRun
	}
	return m, nil
}

// Sender returns a new handle on the data lane; ringbuf.ErrTooMany beyond MailboxOptions.Senders.
func (m *RingMailbox[T]) Sender() (*Sender[T], error) {
	if m.data == nil {
		return nil, fmt.Errorf("actors: sender: the mailbox has no data lane, its DataCapacity is 0")
	}
	producer, err := m.data.Producer()
	if err != nil {
		return nil, fmt.Errorf("actors: sender: %w", err)
	}
	return &Sender[T]{mailbox: m, producer: producer}, nil
}

// Len is the number of control and data messages that wait or are being handled. Anybody may ask.
func (m *RingMailbox[T]) Len() int {
	n := m.control.len()
	if m.data != nil {
		n += m.data.Len()
	}
	return n
}

// UserMessageCount is Len, for protoactor.
func (m *RingMailbox[T]) UserMessageCount() int { return m.Len() }

// PostUserMessage adds a control message. While the lane is full it waits, at most 5 s; then the
// message goes to the dead letters with core.ErrFull. An actor that sends to itself while its own lane
// is full waits for nothing. Anybody may call it, also before the actor has started.
func (m *RingMailbox[T]) PostUserMessage(msg any) {
	if m.tryPost(msg) {
		return
	}
	timer := m.clock().NewTimer(controlWait)
	defer timer.Stop()
	if !m.control.room.pass(nil, timer.C(), func() bool { return m.tryPost(msg) }) {
		m.abandon(msg, core.Errorf(core.CodeFull, "send to actor "+m.name(),
			"%d messages wait for it and none was handled for %v", controlCapacity, controlWait))
	}
}

// tryPost is PostUserMessage that never waits.
func (m *RingMailbox[T]) tryPost(msg any) bool {
	if !m.control.push(msg) {
		return false
	}
	m.schedule()
	return true
}

// PostSystemMessage adds a lifecycle message. It never blocks.
func (m *RingMailbox[T]) PostSystemMessage(msg any) {
	m.system.push(msg)
	m.schedule()
}

// RegisterHandlers binds the mailbox to its actor; protoactor calls it once.
func (m *RingMailbox[T]) RegisterHandlers(invoker actor.MessageInvoker, d actor.Dispatcher) {
	m.invoker = invoker
	m.throughput = d.Throughput()
	run := m.turnUntilIdle // bound once: a method value allocates each time it is taken
	m.start = func() { d.Schedule(run) }
	if ctx, ok := invoker.(actor.Context); ok {
		m.self, m.inner = ctx.Self(), ctx.ActorSystem()
		m.process, _ = m.inner.ProcessRegistry.GetLocal(m.self.Id)
		m.owner = systemOf(m.inner)
	}
	if m.owner == nil {
		return
	}
	g, ok := d.(*Goroutines)
	if m.onSystem {
		g, ok = m.owner.routines, true
	}
	if ok {
		m.start, m.throughput = g.starter(run), g.Throughput()
	}
	m.entry = m.owner.adopt(m.self, m)
}

// Start lets the mailbox run; protoactor calls it once, after RegisterHandlers.
func (m *RingMailbox[T]) Start() {
	m.state.Store(stateIdle)
	m.schedule()
}

// schedule makes sure that somebody looks at the lanes after this call began. It never blocks, unless
// the actor has stopped: then the caller abandons what it sent.
func (m *RingMailbox[T]) schedule() {
	for {
		switch m.state.Load() {
		case stateIdle:
			if m.state.CompareAndSwap(stateIdle, stateRunning) {
				m.dispatch()
				return
			}
		case stateRunning:
			if m.state.CompareAndSwap(stateRunning, stateAgain) {
				return
			}
		default:
			return
		}
	}
}

// dispatch gives the owned mailbox to the dispatcher, which may have closed before a late sender came.
func (m *RingMailbox[T]) dispatch() {
	if m.closed.Load() {
		m.turnUntilIdle()
		return
	}
	m.start()
}

func (m *RingMailbox[T]) clock() clock.Clock {
	if m.owner != nil {
		return m.owner.clock
	}
	return clock.System
}

func (m *RingMailbox[T]) name() string {
	if m.self == nil {
		return "(not spawned)"
	}
	return m.self.Id
}

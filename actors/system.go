package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// SystemOptions is what a System is made with. The zero value works.
type SystemOptions struct {
	Logger *slog.Logger // failures and dead letters; nil is silent
	Clock  clock.Clock  // nil is the machine's
	Seed   uint64       // of the jitter in delays
	// OnFailure is called for each failure, on the goroutine of an actor: it must not block.
	OnFailure func(Failure)
}

// System owns actors, their timers and the goroutines they run on. Its methods may be called by any
// goroutine; those that wait not by an actor that is waited for.
type System struct {
	inner     *actor.ActorSystem
	root      *actor.RootContext
	logger    *slog.Logger
	clock     clock.Clock
	onFailure func(Failure)
	jitter    jitter
	timers    *timers
	routines  *Goroutines
	letters   letterLog

	mu      sync.Mutex
	entries map[string]*entry // guarded by mu: the actors that have not stopped
	adopted uint64            // guarded by mu: actors there ever were
	closing bool              // guarded by mu
	ended   chan struct{}     // closed when Close has done its work
}

// entry is what a System knows of an actor with a RingMailbox.
type entry struct {
	pid      *actor.PID
	mailbox  anyMailbox
	order    uint64        // of adoption
	stopped  chan struct{} // closed when nothing of it is left in its mailbox
	restarts restarts      // belongs to its supervisor
	user     bool          // an actor of the user: stopped first, restarted for ever
	stop     func(ctx context.Context) error
}

// anyMailbox is a RingMailbox whatever its data lane carries.
type anyMailbox interface {
	actor.Mailbox
	tryPost(msg any) bool
	progress() uint64
	entryOptions(e *entry)
}

func (m *RingMailbox[T]) progress() uint64 { return m.handed.Load() }

func (m *RingMailbox[T]) entryOptions(e *entry) {
	if options, ok := m.feeder.(interface{ entryOptions(*entry) }); ok {
		options.entryOptions(e)
	}
}

// NewSystem starts a system. It runs no goroutine before the first actor or timer.
func NewSystem(o SystemOptions) *System {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	s := &System{
		logger: o.Logger, clock: o.Clock, onFailure: o.OnFailure,
		routines: newGoroutines(), entries: map[string]*entry{}, ended: make(chan struct{}),
	}
	s.jitter.state.Store(o.Seed)
	s.letters.nextAt.Store(math.MinInt64) // Mono may be negative
	s.timers = newTimers(s.clock, s.routines, s.deliver, s.undeliverable)
	s.inner = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(warnings{o.Logger.Handler()})
	}))
	// The subscribers that protoactor brings start a goroutine per logged dead letter, which nobody
	// waits for. Ours do the same work.
	s.inner.EventStream = fresh(s.inner.EventStream)
	s.inner.EventStream.Subscribe(s.deadLetter)
	s.inner.ProcessRegistry.Add(&anchor{s}, anchorName)
	s.root = s.inner.Root.WithGuardian(supervision)
	s.root.Self() // makes the guardian now: protoactor would race over it later
	return s
}

// fresh returns the zero value of a type that this package may not name.
func fresh[T any](*T) *T { return new(T) }

// anchor finds the System of an actor system: its registry is the only map that all actors share.
type anchor struct{ system *System }

const anchorName = "leat-system"

// SendUserMessage does nothing: nobody knows the anchor's name.
func (*anchor) SendUserMessage(*actor.PID, any) {}

// SendSystemMessage does nothing.
func (*anchor) SendSystemMessage(*actor.PID, any) {}

// Stop does nothing.
func (*anchor) Stop(*actor.PID) {}

// systemOf returns nil for an actor system that is not ours.
func systemOf(inner *actor.ActorSystem) *System {
	process, _ := inner.ProcessRegistry.GetLocal(anchorName)
	if a, ok := process.(*anchor); ok {
		return a.system
	}
	return nil
}

// Props makes props of an actor that has no data lane and runs on goroutines of the System.
func (s *System) Props(producer func() Actor) *Props {
	return new(RingMailbox[struct{}]).Props(producer, nil)
}

// Spawn starts an actor. Its props come from RingMailbox.Props or System.Props. An empty name means one
// that nobody has. ErrClosed after Close began; an error that wraps actor.ErrNameExists if the name is
// taken.
func (s *System) Spawn(props *Props, name string) (*PID, error) {
	return s.spawn(props, name, func() {})
}

// spawn calls ready once the actor is there and cannot be missed by Close.
func (s *System) spawn(props *Props, name string, ready func()) (*PID, error) {
	if name == "" {
		name = s.inner.ProcessRegistry.NextId()
	}
	if s.isClosing() || !s.routines.acquire() {
		return nil, core.Errorf(core.CodeClosed, "spawn "+core.Quote(name), "the actor system has closed")
	}
	defer s.routines.release() // Close waits for this call
	pid, err := s.root.SpawnNamed(props, name)
	if err != nil {
		return nil, fmt.Errorf("actors: spawn %s: %w", core.Quote(name), err)
	}
	e := s.lookup(pid)
	if _, alive := s.inner.ProcessRegistry.GetLocal(pid.Id); e == nil && alive { // not even stopped since
		s.root.Stop(pid)
		return nil, fmt.Errorf("actors: spawn %s: the props have no RingMailbox: use RingMailbox.Props",
			core.Quote(name))
	}
	if s.isClosing() { // since the first look: Close may have missed it
		if e != nil {
			e.mailbox.PostSystemMessage(stopNow{})
			<-e.stopped
		}
		return nil, core.Errorf(core.CodeClosed, "spawn "+core.Quote(name), "the actor system has closed")
	}
	ready()
	return pid, nil
}

// Send adds a message to the control lane of an actor; see RingMailbox.PostUserMessage for how long it
// may wait. A message to nobody goes to the dead letters.
func (s *System) Send(pid *PID, msg any) { s.root.Send(pid, msg) }

// Stop stops an actor and waits until it has stopped: it handles what was queued before, then gets
// Stopping and Stopped. If ctx ends first it is stopped as soon as its Receive returns, the rest of its
// mailbox is abandoned, and the error says so. Stopping an actor that has stopped is no error.
func (s *System) Stop(ctx context.Context, pid *PID) error {
	e := s.lookup(pid)
	if e == nil {
		return nil
	}
	if e.stop != nil {
		return e.stop(ctx)
	}
	e.mailbox.PostSystemMessage(&actor.Stop{})
	return e.awaitStopped(ctx)
}

func (e *entry) awaitStopped(ctx context.Context) error {
	select {
	case <-e.stopped:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-e.stopped: // both: the better news counts
		return nil
	default:
	}
	e.mailbox.PostSystemMessage(stopNow{})
	return fmt.Errorf("actors: stop %s: it was given no more time: %w", e.pid.Id, ctx.Err())
}

// StopUserActors stops the actors that Spawn of this package started, all at once, and waits for them.
func (s *System) StopUserActors(ctx context.Context) error {
	var users []*entry
	for _, e := range s.snapshot() {
		if e.user {
			users = append(users, e)
		}
	}
	failures := make(chan error)
	for _, e := range users {
		go func() { failures <- s.Stop(ctx, e.pid) }() // waited for below
	}
	var err error
	for range users {
		err = errors.Join(err, <-failures)
	}
	return err
}

// Close stops all actors, those of users first, then the others from the latest to the first, each as
// Stop does, and waits until no goroutine is left. If ctx ends first the error says what did not stop.
// Further calls wait for the first one.
func (s *System) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.mu.Unlock()
	if !first {
		select {
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("actors: close: %w", ctx.Err())
		}
	}
	defer close(s.ended)
	err := s.StopUserActors(ctx)
	for last := s.latestFirst(); len(last) > 0 && ctx.Err() == nil; last = s.latestFirst() {
		for _, e := range last {
			err = errors.Join(err, s.Stop(ctx, e.pid))
		}
	}
	for _, e := range s.latestFirst() { // late ones, or all that ctx left no time for
		err = errors.Join(err, s.Stop(ctx, e.pid))
	}
	s.timers.close()
	return errors.Join(err, s.routines.close(ctx))
}

func (s *System) latestFirst() []*entry {
	all := s.snapshot()
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(b.order, a.order) })
	return all
}

func (s *System) snapshot() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		all = append(all, e)
	}
	return all
}

func (s *System) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// adopt is called by a mailbox that got its actor. The name may still be in the map: protoactor frees
// it a little before the mailbox of its last owner is done.
func (s *System) adopt(pid *actor.PID, mailbox anyMailbox) *entry {
	e := &entry{pid: pid, mailbox: mailbox, stopped: make(chan struct{})}
	mailbox.entryOptions(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopted++
	e.order = s.adopted
	s.entries[pid.Id] = e
	return e
}

// forget is called by a mailbox whose actor is gone.
func (s *System) forget(e *entry) {
	s.mu.Lock()
	if s.entries[e.pid.Id] == e {
		delete(s.entries, e.pid.Id)
	}
	s.mu.Unlock()
	close(e.stopped)
}

func (s *System) lookup(pid *actor.PID) *entry {
	if pid == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[pid.Id]
}

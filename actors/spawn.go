package actors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// closeTimeout is how long a System of Spawn drains after its bus was closed.
const closeTimeout = 10 * time.Second

// Spawn starts an actor that is fed from topics. Receive gets each message as *leat.Message, to be
// cloned if it is kept, one at a time and in order per key. A message whose Receive panics is delivered
// again, to a new incarnation, until it succeeds; its partition waits meanwhile, the others go on. Use
// PropsFromProducer or PropsFromFunc of this package.
//
// The actor runs until Stop or the end of the bus. Errors are those of bus.Subscribe, and ErrClosed.
func Spawn(bus *leat.Bus, props *Props, feeds ...Feed) (*PID, error) {
	s, err := SystemFor(bus)
	if err != nil {
		return nil, err
	}
	u, err := newUserActor(s, bus, feeds)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel = cancel
	options := append(u.mailbox.options(nil), actor.WithGuardian(supervision))
	pid, err := s.spawn(props.Clone(options...), "", u.start(ctx))
	if err != nil {
		cancel()
		u.discard()
		return nil, err
	}
	return pid, nil
}

// Stop stops an actor that Spawn started: the message in Receive finishes and is acked, then its
// subscriptions are closed, which leaves their groups. If ctx ends first, that goes on by itself when
// Receive returns. Stopping twice is no error.
func Stop(ctx context.Context, bus *leat.Bus, pid *PID) error {
	s, err := SystemFor(bus)
	if err != nil {
		return nil // the bus has closed, and its actors with it
	}
	return s.Stop(ctx, pid)
}

// Attempt is 1 for a message of a topic that Receive gets for the first time, and counts its failures
// since. It is 0 outside Receive and for other messages.
func Attempt(ctx Context) int {
	if _, ok := ctx.Message().(*leat.Message); !ok {
		return 0
	}
	s := systemOf(ctx.ActorSystem())
	if s == nil {
		return 0
	}
	e := s.lookup(ctx.Self())
	if e == nil {
		return 0
	}
	m, ok := e.mailbox.(*RingMailbox[delivery])
	if !ok {
		return 0
	}
	return m.feeder.(*userActor).attempt
}

// newUserActor subscribes to all feeds.
func newUserActor(s *System, bus *leat.Bus, feeds []Feed) (*userActor, error) {
	u := &userActor{system: s, held: map[heldKey]*heldPartition{}}
	o := MailboxOptions{}
	if len(feeds) > 0 {
		o = MailboxOptions{DataCapacity: laneCapacity, Senders: len(feeds), SendBatch: 1}
	}
	mailbox, err := NewMailbox[delivery](o)
	if err != nil {
		return nil, fmt.Errorf("actors: %d feeds, at most %d: %w", len(feeds), laneCapacity, err)
	}
	mailbox.feeder, mailbox.stopAtOnce = u, true
	u.mailbox = mailbox
	for _, from := range feeds {
		f := newFeed(u, bus, from)
		if f.sender, err = mailbox.Sender(); err == nil {
			err = f.subscribe()
		}
		if err != nil {
			u.discard()
			return nil, err
		}
		u.feeds = append(u.feeds, f)
	}
	return u, nil
}

// start returns what starts the feeds once the actor is there. The System waits for them.
func (u *userActor) start(ctx context.Context) func() {
	return func() {
		for _, f := range u.feeds {
			u.system.routines.Schedule(func() { f.run(ctx) })
		}
	}
}

// discard closes the subscriptions of an actor that never was.
func (u *userActor) discard() {
	for _, f := range u.feeds {
		_ = f.sub.Load().Close() // nothing was acked
		close(f.ended)
	}
}

// SystemFor returns the actor system of a bus: its backend's, where that has one, else one that is
// started for the bus and closed with it. ErrClosed after the bus was closed.
func SystemFor(bus *leat.Bus) (*System, error) {
	if own, ok := bus.Backend().(interface{ ActorSystem() *System }); ok {
		if s := own.ActorSystem(); s != nil {
			return s, nil
		}
	}
	return busSystems.of(bus)
}

// systems are those that no backend brought along.
type systems struct {
	mu  sync.Mutex
	own map[*leat.Bus]*System // guarded by mu
}

var busSystems = systems{own: map[*leat.Bus]*System{}}

func (b *systems) of(bus *leat.Bus) (*System, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-bus.Done():
		return nil, core.Errorf(core.CodeClosed, "actor system", "the bus has closed")
	default:
	}
	s := b.own[bus]
	if s == nil {
		s = NewSystem(SystemOptions{})
		b.own[bus] = s
		go b.closeWith(bus, s) // ends with the bus
	}
	return s, nil
}

func (b *systems) closeWith(bus *leat.Bus, s *System) {
	<-bus.Done()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		s.Report("actors did not stop with their bus", "error", err)
	}
	b.mu.Lock()
	delete(b.own, bus)
	b.mu.Unlock()
}

package actors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// Feed is a topic that an actor is fed from; see On.
type Feed struct {
	topic   string
	options []leat.SubscribeOption
}

// On feeds an actor from a topic. With leat.Group the members of the group share the partitions, and a
// message is acked after Receive has returned; without one the actor gets every message from
// leat.Earliest on, unless leat.From says otherwise. leat.AutoAck changes nothing. leat.Queue and
// leat.KeyShared are ErrUnsupported: a partition whose message fails waits, as in a stream group.
func On(topic string, options ...leat.SubscribeOption) Feed {
	return Feed{topic: topic, options: options}
}

// feed copies the messages of one subscription into the data lane of one actor. Its goroutine owns the
// reading end of the subscription, and closes it when the actor has stopped.
//
// A partition whose message is tried again is held by the actor. The feed pauses it when its next
// message arrives, so that no more than the lane holds can queue up behind, and resumes it later; for
// that the actor interrupts the wait for the next message.
type feed struct {
	user    *userActor
	bus     *leat.Bus
	topic   string
	options []leat.SubscribeOption
	group   bool
	mode    leat.GroupMode
	sender  *Sender[delivery]
	sub     atomic.Pointer[leat.Subscription]
	ended   chan struct{} // closed when the goroutine has closed its subscription
	rejoins int           // since the last message; belongs to the goroutine

	refused *leat.Subscription // the last one that did not take an ack; belongs to the mailbox's run

	holds atomic.Int32 // len(held), so that looking costs no lock
	mu    sync.Mutex
	// mu guards the following.
	held   map[int32]bool // the actor wants no more of these
	paused map[int32]bool // the subscription has been told so
	kick   func()         // interrupts the wait for the next message
}

func newFeed(u *userActor, bus *leat.Bus, from Feed) *feed {
	var o leat.SubscribeOptions
	for _, option := range from.options {
		option(&o)
	}
	options := append(from.options[:len(from.options):len(from.options)],
		func(o *leat.SubscribeOptions) { o.AutoAck = false })
	if o.Group == "" && o.From == (leat.Position{}) {
		options = append(options, leat.From(leat.Earliest))
	}
	return &feed{user: u, bus: bus, topic: from.topic, options: options, group: o.Group != "",
		mode: o.Mode, ended: make(chan struct{}), held: map[int32]bool{}, paused: map[int32]bool{}}
}

func (f *feed) subscribe() error {
	if f.mode != leat.GroupStream {
		return core.Errorf(core.CodeUnsupported, "feed an actor from topic "+core.Quote(f.topic),
			"a %v group: want a stream group", f.mode)
	}
	sub, err := f.bus.Subscribe(f.topic, f.options...)
	if err != nil {
		return err
	}
	f.mu.Lock()
	clear(f.held)
	clear(f.paused)
	f.holds.Store(0)
	f.sub.Store(sub)
	f.mu.Unlock()
	return nil
}

// run is the feed's goroutine.
func (f *feed) run(ctx context.Context) {
	defer close(f.ended)
	for {
		err := f.pump(ctx)
		if err == nil || !f.rejoin(ctx, err) {
			break
		}
	}
	<-f.user.entry.stopped // what it handles until then is acked
	if err := f.sub.Load().Close(); err != nil && !errors.Is(err, leat.ErrClosed) {
		f.report(Failure{Err: err, Action: FeedEnded})
	}
}

// pump delivers until ctx ends or the subscription is closed, which is no error.
func (f *feed) pump(ctx context.Context) error {
	sub := f.sub.Load()
	for {
		loop, cancel := context.WithCancel(ctx)
		f.arm(cancel, sub)
		err := f.deliver(ctx, loop, sub)
		kicked := loop.Err() != nil
		cancel()
		if err != nil || ctx.Err() != nil || !kicked {
			return err
		}
	}
}

func (f *feed) deliver(ctx, loop context.Context, sub *leat.Subscription) error {
	for m, err := range sub.Messages(loop) {
		if err != nil {
			return err
		}
		f.rejoins = 0
		if f.holds.Load() != 0 {
			f.pauseHeld(sub, m.Partition)
		}
		if !f.send(ctx, sub, m) {
			return nil
		}
	}
	return nil
}

// send copies m into the lane. It waits while the actor is behind, and reports false if ctx ended or the
// actor has stopped.
func (f *feed) send(ctx context.Context, sub *leat.Subscription, m *leat.Message) bool {
	size := messageSize(m)
	if !f.user.budget.take(ctx, size) {
		return false
	}
	b, err := f.sender.Claim(ctx, 1)
	if err != nil {
		return false
	}
	slots, _ := b.Slots()
	slots[0].fill(m, f, sub, size)
	f.sender.Publish(b)
	return true
}

// arm makes kick interrupt the coming loop, and resumes what was released before.
func (f *feed) arm(kick func(), sub *leat.Subscription) {
	f.mu.Lock()
	f.kick = kick
	var resume []int32
	for partition := range f.paused {
		if !f.held[partition] {
			resume = append(resume, partition)
			delete(f.paused, partition)
		}
	}
	f.mu.Unlock()
	for _, partition := range resume {
		sub.Backend().Resume(partition)
	}
}

// pauseHeld stops a partition that the actor holds.
func (f *feed) pauseHeld(sub *leat.Subscription, partition int32) {
	f.mu.Lock()
	pause := f.held[partition] && !f.paused[partition]
	if pause {
		f.paused[partition] = true
	}
	f.mu.Unlock()
	if pause {
		sub.Backend().Pause(partition)
	}
}

// hold is called by the mailbox's run, as release is.
func (f *feed) hold(key heldKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sub.Load() == key.sub {
		f.held[key.partition] = true
		f.holds.Store(int32(len(f.held)))
	}
}

func (f *feed) release(key heldKey) {
	f.mu.Lock()
	if f.sub.Load() != key.sub {
		f.mu.Unlock()
		return
	}
	delete(f.held, key.partition)
	f.holds.Store(int32(len(f.held)))
	kick := f.kick
	if !f.paused[key.partition] {
		kick = nil
	}
	f.mu.Unlock()
	if kick != nil {
		kick()
	}
}

// rejoin decides about an error of the subscription: a member that was replaced, or an error that may
// pass, subscribes again; what the old subscription delivered is dropped, since its acks are void.
// Without a group that would start from the beginning, so the feed ends.
func (f *feed) rejoin(ctx context.Context, err error) bool {
	for {
		fenced := errors.Is(err, leat.ErrFenced)
		if !f.group || !fenced && !leat.Retryable(err) {
			f.report(Failure{Err: err, Action: FeedEnded})
			return false
		}
		delay := subscribeBackoff.delay(f.rejoins, &f.user.system.jitter)
		f.rejoins++
		f.report(Failure{Err: err, Action: Resubscribing, Delay: delay, Attempt: f.rejoins})
		// The old one has nothing left to commit; a second Close at the end is harmless.
		_ = f.sub.Load().Close()
		if clock.Sleep(ctx, f.user.system.clock, delay) != nil {
			return false
		}
		if err = f.subscribe(); err == nil {
			f.report(Failure{Action: Resubscribed, Attempt: f.rejoins})
			return true
		}
	}
}

func (f *feed) report(failure Failure) {
	failure.PID, failure.Topic, failure.Partition, failure.Offset = f.user.entry.pid, f.topic, -1, -1
	f.user.system.reportFailure(failure)
}

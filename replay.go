package leat

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// Bounds of a replay.
const (
	// DefaultReplayGap is the longest pause of a replay, see ReplayGap.
	DefaultReplayGap = 10 * time.Second
	// MaxReplaySpeed is the largest ReplaySpeed, and 1/MaxReplaySpeed the smallest.
	MaxReplaySpeed = 1e6
	// MaxReplayPartitions is how many partitions a replay reads at most: each is read by itself.
	MaxReplayPartitions = 256
)

// ReplaySpeed delivers messages at the pace at which they were published, by Message.Time: 1 as fast, 10 in a
// tenth of the time. It begins with the oldest message behind From, or FromEach, one of which must be given,
// keeps the messages of all partitions in the order of their times as well as it can, and waits in front of
// none for longer than ReplayGap. A loop that is slower gets what is overdue at once. When the replay has
// come within a second of the present it is over: the subscription goes on as any other.
//
// It is for readers without a group, and for Messages, not Batches.
func ReplaySpeed(x float64) SubscribeOption { return func(o *SubscribeOptions) { o.ReplaySpeed = x } }

// ReplayGap bounds the pauses of a replay: DefaultReplayGap, unless it is given. It needs ReplaySpeed.
func ReplayGap(d time.Duration) SubscribeOption { return func(o *SubscribeOptions) { o.ReplayGap = d } }

// validateReplay checks the options of replays, and sets what is left out.
func (o *SubscribeOptions) validateReplay() error {
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeInvalidConfig, "subscribe", format, args...)
	}
	past := o.Each != nil || o.From.Kind != core.PositionDefault && o.From.Kind != core.PositionLatest
	switch x := o.ReplaySpeed; {
	case x == 0 && o.ReplayGap == 0:
		return nil
	case x == 0:
		return bad("ReplayGap(%v) needs ReplaySpeed", o.ReplayGap)
	case !(x >= 1/MaxReplaySpeed && x <= MaxReplaySpeed):
		return bad("ReplaySpeed(%v): want %v to %v", x, 1/MaxReplaySpeed, MaxReplaySpeed)
	case o.ReplayGap < 0:
		return bad("ReplayGap(%v): want a duration above 0", o.ReplayGap)
	case o.Group != "":
		return bad("ReplaySpeed with group %q: a replay is for a reader of its own", o.Group)
	case !past:
		return bad("ReplaySpeed needs From or FromEach: there is nothing to replay behind the latest message")
	}
	if o.ReplayGap == 0 {
		o.ReplayGap = DefaultReplayGap
	}
	return nil
}

// replay is a SubscriptionBackend that reads each partition by a subscription of its own and delivers what is
// due, until it has come to the present; then it is one plain subscription to all.
//
//	partition ══ subscription ──reader──▶ head ┐
//	partition ══ subscription ──reader──▶ head ┴─the earliest, when it is due─▶ loop (Next)
//
// A reader waits until its head was used up: what a message points to stays valid until then.
type replay struct {
	bus     Backend
	topic   string
	options SubscribeOptions // of the subscriptions, but for where they begin
	clock   clock.Clock
	wake    chan struct{} // there may be something new for the loop; capacity 1

	ctx     context.Context // of the readers
	cancel  context.CancelFunc
	readers sync.WaitGroup

	// The following is owned by the loop, but for plain, which Close looks at under the lock.
	pace   replayPace
	first  int64
	heads  []*replayHead
	given  *replayHead // that the last message is of
	paused map[int32]bool

	mu     sync.Mutex // guards the following, and what heads say it guards
	plain  SubscriptionBackend
	closed bool
}

// replayHead is the next message of a partition.
type replayHead struct {
	partition int32
	at        Position            // where to read on; the loop's
	sub       SubscriptionBackend // nil once it was given up
	used      chan struct{}       // the loop has no use for message any more; capacity 1

	message Message // the reader's while not ready
	err     error
	ready   bool // guarded by the lock of the replay
}

// openReplay begins a replay of a topic.
func (b *Bus) openReplay(topic string, o SubscribeOptions) (SubscriptionBackend, error) {
	ctx := context.Background() // as that of Subscribe
	info, err := b.backend.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := o.CheckEach("replay topic "+core.Quote(topic), len(info.Partitions)); err != nil {
		return nil, err
	}
	from := o
	o.ReplaySpeed, o.ReplayGap, o.From, o.Each = 0, 0, Position{}, nil
	r := &replay{bus: b.backend, topic: topic, options: o, clock: clock.System, wake: make(chan struct{}, 1),
		paused: map[int32]bool{}, first: math.MaxInt64,
		pace: replayPace{speed: from.ReplaySpeed, gap: int64(from.ReplayGap)}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for i := range info.Partitions {
		p := &info.Partitions[i]
		at, wanted := from.StartOf(p.Partition)
		if !wanted {
			continue
		}
		if at.Kind == core.PositionLatest { // or what comes meanwhile is lost when the replay is over
			at = AtOffset(p.HighWater)
		}
		r.heads = append(r.heads, &replayHead{partition: p.Partition, at: at, used: make(chan struct{}, 1)})
	}
	if len(r.heads) > MaxReplayPartitions {
		return nil, core.Errorf(core.CodeLimited, "replay topic "+core.Quote(topic),
			"%d partitions, at most %d: choose some by FromEach", len(r.heads), MaxReplayPartitions)
	}
	if err := r.start(ctx); err != nil {
		_ = r.Close() // says nothing that err does not
		return nil, err
	}
	return r, nil
}

// open opens a plain subscription.
func (r *replay) open(each map[int32]Position) (SubscriptionBackend, error) {
	o := r.options
	o.Each = each
	return r.bus.OpenSubscription(r.topic, o)
}

// begin notes when the oldest message of a partition was published.
func (r *replay) begin(ctx context.Context, h *replayHead) error {
	for at, done := h.at, false; !done; { // a run may stop before it has found one
		run, err := r.bus.Peek(ctx, r.topic, PeekSlice{Partition: h.partition, From: at, Limit: 1,
			Scan: PeekScanned, ValueBytes: 1})
		if err != nil {
			return err
		}
		if len(run.Messages) > 0 {
			r.first = min(r.first, run.Messages[0].Time.UnixNano())
			return nil
		}
		at, done = AtOffset(run.Next), run.Done
	}
	return nil
}

// start finds the oldest message and opens the readers.
func (r *replay) start(ctx context.Context) error {
	for _, h := range r.heads {
		if err := r.begin(ctx, h); err != nil {
			return err
		}
	}
	if r.first == math.MaxInt64 { // there is nothing to replay
		return r.goOn()
	}
	for _, h := range r.heads {
		var err error
		if h.sub, err = r.open(map[int32]Position{h.partition: h.at}); err != nil {
			return err
		}
	}
	for _, h := range r.heads {
		r.readers.Go(func() { r.read(h) })
	}
	return nil
}

// read is the goroutine of a reader.
func (r *replay) read(h *replayHead) {
	for {
		err := h.sub.Next(r.ctx, &h.message)
		if r.ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		h.err, h.ready = err, true
		r.mu.Unlock()
		r.rouse()
		select {
		case <-h.used:
		case <-r.ctx.Done():
			return
		case <-r.bus.Done(): // maybe nobody closes the subscription
			return
		}
	}
}

func (r *replay) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Next implements SubscriptionBackend.
func (r *replay) Next(ctx context.Context, m *Message) error {
	for {
		r.giveBack()
		if plain, err := r.goingOn(); plain != nil || err != nil {
			if err == nil {
				err = plain.Next(ctx, m)
			}
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		h := r.earliest()
		if h != nil && h.err != nil {
			r.given = h
			return h.err
		}
		now := r.clock.Mono()
		r.pace.begin(r.first, now)
		if h == nil {
			if err := r.sleep(ctx, 0); err != nil {
				return err
			}
			continue
		}
		if r.pace.live(now, r.clock.Now()) {
			if err := r.goOn(); err != nil {
				return err
			}
			continue
		}
		if d := r.pace.wait(h.message.Time.UnixNano(), now); d > 0 {
			if err := r.sleep(ctx, d); err != nil {
				return err
			}
			continue
		}
		r.given = h
		h.at = AtOffset(h.message.Offset + 1)
		sub := m.sub
		*m = h.message
		m.sub = sub
		return nil
	}
}

// giveBack lets the reader of the last message go on. It does not block: one that has ended with the bus has
// taken what came before, and nothing is given any more.
func (r *replay) giveBack() {
	h := r.given
	if h == nil {
		return
	}
	r.given = nil
	r.mu.Lock()
	h.ready = false
	r.mu.Unlock()
	h.used <- struct{}{}
}

// goingOn gives the plain subscription once the replay is over.
func (r *replay) goingOn() (SubscriptionBackend, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	closed := r.closed
	if r.plain == nil {
		select {
		case <-r.bus.Done():
			closed = true
		default:
		}
	}
	if closed {
		return nil, core.NewError(core.CodeClosed, "subscription to topic "+core.Quote(r.topic), nil)
	}
	return r.plain, nil
}

// earliest gives the head that comes first: one with an error, or the oldest.
func (r *replay) earliest() *replayHead {
	r.mu.Lock()
	defer r.mu.Unlock()
	var first *replayHead
	for _, h := range r.heads {
		switch {
		case !h.ready || r.paused[h.partition]:
		case h.err != nil:
			return h
		case first == nil || h.message.Time.Before(first.message.Time):
			first = h
		}
	}
	return first
}

// sleep waits for news, and no longer than d if that is above 0.
func (r *replay) sleep(ctx context.Context, d time.Duration) error {
	var due <-chan time.Time
	if d > 0 {
		timer := r.clock.NewTimer(d)
		defer timer.Stop()
		due = timer.C()
	}
	select {
	case <-r.wake:
	case <-due:
	case <-r.bus.Done():
	case <-ctx.Done():
	}
	return ctx.Err()
}

// goOn makes the replay a plain subscription, from behind what was delivered.
func (r *replay) goOn() error {
	each := make(map[int32]Position, len(r.heads))
	for _, h := range r.heads {
		each[h.partition] = h.at
	}
	plain, err := r.open(each)
	if errors.Is(err, ErrOffsetOutOfRange) {
		if moving := r.moveHeads(); moving != nil {
			return moving
		}
	}
	if err != nil {
		return err
	}
	for partition := range r.paused {
		plain.Pause(partition)
	}
	r.mu.Lock()
	closed := r.closed
	r.plain = plain
	r.mu.Unlock()
	if closed { // Close has not seen it
		return plain.Close()
	}
	return r.stop()
}

// moveHeads moves what retention has overtaken to what it has kept: the next attempt goes on there.
func (r *replay) moveHeads() error {
	info, err := r.bus.Topic(r.ctx, r.topic)
	if err != nil {
		return err
	}
	for _, h := range r.heads {
		for i := range info.Partitions {
			p := &info.Partitions[i]
			if p.Partition == h.partition && h.at.Kind == core.PositionOffset && h.at.Value < p.Start {
				h.at = AtOffset(p.Start)
			}
		}
	}
	return nil
}

// stop ends the readers.
func (r *replay) stop() error {
	r.cancel()
	r.readers.Wait()
	var errs []error
	for _, h := range r.heads {
		if h.sub != nil {
			errs = append(errs, h.sub.Close())
		}
	}
	return errors.Join(errs...)
}

// NextBatch implements SubscriptionBackend: a run of messages has many times.
func (r *replay) NextBatch(context.Context, *BatchRun) error {
	return core.Errorf(core.CodeUnsupported, "read batches of topic "+core.Quote(r.topic),
		"a replay delivers one by one: read its Messages")
}

// Ack implements SubscriptionBackend. A replay has no group.
func (r *replay) Ack(int32, int64) error { return nil }

// Commit implements SubscriptionBackend.
func (r *replay) Commit(context.Context) error { return nil }

// Pause implements SubscriptionBackend. It belongs to the loop.
func (r *replay) Pause(partition int32) {
	r.paused[partition] = true
	if plain, _ := r.goingOn(); plain != nil {
		plain.Pause(partition)
	}
}

// Resume implements SubscriptionBackend.
func (r *replay) Resume(partition int32) {
	delete(r.paused, partition)
	if plain, _ := r.goingOn(); plain != nil {
		plain.Resume(partition)
	}
}

// Close implements SubscriptionBackend.
func (r *replay) Close() error {
	r.mu.Lock()
	plain, closed := r.plain, r.closed
	r.closed = true
	r.mu.Unlock()
	switch {
	case closed:
		return nil
	case plain != nil:
		return plain.Close()
	}
	err := r.stop()
	r.rouse()
	return err
}

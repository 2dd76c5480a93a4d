package node

import (
	"context"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// queueSubscription is the data plane of a leat.Subscription of a queue group: it reads the records that its
// member was handed, at a cursor of its own per partition. Its loop belongs to one goroutine at a time.
type queueSubscription struct {
	node    *Node
	topic   *topic
	options leat.SubscribeOptions
	member  *queueMember
	sleeper *sleeper
	far     bool // who reads is at the other end of a network: records are copied, and a moment does not matter
	closed  atomic.Bool

	// The following is owned by the loop.
	loop    sync.Mutex // held by the loop while it may touch a reader, and by Close
	cursors []*cursor  // by partition number, nil where nothing was read
	grants  []*queueGrant
	at      int         // of grants: the next one
	current *queueGrant // of which the records of todo are to be delivered
	todo    uint64
	headers core.HeaderDecoder
	faults  []error // why partitions cannot be read, to be yielded once
}

var _ leat.SubscriptionBackend = (*queueSubscription)(nil)

func (n *Node) openQueue(t *topic, o leat.SubscribeOptions) (leat.SubscriptionBackend, error) {
	s := &queueSubscription{node: n, topic: t, options: o, sleeper: newSleeper(),
		cursors: make([]*cursor, len(t.partitions))}
	for _, p := range t.local {
		if p.log == nil {
			s.faults = append(s.faults, p.refusal())
		}
	}
	ctx, cancel := n.closeContext()
	defer cancel()
	var err error
	if s.member, err = n.joinQueue(ctx, t, &o, s.sleeper); err != nil {
		return nil, err
	}
	s.member.group.mu.Lock()
	s.member.loops = true
	s.member.group.mu.Unlock()
	return s, nil
}

// Next implements leat.SubscriptionBackend.
func (s *queueSubscription) Next(ctx context.Context, m *leat.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		if s.todo != 0 {
			if found, err := s.deliver(m); found || err != nil {
				return err
			}
			continue
		}
		if s.at < len(s.grants) {
			s.current = s.grants[s.at]
			s.grants[s.at] = nil
			s.at++
			if s.todo = s.current.left.Load(); s.todo == 0 {
				s.current.waits.Store(false)
			}
			continue
		}
		if err := s.await(ctx); err != nil {
			return err
		}
	}
}

// deliver fills m with the next record of the grant under way, and reports whether there was one: its lease
// may be over, or the log may have it no more, which settles it.
func (s *queueSubscription) deliver(m *leat.Message) (bool, error) {
	g := s.current
	bit := bits.TrailingZeros64(s.todo)
	if s.todo &= s.todo - 1; s.todo == 0 {
		g.waits.Store(false)
		g.member.taken.Store(true)
	}
	if g.left.Load()>>bit&1 == 0 {
		return false, nil
	}
	offset := g.lo + int64(bit)
	c := s.cursors[g.part.part.number]
	if c == nil || c.next != offset || !c.hasRecords() {
		found, err := s.seek(g.part.part, offset)
		switch {
		case err != nil && core.CodeOf(err) == core.CodeClosed:
			return false, err
		case err != nil:
			_ = g.Nack(offset, -1, err.Error()) // a stale lease is as good
			return false, err
		case !found:
			_ = g.Ack(offset)
			return false, nil
		}
		c = s.cursors[g.part.part.number]
	}
	given, err := c.take(m, &s.headers)
	switch {
	case err != nil:
		_ = g.Nack(offset, -1, err.Error())
		return false, err
	case !given: // its time to live is over
		c.skipped.Reset() // the group keeps what is settled
		_ = g.Ack(offset)
		return false, nil
	}
	leat.SetDelivery(m, g.attempt, g)
	return true, nil
}

// skipAhead is how many records a cursor reads over rather than looking for an offset anew.
const skipAhead = 4096

// absentFrom is how many offsets without a record are told to the group rather than settled one by one.
const absentFrom = 64

// seek moves the cursor of a partition to an offset, and reports whether the log has a record there.
func (s *queueSubscription) seek(p *partition, offset int64) (bool, error) {
	next, err := s.find(p, offset)
	if err == nil && next-offset > absentFrom {
		s.member.group.absent(p, next)
	}
	return err == nil && next == offset, err
}

// find moves the cursor of a partition to the first record from an offset on, and gives its offset, or that
// up to which there is none.
func (s *queueSubscription) find(p *partition, offset int64) (int64, error) {
	s.loop.Lock()
	defer s.loop.Unlock()
	if s.closed.Load() {
		return 0, core.NewError(core.CodeClosed, s.topic.op("subscription to"), nil)
	}
	c := s.cursors[p.number]
	switch {
	case c == nil:
		c = &cursor{part: p}
		c.start(offset)
		s.cursors[p.number] = c
	case offset >= c.next && offset < c.seen:
		err := c.skipTo(offset)
		if !c.hasRecords() { // the rest of the frame was removed, or there is a gap
			return c.seen, err
		}
		return c.next, err
	case offset >= c.next && offset < c.seen+skipAhead:
		c.records = nil
		c.next = offset
	default:
		c.reader.Seek(offset)
		c.moveTo(offset)
	}
	c.skipped.Reset()
	found, err := c.fetch(p.highWater.Load(), s.far) // what goes out is copied once, and only that
	if core.CodeOf(err) == core.CodeOffsetOutOfRange && offset >= p.log.Start() {
		c.reader.Seek(offset) // retention took the place where the reader stood, and not the record
		c.moveTo(offset)
		found, err = c.fetch(p.highWater.Load(), s.far)
	}
	if core.CodeOf(err) == core.CodeOffsetOutOfRange {
		start := p.log.Start()
		c.reader.Seek(start)
		c.moveTo(start)
		return max(start, offset+1), nil // retention settles what is before
	}
	if !found {
		return max(c.seen, offset+1), err
	}
	return c.next, err
}

// skipTo leaves out records of the frame under way that lie before offset.
func (c *cursor) skipTo(offset int64) error {
	for c.next < offset && len(c.records) > 0 {
		_, n, err := core.DecodeRecord(c.records)
		if err != nil {
			return err
		}
		c.records = c.records[n:]
		c.next++
	}
	c.skipRemoved()
	return nil
}

// await waits until the member was handed something.
func (s *queueSubscription) await(ctx context.Context) error {
	for idle := 0; ; idle++ {
		if idle == 0 || s.member.pending() {
			if len(s.faults) > 0 {
				fault := s.faults[0]
				s.faults = s.faults[1:]
				return fault
			}
			if err := s.take(); err != nil || len(s.grants) > 0 {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.pause(ctx, idle); err != nil {
			return err
		}
	}
}

// take takes what the member was handed, in place of what it had.
func (s *queueSubscription) take() (err error) {
	clear(s.grants)
	s.at = 0
	s.grants, err = s.member.take(s.grants[:0])
	return err
}

// farYields is how often the loop of a member at a client lets others run before it sleeps.
const farYields = 4

// pause lets others run, and after a while sleeps until there may be something.
func (s *queueSubscription) pause(ctx context.Context, idle int) error {
	spins, yields := loopSpins, loopYields
	if s.far {
		spins, yields = 0, farYields
	}
	crowd := int(max(s.member.group.idle.Load(), 1))
	for range 1 + spins/crowd {
		if s.member.pending() {
			return nil
		}
	}
	if s.options.Spin || idle < yields/crowd {
		runtime.Gosched()
		return nil
	}
	s.rest()
	s.sleeper.parked.Store(true)
	defer s.sleeper.parked.Store(false)
	if s.member.fed.Load() || s.member.closed.Load() || s.member.full.Load() && s.member.dirty.Load() {
		return nil
	}
	select {
	case <-s.sleeper.wake:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// rest has the readers give up what they keep for a read that comes soon.
func (s *queueSubscription) rest() {
	s.loop.Lock()
	defer s.loop.Unlock()
	for _, c := range s.cursors {
		if c == nil {
			continue
		}
		if c.pin != nil { // the rest of its run is read anew
			c.reader.Seek(c.next)
			c.moveTo(c.next)
		}
		c.rest()
	}
}

// NextBatch implements leat.SubscriptionBackend: records of a queue are lent one by one.
func (s *queueSubscription) NextBatch(context.Context, *leat.BatchRun) error {
	return core.Errorf(core.CodeUnsupported, s.topic.op("read batches of"), "a %v group: read its Messages",
		s.options.Mode)
}

// Ack implements leat.SubscriptionBackend: acks of a queue name their delivery.
func (s *queueSubscription) Ack(partition int32, offset int64) error {
	return core.Errorf(core.CodeUnsupported, s.topic.op("ack on"), "offset %d of partition %d in a %v group: "+
		"ack the message itself", offset, partition, s.options.Mode)
}

// Commit implements leat.SubscriptionBackend.
func (s *queueSubscription) Commit(ctx context.Context) error {
	if s.member.closed.Load() {
		return core.NewError(core.CodeClosed, s.topic.op("commit on"), nil)
	}
	return s.member.group.commit(ctx)
}

// Pause implements leat.SubscriptionBackend. Members of a queue group have no partitions: it does nothing.
func (s *queueSubscription) Pause(int32) {}

// Resume implements leat.SubscriptionBackend.
func (s *queueSubscription) Resume(int32) {}

// Close implements leat.SubscriptionBackend.
func (s *queueSubscription) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	ctx, cancel := s.node.closeContext()
	defer cancel()
	err := s.member.leave(ctx)
	s.loop.Lock()
	defer s.loop.Unlock()
	for _, c := range s.cursors {
		if c != nil {
			c.close()
		}
	}
	return err
}

package node

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
)

// A loop alone on its partition looks this often before it sleeps; where there are more, they share it.
const (
	loopSpins  = 100  // looks at the marks before a loop lets others run
	ownSpins   = 4000 // of a loop that spins: some 10 µs, for a yield takes half of one
	floorSteps = 256  // cycles between records that were used up and the next look, which slows their writer
	loopYields = 50   // times it does so
)

// subscription is the data plane of one leat.Subscription: cursors over the logs. A slow one holds
// nobody back. Its loop belongs to one goroutine at a time; everything that comes from elsewhere
// (assignments, Close) waits in changes until the loop takes it over between two messages.
type subscription struct {
	node    *Node
	topic   *topic
	options leat.SubscribeOptions
	filter  *filter.Filter // nil for none
	member  *actors.Member // nil without a group
	sleeper *sleeper
	id      uint64

	// The following is owned by the loop.
	loop    sync.Mutex // held by the loop while it may touch a reader, and by Close
	cursors []*cursor
	current *cursor
	pinning bool // the loop is one of Batches
	turn    int
	headers core.HeaderDecoder
	news    assignmentNews

	changed atomic.Bool // there is something in changes, or closed or fenced is set
	closed  atomic.Bool
	// byPart has a place for each partition of the topic; nil where not assigned.
	byPart []atomic.Pointer[cursor]

	mu      sync.Mutex // guards the following
	held    []*cursor  // those of byPart, by partition
	changes []change
	fenced  error
	told    bool // the loop has yielded fenced
}

// change is one assignment or its end, for the loop to take over.
type change struct {
	cursor  *cursor
	offset  int64 // committed, or -1
	removed bool
}

// Next implements leat.SubscriptionBackend.
func (s *subscription) Next(ctx context.Context, m *leat.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.pinning {
		if err := s.settle(); err != nil {
			return err
		}
	}
	for {
		c := s.current
		if c == nil || !c.hasRecords() || s.changed.Load() {
			if err := s.advance(ctx); err != nil {
				return err
			}
			c = s.current
		}
		if s.member != nil && !s.deliver(c) {
			continue
		}
		if given, err := c.take(m, &s.headers); given || err != nil {
			return err
		}
		s.fold(c)
		if !c.hasRecords() { // perhaps nothing passes for long
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
}

// fold has acks that passed over records which are not delivered stored like any other.
func (s *subscription) fold(c *cursor) {
	if c.settled {
		c.settled = false
		if s.member != nil {
			s.member.Touch()
		}
	}
}

// deliver claims the next record of a cursor for the handler, unless it is being revoked.
func (s *subscription) deliver(c *cursor) bool {
	c.delivered.Store(c.next + 1)
	if !c.revoking.Load() {
		return true
	}
	c.delivered.Store(c.next)
	s.current = nil
	return false
}

// advance makes a cursor with records current, waiting until there is one.
func (s *subscription) advance(ctx context.Context) error {
	for idle := 0; ; idle++ {
		found, err := s.look(s.spins(), idle == 0)
		s.news.tell(s)
		if found || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.pause(ctx, idle); err != nil {
			return err
		}
	}
}

// look takes over changes and looks for records, and waits a little if there are none. It keeps the lock
// meanwhile, so that a record that comes is read at once. fresh says that records were used up just now.
func (s *subscription) look(spins int, fresh bool) (bool, error) {
	s.loop.Lock()
	defer s.loop.Unlock()
	for {
		changed := s.changed.Load()
		if changed {
			if err := s.takeChanges(); err != nil {
				return false, err
			}
		}
		if found, err := s.scan(); found || err != nil {
			return found, err
		}
		if changed {
			return false, nil
		}
		if fresh { // looking at once slows the writer that one follows
			relax(floorSteps)
			fresh = false
		}
		if !s.spin(spins) {
			return false, nil
		}
	}
}

// scan makes a cursor that has records current, if there is one.
func (s *subscription) scan() (bool, error) {
	if c := s.current; c != nil && c.hasRecords() && !c.paused && !c.revoking.Load() {
		return true, nil
	}
	s.current = nil
	for range s.cursors {
		s.turn++
		if s.turn >= len(s.cursors) {
			s.turn = 0
		}
		c := s.cursors[s.turn]
		if c.paused || c.revoking.Load() {
			continue
		}
		found := c.hasRecords()
		if !found {
			var err error
			if found, err = c.fetch(c.part.visible(s.options.ReadAt), s.pinning); err != nil {
				return false, s.readFailed(c, err)
			}
			s.fold(c)
		}
		if found {
			s.current = c
			return true, nil
		}
	}
	return false, nil
}

// spin waits with the processor held and reports whether looking again makes sense.
func (s *subscription) spin(looks int) bool {
	for range looks {
		if s.pending() {
			return true
		}
	}
	return false
}

// relax burns about n processor cycles without touching memory.
//
//go:noinline
func relax(n int) {
	for range n {
	}
}

// readFailed prepares a cursor for the next loop after an error was yielded: one that retention
// overtook goes on at the start of the log, any other is left out, so that the rest goes on.
func (s *subscription) readFailed(c *cursor, err error) error {
	if core.CodeOf(err) != core.CodeOffsetOutOfRange {
		c.paused = true
		return err
	}
	start := c.part.log.Start()
	c.reader.Seek(start)
	c.moveTo(start)
	return err
}

// pending reports whether looking again makes sense.
func (s *subscription) pending() bool {
	if s.changed.Load() {
		return true
	}
	for _, c := range s.cursors {
		if !c.paused && !c.revoking.Load() && c.seen < c.part.visible(s.options.ReadAt) {
			return true
		}
	}
	return false
}

// crowd is how many loops, at least this one, wait for the same records as this one.
func (s *subscription) crowd() int {
	if len(s.cursors) == 0 {
		return 1
	}
	return max(len(s.cursors[0].part.readers.load()), 1)
}

// spins is how many looks at the marks a loop makes before it lets others run.
func (s *subscription) spins() int {
	if s.options.Spin {
		return ownSpins
	}
	return 1 + loopSpins/s.crowd()
}

// pause lets others run, and after a while sleeps until there may be something. A thousand loops that
// yield to each other cost more than a thousand that sleep and are woken.
func (s *subscription) pause(ctx context.Context, idle int) error {
	if s.options.Spin || idle < loopYields/s.crowd() {
		runtime.Gosched()
		return nil
	}
	s.rest()
	s.sleeper.parked.Store(true)
	if s.pending() {
		s.sleeper.parked.Store(false)
		return nil
	}
	select {
	case <-s.sleeper.wake:
	case <-ctx.Done():
	}
	s.sleeper.parked.Store(false)
	return ctx.Err()
}

// rest has the readers give up what they keep for a read that comes soon.
func (s *subscription) rest() {
	s.loop.Lock()
	defer s.loop.Unlock()
	for _, c := range s.cursors {
		c.rest()
	}
}

// takeChanges applies what came from elsewhere. The loop lock must be held.
func (s *subscription) takeChanges() error {
	s.mu.Lock()
	s.changed.Store(false)
	changes, fenced := s.changes, s.fenced
	s.changes = nil
	tell := fenced != nil && !s.told
	s.told = s.told || tell
	s.mu.Unlock()
	switch {
	case s.closed.Load() || fenced != nil && !tell:
		s.changed.Store(true) // every later call ends here again
		return core.NewError(core.CodeClosed, s.topic.op("subscription to"), nil)
	case tell:
		s.changed.Store(true)
		return fenced
	}
	var first error
	for i := range changes {
		if err := s.apply(&changes[i]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (s *subscription) apply(ch *change) error {
	c := ch.cursor
	if ch.removed {
		s.drop(c)
		s.news.taken(c)
		return nil
	}
	if c.part.log == nil {
		return c.part.refusal() // it could not be recovered; the others go on
	}
	from := ch.offset
	if from < 0 {
		at := s.options.From
		if at.Kind == core.PositionDefault {
			at = core.Earliest
		}
		var err error
		if from, err = c.part.resolve(at); err != nil {
			return err
		}
	}
	// A commit may lie behind what retention kept, or beyond a tail that a power cut took.
	c.start(min(max(from, c.part.log.Start()), c.part.log.End()))
	s.cursors = append(s.cursors, c)
	c.part.readers.add(s.sleeper)
	s.news.given(c)
	return nil
}

func (s *subscription) drop(c *cursor) {
	c.part.readers.remove(s.sleeper)
	s.cursors = slices.DeleteFunc(s.cursors, func(other *cursor) bool { return other == c })
	if s.current == c {
		s.current = nil
	}
	c.close()
}

// Ack implements leat.SubscriptionBackend.
func (s *subscription) Ack(partition int32, offset int64) error {
	if s.member == nil {
		return nil
	}
	c := s.cursorOf(partition)
	if c == nil {
		if s.closed.Load() {
			return core.NewError(core.CodeClosed, s.topic.op("ack on"), nil)
		}
		return core.Errorf(core.CodeFenced, s.topic.op("ack on"), "partition %d is not this member's", partition)
	}
	for {
		acked := c.acked.Load()
		if offset < acked {
			return nil
		}
		if delivered := c.delivered.Load(); offset >= delivered {
			return core.Errorf(core.CodeInvalidRecord, s.topic.op("ack on"),
				"offset %d of partition %d was not delivered", offset, partition)
		}
		if c.acked.CompareAndSwap(acked, offset+1) {
			c.skipped.Settle(&c.acked)
			s.member.Touch()
			return nil
		}
	}
}

// Commit implements leat.SubscriptionBackend.
func (s *subscription) Commit(ctx context.Context) error {
	if s.member == nil {
		return nil
	}
	return s.member.Commit(ctx)
}

// Pause implements leat.SubscriptionBackend.
func (s *subscription) Pause(partition int32) { s.setPaused(partition, true) }

// Resume implements leat.SubscriptionBackend.
func (s *subscription) Resume(partition int32) { s.setPaused(partition, false) }

func (s *subscription) setPaused(partition int32, paused bool) {
	for _, c := range s.cursors {
		if c.part.number == partition {
			c.paused = paused
		}
	}
	if paused && s.current != nil && s.current.paused {
		s.current = nil
	}
}

// Close implements leat.SubscriptionBackend.
func (s *subscription) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.wakeLoop()
	var err error
	if s.member != nil {
		ctx, cancel := s.node.closeContext()
		defer cancel()
		err = errors.Join(s.member.Close(ctx), s.news.end(ctx))
	}
	s.loop.Lock()
	defer s.loop.Unlock()
	for _, c := range s.cursors {
		c.part.readers.remove(s.sleeper)
		c.close()
	}
	s.node.forgetSubscription(s)
	return err
}

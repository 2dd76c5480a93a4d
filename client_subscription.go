package leat

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

const (
	subscriptionCredit = 1 << 20   // bytes of BATCH frames on the way or buffered, over all nodes
	creditLeast        = 128 << 10 // and for one node
	loopYields         = 20        // times a loop lets others run before it sleeps
)

// remoteSubscription is the Backend of one Subscription.
//
//	node ══ source ──chunks──▶ cursor ──▶ ready list ──▶ loop (Next)
//
// A source per node reads what its credit allows into memory of the subscription, so a loop that stands
// still holds nobody else up. The loop takes chunks in turn from the partitions that have some.
type remoteSubscription struct {
	client  *client
	topic   *clientTopic
	options SubscribeOptions
	member  *remoteMember // nil without a group
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // sources and the member

	// The following is owned by the loop.
	current *remoteCursor
	headers core.HeaderDecoder
	spent   []*chunk // delivered: given back by the next call, as the last message points into one

	telling chan struct{} // holds a token while OnAssign runs

	parked  atomic.Bool
	wake    chan struct{} // capacity 1
	changed atomic.Bool   // there is something in changes, or the subscription has ended
	closed  atomic.Bool
	once    sync.Once
	err     error                           // of Close
	byPart  atomic.Pointer[[]*remoteCursor] // by partition number; nil where not assigned

	mu      sync.Mutex // guards the following, and sources
	sources map[uint16]*source
	ready   []*remoteCursor
	head    int
	changes []assignment
	ending  error // why the loop ends, after it was told
	told    bool
}

// assignment is a partition that came or went, for OnAssign.
type assignment struct {
	partition int32
	revoked   bool
}

// OpenSubscription implements Backend. Without a group it returns once every node has said where it
// starts, so that nothing that is published later is missed.
func (c *client) OpenSubscription(name string, o SubscribeOptions) (SubscriptionBackend, error) {
	const op = "subscribe to"
	t, err := c.openTopic(op, name)
	if err != nil {
		return nil, err
	}
	if err := c.checkFilter(t, o.Filter); err != nil {
		return nil, err
	}
	if o.Mode != GroupStream {
		c.prepareLetters(t, o.Group)
		return c.openQueue(t, o)
	}
	s := &remoteSubscription{client: c, topic: t, options: o, wake: make(chan struct{}, 1),
		telling: make(chan struct{}, 1), sources: map[uint16]*source{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	none := make([]*remoteCursor, t.cfg.Partitions)
	s.byPart.Store(&none)
	if !c.keep(s) {
		s.cancel()
		return nil, c.closedError(t.op(op))
	}
	if o.Group == "" {
		err = s.readAll()
	} else {
		err = s.join()
	}
	if err != nil {
		_ = s.Close() // says nothing that err does not
		return nil, err
	}
	return s, nil
}

// readAll reads every partition that is wanted, and waits until each has a place.
func (s *remoteSubscription) readAll() error {
	list := make([]*remoteCursor, s.topic.cfg.Partitions)
	if err := s.options.CheckEach(s.topic.op("subscribe to"), len(list)); err != nil {
		return err
	}
	s.mu.Lock()
	for number := range list {
		at, wanted := s.options.StartOf(int32(number))
		if !wanted {
			continue
		}
		list[number] = &remoteCursor{sub: s, number: int32(number), at: at, restart: -1}
		list[number].source = s.sourceLocked(s.topic.nodeOf(int32(number)))
	}
	s.byPart.Store(&list)
	sources := s.startLocked()
	s.mu.Unlock()
	ctx, cancel := s.client.patient(s.client.ctx)
	defer cancel()
	for _, from := range sources {
		select {
		case err := <-from.opened:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return from.unavailable()
		}
	}
	return nil
}

// Next implements SubscriptionBackend.
func (s *remoteSubscription) Next(ctx context.Context, m *Message) error {
	if err := ctx.Err(); err != nil {
		return err
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
		if err := c.take(m, &s.headers); err != nil {
			return s.leaveOut(c, err)
		}
		return nil
	}
}

// deliver claims the next record of a cursor for the handler, unless it is being revoked.
func (s *remoteSubscription) deliver(c *remoteCursor) bool {
	c.delivered.Store(c.next + 1)
	if !c.revoking.Load() {
		return true
	}
	c.delivered.Store(c.next)
	s.current = nil
	return false
}

// advance makes a cursor with records current, waiting until there is one.
func (s *remoteSubscription) advance(ctx context.Context) error {
	for idle := 0; ; idle++ {
		found, err := s.look()
		if found || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.options.Spin || idle < loopYields {
			runtime.Gosched()
			continue
		}
		if err := s.sleep(ctx); err != nil {
			return err
		}
	}
}

// sleep waits until there may be something.
func (s *remoteSubscription) sleep(ctx context.Context) error {
	s.parked.Store(true)
	defer s.parked.Store(false)
	if s.pending() {
		return nil
	}
	select {
	case <-s.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *remoteSubscription) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed.Load() || s.head < len(s.ready)
}

// rouse wakes the loop. What it is woken for was written before. A token may be left from before: loops
// look again.
func (s *remoteSubscription) rouse() {
	if s.parked.Load() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// look takes over changes and looks for records once.
func (s *remoteSubscription) look() (bool, error) {
	if s.changed.Load() {
		if err := s.takeChanges(); err != nil {
			return false, err
		}
	}
	if c := s.current; c != nil {
		if found, err := c.fetch(); err != nil {
			return false, s.leaveOut(c, err)
		} else if found && !c.revoking.Load() {
			return true, nil
		} else if !found {
			s.spend(c)
		}
		s.current = nil // one that is revoked keeps its place: it may be given back
	}
	c, ch, err := s.takeReady()
	if err != nil || c == nil {
		return false, err
	}
	if ch != nil {
		c.begin(ch)
	}
	s.current = c
	found, err := c.fetch()
	if err != nil {
		return false, s.leaveOut(c, err)
	}
	return found, nil
}

// spend notes that the chunk under way is used up.
func (s *remoteSubscription) spend(c *remoteCursor) {
	if c.under != nil {
		s.spent = append(s.spent, c.under)
		c.under, c.run, c.records = nil, nil, nil
	}
}

// takeReady gives the next chunk of the next partition that has one, or the error it failed with. There is
// no chunk where the partition has one under way. Assignments are told first.
func (s *remoteSubscription) takeReady() (*remoteCursor, *chunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBackLocked()
	for s.head < len(s.ready) && len(s.changes) == 0 {
		c := s.ready[s.head]
		s.ready[s.head] = nil
		if s.head++; s.head == len(s.ready) {
			s.ready, s.head = s.ready[:0], 0
		}
		c.queued = false
		if c.paused || c.gone || c.revoking.Load() {
			continue
		}
		if c.under != nil {
			s.readyLocked(c)
			return c, nil, nil
		}
		if c.buffered() {
			ch := c.popLocked()
			c.lent = ch
			s.readyLocked(c)
			return c, ch, nil
		}
		if err := c.failure; err != nil {
			c.failure = nil
			if c.restart >= 0 {
				c.startLocked(c.restart)
				c.restart, c.failed = -1, false
				c.source.addLocked(c)
			}
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

// readyLocked puts a cursor that has something in line.
func (s *remoteSubscription) readyLocked(c *remoteCursor) {
	if !c.queued && (c.buffered() || c.failure != nil) {
		c.queued = true
		s.ready = append(s.ready, c)
	}
}

// giveBackLocked frees the chunks that were delivered, and grants their bytes anew.
func (s *remoteSubscription) giveBackLocked() {
	for i, ch := range s.spent {
		if ch.source != nil {
			ch.cursor.lent = nil
			ch.source.freedLocked(ch)
		}
		s.spent[i] = nil
	}
	s.spent = s.spent[:0]
}

// leaveOut stops reading a partition whose data is wrong, so that the rest goes on.
func (s *remoteSubscription) leaveOut(c *remoteCursor, err error) error {
	s.spend(c)
	s.current = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	c.failed = true
	s.emptyLocked(c)
	c.source.removeLocked(c)
	return err
}

// emptyLocked drops what is buffered of a cursor. The loop gives the memory back.
func (s *remoteSubscription) emptyLocked(c *remoteCursor) {
	for c.buffered() {
		ch := c.popLocked()
		ch.source.freedLocked(ch)
	}
}

// takeChanges ends the loop if the subscription has ended, and tells the user of assignments.
func (s *remoteSubscription) takeChanges() error {
	s.mu.Lock()
	s.changed.Store(false)
	changes, ending := s.changes, s.ending
	s.changes = nil
	tell := ending != nil && !s.told
	s.told = s.told || tell
	closed := s.closed.Load()
	if closed || ending != nil {
		s.changed.Store(true) // every later call ends here again
	}
	s.mu.Unlock()
	switch {
	case closed || ending != nil && !tell:
		return core.NewError(core.CodeClosed, s.topic.op("subscription to"), nil)
	case tell:
		return ending
	}
	s.tellAssigned(changes)
	return nil
}

// tellAssigned calls OnAssign. What came and went in between is not told.
func (s *remoteSubscription) tellAssigned(changes []assignment) {
	if s.options.OnAssign == nil || len(changes) == 0 {
		return
	}
	var assigned, revoked []int32
	for _, ch := range changes {
		if !ch.revoked {
			assigned = append(assigned, ch.partition)
		} else if at := slices.Index(assigned, ch.partition); at >= 0 {
			assigned = slices.Delete(assigned, at, at+1)
		} else {
			revoked = append(revoked, ch.partition)
		}
	}
	if len(assigned)+len(revoked) == 0 {
		return
	}
	s.telling <- struct{}{}
	defer func() { <-s.telling }()
	if !s.closed.Load() {
		s.options.OnAssign(assigned, revoked)
	}
}

// end makes the loop yield err once, and end.
func (s *remoteSubscription) end(err error) {
	s.mu.Lock()
	if s.ending == nil {
		s.ending = core.NewError(core.CodeOf(err), s.topic.op("read"), err)
	}
	s.mu.Unlock()
	s.changed.Store(true)
	s.rouse()
}

// Pause implements SubscriptionBackend. What is buffered is dropped, and read again after Resume.
func (s *remoteSubscription) Pause(partition int32) {
	c := s.cursorOf(partition)
	if c == nil || c.paused {
		return
	}
	s.spend(c)
	if s.current == c {
		s.current = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.paused = true
	s.emptyLocked(c)
	if c.resolved {
		c.want = c.next
	}
	c.source.removeLocked(c)
}

// Resume implements SubscriptionBackend.
func (s *remoteSubscription) Resume(partition int32) {
	c := s.cursorOf(partition)
	if c == nil || !c.paused {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.paused = false
	if c.failure == nil {
		c.source.addLocked(c)
	}
	s.readyLocked(c)
}

func (s *remoteSubscription) cursorOf(partition int32) *remoteCursor {
	if list := *s.byPart.Load(); partition >= 0 && int(partition) < len(list) {
		return list[partition]
	}
	return nil
}

// Close implements SubscriptionBackend.
func (s *remoteSubscription) Close() error {
	s.once.Do(func() {
		s.closed.Store(true)
		s.changed.Store(true)
		s.rouse()
		if s.member != nil {
			s.err = s.member.leave()
		}
		s.cancel()
		s.tasks.Wait()
		s.telling <- struct{}{} // no call of OnAssign runs any more, and none begins
		<-s.telling
		s.client.drop(s)
	})
	return s.err
}

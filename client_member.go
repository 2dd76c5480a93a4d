package leat

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// remoteMember is the membership of a subscription in its group. Its goroutine joins, and joins again when
// the stream is lost; until the group has answered, what the member had is suspended: nothing is delivered,
// acks are kept, and go on under the new generation if the partition comes back.
//
//	ASSIGN ──▶ cursor ──▶ delivering ──REVOKE──▶ draining ──all acked──▶ DRAINED
//	              ▲            │ stream lost
//	              └─ASSIGN── suspended ──not assigned within a session──▶ gone
type remoteMember struct {
	sub     *remoteSubscription
	wake    chan struct{} // capacity 1
	touched atomic.Bool   // acks wait for the fold
	urgent  atomic.Bool   // somebody waits for an ack
	joined  chan error    // what the first join came to; capacity 1
	left    chan struct{} // closed when the goroutine has ended
	serving atomic.Bool   // there is a stream
	id      atomic.Pointer[string]

	connecting context.Context // ends attempts to join when there is no need any more
	giveUp     context.CancelFunc

	mu      sync.Mutex // guards the following
	commits []chan error
	leaving bool
	leftErr error
	fenced  error

	// The following belongs to the goroutine.
	told      bool
	stream    *clientStream
	lane      *transport.Lane
	draining  []*remoteCursor
	suspended []*remoteCursor
	until     int64 // when those are gone, after JOINED
	sequence  uint64
	sent      map[uint64][]chan error // COMMITs that were not answered
	parting   bool                    // LEAVE was sent
	gone      bool                    // and answered
	frame     []byte
}

// memberFrame is a frame of the member stream, or its end.
type memberFrame struct {
	header  wire.Header
	payload []byte
	err     error
}

// join makes the subscription a member, and waits until it is one.
func (s *remoteSubscription) join() error {
	m := &remoteMember{sub: s, wake: make(chan struct{}, 1), joined: make(chan error, 1),
		left: make(chan struct{}),
		sent: map[uint64][]chan error{}}
	s.member = m
	m.connecting, m.giveUp = context.WithCancel(s.ctx)
	s.tasks.Go(m.run)
	ctx, cancel := s.client.patient(s.client.ctx)
	defer cancel()
	select {
	case err := <-m.joined:
		return err
	case <-ctx.Done():
	}
	n := s.client.groupNode(s.options.Group)
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return n.unavailableLocked()
}

// Ack implements SubscriptionBackend.
func (s *remoteSubscription) Ack(partition int32, offset int64) error {
	if s.member == nil {
		return nil
	}
	c := s.cursorOf(partition)
	if c == nil && s.closed.Load() {
		return s.client.closedError(s.topic.op("ack on"))
	}
	if c == nil {
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
			s.member.touch()
			return nil
		}
	}
}

// Commit implements SubscriptionBackend.
func (s *remoteSubscription) Commit(ctx context.Context) error {
	if s.member == nil {
		return nil
	}
	return s.member.commit(ctx)
}

// touch says that there are acks to fold. It costs one atomic load while an earlier one still counts.
func (m *remoteMember) touch() {
	if !m.touched.Load() && m.touched.CompareAndSwap(false, true) || m.urgent.Load() {
		m.signal()
	}
}

func (m *remoteMember) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *remoteMember) commit(ctx context.Context) error {
	done := make(chan error, 1)
	m.mu.Lock()
	if m.fenced != nil || m.leaving {
		defer m.mu.Unlock()
		return m.refusalLocked()
	}
	m.commits = append(m.commits, done)
	m.mu.Unlock()
	m.signal()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *remoteMember) refusalLocked() error {
	if m.fenced != nil {
		return m.fenced
	}
	return core.NewError(core.CodeClosed, m.sub.topic.op("commit on"), nil)
}

// leave commits what was acked and leaves the group.
func (m *remoteMember) leave() error {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	m.signal()
	if !m.unreported() {
		m.giveUp()
	}
	if err := m.awaitLeft(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leftErr
}

// awaitLeft waits until the member has left, for as long as closing may take; without a stream only as long
// as for a node that cannot be reached.
func (m *remoteMember) awaitLeft() error {
	c, op := m.sub.client, m.sub.topic.op("leave the group on")
	look := c.clock.NewTimer(c.options.unreachableAfter)
	defer look.Stop()
	most := c.clock.NewTimer(closeWait)
	defer most.Stop()
	for {
		select {
		case <-m.left:
			return nil
		case <-most.C():
			return core.Errorf(core.CodeUnavailable, op, "no answer within %v", closeWait)
		case <-look.C():
			if !m.serving.Load() {
				m.giveUp()
				<-m.left
				return core.Errorf(core.CodeUnavailable, op, "the last acks could not be told to the group")
			}
			look.Reset(c.options.unreachableAfter)
		}
	}
}

// run is the member's goroutine.
func (m *remoteMember) run() {
	defer close(m.left)
	s, attempt := m.sub, 0
	for s.ctx.Err() == nil {
		began := s.client.clock.Mono()
		err := m.session()
		m.suspend()
		if m.over(err) {
			break
		}
		if s.client.clock.Mono()-began > int64(time.Second) {
			attempt = 0
		}
		if m.sleep(attempt) != nil {
			break
		}
		attempt++
	}
	m.end(core.NewError(core.CodeClosed, s.topic.op("commit on"), nil))
}

func (m *remoteMember) sleep(attempt int) error {
	return clock.Sleep(m.connecting, m.sub.client.clock, m.sub.client.random.backoff(attempt))
}

// over decides after a stream has ended: whether the membership is over.
func (m *remoteMember) over(err error) bool {
	s := m.sub
	switch core.CodeOf(err) {
	case core.CodeTopicNotFound:
		ctx, cancel := s.client.patient(s.ctx)
		defer cancel()
		if core.CodeOf(s.client.refresh(ctx, s.topic)) == core.CodeTopicNotFound {
			m.fence(core.NewError(core.CodeTopicNotFound, s.topic.op("read"), nil))
			return true
		}
	case core.CodeFenced, core.CodeUnauthenticated, core.CodeDenied, core.CodeUnsupported,
		core.CodeInvalidConfig, core.CodeInvalidName:
		m.fence(err)
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// Without a stream there is nobody to leave, unless acks are to be told first.
	lost := m.parting && !m.gone // LEAVE may not have arrived, nor the acks before it
	m.parting = m.parting && !lost
	return m.gone || m.leaving && !m.unreported() || m.connecting.Err() != nil
}

// fence ends the membership: every Ack fails from now on, and the loop yields err once.
func (m *remoteMember) fence(err error) {
	if !m.told {
		m.told = true
		m.joined <- err
	}
	m.end(err)
	m.sub.end(err)
}

// end gives everything up. Further calls change nothing.
func (m *remoteMember) end(err error) {
	s := m.sub
	list := *s.byPart.Load()
	s.mu.Lock()
	for _, c := range list {
		if c != nil {
			s.releaseLocked(c)
		}
	}
	s.mu.Unlock()
	none := make([]*remoteCursor, len(list))
	s.byPart.Store(&none)
	m.mu.Lock()
	if m.fenced == nil {
		m.fenced = err
	}
	waiting := m.commits
	m.commits = nil
	m.mu.Unlock()
	for _, list := range m.sent {
		waiting = append(waiting, list...)
	}
	clear(m.sent)
	for _, done := range waiting {
		done <- err
	}
}

// releaseLocked takes a partition out of the subscription.
func (s *remoteSubscription) releaseLocked(c *remoteCursor) {
	c.revoking.Store(true)
	c.gone = true
	s.emptyLocked(c)
	c.source.forgetLocked(c)
	c.source.removeLocked(c)
}

// suspend stops delivery when the stream was lost. COMMITs that were not answered are sent again.
func (m *remoteMember) suspend() {
	m.draining = m.draining[:0]
	m.suspended = m.suspended[:0]
	m.urgent.Store(false)
	for _, c := range *m.sub.byPart.Load() {
		if c != nil {
			c.revoking.Store(true)
			c.reported.Store(c.committed.Load()) // what was told may not have arrived
			m.suspended = append(m.suspended, c)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, list := range m.sent {
		m.commits = append(m.commits, list...)
	}
	clear(m.sent)
}

// unreported reports whether the group was not told of some acks.
func (m *remoteMember) unreported() bool {
	return slices.ContainsFunc(*m.sub.byPart.Load(), unreported)
}

func unreported(c *remoteCursor) bool { return c != nil && c.acked.Load() > c.reported.Load() }

// session joins and serves one stream.
func (m *remoteMember) session() error {
	s := m.sub
	conn, err := s.client.groupNode(s.options.Group).connection(m.connecting)
	if err != nil {
		return err
	}
	stream, err := conn.open(m.connecting, func() bool { return true })
	if err != nil {
		return err
	}
	opening := context.AfterFunc(m.connecting, func() { stream.Reset(0) })
	defer opening()
	body := wire.JoinBody{Group: s.options.Group, Topic: s.topic.name}
	var joined wire.JoinedBody
	_, err = stream.Write(wire.Marshal(nil, wire.Header{Type: wire.Join}, body))
	if err == nil {
		_, err = stream.answer(wire.Joined, &joined)
	}
	if err == nil && joined.TopicID != s.topic.id {
		err = core.Errorf(core.CodeTopicNotFound, s.topic.op("join a group on"), "another topic has its name now")
	}
	if err == nil {
		opening()
		stop := context.AfterFunc(s.ctx, func() { stream.Reset(0) })
		defer stop()
		m.id.Store(&joined.Member)
		m.stream, m.lane = stream, transport.NewLane(stream, streamBound)
		m.until = s.client.clock.Mono() + core.SessionTimeoutNanos
		if !m.told {
			m.told = true
			m.joined <- nil
		}
		m.serving.Store(true)
		err = m.serve()
		m.serving.Store(false)
		m.lane.Wait()
		m.stream, m.lane = nil, nil
		return err
	}
	stream.drop(err)
	return err
}

// serve handles frames, acks and calls until the stream ends.
func (m *remoteMember) serve() error {
	s := m.sub
	frames, stop := make(chan memberFrame), make(chan struct{})
	var reading sync.WaitGroup
	stream := m.stream
	reading.Go(func() { readMember(stream, frames, stop) })
	timer := s.client.clock.NewTimer(time.Duration(core.SessionTimeoutNanos))
	defer timer.Stop()
	folding := false
	var err error
	for err == nil {
		select {
		case f := <-frames:
			if err = f.err; err == nil {
				err = m.handle(f.header, f.payload)
			}
		case <-m.wake:
			err = m.attend()
		case <-timer.C():
			folding = false
			m.expire()
			err = m.report()
		case <-s.ctx.Done():
			err = s.ctx.Err()
		}
		if m.touched.Load() && !folding && err == nil {
			folding = true
			timer.Reset(time.Duration(core.CommitFoldNanos))
		} else if !folding && len(m.suspended) > 0 {
			timer.Reset(time.Duration(max(m.until-s.client.clock.Mono(), 1)))
		}
	}
	stream.drop(err)
	close(stop)
	reading.Wait()
	return err
}

func readMember(stream *clientStream, frames chan<- memberFrame, stop <-chan struct{}) {
	for {
		var f memberFrame
		if f.header, f.err = stream.next(); f.err == nil {
			f.payload, f.err = stream.reader.Payload(nil)
		}
		select {
		case frames <- f:
		case <-stop:
			return
		}
		if f.err != nil {
			return
		}
	}
}

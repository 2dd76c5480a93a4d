package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// queueStream is a member of a queue group at a client. Two goroutines share it: the sender takes what the
// member is handed and reads it, the reader takes what the client says.
//
//	group ──grants──▶ sender ──GRANT──▶ client
//	  ◀──Ack, Nack, …── reader ◀──SETTLE──┘
type queueStream struct {
	session *session
	topic   *topic
	stream  transport.Stream
	lane    *transport.Lane
	sub     *queueSubscription // its loop is the sender
	counted *groupStats
	credit  atomic.Uint64 // bytes of GRANT frames that may be sent in all
	granted chan struct{} // wakes the sender when there is credit; capacity 1
	sending context.Context
	halt    context.CancelFunc
	over    chan struct{}  // closed when the client has left, or is gone
	commits sync.WaitGroup // goroutines that answer COMMIT
	waiting atomic.Int32   // COMMIT frames that wait for their answer

	out  []byte // the sender's
	sent uint64

	mu     sync.Mutex // guards the following
	grants map[queueDelivery]*queueGrant
	sweep  int // grants from which on those that are over are looked for
}

// queueDelivery names a grant.
type queueDelivery struct {
	partition int32
	epoch     int64
}

const grantsKept = 256 // at which grants that are over are looked for first

// serveQueue serves a stream that began with QUEUE_OPEN.
func (c *session) serveQueue(stream transport.Stream, r *transport.Reader, h *wire.Header) error {
	var body wire.QueueOpenBody
	if err := readBody(r, h, &body); err != nil {
		return err
	}
	s, err := c.newQueueStream(stream, &body)
	if err != nil {
		return err
	}
	s.credit.Store(h.Arg)
	c.opened(s)
	defer c.closed(s)
	if c.server.draining() { // whoever drains may have looked for members before this one was listed
		s.lose(core.QueueLeave)
		return core.NewError(core.CodeDraining, s.topic.op("join a group on"), nil)
	}
	c.server.stats.members.Add(1)
	defer c.server.stats.members.Add(-1)
	return s.run(r)
}

func (c *session) newQueueStream(stream transport.Stream, body *wire.QueueOpenBody) (*queueStream, error) {
	o := leat.SubscribeOptions{Group: body.Group, Mode: core.GroupMode(body.Mode), MaxHeld: int(body.MaxHeld),
		From:  core.Position{Kind: core.PositionKind(body.Kind), Value: body.Value},
		Queue: queuePolicy(&body.Config), Filter: body.Filter}
	if err := core.ValidateName("group", o.Group); err != nil {
		return nil, err
	}
	if o.Mode != core.GroupQueue && o.Mode != core.GroupKeyShared || o.MaxHeld < 1 ||
		o.MaxHeld > maxHeldRemote || o.From.Kind > core.PositionTime {
		return nil, wire.Errorf("QUEUE_OPEN of mode %d, %d held, position of kind %d", body.Mode, body.MaxHeld,
			body.Kind)
	}
	if err := o.Queue.Validate(o.Group); err != nil {
		return nil, err
	}
	if err := c.may(core.ActionRead, body.Topic); err != nil {
		return nil, err
	}
	t, err := c.node.topicFor("join a queue group on", body.Topic)
	if err != nil {
		return nil, err
	}
	s := &queueStream{session: c, topic: t, stream: stream, lane: transport.NewLane(stream, memberBytes),
		granted: make(chan struct{}, 1), over: make(chan struct{}),
		counted: c.server.stats.topic(t.name).group(body.Group),
		grants:  map[queueDelivery]*queueGrant{}, sweep: grantsKept,
		sub: &queueSubscription{node: c.node, topic: t, options: o, sleeper: newSleeper(), far: true,
			cursors: make([]*cursor, len(t.partitions))}}
	if s.sub.member, err = c.node.joinQueue(c.ctx, t, &o, s.sub.sleeper); err != nil {
		return nil, err
	}
	s.sending, s.halt = context.WithCancel(c.ctx)
	return s, nil
}

// maxHeldRemote bounds what a member at a client may have.
const maxHeldRemote = 1 << 20

func queuePolicy(b *wire.QueueConfigBody) core.QueueConfig {
	return core.QueueConfig{
		Lease: time.Duration(b.Lease), MaxUnsettled: b.MaxUnsettled, MaxAttempts: b.MaxAttempts, Rate: b.Rate,
		Retry: core.Backoff{Min: time.Duration(b.RetryMin), Max: time.Duration(b.RetryMax),
			Factor: b.RetryFactor, Jitter: b.RetryJitter}}
}

// run serves the member until it leaves or is gone.
func (s *queueStream) run(r *transport.Reader) error {
	g := s.sub.member.group
	g.mu.Lock()
	cfg := g.cfg.WithDefaults()
	g.mu.Unlock()
	frames := wire.Marshal(nil, wire.Header{Type: wire.QueueOpened}, &wire.QueueOpenedBody{
		Member: s.sub.member.name, TopicID: s.topic.id, Lease: int64(cfg.Lease), MaxUnsettled: cfg.MaxUnsettled})
	for _, p := range s.topic.local {
		if p.log == nil {
			h := wire.Header{Type: wire.PartitionFailed, Aux: uint16(p.number)}
			frames = errorFrame(frames, h, p.refusal(), true)
		}
	}
	err := s.lane.Send(frames)
	left := false
	var sending sync.WaitGroup
	if err == nil {
		sending.Go(func() {
			if err := s.send(); err != nil {
				endStream(s.stream, err)
			}
		})
		left, err = s.read(r)
	}
	if err = ignoreEOF(err); err != nil {
		endStream(s.stream, err) // whoever writes gives up
	}
	s.halt()
	sending.Wait()
	return s.part(left, err)
}

// part ends the membership.
func (s *queueStream) part(left bool, err error) error {
	var leaveErr error
	if left {
		ctx, cancel := context.WithTimeout(s.session.server.ctx, closeWait)
		defer cancel()
		leaveErr = s.sub.member.leave(ctx)
	} else {
		s.lose(core.QueueLost)
	}
	close(s.over)
	s.commits.Wait()
	s.sub.closeCursors()
	if left {
		h := wire.Header{Type: wire.Left}
		if leaveErr != nil {
			h.Aux = uint16(core.CodeOf(outward(leaveErr)))
		}
		err = s.lane.Send(h.Append(nil))
	}
	if err != nil {
		s.stream.Reset(core.CodeOf(outward(err)))
		s.lane.Wait()
		return err
	}
	return s.lane.Close()
}

// lose ends the membership without waiting.
func (s *queueStream) lose(how core.QueueInputKind) {
	m := s.sub.member
	m.group.mu.Lock()
	if !m.closed.Load() {
		m.group.drop(m, how)
	}
	m.group.unlock()
	m.sleeper.force()
}

// closeCursors gives back what the readers hold.
func (s *queueSubscription) closeCursors() {
	s.closed.Store(true)
	s.loop.Lock()
	defer s.loop.Unlock()
	for _, c := range s.cursors {
		if c != nil {
			c.close()
		}
	}
}

// drain asks the client to leave when it has answered for what it has in hand, and takes the rest back.
func (s *queueStream) drain(ctx context.Context) {
	s.halt()
	revoke := wire.Header{Type: wire.Revoke}
	if s.lane.Queue(revoke.Append(nil)) == nil {
		select {
		case <-s.over:
			return
		case <-ctx.Done():
		}
	}
	s.lose(core.QueueLeave)
}

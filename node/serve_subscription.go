package node

import (
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// subscriptionStream sends the log to one remote subscription. Two goroutines share it: the reader takes
// what the client says, the sender has the cursors.
//
//	client ──ADD, REMOVE, CREDIT──▶ reader ──changes──▶ sender ──BATCH──▶ client
//	                                         logs ──runs──┘
//
// It keeps cursors and one buffer, whatever a client does not read.
type subscriptionStream struct {
	stream  transport.Stream
	topic   *topic
	readAt  core.Ack
	filter  *filter.Filter // nil for none
	stats   *topicStats
	reader  *groupStats
	sleeper *sleeper

	credit  atomic.Uint64 // bytes that may be sent in all
	changed atomic.Bool   // there is something in changes, or stopped is set
	stopped atomic.Bool   // the sender ends

	sender sender

	mu      sync.Mutex // guards the following
	changes map[int32]int64
}

// removed, among changes, is a partition to leave out; others give the offset to read from.
const removed = int64(-1)

// serveSubscription serves a stream that began with SUBSCRIBE.
func (c *session) serveSubscription(stream transport.Stream, r *transport.Reader, h *wire.Header) error {
	var body wire.SubscribeBody
	if err := readBody(r, h, &body); err != nil {
		return err
	}
	s, answer, err := c.newSubscription(stream, &body)
	if err != nil {
		return err
	}
	defer s.sender.close()
	s.credit.Store(h.Arg)
	if _, err := stream.Write(wire.Marshal(nil, wire.Header{Type: wire.Subscribed}, answer)); err != nil {
		return err
	}
	c.server.stats.consumers.Add(1)
	defer c.server.stats.consumers.Add(-1)
	var sending sync.WaitGroup
	sending.Go(func() {
		if err := s.send(); err != nil {
			endStream(stream, err)
		}
	})
	err = s.read(r)
	if err == nil {
		stream.Reset(0) // the client has ended; the sender may be in a Write
	} else {
		endStream(stream, err)
	}
	s.stop()
	sending.Wait()
	return err
}

// newSubscription places the cursors. Latest is the end as of now, so that nothing published after
// SUBSCRIBED is missed.
func (c *session) newSubscription(
	stream transport.Stream, body *wire.SubscribeBody,
) (*subscriptionStream, *wire.SubscribedBody, error) {
	if err := c.may(core.ActionRead, body.Topic); err != nil {
		return nil, nil, err
	}
	t, err := c.node.topicFor("subscribe to", body.Topic)
	if err != nil {
		return nil, nil, err
	}
	level := core.Ack(body.ReadAt)
	if level != core.AckDefault && level != core.AckPage && level != core.AckDisk {
		return nil, nil, core.Errorf(core.CodeLevelUnavailable, t.op("subscribe to"), "read at %v", level)
	}
	if len(body.Partitions) > len(t.partitions)+maxStrays {
		return nil, nil, t.tooMany(len(body.Partitions))
	}
	filter, err := readFilter(body.Filter)
	if err != nil {
		return nil, nil, err
	}
	s := &subscriptionStream{
		stream: stream, topic: t, readAt: level, filter: filter, sleeper: newSleeper(),
		stats: c.server.stats.topic(t.name), changes: make(map[int32]int64),
	}
	s.reader = s.stats.group(groupLabel(body.Group))
	s.sender.stream = s
	answer := &wire.SubscribedBody{TopicID: t.id}
	seen := make(map[int32]bool, len(body.Partitions))
	for i := range body.Partitions {
		at := &body.Partitions[i]
		if seen[at.Partition] {
			s.sender.close()
			return nil, nil, wire.Errorf("SUBSCRIBE names partition %d twice", at.Partition)
		}
		seen[at.Partition] = true
		p, offset, err := t.locate(at)
		if err == nil {
			s.sender.add(p, offset)
		}
		answer.Partitions = append(answer.Partitions, subscribed(at.Partition, offset, err))
	}
	return s, answer, nil
}

// groupLabel is the group that a reader is counted with. Who gives a name that no group has counts as one
// without.
func groupLabel(group string) string {
	if core.ValidateName("group", group) != nil {
		return ""
	}
	return group
}

// read takes what the client says until it ends.
func (s *subscriptionStream) read(r *transport.Reader) error {
	for {
		h, err := nextFrame(r)
		if err != nil {
			return ignoreEOF(err)
		}
		switch h.Type {
		case wire.Credit:
			s.grant(h.Arg)
		case wire.Add:
			if h.Arg > 1<<63-1 {
				return wire.Errorf("ADD at offset %d", h.Arg)
			}
			err = s.change(int32(h.Aux), int64(h.Arg))
		case wire.Remove:
			err = s.change(int32(h.Aux), removed)
		default:
			err = unexpected(&h, "on a subscription stream")
		}
		if err != nil {
			return err
		}
	}
}

// grant raises the credit; one that is lower than before is late and says nothing.
func (s *subscriptionStream) grant(credit uint64) {
	if credit > s.credit.Load() {
		s.credit.Store(credit)
		s.wakeSender()
	}
}

// change leaves a change for the sender. A later one of the same partition replaces it, so that there
// are never more than partitions, and some that the topic does not have.
func (s *subscriptionStream) change(partition int32, offset int64) error {
	s.mu.Lock()
	s.changes[partition] = offset
	count, most := len(s.changes), len(s.topic.partitions)+maxStrays
	s.mu.Unlock()
	if count > most {
		return s.topic.tooMany(count)
	}
	s.wakeSender()
	return nil
}

// maxStrays is how many partitions that a topic does not have a client may name at once: each is answered
// with an error, which costs more than to ask.
const maxStrays = 64

func (t *topic) tooMany(count int) error {
	return wire.Errorf("%d partitions, the topic has %d", count, len(t.partitions))
}

func (s *subscriptionStream) stop() {
	s.stopped.Store(true)
	s.wakeSender()
}

func (s *subscriptionStream) wakeSender() {
	s.changed.Store(true)
	s.sleeper.force()
}

// takeChanges gives what was left for the sender.
func (s *subscriptionStream) takeChanges() map[int32]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Store(false)
	if len(s.changes) == 0 {
		return nil
	}
	taken := s.changes
	s.changes = make(map[int32]int64)
	return taken
}

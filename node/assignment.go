package node

import (
	"cmp"
	"slices"

	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// The methods of this file make subscription the sink of its member's actor, which calls them.
var _ actors.MemberSink = (*subscription)(nil)

// Assigned gives the subscription a partition.
func (s *subscription) Assigned(partition int32, offset int64, generation int32) {
	c := s.newCursor(s.topic.partitions[partition])
	c.generation = generation
	c.moveTo(max(offset, 0))
	s.setCursor(partition, c)
	s.change(change{cursor: c, offset: offset})
}

// Revoking stops delivery of a partition; what is in flight may still be acked.
func (s *subscription) Revoking(partition int32) {
	if c := s.cursorOf(partition); c != nil {
		c.revoking.Store(true)
	}
}

// Released takes a partition away.
func (s *subscription) Released(partition int32) {
	if c := s.cursorOf(partition); c != nil {
		c.revoking.Store(true)
		s.setCursor(partition, nil)
		s.change(change{cursor: c, removed: true})
	}
}

// Fenced ends the membership: every Ack fails from now on, and the loop yields err once. The node's actor
// calls it, too, when the topic is deleted.
func (s *subscription) Fenced(err error) {
	s.mu.Lock()
	for _, c := range s.held {
		c.revoking.Store(true)
		s.byPart[c.part.number].Store(nil)
	}
	s.held = nil
	if s.fenced == nil {
		s.fenced = core.NewError(core.CodeOf(err), s.topic.op("read"), err)
	}
	s.mu.Unlock()
	s.wakeLoop()
}

// Acks adds the partitions whose acked position moved since the last call.
func (s *subscription) Acks(into []actors.PartitionAck) []actors.PartitionAck {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.held {
		if acked := c.acked.Load(); acked > c.reported.Load() {
			c.reported.Store(acked)
			into = append(into, actors.PartitionAck{
				Partition: c.part.number, Offset: acked, Generation: c.generation,
			})
		}
	}
	return into
}

// InFlight reports whether a message of the partition was delivered and not acked.
func (s *subscription) InFlight(partition int32) bool {
	c := s.cursorOf(partition)
	return c != nil && c.delivered.Load() > c.acked.Load()
}

func (s *subscription) cursorOf(partition int32) *cursor {
	if partition < 0 || int(partition) >= len(s.byPart) {
		return nil
	}
	return s.byPart[partition].Load()
}

// setCursor sets or, for nil, takes away what the subscription has of a partition.
func (s *subscription) setCursor(partition int32, c *cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := slices.BinarySearchFunc(s.held, partition,
		func(c *cursor, number int32) int { return cmp.Compare(c.part.number, number) })
	if found {
		s.held = slices.Delete(s.held, at, at+1)
	}
	if c != nil {
		s.held = slices.Insert(s.held, at, c)
	}
	s.byPart[partition].Store(c)
}

func (s *subscription) change(ch change) {
	s.mu.Lock()
	s.changes = append(s.changes, ch)
	s.mu.Unlock()
	s.wakeLoop()
}

func (s *subscription) wakeLoop() {
	s.changed.Store(true)
	s.sleeper.rouse()
}

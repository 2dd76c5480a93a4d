package node

import (
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

// Fenced ends the membership: every Ack fails from now on, and the loop yields err once.
func (s *subscription) Fenced(err error) {
	list := *s.byPart.Load()
	for _, c := range list {
		if c != nil {
			c.revoking.Store(true)
		}
	}
	none := make([]*cursor, len(list))
	s.byPart.Store(&none)
	s.mu.Lock()
	if s.fenced == nil {
		s.fenced = core.NewError(core.CodeOf(err), s.topic.op("read"), err)
	}
	s.mu.Unlock()
	s.wakeLoop()
}

// Acks adds the partitions whose acked position moved since the last call.
func (s *subscription) Acks(into []actors.PartitionAck) []actors.PartitionAck {
	for number, c := range *s.byPart.Load() {
		if c == nil {
			continue
		}
		if acked := c.acked.Load(); acked > c.reported.Load() {
			c.reported.Store(acked)
			into = append(into, actors.PartitionAck{
				Partition: int32(number), Offset: acked, Generation: c.generation,
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
	if list := *s.byPart.Load(); int(partition) < len(list) {
		return list[partition]
	}
	return nil
}

// setCursor replaces one entry of byPart. Only the member's actor changes it.
func (s *subscription) setCursor(partition int32, c *cursor) {
	list := slices.Clone(*s.byPart.Load())
	list[partition] = c
	s.byPart.Store(&list)
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

package node

import (
	"context"
	"slices"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// NextBatch implements leat.SubscriptionBackend.
func (s *subscription) NextBatch(ctx context.Context, run *leat.BatchRun) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.pinning = true
	for s.changed.Load() || s.current == nil || !s.takeRun(s.current, run) {
		if err := s.advance(ctx); err != nil {
			return err
		}
	}
	return nil
}

// takeRun hands out the frames from the one under way on, unless the cursor was closed or is being revoked.
func (s *subscription) takeRun(c *cursor, run *leat.BatchRun) bool {
	s.loop.Lock() // Close gives up the pin
	defer s.loop.Unlock()
	if !c.hasRecords() {
		return false
	}
	next := c.seen
	for left := c.run; len(left) > 0; {
		h := core.ParseFrameHeader(left)
		next = h.NextOffset()
		left = left[h.Size():]
	}
	if s.member != nil {
		c.delivered.Store(next)
		if c.revoking.Load() {
			c.delivered.Store(c.next)
			s.current = nil
			return false
		}
	}
	*run = leat.BatchRun{
		Topic: c.part.topic.name, Partition: c.part.number, First: c.next, Next: next, Frames: c.frames,
		Leaves: s.leavesOf(c.part),
	}
	if c.pin != nil {
		run.Release, c.pin = c.pin.Release, nil
	} else {
		run.Frames = slices.Clone(c.frames) // in the reader's memory, since the last Next
	}
	c.run, c.records, c.frames = nil, nil, nil
	c.next, c.seen = next, next
	return true
}

// settle gives up the pins of runs under way, for a loop that goes on with single messages: these stay valid
// until the next one only.
func (s *subscription) settle() error {
	s.loop.Lock()
	defer s.loop.Unlock()
	s.pinning = false
	for _, c := range s.cursors {
		if c.pin == nil {
			continue
		}
		frames := slices.Clone(c.frames)
		c.unpin()
		if c.run = frames; len(frames) > 0 {
			if err := c.nextFrame(); err != nil {
				return s.readFailed(c, err)
			}
		}
	}
	return nil
}

// read gives the next run of the log below limit, pinned or in the reader's memory.
func (c *cursor) read(limit int64, pinning bool) error {
	c.unpin()
	if !pinning {
		run, err := c.reader.Next(limit)
		c.run = run
		return err
	}
	pin, err := c.reader.NextPinned(limit)
	if pin != nil {
		c.run, c.pin = pin.Bytes(), pin
	}
	return err
}

// unpin gives up the run that was used up, or is not wanted any more.
func (c *cursor) unpin() {
	if c.pin != nil {
		c.run, c.records, c.frames = nil, nil, nil
		c.pin.Release()
		c.pin = nil
	}
}

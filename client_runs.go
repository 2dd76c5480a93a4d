package leat

import (
	"context"

	"github.com/leatbus/leat/core"
)

// NextBatch implements SubscriptionBackend. What it gives is the rest of the chunk under way, which leaves
// the subscription's memory: its bytes are granted anew at once, so that batches which are kept hold nobody
// up.
func (s *remoteSubscription) NextBatch(ctx context.Context, run *BatchRun) error {
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
		frames, next := c.rest()
		if s.member != nil {
			c.delivered.Store(next)
			if c.revoking.Load() {
				c.delivered.Store(c.next)
				s.current = nil
				continue
			}
		}
		*run = BatchRun{Topic: s.topic.name, Partition: c.number, First: c.next, Next: next, Frames: frames}
		c.run, c.records, c.next = c.run[len(frames)-c.frameSize:], nil, next
		if len(c.run) == 0 {
			run.Release = s.handOver(c)
		} else {
			run.Frames = cloneBytes(frames) // what follows is damaged, and is looked at by the next call
		}
		return nil
	}
}

// rest gives the frames from the one under way on, as far as they are undamaged, and the offset behind them.
func (c *remoteCursor) rest() (frames []byte, next int64) {
	at := c.frameSize
	h := core.ParseFrameHeader(c.frame)
	next = h.NextOffset()
	for left := c.run; len(left) > 0; {
		h = core.ParseFrameHeader(left)
		if h.CheckPayload(left[core.FrameHeaderSize:h.Length]) != nil {
			break
		}
		at, next = at+int(h.Size()), h.NextOffset()
		left = left[h.Size():]
	}
	return c.frame[:at:at], next
}

// handOver takes the chunk under way out of the subscription's memory, and gives what frees it.
func (s *remoteSubscription) handOver(c *remoteCursor) (free func()) {
	ch := c.under
	c.under, c.run = nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.source != nil {
		c.lent = nil
		ch.source.buffered -= ch.size
		ch.source.grantLocked()
		ch.source = nil
	}
	return ch.free
}

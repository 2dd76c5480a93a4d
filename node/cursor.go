package node

import (
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
	"github.com/leatbus/leat/internal/skipmark"
	"github.com/leatbus/leat/mmaplog"
)

// cursor is a subscription's place in one partition.
type cursor struct {
	part       *partition
	generation int32           // of the assignment, with a group
	filter     *filter.Matcher // of what the reader is given; nil for everything

	// The following is owned by the subscription's loop.
	reader  *mmaplog.Reader
	run     []byte // frames not yet looked at, in the reader's memory or pinned
	records []byte // rest of the frame under way
	frames  []byte // the frame under way and run
	pin     *mmaplog.Pinned
	time    time.Time
	ttl     time.Duration // of the topic, as of the frame under way
	next    int64         // offset of the next record to deliver
	seen    int64         // offset after the last record of the frames read so far
	paused  bool          // by the user, or for good after an error
	told    bool          // OnAssign has heard of it

	// delivered moves before the loop looks at revoking, and whoever revokes looks at delivered
	// after setting revoking: one of the two sees the other.
	delivered atomic.Int64 // first offset not delivered
	acked     atomic.Int64 // first offset not acked
	reported  atomic.Int64 // acked as last told to the group
	revoking  atomic.Bool
	skipped   skipmark.Mark // of records that are not delivered, so that acked passes over them
	settled   bool          // it did, since the loop has looked
}

// start places the cursor at offset from.
func (c *cursor) start(from int64) {
	c.reader = c.part.log.Reader(from)
	c.moveTo(from)
}

func (c *cursor) moveTo(offset int64) {
	c.unpin()
	c.next, c.seen = offset, offset
	c.run, c.records, c.frames = nil, nil, nil
	c.skipped.Reset()
	c.delivered.Store(offset)
	c.reported.Store(offset) // before acked: what nobody acked is not reported
	c.acked.Store(offset)
}

// close gives back what the reader holds. Records of the frame under way stay readable: they are
// in Go memory, and the loop may be looking at them; or they are pinned, and nobody does.
func (c *cursor) close() {
	c.unpin()
	if c.reader != nil {
		_ = c.reader.Close() // gives back a file handle; nothing was written through it
		c.reader = nil
	}
}

// rest gives up what the reader keeps for its next read. The loop lock must be held.
func (c *cursor) rest() {
	if c.reader != nil {
		c.reader.Rest()
	}
}

// resolve turns a position into an offset of the partition.
func (p *partition) resolve(at core.Position) (int64, error) {
	switch at.Kind {
	case core.PositionLatest:
		return p.highWater.Load(), nil
	case core.PositionOffset:
		if start, end := p.log.Start(), p.log.End(); at.Value < start || at.Value > end {
			return 0, core.Errorf(core.CodeOffsetOutOfRange, p.op("read"),
				"offset %d, the log has [%d, %d)", at.Value, start, end)
		}
		return at.Value, nil
	case core.PositionTime:
		return p.log.OffsetAt(at.Value)
	}
	return p.log.Start(), nil
}

// hasRecords reports whether a record of the frame under way is left.
func (c *cursor) hasRecords() bool { return len(c.records) > 0 }

// fetch makes the next frame with records current, reading the log below limit. It reports whether
// there is one.
func (c *cursor) fetch(limit int64, pinning bool) (bool, error) {
	for {
		if len(c.run) == 0 {
			if c.seen >= limit {
				return false, nil
			}
			if err := c.read(limit, pinning); err != nil || len(c.run) == 0 {
				c.seen = max(c.seen, c.reader.Offset()) // it may have come to the end of a gap
				return false, err
			}
		}
		if err := c.nextFrame(); err != nil {
			return false, err
		}
		if len(c.records) > 0 {
			return true, nil
		}
	}
}

// nextFrame takes one frame off the run. Records below the cursor are skipped: a run starts with
// the frame that contains it.
func (c *cursor) nextFrame() error {
	h := core.ParseFrameHeader(c.run)
	size := int(h.Size())
	if size < core.FrameHeaderSize || size > len(c.run) {
		return core.Errorf(core.CodeInternal, c.part.op("read"),
			"frame of %d bytes in a run of %d", size, len(c.run))
	}
	c.records, c.frames = c.run[core.FrameHeaderSize:h.Length], c.run
	c.run = c.run[size:]
	c.seen = h.NextOffset()
	if c.seen <= c.next { // of a queue: all of it is lent to others
		c.records = nil
		return nil
	}
	c.time, c.ttl = time.Unix(0, h.Time), c.part.topic.changed.Load().TTL
	for at := h.BaseOffset; at < c.next && len(c.records) > 0; at++ {
		_, n, err := core.DecodeRecord(c.records)
		if err != nil {
			return err
		}
		c.records = c.records[n:]
	}
	c.next = max(c.next, h.BaseOffset)
	c.skipRemoved()
	return nil
}

// skipRemoved moves the cursor behind records that compaction removed.
func (c *cursor) skipRemoved() {
	if core.RemovedNext(c.records) {
		rest, n := core.SkipRemoved(c.records)
		c.records = rest
		c.skip(n)
	}
}

// skip moves the cursor behind n records that are not delivered. They are done once all before them are.
func (c *cursor) skip(n int64) {
	c.skipped.Skip(c.next, c.next+n)
	c.next += n
	if c.skipped.Settle(&c.acked) {
		c.settled = true
	}
}

// takeAny takes what a record of any form has, or skips it.
func (c *cursor) takeAny(m *leat.Message, headers *core.HeaderDecoder) (given bool, err error) {
	r, n, err := core.DecodeRecord(c.records)
	if err != nil {
		return false, err
	}
	c.records = c.records[n:]
	if c.part.topic.leaves(&r, c.time.UnixNano(), c.part.shard.clock) || !c.passes(&r) {
		c.skip(1)
		c.skipRemoved()
		return false, nil
	}
	m.Key, m.Value, m.TTL, m.ID = r.Key, r.Value, r.TTL, string(r.ID)
	if len(r.RawHeaders) > 0 {
		m.Headers, err = headers.Decode(r.RawHeaders, m.Headers)
	}
	return err == nil, err
}

// take fills m with the next record of the frame under way, unless that is one that is not delivered.
func (c *cursor) take(m *leat.Message, headers *core.HeaderDecoder) (given bool, err error) {
	m.Headers = m.Headers[:0]
	if key, value, n := core.PlainRecord(c.records); n > 0 && c.ttl == 0 && c.filter == nil {
		m.Key, m.Value, m.TTL, m.ID = key, value, 0, ""
		c.records = c.records[n:]
	} else if given, err := c.takeAny(m, headers); !given {
		return false, err
	}
	m.Topic, m.Partition = c.part.topic.name, c.part.number
	m.Offset, m.Time = c.next, c.time
	c.next++
	c.skipRemoved()
	return true, nil
}

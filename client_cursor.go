package leat

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/skipmark"
)

// remoteCursor is a subscription's place in one partition.
type remoteCursor struct {
	sub        *remoteSubscription
	number     int32
	generation int32 // of the assignment, with a group; the member's, as the next
	asked      int64 // acked as told with the last COMMIT

	// The following is owned by the subscription's loop.
	under   *chunk // being delivered
	run     []byte // frames of it not yet looked at
	records []byte // rest of the frame under way
	time    time.Time
	next    int64 // offset of the next record to deliver

	frame     []byte // the frame under way and all behind it in the chunk
	frameSize int    // of the frame under way

	// The following is guarded by the subscription's lock.
	source   *source
	resolved bool          // want is an offset; else at says where to start
	at       core.Position // where to start
	initial  bool          // nothing was read yet: a start outside the log is moved to its end that is nearer
	want     int64         // next offset to come from the node
	chunks   []*chunk
	head     int
	queued   bool   // is in the ready list
	paused   bool   // by the user
	failed   bool   // left out for good
	gone     bool   // not this subscription's any more
	lent     *chunk // that the loop has
	failure  error  // to be yielded when chunks are used up
	restart  int64  // where to go on after failure, or -1

	// delivered moves before the loop looks at revoking, and whoever revokes looks at delivered after
	// setting revoking: one of the two sees the other.
	delivered atomic.Int64 // first offset not delivered
	acked     atomic.Int64 // first offset not acked
	reported  atomic.Int64 // acked as last told to the group
	committed atomic.Int64 // acked as the group is known to have stored
	revoking  atomic.Bool
	skipped   skipmark.Mark // of records that are not delivered, so that acked passes over them
}

// startLocked places the cursor. Nothing is buffered.
func (c *remoteCursor) startLocked(offset int64) {
	c.resolved, c.want = true, offset
	c.next = offset
	c.skipped.Reset()
	c.delivered.Store(offset)
	c.committed.Store(offset)
	c.reported.Store(offset) // before acked: what nobody acked is not reported
	c.acked.Store(offset)
}

// reading reports whether the node should send the partition.
func (c *remoteCursor) reading() bool { return !c.paused && !c.failed && !c.gone }

func (c *remoteCursor) buffered() bool { return c.head < len(c.chunks) }

func (c *remoteCursor) pushLocked(ch *chunk) { c.chunks = append(c.chunks, ch) }

func (c *remoteCursor) popLocked() *chunk {
	ch := c.chunks[c.head]
	c.chunks[c.head] = nil
	if c.head++; c.head == len(c.chunks) {
		c.chunks, c.head = c.chunks[:0], 0
	}
	return ch
}

// hasRecords reports whether a record of the frame under way is left.
func (c *remoteCursor) hasRecords() bool { return len(c.records) > 0 }

// begin makes a chunk the one under way.
func (c *remoteCursor) begin(ch *chunk) { c.under, c.run, c.records = ch, ch.buf, nil }

// fetch makes the next frame with records current. It reports whether there is one in the chunk.
func (c *remoteCursor) fetch() (bool, error) {
	for len(c.records) == 0 {
		if len(c.run) == 0 {
			return false, nil
		}
		if err := c.nextFrame(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// nextFrame takes one frame off the run, whose header the source has checked. Records below the cursor are
// skipped: the first run starts with the frame that contains it.
func (c *remoteCursor) nextFrame() error {
	h := core.ParseFrameHeader(c.run)
	payload := c.run[core.FrameHeaderSize:h.Length]
	c.frame, c.frameSize = c.run, int(h.Size())
	c.run = c.run[h.Size():]
	if err := h.CheckPayload(payload); err != nil {
		return core.NewError(core.CodeOf(err), c.op("read"), err)
	}
	c.records = payload
	if h.Type() != core.FrameData {
		c.records = nil
	}
	if h.Type() == core.FrameEmpty { // a filter leaves the records out, or a repair gave them up
		c.pass(h.NextOffset())
		return nil
	}
	c.time = time.Unix(0, h.Time)
	for at := h.BaseOffset; at < c.next && len(c.records) > 0; at++ {
		_, n, err := core.DecodeRecord(c.records)
		if err != nil {
			return core.NewError(core.CodeOf(err), c.op("read"), err)
		}
		c.records = c.records[n:]
	}
	if h.Records == 0 {
		return nil
	}
	if len(c.records) == 0 && h.NextOffset() > c.next {
		return core.Errorf(core.CodeCorrupt, c.op("read"), "frame [%d, %d) without record %d", h.BaseOffset,
			h.NextOffset(), c.next)
	}
	c.skipRemoved()
	return nil
}

// skipRemoved moves the cursor behind records that compaction removed, or that the node leaves out.
func (c *remoteCursor) skipRemoved() {
	if core.RemovedNext(c.records) {
		rest, n := core.SkipRemoved(c.records)
		c.records = rest
		c.pass(c.next + n)
	}
}

// pass moves the cursor to an offset, if that is ahead: what lies between is not delivered, and done once all
// before it is.
func (c *remoteCursor) pass(to int64) {
	if to <= c.next {
		return
	}
	c.skipped.Skip(c.next, to)
	c.next = to
	if c.skipped.Settle(&c.acked) && c.sub.member != nil {
		c.sub.member.touch()
	}
}

// take fills m with the next record of the frame under way.
func (c *remoteCursor) take(m *Message, headers *core.HeaderDecoder) error {
	r, n, err := core.DecodeRecord(c.records)
	if err != nil {
		return core.NewError(core.CodeOf(err), c.op("read"), err)
	}
	m.Headers = m.Headers[:0]
	if len(r.RawHeaders) > 0 {
		if m.Headers, err = headers.Decode(r.RawHeaders, m.Headers); err != nil {
			return core.NewError(core.CodeOf(err), c.op("read"), err)
		}
	}
	c.records = c.records[n:]
	m.Key, m.Value, m.TTL, m.ID = r.Key, r.Value, r.TTL, string(r.ID)
	m.Topic, m.Partition = c.sub.topic.name, c.number
	m.Offset, m.Time = c.next, c.time
	c.next++
	c.skipRemoved()
	return nil
}

// op says what was tried on the partition, for errors.
func (c *remoteCursor) op(verb string) string {
	return fmt.Sprintf("%s partition %d of topic %s", verb, c.number, core.Quote(c.sub.topic.name))
}

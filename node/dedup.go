package node

import (
	"time"

	"github.com/leatbus/leat/core"
)

// appendIDs adds an entry whose records have ids, one or all of a batch, to its partition's batch, in a
// frame of its own that says so, unless it was published before. A batch is what its ids say: with all of
// them known it is a duplicate, with some of them it is refused.
func (j *journal) appendIDs(o *outcome, e *entry, src, records []byte) {
	p := o.part
	p.state.SetDedupWindow(p.topic.changed.Load().DedupWindow)
	known, err := j.findIDs(o, records)
	if err != nil {
		o.err = err
		return
	}
	if e.frame {
		j.frame = frameHeader(src, o.records, records)
	} else {
		j.frame = core.FrameHeader{Length: uint32(core.FrameHeaderSize + len(records)),
			PayloadCRC: core.Checksum(records), Records: uint16(o.records), Version: core.FrameVersion}
	}
	if known {
		j.repeat(o)
		return
	}
	j.frame.Attrs |= core.AttrIDs
	before := p.next
	j.addProduced(o, records)
	if o.err == nil && !o.duplicate && o.offset >= before {
		j.noteIDs(p, records, o.offset, o.time)
	}
}

// findIDs reports whether the records of an entry were published before, and where.
func (j *journal) findIDs(o *outcome, records []byte) (known bool, err error) {
	p, at := o.part, int64(0)
	fresh, offset, first := false, int64(0), int64(0)
	for ; len(records) > 0; at++ {
		r, n, err := core.DecodeRecord(records)
		if err != nil {
			return false, err
		}
		records = records[n:]
		if len(r.ID) == 0 {
			continue
		}
		stored, appended, found := p.state.FindID(core.MessageIDOf(r.ID), o.time)
		switch {
		case found && !known:
			known, offset, first = true, stored, at
			o.time = appended
		case !found:
			fresh = true
		}
	}
	if known && fresh {
		return false, core.Errorf(core.CodeInvalidRecord, p.op("publish a batch to"),
			"message %d was published before, as offset %d, and others of the batch were not", first, offset)
	}
	if known {
		o.offset = offset - first
	}
	return known, nil
}

// noteIDs tells the partition what ids records have that are part of the batch under way.
func (j *journal) noteIDs(p *partition, records []byte, offset, appended int64) {
	for ; len(records) > 0; offset++ {
		r, n, err := core.DecodeRecord(records)
		if err != nil {
			return // findIDs has decoded them
		}
		if len(r.ID) > 0 {
			p.state.AddID(core.MessageIDOf(r.ID), offset, appended)
		}
		records = records[n:]
	}
}

// repeat answers an entry that was published before with the original. A remote producer has numbered it:
// stubs, as compaction leaves them, take its sequences in the log, so that it may go on behind them after
// a restart.
func (j *journal) repeat(o *outcome) {
	o.duplicate = true
	if j.frame.ProducerID == 0 {
		return
	}
	original, appended := o.offset, o.time
	stubs := make([]byte, int(o.records)*core.RecordHeaderSize)
	for at := 0; at < len(stubs); at += core.RecordHeaderSize {
		core.PutRemoved(stubs[at:], 0)
	}
	j.frame.Length = uint32(core.FrameHeaderSize + len(stubs))
	j.frame.PayloadCRC = core.Checksum(stubs)
	o.time = j.time
	j.addProduced(o, stubs)
	if o.err != nil {
		return
	}
	if !o.duplicate || o.offset > original {
		o.after = o.offset + int64(o.records)
	}
	if !o.duplicate {
		o.part.next = o.after
	}
	o.offset, o.time, o.duplicate = original, appended, true
}

// restoreIDs finds the ids of records from offset first on, which is that of a frame that has some, when the
// partition is opened.
func (p *partition) restoreIDs(first int64) error {
	c := &cursor{part: p}
	c.start(first)
	defer c.close()
	for {
		found, err := c.fetch(p.log.End(), false)
		if !found || err != nil {
			p.state.KeepIDs()
			return err
		}
		h := core.ParseFrameHeader(c.frames)
		for offset := c.next; h.Attrs&core.AttrIDs != 0 && len(c.records) > 0; offset++ {
			r, n, err := core.DecodeRecord(c.records)
			if err != nil {
				return err
			}
			if len(r.ID) > 0 {
				p.state.AddID(core.MessageIDOf(r.ID), offset, h.Time)
			}
			c.records = c.records[n:]
		}
		c.records = nil
		c.next = max(c.next, h.NextOffset())
	}
}

// idsFrom gives what is to be called with each header that is read when the partition is opened; it notes the
// first frame with ids that are still remembered.
func (p *partition) idsFrom(first *int64) func(*core.FrameHeader) {
	window := p.topic.cfg.DedupWindow
	if window == 0 {
		window = core.DefaultDedupWindow
	}
	since := p.shard.clock.Now() - int64(window)
	return func(h *core.FrameHeader) {
		p.state.Restore(h)
		if *first < 0 && h.Attrs&core.AttrIDs != 0 && h.Time >= since {
			*first = h.BaseOffset
		}
	}
}

// duplicateAt stands among the causes of failures for a publish that was stored before: it did not fail.
type duplicateAt struct{ time time.Time }

// Error implements error. Nobody is told it.
func (d *duplicateAt) Error() string { return "published before" }

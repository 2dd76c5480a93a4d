package mmaplog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/leatbus/leat/core"
)

// frames reads all frames, from the header to where the next segment goes on.
func (c *segmentCheck) frames() error {
	c.buf = scanBufs.Get().(*scanBuf)
	defer scanBufs.Put(c.buf)
	c.buf.reset(c.file, c.seg.published.Load())
	c.at = checkpoint{pos: headerSize, at: c.seg.start()}
	for tries := 0; !c.complete() && !c.lost; {
		err := c.frame(c.buf)
		if err == nil {
			tries = 0
			continue
		}
		if passes(err) {
			return err
		}
		switch err, tries = c.secondLook(), tries+1; {
		case err == nil && tries > 3:
			return errors.New("reads of one place differ")
		case err == nil:
			c.buf.n = 0 // what is in memory is not what the second look saw
			continue
		case passes(err):
			return err
		}
		if err := c.skip(err); err != nil {
			return err
		}
	}
	if c.lost || c.next.header.follows(&c.at.at) {
		return nil
	}
	base := &c.next.header.base
	c.scrubber.report(c.log, c.damaged(c.at.pos, c.at.at.offset, c.next.header.from(), fmt.Errorf(
		"frames end at offset %d, index %d; the next segment begins at %d, %d",
		c.at.at.offset, c.at.at.index, base.offset, base.index)))
	return nil
}

// complete reports whether the frames reach the next segment.
func (c *segmentCheck) complete() bool {
	h := &c.next.header
	return c.at.at.index >= h.base.index && c.at.at.offset >= h.from()
}

// frame checks the next frame and moves behind it.
func (c *segmentCheck) frame(buf *scanBuf) error {
	h, err := buf.frameAt(c.at.pos, c.seg.seed)
	state := c.at.at
	if err == nil {
		err = state.accept(&h)
	}
	if err != nil {
		return err
	}
	c.at.at, c.at.pos = state, c.at.pos+h.Size()
	return nil
}

// secondLook reads the next frame again, and no more than that.
func (c *segmentCheck) secondLook() error {
	was := c.at
	defer func() { c.at = was }()
	return c.againFrom(func(f File) error {
		buf := &scanBuf{}
		buf.reset(f, c.seg.published.Load())
		buf.chunk = headerChunk
		return c.frame(buf)
	})
}

// skip reports that the next frame cannot be read, and moves to where frames go on.
func (c *segmentCheck) skip(reason error) error {
	if errors.Is(reason, errNoFrame) {
		reason = errors.New("nothing there")
	}
	was := c.at
	err := c.goOn()
	switch {
	case unreadable(err):
		if passes(err) {
			return err
		}
		c.lost = true
	case err != nil:
		c.lost = true
	}
	to := c.at.at.offset
	if c.lost {
		to = c.next.header.from()
	}
	c.scrubber.report(c.log, c.damaged(was.pos, was.at.offset, to, reason))
	return nil
}

// goOn moves to where frames go on: behind the next one if its header is whole, else to the first younger
// frame that is whole. errNoFrame says that there is none.
func (c *segmentCheck) goOn() error {
	if c.at.pos+core.FrameHeaderSize > c.buf.end {
		return errNoFrame
	}
	head, err := c.buf.view(c.at.pos, core.FrameHeaderSize)
	if err != nil {
		return err
	}
	h, err := core.DecodeFrameHeader(head, c.seg.seed)
	if err == nil && c.at.pos+h.Size() <= c.buf.end {
		if state := c.at.at; state.accept(&h) == nil {
			c.at.at, c.at.pos = state, c.at.pos+h.Size()
			return nil
		}
	}
	for pos := c.at.pos; pos+core.FrameHeaderSize <= c.buf.end; pos += 8 {
		head, err := c.buf.view(pos, core.FrameHeaderSize)
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(head) < core.FrameHeaderSize ||
			binary.LittleEndian.Uint64(head[8:]) < c.at.at.index {
			continue
		}
		h, err := c.buf.frameAt(pos, c.seg.seed)
		if unreadable(err) {
			return err
		}
		if err == nil && c.goesOn(&h) {
			c.at = checkpoint{pos: pos, at: logState{offset: h.BaseOffset, index: h.Index, prevCRC: h.PrevCRC,
				time: h.Time, term: h.Term}}
			return nil
		}
	}
	return errNoFrame
}

// goesOn reports whether a frame may be one of the log's, behind the damage.
func (c *segmentCheck) goesOn(h *core.FrameHeader) bool {
	return h.Type() != core.FrameFiller && h.BaseOffset >= c.at.at.offset &&
		h.NextOffset() <= c.next.header.from() && h.Time >= c.at.at.time && h.Term >= c.at.at.term
}

package leat

import (
	"errors"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// read reads batches until the stream ends.
func (f *source) read(stream *clientStream) error {
	for {
		h, err := stream.next()
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Batch:
			err = f.readBatch(stream, h)
		case wire.PartitionFailed:
			err = f.readFailed(stream, h)
		default:
			err = unexpected(h)
		}
		if err != nil {
			return err
		}
	}
}

// readBatch reads one BATCH into memory of the subscription, and gives it to its cursor if that wants it.
//
// A partition that was removed and added again may be sent something twice, in other pieces: what was on its
// way is as good as what ADD asked for, and that may end within a later run. So a run that begins before what
// is wanted counts from there on; the loop skips the rest.
func (f *source) readBatch(stream *clientStream, h wire.Header) error {
	s := f.sub
	s.mu.Lock()
	received, granted := f.received, f.granted
	f.received += int64(h.Size())
	s.mu.Unlock()
	if received >= granted {
		return wire.Errorf("BATCH beyond the credit: %d bytes of %d were sent", received, granted)
	}
	ch := newChunk(int(h.Length))
	ch.size, ch.source = int64(h.Size()), f
	var err error
	if ch.buf, err = stream.reader.Payload(ch.buf); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursorOf(int32(h.Aux))
	at := int64(h.Arg)
	if c == nil || c.source != f || !c.reading() || !c.resolved || at < 0 || at > c.want {
		ch.free()
		f.grantLocked()
		return nil // was on its way when the partition was removed
	}
	end, err := frameRun(ch.buf, h.Aux, at)
	if core.CodeOf(err) == core.CodeCorrupt {
		ch.free()
		c.failed, c.failure = true, core.NewError(core.CodeCorrupt, c.op("read"), err)
		f.removeLocked(c)
		s.offerLocked(c)
		return nil
	}
	if err != nil {
		return err
	}
	if at < c.want && end <= c.want {
		ch.free()
		f.grantLocked()
		return nil
	}
	c.want, c.initial, ch.cursor = end, false, c
	f.buffered += ch.size
	c.pushLocked(ch)
	s.offerLocked(c)
	return nil
}

// offerLocked puts a cursor in line and wakes the loop.
func (s *remoteSubscription) offerLocked(c *remoteCursor) {
	s.readyLocked(c)
	s.rouse()
}

func (f *source) readFailed(stream *clientStream, h wire.Header) error {
	payload, err := stream.reader.Small()
	if err != nil {
		return err
	}
	var body wire.ErrorBody
	if err := wire.Unmarshal(h.Type, payload, &body); err != nil {
		return err
	}
	code := core.Code(h.Arg)
	f.sub.mu.Lock()
	defer f.sub.mu.Unlock()
	c := f.sub.cursorOf(int32(h.Aux))
	if c == nil || c.source != f || !c.reading() {
		return nil
	}
	switch code {
	case core.CodeNotLeader, core.CodeTopicNotFound:
		return bodyError(code, &body) // the source asks where things are
	case core.CodeDraining, core.CodeUnavailable, core.CodeLimited:
		return bodyError(code, &body)
	}
	f.partitionFailedLocked(c, code, bodyError(code, &body))
	return nil
}

// partitionFailedLocked takes a partition out, which the node has done already. One whose offset is not in
// the log any more goes on at the start of what is kept; any other is left out, so that the rest goes on.
// The loop yields why, after what is buffered.
func (f *source) partitionFailedLocked(c *remoteCursor, code core.Code, err error) {
	c.failed = true
	if code != core.CodeOffsetOutOfRange {
		c.failure = f.failureOf(c, code, err)
		f.sub.offerLocked(c)
		return
	}
	f.sub.tasks.Go(func() { f.moveIntoLog(c, f.failureOf(c, code, err)) })
}

func (f *source) failureOf(c *remoteCursor, code core.Code, err error) error {
	return core.NewError(code, c.op("read"), err)
}

// moveIntoLog finds where to go on with a partition whose offset is outside the log. A commit of a group may
// be: behind what retention kept, or beyond a tail that a power cut took. That is no error.
func (f *source) moveIntoLog(c *remoteCursor, why error) {
	s := f.sub
	offset, err := f.offsetOf(c.number, core.Earliest)
	s.mu.Lock()
	want, quiet := c.want, c.initial
	s.mu.Unlock()
	if err == nil && quiet && c.resolved && offset <= want {
		var end int64
		if end, err = f.offsetOf(c.number, core.Latest); err == nil {
			offset = min(want, end)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.gone || s.ctx.Err() != nil:
		return
	case err != nil && (passing(err) || errors.Is(err, core.ErrUnavailable)):
		c.failed = false
		if f.stream != nil {
			f.stream.Reset(0) // and try again when it is open again
		}
		return
	case err != nil:
		c.failure = err
	case quiet:
		c.failed = false
		c.startLocked(offset)
		f.addLocked(c)
		return
	default:
		c.failure, c.restart = why, offset
	}
	s.offerLocked(c)
}

package node

import (
	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

const (
	delaySweep     = 1024    // messages looked at in one turn, for those of deleted topics
	delayMarkAgain = 1 << 16 // records of a target read from its mark on, from which a new mark is worth it
)

// load reads what waits, and writes the ends that a crash has cut off: of messages that their targets have.
func (l *delayLoop) load() error {
	for {
		more, err := l.readTail(delayTail)
		if err != nil {
			return err
		}
		if l.ctx.Err() != nil || l.stopping.Load() {
			return nil
		}
		if !more && l.tail.seen >= l.part.highWater.Load() {
			break
		}
	}
	if l.state.Waiting() > 0 {
		for _, lane := range l.targets {
			if err := l.resolve(lane); err != nil {
				return err
			}
		}
	}
	if l.ctx.Err() != nil || l.stopping.Load() {
		return nil
	}
	l.opened = true
	for _, lane := range l.targets {
		if err := l.markOpened(lane); err != nil {
			return err
		}
	}
	return nil
}

// markOpened writes the mark of a target that was read, if the one it has is none, or far behind.
func (l *delayLoop) markOpened(lane *delayLane) error {
	if lane.part == nil || lane.part.log == nil {
		return nil
	}
	end := lane.part.log.End()
	switch {
	case lane.marked && lane.mark > end: // a power cut took the end of the target
		m := core.DelayMarkAt{Topic: lane.target.topic, Partition: lane.target.partition, Offset: end}
		lane.mark, lane.ended = end, end
		_, err := l.disk.Publish(l.ctx, leat.Message{Key: m.EncodeKey(nil), Value: m.EncodeValue(nil)})
		return err // it is on the disk, for the older mark must not count again
	case !lane.marked || end-lane.mark > delayMarkAgain:
		return l.markAt(lane, end)
	}
	return nil
}

// resolve reads a target from its mark on. Nothing is delivered meanwhile.
func (l *delayLoop) resolve(lane *delayLane) error {
	if lane.part == nil || lane.part.log == nil {
		return nil // of a partition that cannot be read nothing is delivered either
	}
	log := lane.part.log
	end := log.End() // what comes meanwhile was not delivered by the loop
	c := &cursor{part: lane.part}
	c.start(min(max(lane.mark, log.Start()), end))
	defer c.close()
	for l.ctx.Err() == nil && !l.stopping.Load() {
		found, err := c.fetch(end, false)
		switch {
		case core.CodeOf(err) == core.CodeOffsetOutOfRange && err != nil:
			c.reader.Seek(log.Start()) // retention has overtaken it
			c.moveTo(log.Start())
			continue
		case err != nil:
			l.node.report("a target cannot be read; messages delivered before may come again", lane.part, err)
			return nil
		case !found:
			return nil
		}
		for c.hasRecords() {
			r, n, err := core.DecodeRecord(c.records)
			if err != nil {
				return err
			}
			if handle := core.FiredHandle(r.RawHeaders); handle != nil {
				if err := l.delivered(lane, string(handle)); err != nil {
					return err
				}
			}
			c.records = c.records[n:]
			c.next++
		}
	}
	return nil
}

// delivered ends a message that waits although its target has it.
func (l *delayLoop) delivered(lane *delayLane, text string) error {
	h, err := core.ParseDelayHandle(text)
	if err != nil || h.Topic != lane.target.topic || h.Partition != lane.target.partition ||
		l.state.State(h.Offset) != core.DelayWaiting {
		return nil
	}
	r, _, found, err := recordAt(l.records, h.Offset)
	if err != nil || !found {
		return err
	}
	d, err := core.DecodeDelayRecord(&r)
	if err != nil || d.Key.Tag() != h.Tag {
		return err // a power cut took the message of the handle, and another one has its offset
	}
	end := core.DelayedEnd{Offset: h.Offset, Outcome: core.DelayFired, Tag: h.Tag}
	l.state.End(end)
	return l.end(l.page, d.Key, end)
}

// beginSweep has the messages of a deleted topic removed.
func (l *delayLoop) beginSweep(topic uint64) {
	l.gone[topic] = true
	l.sweep = 0
}

// sweepGone goes on with that, and reports whether there is more to do.
func (l *delayLoop) sweepGone() (more bool, err error) {
	if len(l.gone) == 0 {
		return false, nil
	}
	var offsets []int64
	next, done := l.state.Scan(l.sweep, delaySweep, func(e core.DelayEntry) {
		offsets = append(offsets,
			e.Offset)
	})
	for _, offset := range offsets {
		if err := l.dropIfGone(offset); err != nil {
			return false, err
		}
	}
	if l.sweep = next; done {
		return false, l.forgetTargets()
	}
	return true, nil
}

func (l *delayLoop) dropIfGone(offset int64) error {
	r, _, found, err := recordAt(l.records, offset)
	if err != nil || !found {
		return err
	}
	d, err := core.DecodeDelayRecord(&r)
	if err != nil || d.Kind != core.DelayMessage || !l.gone[d.Message.Topic] {
		return err
	}
	if l.state.State(offset) != core.DelayWaiting {
		return nil
	}
	return l.drop(d.Key, offset)
}

// drop ends a message whose topic was deleted.
func (l *delayLoop) drop(key core.DelayKey, offset int64) error {
	l.stats.dropped.Add(1)
	end := core.DelayedEnd{Offset: offset, Outcome: core.DelayDropped, Tag: key.Tag()}
	l.state.End(end)
	return l.end(l.page, key, end)
}

// forgetTargets removes the marks of the deleted topics.
func (l *delayLoop) forgetTargets() error {
	for target, lane := range l.targets {
		if !l.gone[target.topic] {
			continue
		}
		if lane.flight == 0 {
			delete(l.targets, target)
		}
		if !lane.marked {
			continue
		}
		m := core.DelayMarkAt{Topic: target.topic, Partition: target.partition}
		if err := l.write(l.page, leat.Message{Key: m.EncodeKey(nil)}); err != nil {
			return err
		}
	}
	clear(l.gone)
	return nil
}

package node

import (
	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

const delaySweep = 1024 // messages looked at in one turn, for those of deleted topics

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
	if l.state.Waiting() > 0 || len(l.plans.byName) > 0 {
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
	return l.planAll()
}

// markOpened writes the mark of a target that was read, if the one it has is none, or far behind.
func (l *delayLoop) markOpened(lane *delayLane) error {
	if lane.part == nil || lane.part.log == nil {
		return nil
	}
	if len(lane.lost) > 0 && l.pending(lane.target) {
		return nil // it is to be found again, until __delay says which run is next
	}
	at, mark, sure := lane.Opened(lane.part.log.Start(), lane.part.log.End())
	if mark && sure {
		lane.Wrote(at)
		m := core.DelayMarkAt{Topic: lane.target.topic, Partition: lane.target.partition, Offset: at}
		_, err := l.disk.Publish(l.ctx, leat.Message{Key: m.EncodeKey(nil), Value: m.EncodeValue(nil)})
		return err
	}
	if mark {
		return l.markAt(lane, at)
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
	c.start(lane.Since(log.Start(), end))
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
				if err := l.delivered(lane, string(handle), c.next); err != nil {
					return err
				}
			}
			c.records = c.records[n:]
			c.next++
		}
	}
	return nil
}

// delivered ends a message that waits although its target has it, at an offset there.
func (l *delayLoop) delivered(lane *delayLane, text string, at int64) error {
	h, err := core.ParseDelayHandle(text)
	if err != nil || h.Topic != lane.target.topic || h.Partition != lane.target.partition {
		return nil
	}
	if l.state.State(h.Offset) != core.DelayWaiting {
		if l.state.Outcome(h.Offset, h.Tag) == core.DelayUnknown {
			l.lose(lane, h.Tag)
		}
		return nil
	}
	r, _, found, err := recordAt(l.records, h.Offset)
	if err != nil || !found {
		return err
	}
	d, err := core.DecodeDelayRecord(&r)
	if err != nil {
		return err
	}
	if d.Key.Tag() != h.Tag {
		l.lose(lane, h.Tag) // another message has its offset
	}
	if l.state.Delivered(h, &d) {
		lane.Found()
		l.writeEnd(core.DelayEnding{Lane: &lane.DelayLane, Key: d.Key, At: at, Offset: h.Offset})
	}
	return nil
}

// lose notes that a power cut took what __delay said of a message that the target has. Only schedules ask.
func (l *delayLoop) lose(lane *delayLane, tag uint32) {
	if len(l.plans.byName) == 0 {
		return
	}
	if lane.lost == nil {
		lane.lost = map[uint32]struct{}{}
	}
	lane.lost[tag] = struct{}{}
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
		if err := l.forgetSchedules(); err != nil {
			return false, err
		}
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

// drop ends a message whose topic or schedule is gone, or whose schedule goes on without it.
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
		if lane.Idle() {
			delete(l.targets, target)
		}
		if !lane.Marked() {
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

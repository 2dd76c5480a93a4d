package node

import (
	"context"
	"errors"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

const (
	delayMarkFires = 1000        // answers of targets in one turn after which their marks are looked at, or
	delayMarkEvery = int64(1000) // ms
	delayEndEvery  = int64(1000) // ms after which an end that was not read back is written again
)

// fire hands what is due to the targets, and reports whether there was something.
func (l *delayLoop) fire() (bool, error) {
	room := min(delayMost, delayFlight-(len(l.firing)-len(l.free)))
	if room <= 0 {
		return false, nil
	}
	if err := l.part.refusal(); err != nil {
		return false, err // what is delivered now could not get its end
	}
	now := core.DelayNow(l.node.clock.Now())
	if l.batch = l.state.Take(now, room, l.batch[:0]); len(l.batch) > 0 {
		l.firedAt.Store(now * 1e6)
	}
	for _, e := range l.batch {
		if err := l.fireOne(e, now); err != nil {
			return false, err
		}
	}
	for s, level := range l.shards {
		s.journalSoon(level)
		delete(l.shards, s)
	}
	return len(l.batch) > 0, nil
}

// fireOne hands one message to its target, or has it wait again where that takes nothing now.
func (l *delayLoop) fireOne(e core.DelayEntry, now int64) error {
	r, stored, found, err := recordAt(l.records, e.Offset)
	if err != nil {
		return err
	}
	if !found { // another record has its key
		l.state.End(core.DelayedEnd{Offset: e.Offset, Outcome: core.DelayDropped})
		return nil
	}
	d, err := core.DecodeDelayRecord(&r)
	if err != nil {
		return err
	}
	m := &d.Message
	lane := l.lane(delayTarget{m.Topic, m.Partition})
	if lane.part == nil {
		return l.drop(d.Key, e.Offset)
	}
	if l.unwanted(d.Key, m, now) {
		return l.dropRun(d.Key, e.Offset)
	}
	until := lane.Blocked(now)
	if lane.part.log == nil && until == 0 { // it cannot be read, and takes nothing
		until = lane.Block(now)
	}
	if until == 0 {
		until = lane.Unready(m, e, stored, l.part.log.DurableEnd(), now)
	}
	if until > 0 {
		e.Retry = until
		l.state.Return(e)
		return nil
	}
	ticket := l.ticket(delayFiring{entry: e, lane: lane, key: d.Key, due: m.DueAt(stored)})
	handle := core.DelayHandle{Topic: m.Topic, Partition: m.Partition, Offset: e.Offset, Tag: d.Key.Tag()}
	l.scratch = core.AppendFired(l.scratch[:0], m.Record, handle.String())
	out := entry{part: lane.part, records: 1, level: lane.part.level(m.Level), producer: l.index,
		ticket: ticket}
	lane.Sent()
	if err := l.node.commitRecord(l.ctx, &out, l.scratch); err != nil {
		l.again(ticket, err, now)
		return nil
	}
	l.shards[lane.part.shard] = max(l.shards[lane.part.shard], out.level)
	lane.part.shard.journalLater()
	return nil
}

// ticket keeps a message that is in the hands of its target.
func (l *delayLoop) ticket(f delayFiring) uint32 {
	if n := len(l.free); n > 0 {
		ticket := l.free[n-1]
		l.free = l.free[:n-1]
		l.firing[ticket] = f
		return ticket
	}
	l.firing = append(l.firing, f)
	return uint32(len(l.firing) - 1)
}

// endTicket frees a ticket, and gives what was kept with it.
func (l *delayLoop) endTicket(ticket uint32) delayFiring {
	f := l.firing[ticket]
	l.firing[ticket] = delayFiring{}
	l.free = append(l.free, ticket)
	return f
}

// again has a message wait that its target did not take, and the target's others behind it.
func (l *delayLoop) again(ticket uint32, err error, now int64) {
	f := l.endTicket(ticket)
	retry, long := f.lane.Refused(now)
	if long && f.lane.part != nil && !errors.Is(err, core.ErrClosed) {
		l.node.report("a delayed message cannot be delivered yet", f.lane.part, err)
	}
	f.entry.Retry = retry
	l.state.Return(f.entry)
}

// takeNews takes what became of deliveries, and deleted topics. It reports whether there was something.
func (l *delayLoop) takeNews() bool {
	l.mu.Lock()
	l.taken, l.done = l.done, l.taken[:0]
	gone := l.delays.gone
	l.delays.gone = nil
	l.mu.Unlock()
	for _, topic := range gone {
		l.beginSweep(topic)
	}
	now := core.DelayNow(l.node.clock.Now())
	for i := range l.taken {
		l.settle(&l.taken[i], now)
	}
	l.endAgain(now)
	l.marks(now)
	return len(gone) > 0 || len(l.taken) > 0
}

// settle ends a message that its target has stored.
func (l *delayLoop) settle(o *delayDone, now int64) {
	if s := l.firing[o.ticket].plan; s != nil {
		l.endTicket(o.ticket)
		l.planned(s, o.err)
		return
	}
	if o.err != nil {
		l.again(o.ticket, o.err, now)
		return
	}
	f := l.endTicket(o.ticket)
	f.lane.Stored()
	l.stats.fired.Add(1)
	l.stats.late.Add(max(o.time-f.due, 0))
	l.writeEnd(core.DelayEnding{Lane: &f.lane.DelayLane, Key: f.key, At: o.offset, Offset: f.entry.Offset})
}

// writeEnd writes the end of a delivered message, which is read back.
func (l *delayLoop) writeEnd(e core.DelayEnding) {
	l.ending.Add(e)
	end := core.DelayedEnd{Offset: e.Offset, Outcome: core.DelayFired}
	if err := l.end(l.page, e.Key, end); err != nil && l.ctx.Err() == nil {
		// It stays taken, so that this run does not deliver it again, and the next one finds it in its
		// target.
		l.node.report("the end of a delayed message cannot be stored", l.part, err)
	}
}

// endAgain writes the last end again where none was read back for a while: a full disk has refused it, and
// perhaps those before it, of which it tells.
func (l *delayLoop) endAgain(now int64) {
	last, found := l.ending.Last()
	switch {
	case !found:
		l.endAt = 0
	case l.endAt == 0 || l.endAt > now+delayEndEvery: // it is the first, or the clock was set back
		l.endAt = now + delayEndEvery
	case now >= l.endAt:
		l.endAt = now + delayEndEvery
		end := core.DelayedEnd{Offset: last.Offset, Outcome: core.DelayFired}
		_ = l.end(l.page, last.Key, end) // the next time does as well
	}
}

// end writes that a message waits no more. It does not wait until that is stored: the tail tells.
func (d *delays) end(by *producer, key core.DelayKey, e core.DelayedEnd) error {
	return d.write(by, leat.Message{Key: key.Encode(nil), Headers: e.Headers()})
}

// write appends a record to __delay without waiting for it.
func (d *delays) write(by *producer, m leat.Message) error {
	size, err := core.EncodedRecordSize(m.Key, m.Value, m.Headers)
	if err != nil {
		return err
	}
	e := entry{part: d.part, keyHash: routing.Hash(m.Key), records: 1, level: by.level}
	return by.oneWay(d.ctx, &e, &m, size, true)
}

// commitRecord puts one encoded record into the partition's shard ring. While too much is not on the disk it
// is CodeFull; for room in the ring it waits until ctx ends.
func (n *Node) commitRecord(ctx context.Context, e *entry, record []byte) error {
	if err := n.admit(ctx, e.part, false); err != nil {
		return err
	}
	size := len(record)
	if size > inlineBytes {
		body, buffer, err := n.bodies.take(ctx, size, true)
		if err != nil {
			return err
		}
		copy(buffer, record)
		e.body, size = body, bodyReference
	}
	claimed, err := e.part.shard.claim(ctx, entryHead+size, true)
	if err != nil {
		n.bodies.free(e.body)
		return err
	}
	e.encode(claimed.Bytes)
	if e.body == 0 {
		copy(claimed.Bytes[entryHead:], record)
	}
	e.part.shard.slab.Commit(claimed)
	return nil
}

// marks writes the marks that are due. Before all targets were read there are none, also where the node
// closes meanwhile: what a target has may lack its end.
func (l *delayLoop) marks(now int64) {
	if !l.opened {
		return
	}
	if now >= l.marksAt && now < l.marksAt+delayMarkEvery && len(l.taken) < delayMarkFires {
		return
	}
	look := now < l.marksAt || now >= l.marksAt+delayMarkEvery
	if look {
		l.marksAt = now
	}
	for _, lane := range l.targets {
		if lane.part == nil || lane.part.log == nil {
			continue
		}
		if at, write := lane.NextMark(look, lane.part.log.End()); write {
			_ = l.markAt(lane, at) // the older mark does as well
		}
	}
}

// markAt writes the mark of a target: all that was delivered to it below at has its end in __delay.
func (l *delayLoop) markAt(lane *delayLane, at int64) error {
	m := core.DelayMarkAt{Topic: lane.target.topic, Partition: lane.target.partition, Offset: at}
	err := l.write(l.page, leat.Message{Key: m.EncodeKey(nil), Value: m.EncodeValue(nil)})
	if err == nil {
		lane.Wrote(at)
	}
	return err
}

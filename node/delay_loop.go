package node

import (
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
)

const (
	delayTail   = 4096 // records of __delay read in one turn of the loop
	delayMost   = 1024 // messages handed to targets in one turn
	delayFlight = 8192 // messages handed to targets and not answered
	// delayNap is the end of a wait, which is slept on the thread, for the runtime's timers may be a
	// millisecond late; calls wait for it. delayLead is how much earlier than due the timer is set, so
	// that what it is late by is within the nap.
	delayNap  = 1500 * time.Microsecond
	delayLead = 1200 * time.Microsecond
)

// delayTarget is the partition of a topic.
type delayTarget struct {
	topic     uint64
	partition int32
}

// delayLane is what the loop knows of a target.
type delayLane struct {
	core.DelayLane
	target delayTarget
	part   *partition
	// lost has the tags of messages that the target has and of which __delay says nothing, as it may be after
	// a power cut.
	lost map[uint32]struct{}
}

// delayFiring is a message in the hands of its target.
type delayFiring struct {
	entry core.DelayEntry
	lane  *delayLane
	key   core.DelayKey
	due   int64 // ns

	plan *schedule // if it is not a message for a target, but the next run of a schedule for __delay
}

// delayLoop is the state of the loop's goroutine.
type delayLoop struct {
	*delays
	state   *core.Delay
	tail    cursor
	records *mmaplog.Reader // of __delay, for what is due
	targets map[delayTarget]*delayLane
	batch   []core.DelayEntry
	firing  []delayFiring // by ticket
	free    []uint32
	ending  core.DelayEndings
	endAt   int64 // when the last of them is written again, ms; 0 while there is none
	taken   []delayDone
	scratch []byte
	shards  map[*shard]core.Ack // that were given something in this turn
	timer   delayTimer
	opened  bool // what was there before has been read and compared with the targets
	marksAt int64

	plans schedules

	gone  map[uint64]bool // deleted topics whose messages are being removed
	sweep int64           // offset in __delay that the removal has come to
}

// run is the loop's goroutine.
func (l *delayLoop) run() {
	l.tail.part = l.part
	l.tail.start(l.part.log.Start())
	l.records = l.part.log.Reader(0)
	defer l.tail.close()
	defer l.records.Close()
	err := l.load()
	for err == nil && l.ctx.Err() == nil && !l.over() {
		var more bool
		if more, err = l.turn(); !more && err == nil && !l.over() {
			err = l.rest()
		}
	}
	l.timer.stop()
	if err != nil && l.ctx.Err() == nil {
		l.node.report("delayed messages are not delivered any more", l.part, err)
		l.fail(err)
	}
	l.stats.waiting.Store(int64(l.state.Waiting()))
}

// over reports whether the node closes and nothing is in the hands of a target any more.
func (l *delayLoop) over() bool {
	return l.stopping.Load() && len(l.free) == len(l.firing) && l.ending.Len() == 0
}

// turn does a part of everything there is to do, and reports whether there may be more.
func (l *delayLoop) turn() (more bool, err error) {
	read, err := l.readTail(delayTail)
	if err != nil {
		return false, err
	}
	settled := l.takeNews()
	fired, swept := false, false
	if !l.stopping.Load() {
		l.planRefused()
		if err := l.dropOrphans(); err != nil {
			return false, err
		}
		if fired, err = l.fire(); err != nil {
			return false, err
		}
		if swept, err = l.sweepGone(); err != nil {
			return false, err
		}
	}
	select {
	case call := <-l.calls:
		return true, l.call(call)
	default:
	}
	l.stats.waiting.Store(int64(l.state.Waiting()))
	return read || settled || fired || swept, nil
}

// readTail takes what came to __delay, at most so many records, and reports whether there may be more.
func (l *delayLoop) readTail(most int) (more bool, err error) {
	c := &l.tail
	for range most {
		if !c.hasRecords() {
			found, err := c.fetch(l.part.highWater.Load(), false)
			if err != nil || !found {
				return false, err
			}
		}
		r, n, err := core.DecodeRecord(c.records)
		if err != nil {
			return false, err
		}
		if err := l.apply(&r, c.next, c.time.UnixNano()); err != nil {
			return false, err
		}
		c.records = c.records[n:]
		c.next++
		c.skipRemoved()
	}
	return true, nil
}

// apply takes one record of __delay.
func (l *delayLoop) apply(r *core.Record, offset, stored int64) error {
	d, err := core.DecodeDelayRecord(r)
	if err != nil {
		return err
	}
	l.state.Apply(&d, offset, stored)
	switch d.Kind {
	case core.DelayEnd:
		if d.End.Outcome == core.DelayFired {
			l.readBack(d.End.Offset)
		}
		l.endRun(d.Key, d.End.Offset)
	case core.DelaySchedule:
		return l.applySchedule(&d.Schedule, offset)
	case core.DelayMark:
		if !l.opened {
			l.lane(delayTarget{d.Mark.Topic, d.Mark.Partition}).Read(&d.Mark)
		}
	default:
		m := &d.Message
		if m.Scheduled {
			l.applyRun(d.Key, offset, m.Due)
		}
		if lane := l.lane(delayTarget{m.Topic, m.Partition}); lane.part == nil {
			l.beginSweep(m.Topic)
		} else if !lane.Marked() && l.opened && lane.part.log != nil {
			return l.markAt(lane, lane.part.log.End()) // nothing was delivered to it before
		}
	}
	return nil
}

// lane gives what is known of a target. Its partition is nil where there is none: its topic was deleted.
func (l *delayLoop) lane(target delayTarget) *delayLane {
	lane := l.targets[target]
	if lane == nil {
		lane = &delayLane{target: target}
		l.targets[target] = lane
	}
	if lane.part == nil || lane.part.topic.deleted.Load() {
		lane.part = nil
		if t := l.node.topicWithID(target.topic); t != nil && int(target.partition) < len(t.partitions) {
			lane.part = t.partitions[target.partition]
		}
	}
	return lane
}

// readBack notes that the end of a delivered message is in __delay, and writes those again that are not.
func (l *delayLoop) readBack(offset int64) {
	for _, refused := range l.ending.ReadBack(offset) {
		l.writeEnd(refused)
	}
}

// rest waits until there may be something to do.
func (l *delayLoop) rest() error {
	l.tail.rest()
	l.records.Rest()
	l.sleeper.parked.Store(true)
	defer l.sleeper.parked.Store(false)
	if l.tail.seen < l.part.highWater.Load() || l.news() || l.over() {
		return nil
	}
	if l.timer.nap(l) {
		return nil
	}
	select {
	case <-l.sleeper.wake:
	case <-l.timer.until(l):
	case <-l.ctx.Done():
	case call := <-l.calls:
		return l.call(call)
	}
	return nil
}

// call runs what somebody wants to know or change, once what was stored before is known.
func (l *delayLoop) call(f func()) error {
	defer f()
	for more := true; more; {
		var err error
		if more, err = l.readTail(delayTail); err != nil {
			return err
		}
	}
	return nil
}

// delayTimer wakes the loop.
type delayTimer struct {
	timer  clock.Timer
	napped int64 // what the last nap was for, or would have been, ms
}

// next tells when the next message is due, planned or ended again, in milliseconds, and how long that is
// from now.
func (t *delayTimer) next(l *delayLoop) (at int64, left time.Duration, found bool) {
	now := l.node.clock.Now()
	if !l.stopping.Load() && (len(l.free) > 0 || len(l.firing) < delayFlight) {
		at, left, found = l.state.Left(now)
		if again := l.plans.again; len(l.plans.refused) > 0 && (!found || again < at) {
			at, left, found = again, time.Duration(again*1e6-now), true
		}
	}
	if l.endAt != 0 && (!found || l.endAt < at) {
		return l.endAt, time.Duration(l.endAt*1e6 - now), true
	}
	return at, left, found
}

// nap waits for a message that is due in a moment, and reports whether it did. It is tried once for each
// time, because a bubble's time stands still meanwhile, and a nap may end early.
func (t *delayTimer) nap(l *delayLoop) bool {
	at, left, found := t.next(l)
	if !found || at == t.napped || left > delayNap {
		return false
	}
	t.napped = at
	return clock.Nap(l.node.clock, left)
}

// until gives a channel that tells when the next message may be due; nil if there is none.
func (t *delayTimer) until(l *delayLoop) <-chan time.Time {
	at, left, found := t.next(l)
	if !found {
		return nil
	}
	switch {
	case left <= 0:
		left = time.Millisecond / 2 // the rate is limited
	case at != t.napped:
		left = max(left-delayLead, 1)
	}
	left = core.DelayRest(left)
	if t.timer == nil {
		t.timer = l.node.clock.NewTimer(left)
	} else {
		t.timer.Reset(left)
	}
	return t.timer.C()
}

func (t *delayTimer) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

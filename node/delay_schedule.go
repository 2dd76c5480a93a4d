package node

import (
	"fmt"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

const (
	// maxSchedules is how many schedules a node has at most: they are in memory.
	maxSchedules = 10_000
	// scheduleAgain is how long after the next run of a schedule was refused, as by a full disk, it is
	// stored again, in ms.
	scheduleAgain = 1000
)

// scheduleName names a schedule.
type scheduleName struct {
	topic uint64
	name  string
}

// schedule is what the loop knows of one. Its next run waits in __delay as any delayed message; when that has
// its end there, the one behind it is planned.
//
// Invariant: at most one run waits, and which one is next depends on the schedule and the last run only. So
// whatever is cut off between a delivery, its end and the next run, no run is lost or comes twice.
type schedule struct {
	core.Schedule // without the record
	cron          core.Cron
	offset        int64 // of its record in __delay
	last          int64 // when the newest run that is known was due, ms
	waits         int64 // offset of the run that waits, −1 if none does
	due           int64 // of that run, ns
	// With MissedAll: the runs that were due from the one to the other time are delivered, ms.
	counted, until int64
}

// next is NextRun, but counts runs that were missed once only.
func (s *schedule) next(last, now int64) (due int64, skipped, found bool) {
	if s.Missed == core.MissedAll {
		at, found := s.cron.Next(time.UnixMilli(s.Start/1e6), time.UnixMilli(last))
		if at := at.UnixMilli(); found && s.counted <= at && at <= s.until {
			return at, false, true
		}
	}
	due, skipped, found = s.NextRun(&s.cron, last, now)
	s.counted, s.until = due, now
	return due, skipped, found
}

// schedules is what the loop knows of all.
type schedules struct {
	byName  map[scheduleName]*schedule
	byRun   map[uint64]*schedule // by the Random of their runs
	orphans []int64              // offsets of runs whose schedules are gone, to be dropped
	refused []*schedule          // whose next run could not be stored
	again   int64                // when they are planned again, ms
	told    bool                 // of a refusal, since one was stored
}

func newSchedules() schedules {
	return schedules{byName: map[scheduleName]*schedule{}, byRun: map[uint64]*schedule{}}
}

// applySchedule takes a record of __delay that makes or removes a schedule. A run that waits of the one that
// was there is dropped.
func (l *delayLoop) applySchedule(s *core.Schedule, offset int64) error {
	name := scheduleName{s.Topic, s.Name}
	if old := l.plans.byName[name]; old != nil {
		delete(l.plans.byName, name)
		delete(l.plans.byRun, old.Random)
		if old.waits >= 0 {
			l.plans.orphans = append(l.plans.orphans, old.waits)
		}
	}
	if s.Removed {
		return nil
	}
	cron, err := s.Cron()
	if err != nil { // of a build that knows more zones
		l.node.report("a schedule cannot be read: "+core.Quote(s.Name), l.part, err)
		return nil
	}
	one := &schedule{Schedule: *s, cron: cron, offset: offset, last: s.Start / 1e6, waits: -1}
	one.Record = nil
	l.plans.byName[name], l.plans.byRun[s.Random] = one, one
	switch lane := l.lane(delayTarget{s.Topic, s.Partition}); {
	case lane.part == nil:
		l.beginSweep(s.Topic)
	case !l.opened:
	case !lane.Marked() && lane.part.log != nil:
		if err := l.markAt(lane, lane.part.log.End()); err != nil { // nothing was delivered to it before
			return err
		}
		fallthrough
	default:
		l.plan(one)
	}
	return nil
}

// applyRun takes a run that waits from now on.
func (l *delayLoop) applyRun(key core.DelayKey, offset, due int64) {
	s := l.plans.byRun[key.Random]
	if s == nil {
		l.plans.orphans = append(l.plans.orphans, offset)
		return
	}
	s.last, s.waits, s.due = max(s.last, int64(key.Number)), offset, due
}

// endRun takes the end of a message, which may be a run.
func (l *delayLoop) endRun(key core.DelayKey, offset int64) {
	s := l.plans.byRun[key.Random]
	if s == nil || l.opened && s.waits != offset {
		return
	}
	s.last = max(s.last, int64(key.Number))
	if s.waits != offset {
		return
	}
	if s.waits = -1; l.opened {
		l.plan(s)
	}
}

// dropOrphans drops the runs of schedules that are gone. One that is being delivered comes.
func (l *delayLoop) dropOrphans() error {
	for _, offset := range l.plans.orphans {
		if l.state.State(offset) != core.DelayWaiting {
			continue
		}
		r, _, found, err := recordAt(l.records, offset)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		d, err := core.DecodeDelayRecord(&r)
		if err == nil {
			err = l.drop(d.Key, offset)
		}
		if err != nil {
			return err
		}
	}
	l.plans.orphans = l.plans.orphans[:0]
	return nil
}

// planAll plans the schedules of which no run waits, once what was there is read.
func (l *delayLoop) planAll() error {
	for _, s := range l.plans.byName {
		if s.waits < 0 {
			l.plan(s)
		}
	}
	return l.dropOrphans()
}

// planRefused plans the schedules again whose next run was refused.
func (l *delayLoop) planRefused() {
	now := l.node.clock.Now() / 1e6
	if len(l.plans.refused) == 0 || now < l.plans.again && l.plans.again <= now+scheduleAgain {
		return // a time that is further away is from before the clock was set back
	}
	list := l.plans.refused
	l.plans.refused = nil
	for _, s := range list {
		if l.plans.byRun[s.Random] == s && s.waits < 0 {
			l.plan(s)
		}
	}
}

// plan has the next run of a schedule stored. It does not wait: the tail tells, or the answer if that is no.
func (l *delayLoop) plan(s *schedule) {
	lane := l.lane(delayTarget{s.Topic, s.Partition})
	if lane.part == nil || l.stopping.Load() {
		return // the topic is gone; or the next opening plans it
	}
	key, found := l.nextRun(s, lane)
	if !found {
		return
	}
	r, _, found, err := recordAt(l.records, s.offset)
	if err != nil || !found { // it is replaced: the tail will tell
		l.planned(s, err)
		return
	}
	d, err := core.DecodeDelayRecord(&r)
	if err != nil {
		l.planned(s, err)
		return
	}
	run := core.Delayed{Topic: s.Topic, Partition: s.Partition, Level: s.Level, Scheduled: true,
		Due: int64(key.Number) * 1e6, Replaces: -1,
		Record: core.AppendScheduled(nil, d.Schedule.Record, int64(key.Number))}
	m := leat.Message{Key: key.Encode(nil), Value: run.Encode(nil)}
	size, err := core.EncodedRecordSize(m.Key, m.Value, nil)
	if err != nil {
		l.planned(s, err)
		return
	}
	ticket := l.ticket(delayFiring{plan: s})
	e := entry{part: l.part, keyHash: routing.Hash(m.Key), records: 1, level: l.part.level(s.Level),
		producer: l.index, ticket: ticket} // at disk, for it is not delivered before it is there
	if err := l.node.commit(l.ctx, &e, &m, size, true); err != nil {
		l.endTicket(ticket)
		l.planned(s, err)
		return
	}
	l.part.shard.journalSoon(e.level)
}

// nextRun gives the key of the next run, but for those that the target has: a power cut may have taken what
// __delay said of them.
func (l *delayLoop) nextRun(s *schedule, lane *delayLane) (core.DelayKey, bool) {
	now := l.node.clock.Now() / 1e6
	for {
		due, skipped, found := s.next(s.last, now)
		if skipped && s.Missed == core.MissedAll {
			l.node.report("a schedule has missed too many runs: "+core.Quote(s.Name), l.part,
				fmt.Errorf("those behind %v are skipped, up to %v", time.UnixMilli(s.last).UTC(),
					time.UnixMilli(due).UTC()))
		}
		key := core.DelayKey{Random: s.Random, Number: uint64(due)}
		if _, there := lane.lost[key.Tag()]; !found || !there {
			return key, found
		}
		delete(lane.lost, key.Tag())
		s.last = due
	}
}

// planned notes that the next run of a schedule was stored, or was not: then it is planned again later.
func (l *delayLoop) planned(s *schedule, err error) {
	if l.ctx.Err() != nil {
		return
	}
	if err == nil {
		l.plans.told = false
		return
	}
	if len(l.plans.refused) == 0 {
		l.plans.again = l.node.clock.Now()/1e6 + scheduleAgain
	}
	if !l.plans.told {
		l.node.report("the next run of a schedule cannot be stored yet: "+core.Quote(s.Name), l.part, err)
		l.plans.told = true
	}
	l.plans.refused = append(l.plans.refused, s)
}

// unwanted reports whether a run that is due is to be dropped: its schedule is gone; or it was missed, and
// the schedule goes on without it. One that was rescheduled is delivered when it is due.
func (l *delayLoop) unwanted(key core.DelayKey, m *core.Delayed, now int64) bool {
	if !m.Scheduled {
		return false
	}
	s := l.plans.byRun[key.Random]
	if s == nil {
		return true
	}
	number := int64(key.Number)
	if m.Due != number*1e6 || now-number <= core.MissedAfter.Milliseconds() {
		return false
	}
	due, _, found := s.next(number-1, now)
	return !found || due != number
}

// dropRun drops a run that its schedule goes on without, and plans the next one, without waiting for the end
// to be read back: a full disk may refuse it, and nobody would tell.
func (l *delayLoop) dropRun(key core.DelayKey, offset int64) error {
	if err := l.drop(key, offset); err != nil {
		return err
	}
	if s := l.plans.byRun[key.Random]; s != nil && s.waits == offset {
		s.last, s.waits = max(s.last, int64(key.Number)), -1
		l.plan(s)
	}
	return nil
}

// pending reports whether a schedule for a target has no run that waits, so that the one that is planned
// depends on what the target has.
func (l *delayLoop) pending(target delayTarget) bool {
	for _, s := range l.plans.byName {
		if s.waits < 0 && target == (delayTarget{s.Topic, s.Partition}) {
			return true
		}
	}
	return false
}

// forgetSchedules removes the schedules of deleted topics.
func (l *delayLoop) forgetSchedules() error {
	for name, s := range l.plans.byName {
		if l.gone[name.topic] {
			if err := l.write(l.page, leat.Message{Key: s.EncodeKey(nil)}); err != nil {
				return err
			}
		}
	}
	return nil
}

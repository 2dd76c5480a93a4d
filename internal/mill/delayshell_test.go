package mill

import (
	"slices"
	"time"

	"github.com/leatbus/leat/core"
)

// delayShell delivers delayed messages: what the node does around core.Delay, without goroutines.
type delayShell struct {
	w      *world
	plan   *delayPlan
	oracle *delayOracle
	full   []int64 // until when the disk of __delay, and of each target behind it, is full

	// The following is of one life of the node.
	state   *core.Delay
	zero    int64 // of a clock that is not set
	lanes   []*delayLane
	ending  core.DelayEndings
	seen    int64 // of __delay
	flight  int
	calls   []func() // wait until it is opened
	opened  bool
	turning bool // a turn comes
	alarm   int  // the last one that was set
	marksAt int64

	pending int // publishes and calls under way
}

// delayLane is a target.
type delayLane struct {
	core.DelayLane
	number int32
	log    *simLog
}

// delayMost is how many messages are handed to targets in one turn.
const delayMost = 20

func newDelayShell(w *world, p *delayPlan) *delayShell {
	s := &delayShell{w: w, plan: p, full: make([]int64, 1+len(p.levels))}
	s.oracle = newDelayOracle(w)
	return s
}

// now is the wall clock.
func (s *delayShell) now() int64 {
	if s.plan.plant == dueMonotonic {
		return s.zero + s.w.mono
	}
	return s.w.wall + s.w.mono
}

// open begins a life, and loads what waits in a while.
func (s *delayShell) open() {
	w := s.w
	s.state, s.zero = core.NewDelay(), w.wall
	s.ending, s.lanes, s.calls = core.DelayEndings{}, nil, nil
	s.seen, s.flight, s.pending = w.disk.delay.log.Start(), 0, 0
	s.opened, s.turning, s.marksAt = false, false, 0
	for i, log := range w.disk.targets {
		s.lanes = append(s.lanes, &delayLane{number: int32(i), log: log})
	}
	s.oracle.opened()
	w.inLife(w.until(20*ms), s.load)
	w.inLife(w.until(w.spacing), s.publish)
	if !w.healed && w.chance(2) {
		w.inLife(w.until(2*ms), s.publishOne) // while it is opened
	}
	w.inLife(w.until(2*w.spacing), s.change)
	if power := w.has(powerCuts); !w.healed && (power || w.has(kills)) && w.chance(4) { // while it is opened
		w.inLife(w.until(30*ms), func() {
			if !w.healed {
				w.crash(power)
			}
		})
	}
}

// load reads what waits, ends what the targets have, and then begins to deliver.
func (s *delayShell) load() {
	s.readTail()
	if s.state.Waiting() > 0 && s.plan.plant != targetsNotRead {
		for _, lane := range s.lanes {
			s.resolve(lane)
		}
	}
	s.markOpened(0)
}

// resolve reads a target from its mark on.
func (s *delayShell) resolve(lane *delayLane) {
	log := lane.log
	from := lane.Since(log.log.Start(), log.log.End())
	for _, r := range log.collect(from, log.log.End()) {
		h, err := core.ParseDelayHandle(string(core.FiredHandle(r.RawHeaders)))
		if err != nil || h.Topic != dueTopic || h.Partition != lane.number {
			s.w.broken("unsaid", "target %d has a record with handle %v: %v", lane.number, h, err)
			return
		}
		if s.state.State(h.Offset) != core.DelayWaiting {
			continue
		}
		d, _, found := s.recordAt(h.Offset)
		if !found {
			continue
		}
		if s.plan.plant == tagIgnored {
			h.Tag = d.Key.Tag()
		}
		if !s.state.Delivered(h, &d) {
			continue
		}
		s.w.counts.found++
		if s.plan.plant == foundOnce {
			s.end(d.Key, core.DelayedEnd{Offset: h.Offset, Outcome: core.DelayFired})
			continue
		}
		lane.Found()
		s.writeEnd(core.DelayEnding{Lane: &lane.DelayLane, Key: d.Key, At: r.offset, Offset: h.Offset})
	}
}

// markOpened writes the marks that targets need, from one on, and then ends the opening.
func (s *delayShell) markOpened(first int) {
	for i, lane := range s.lanes[first:] {
		at, mark, sure := lane.Opened(lane.log.log.Start(), lane.log.log.End())
		if mark && sure && s.plan.plant != markUnsure {
			lane.Wrote(at)
			s.w.disk.delay.append([][]byte{markRecord(lane, at)}) // the node waits for it
			s.w.disk.delay.whenDurable(func() { s.markOpened(first + i + 1) })
			return
		}
		if mark {
			s.markAt(lane, at)
		}
	}
	s.opened = true
	calls := s.calls
	s.calls = nil
	for _, call := range calls {
		call()
	}
	s.turn()
}

// do runs f once what is in __delay is known.
func (s *delayShell) do(f func()) {
	if !s.opened {
		s.calls = append(s.calls, func() { s.do(f) })
		return
	}
	s.readTail()
	f()
	s.wake()
}

// wake has a turn come soon.
func (s *delayShell) wake() {
	if s.turning || !s.opened {
		return
	}
	s.turning = true
	s.w.inLife(s.w.until(ms/5), func() {
		s.turning = false
		s.turn()
	})
}

// turn does all there is to do, and sets the alarm for the next.
func (s *delayShell) turn() {
	if s.w.err != nil {
		return
	}
	s.readTail()
	s.marks()
	fired := s.fire()
	if s.w.chance(8) { // as the disk is written now and then
		s.w.disk.delay.sync()
		s.w.disk.targets[s.w.dice.IntN(len(s.lanes))].sync()
	}
	s.alarm++
	number := s.alarm
	_, left, found := s.state.Left(s.now())
	if !found {
		return
	}
	if left = core.DelayRest(left); left <= 0 {
		left = time.Millisecond / 2 // the rate is limited
	}
	switch s.plan.plant {
	case restTooLong:
		left += 10 * time.Second
	case marginMissing:
		left -= time.Millisecond / 10
	}
	if fired == delayMost {
		left = 0
	}
	s.w.inLife(max(int64(left), 0), func() {
		if s.alarm == number {
			s.turn()
		}
	})
}

// readTail takes what came to __delay.
func (s *delayShell) readTail() {
	log := s.w.disk.delay
	end := log.log.End()
	list := log.collect(s.seen, end)
	s.seen = end
	for i := range list {
		s.apply(&list[i])
	}
}

func (s *delayShell) apply(r *storedRecord) {
	d, err := core.DecodeDelayRecord(&r.Record)
	if err != nil {
		s.w.broken("stored", "offset %d of __delay: %v", r.offset, err)
		return
	}
	s.w.mix(int64(d.Kind), r.offset, d.End.Offset, d.Message.Due)
	s.w.say("__delay %d: kind %d, ends %d as %v, mark %+v, due %d, replaces %d", r.offset, d.Kind, d.End.Offset,
		d.End.Outcome, d.Mark, d.Message.Due, d.Message.Replaces)
	s.state.Apply(&d, r.offset, r.time)
	switch d.Kind {
	case core.DelayEnd:
		if d.End.Outcome != core.DelayFired {
			return
		}
		for _, refused := range s.ending.ReadBack(d.End.Offset) {
			s.w.say("the end of %d was refused", refused.Offset)
			s.writeEnd(refused)
		}
	case core.DelayMark:
		if !s.opened {
			s.lanes[d.Mark.Partition].Read(&d.Mark)
		}
	default:
		if lane := s.lanes[d.Message.Partition]; s.opened && !lane.Marked() {
			s.markAt(lane, lane.log.log.End())
		}
	}
}

// fire hands what is due to the targets.
func (s *delayShell) fire() (n int) {
	now := core.DelayNow(s.now())
	switch s.plan.plant {
	case dueRounded:
		now++
	case marginMissing:
		now = s.now() / ms
	}
	batch := s.state.Take(now, delayMost, nil)
	if s.plan.plant == takenReversed {
		slices.Reverse(batch)
	}
	for _, e := range batch {
		s.fireOne(e, now)
	}
	return len(batch)
}

func (s *delayShell) fireOne(e core.DelayEntry, now int64) {
	w := s.w
	d, since, found := s.recordAt(e.Offset)
	if !found { // compaction has removed it
		s.state.End(core.DelayedEnd{Offset: e.Offset, Outcome: core.DelayDropped})
		return
	}
	m := &d.Message
	lane := s.lanes[m.Partition]
	until := lane.Blocked(now)
	if until == 0 && s.plan.plant != firedUnstored {
		until = lane.Unready(m, e, since, w.disk.delay.log.DurableEnd(), now)
	}
	if until > 0 {
		e.Retry = until
		s.state.Return(e)
		return
	}
	lane.Sent()
	s.flight++
	again := func() {
		s.flight--
		s.oracle.refused(d.Key)
		e.Retry, _ = lane.Refused(core.DelayNow(s.now()))
		if s.state.State(e.Offset) == core.DelayTaken { // else a planted defect has ended it
			s.state.Return(e)
		}
		if s.plan.plant == refusedDropped {
			s.end(d.Key, core.DelayedEnd{Offset: e.Offset, Outcome: core.DelayDropped})
		}
		s.wake()
	}
	s.oracle.handed(d.Key)
	if s.refuses(1 + int(lane.number)) {
		if w.chance(2) {
			again()
		} else {
			w.inLife(w.until(ms), again)
		}
		return
	}
	handle := core.DelayHandle{Topic: dueTopic, Partition: m.Partition, Offset: e.Offset, Tag: d.Key.Tag()}
	read := w.wall + w.mono - w.until(ms/10-1) // the clock, a while ago
	at := lane.log.appendAt(read, [][]byte{core.AppendFired(nil, m.Record, handle.String())})
	s.oracle.fired(d.Key, e.Offset, lane.number, at, read)
	stored := func() {
		s.flight--
		lane.Stored()
		if s.plan.plant != endFirst {
			s.oracle.stored(d.Key)
		}
		s.writeEnd(core.DelayEnding{Lane: &lane.DelayLane, Key: d.Key, At: at, Offset: e.Offset})
		s.wake()
	}
	if s.plan.plant == endFirst {
		w.inLife(0, stored)
		return
	}
	lane.log.storedAt(m.Level, stored)
}

// recordAt gives the record of a message, and when it was stored.
func (s *delayShell) recordAt(offset int64) (d core.DelayRecord, stored int64, found bool) {
	list := s.w.disk.delay.collect(offset, offset+1)
	if len(list) == 0 {
		return d, 0, false
	}
	d, err := core.DecodeDelayRecord(&list[0].Record)
	if err != nil {
		s.w.broken("stored", "offset %d of __delay: %v", offset, err)
	}
	return d, list[0].time, err == nil
}

// writeEnd writes the end of a delivered message, which is read back.
func (s *delayShell) writeEnd(e core.DelayEnding) {
	s.ending.Add(e)
	s.end(e.Key, core.DelayedEnd{Offset: e.Offset, Outcome: core.DelayFired})
}

func (s *delayShell) end(key core.DelayKey, e core.DelayedEnd) {
	s.append(encodeRecord(key.Encode(nil), nil, e.Headers()...))
	s.wake()
}

// marks writes the marks that are due.
func (s *delayShell) marks() {
	now := s.now() / ms
	look := now < s.marksAt || now >= s.marksAt+1000
	if look {
		s.marksAt = now
	}
	for _, lane := range s.lanes {
		end := lane.log.log.End()
		if s.plan.plant == markFirst && look && lane.Marked() {
			s.markAt(lane, end)
		}
		if at, write := lane.NextMark(look, end); write {
			s.markAt(lane, at)
		}
	}
}

func (s *delayShell) markAt(lane *delayLane, at int64) {
	s.append(markRecord(lane, at))
	lane.Wrote(at)
	s.wake()
}

func markRecord(lane *delayLane, at int64) []byte {
	m := core.DelayMarkAt{Topic: dueTopic, Partition: lane.number, Offset: at}
	return encodeRecord(m.EncodeKey(nil), m.EncodeValue(nil))
}

// append appends a record to __delay, unless the disk is full.
func (s *delayShell) append(record []byte) (offset int64, ok bool) {
	if s.refuses(0) {
		return 0, false
	}
	return s.w.disk.delay.append([][]byte{record}), true
}

// refuses reports whether a disk is full. Now and then there is room for something.
func (s *delayShell) refuses(log int) bool {
	if s.w.healed || s.w.mono >= s.full[log] || s.w.chance(4) {
		return false
	}
	s.w.counts.refused++
	return true
}

// fill has the disk of __delay or of a target be full for a while.
func (s *delayShell) fill() {
	w := s.w
	log := w.dice.IntN(len(s.full))
	s.full[log] = w.mono + w.until(3*second)
	w.say("the disk of log %d is full", log)
}

// crashed forgets what a process has in memory.
func (s *delayShell) crashed(power bool) {
	s.state, s.opened = nil, false
	s.oracle.crashed(power)
}

// settled reports whether nothing waits or is under way.
func (s *delayShell) settled() bool {
	return s.w.healed && s.opened && s.state.Waiting() == 0 && s.flight == 0 && s.pending == 0 &&
		s.seen == s.w.disk.delay.log.End()
}

func (s *delayShell) unsettled() string {
	if s.state == nil {
		return "nothing; but the node is down"
	}
	return s.oracle.firstOpen()
}

// onceMore restarts the node when all is settled: nothing may come again. Then it compares the accounts.
func (s *delayShell) onceMore() {
	w := s.w
	s.oracle.finish()
	w.crash(false)
	limit := w.mono + w.patience(w.stepped)
	w.advance(func() bool { return w.mono > limit || w.settled(true) })
	if w.err == nil && !w.settled(true) {
		w.broken("lost", "after another restart: %s", s.unsettled())
	}
	s.oracle.finish()
}

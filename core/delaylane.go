package core

import "slices"

const (
	delayBackoffMin = 10     // ms until a target that took nothing is tried again
	delayBackoffMax = 10_000 // ms
	delayMarkFires  = 1000   // deliveries to a target after which it gets a mark
	delayMarkIdle   = 1 << 18
	delayMarkAgain  = 1 << 16
	delayUnreadyMax = 100 // ms
)

// DelayLane is what is known of a target, a partition that delayed messages are delivered to: where its
// mark is, and whether it takes messages now. The zero value is a target without a mark. It is a state
// machine without I/O or clock; times are milliseconds of the wall clock.
//
//	Sent ──▶ stored in the target: Stored, DelayEndings.Add ──▶ DelayEndings.ReadBack ──▶ NextMark
//	  └────▶ refused: Refused, Blocked for a while
//
// Invariant: all that was delivered below the mark has its end in __delay before the mark.
type DelayLane struct {
	marked  bool
	mark    int64
	ended   int64 // what was delivered below has its end; it becomes the mark
	fired   int   // since the mark
	flight  int   // handed to the target, without an end that was read back
	missing int   // of them, those whose end was refused and written again
	blocked int64 // nothing is handed to it before
	backoff int64

	unready     int64 // messages at disk from the offset unreadyFrom on are not handed to it before
	unreadyFrom int64
}

// Read takes a mark that was found when __delay was opened; the last one counts.
func (l *DelayLane) Read(m *DelayMarkAt) {
	l.marked, l.mark, l.ended = !m.Removed, m.Offset, m.Offset
}

// Marked reports whether the target has a mark.
func (l *DelayLane) Marked() bool { return l.marked }

// Since is the offset from which on a target, whose log is [start, end), is to be read when __delay is
// opened, for messages that were delivered and have no end.
func (l *DelayLane) Since(start, end int64) int64 { return min(max(l.mark, start), end) }

// Found tells that a message was found there that was delivered and has no end, before Opened; its end is
// next, as after Stored.
func (l *DelayLane) Found() {
	l.flight++
	l.fired++
}

// Opened tells whether a target that was read, and whose log is [start, end), needs a mark, and where.
// sure says that it has to be on the disk before anything is delivered: a power cut took the end of the
// target, and the older mark, which is behind it, must not count again.
func (l *DelayLane) Opened(start, end int64) (at int64, mark, sure bool) {
	switch {
	case l.marked && l.mark > end:
		return end, true, true
	case l.flight > 0: // the ends of what was found may be refused, and nothing says yet where they are
		return start, !l.marked, false
	}
	return end, !l.marked || end-l.mark > delayMarkAgain, false
}

// NextMark tells whether a mark is to be written and where; end is that of the target's log. look says
// that it is time for the marks of targets with few deliveries.
func (l *DelayLane) NextMark(look bool, end int64) (at int64, write bool) {
	switch {
	case !l.marked:
	case l.ended > l.mark && (l.fired >= delayMarkFires || look && l.fired > 0):
		return l.ended, true
	case look && l.flight == 0 && end-l.mark >= delayMarkIdle: // nothing is delivered to it, and it grows
		return end, true
	}
	return 0, false
}

// Wrote tells that a mark was written.
func (l *DelayLane) Wrote(at int64) {
	l.marked, l.mark, l.ended, l.fired = true, at, at, 0
}

// Idle reports whether nothing is in the hands of the target, with all ends read back.
func (l *DelayLane) Idle() bool { return l.flight == 0 }

// Blocked tells until when nothing is handed to the target; 0 if it may be now. What is further away than it
// is ever made is from before the clock was set back.
func (l *DelayLane) Blocked(now int64) (until int64) {
	if l.blocked <= now || l.blocked > now+delayBackoffMax {
		return 0
	}
	return l.blocked
}

// Block has nothing be handed to the target for a while, and gives how long.
func (l *DelayLane) Block(now int64) (until int64) {
	l.blocked = now + delayBackoffMax
	return l.blocked
}

// Unready tells until when a message that is due is not handed to the target because it is to be on the
// disk in __delay before, whose log is there up to durableEnd; 0 if it may be now. A power cut would take
// its record, and leave the delivered message without anything that knows its handle: the message that it
// replaced would wait again, or its producer publish it again, and it would come twice. stored is when
// its record was, in nanoseconds. A message waits for a quarter of the time that it has waited so
// already, with those behind it, so that they stay in order.
func (l *DelayLane) Unready(m *Delayed, e DelayEntry, stored, durableEnd, now int64) (until int64) {
	if l.unready > now+delayUnreadyMax { // the clock was set back
		l.unready = 0
	}
	behind := l.unready > now && e.Offset >= l.unreadyFrom
	switch {
	case m.Level < AckDisk || e.Offset < durableEnd && !behind:
		return 0
	case behind:
		return l.unready
	case l.unready <= now:
		l.unreadyFrom = e.Offset
	}
	waited := now - max(e.Due, dueMillis(stored))
	l.unready = max(l.unready, now+min(max(waited/4, 1), delayUnreadyMax))
	l.unreadyFrom = min(l.unreadyFrom, e.Offset)
	return l.unready
}

// Sent tells that a message is handed to the target.
func (l *DelayLane) Sent() { l.flight++ }

// Stored tells that the target has stored one; its end is next.
func (l *DelayLane) Stored() {
	l.backoff = 0
	l.fired++
}

// Refused tells that the target did not take a message, and gives when it is tried again. long says that
// this goes on for a second or more, and was not told yet.
func (l *DelayLane) Refused(now int64) (retry int64, long bool) {
	l.flight--
	if l.Blocked(now) == 0 {
		l.backoff = min(max(2*l.backoff, delayBackoffMin), delayBackoffMax)
		l.blocked = now + l.backoff
		long = l.backoff >= 1000
	}
	return l.blocked, long
}

// DelayEnding is a message that was delivered and whose end is written, and not read back yet.
type DelayEnding struct {
	Lane   *DelayLane
	Key    DelayKey
	At     int64 // in the target
	Offset int64 // in __delay
	again  bool  // it was refused, and counts among Lane.missing
}

// DelayEndings are the ends that are written and not read back, in the order in which they were written.
type DelayEndings struct{ list []DelayEnding }

// Last is the end that was written last; false if all were read back.
func (d *DelayEndings) Last() (e DelayEnding, found bool) {
	if len(d.list) == 0 {
		return e, false
	}
	return d.list[len(d.list)-1], true
}

// Len is how many there are.
func (d *DelayEndings) Len() int { return len(d.list) }

// Add notes that an end is being written. Of one target those of lower offsets are added first, for a mark
// is behind all that was read back.
func (d *DelayEndings) Add(e DelayEnding) { d.list = append(d.list, e) }

// ReadBack tells that the end of the message at offset is in __delay. There they are in the order in
// which they were written: so those before it were refused, by a disk that was full. It gives them, for
// the caller to add and write again.
func (d *DelayEndings) ReadBack(offset int64) (refused []DelayEnding) {
	at := slices.IndexFunc(d.list, func(e DelayEnding) bool { return e.Offset == offset })
	if at < 0 {
		return nil // it was written when __delay was opened
	}
	refused, e := d.list[:at:at], d.list[at]
	if d.list = d.list[at+1:]; len(d.list) == 0 {
		d.list = nil
	}
	for i := range refused {
		if r := &refused[i]; !r.again {
			r.again = true
			r.Lane.missing++
		}
	}
	lane := e.Lane
	lane.flight--
	if e.again {
		lane.missing--
	}
	if lane.missing == 0 { // all ends of the target below it are there
		lane.ended = max(lane.ended, e.At+1)
	}
	return refused
}

package mill

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/leatbus/leat/core"
)

// delayedMessage is what the oracle knows of a message: what its publisher and those who changed it were
// told, and where the targets have it.
type delayedMessage struct {
	number int
	key    core.DelayKey
	target int32
	level  core.Ack
	stored core.Delayed

	acked, refused bool
	ackedAt        int64 // virtual time
	offset         int64 // in __delay, as far as is known
	handle         core.DelayHandle
	old            []core.DelayHandle
	dues           []int64 // when it may be due: several where a change is under way, or may be stored
	ever           []int64 // all that dues ever had
	cancelling     bool    // a cancel is under way, or was when the node ended
	cancelled      bool
	moves          int
	held           bool    // a target has it, which has not stored it
	tried          bool    // a target refused it, or a call held it in vain
	weak           bool    // a power cut may have taken what was acknowledged below the disk
	copies         []int64 // where its target has it
	done           bool    // that is stored
}

// changing notes that a call is storing a new time, 0 for a cancel.
func (m *delayedMessage) changing(due int64) {
	if due == 0 {
		m.cancelling = true
		return
	}
	m.dues = append(m.dues, due)
	m.ever = append(m.ever, due)
}

// waits reports whether the publisher was told that the message is stored, and nothing became of it yet.
func (m *delayedMessage) waits() bool { return m.acked && len(m.copies) == 0 && !m.cancelling }

// soonest is when the message may be due at the soonest.
func (m *delayedMessage) soonest() int64 {
	if m.weak { // a power cut may have taken any change
		return slices.Min(m.ever)
	}
	return slices.Min(m.dues)
}

// delayOracle keeps an account of each message.
type delayOracle struct {
	w        *world
	messages []*delayedMessage // by number, from 1 on
	openedAt int64
	last     []*delayedMessage // the last one that each target got
}

func newDelayOracle(w *world) *delayOracle {
	return &delayOracle{w: w, last: make([]*delayedMessage, len(w.plan.delays.levels))}
}

// message gives the message of a key.
func (o *delayOracle) message(key core.DelayKey) *delayedMessage {
	n := int(uint32(key.Number))
	if key.Random != o.w.seed || n < 1 || n > len(o.messages) {
		return nil
	}
	return o.messages[n-1]
}

// handed notes that a target is asked to take a message.
func (o *delayOracle) handed(key core.DelayKey) {
	if m := o.message(key); m != nil {
		m.held = true
	}
}

// refused notes that it did not.
func (o *delayOracle) refused(key core.DelayKey) {
	if m := o.message(key); m != nil {
		m.held, m.tried = false, true
	}
}

// fired judges a message that was appended to its target, as one of the time read.
func (o *delayOracle) fired(key core.DelayKey, offset int64, target int32, at, read int64) {
	w, m := o.w, o.message(key)
	w.counts.fired++
	w.mix(int64(target), at, int64(key.Number))
	w.say("message %d of __delay %d is delivered to %d at %d", key.Number, offset, target, at)
	if m == nil || len(m.dues) == 0 {
		w.broken("unsaid", "a message that nobody published is delivered: %+v", key)
		return
	}
	due := m.soonest()
	switch {
	case m.refused || m.target != target:
		w.broken("unsaid", "message %d was refused, or is for another target: %+v", m.number, *m)
	case m.cancelled && !m.weak:
		w.broken("cancelled", "message %d was cancelled, and is delivered: %+v", m.number, *m)
	case len(m.copies) > 0 && (!m.weak || len(m.ever) == 1):
		w.broken("twice", "message %d is delivered again: %+v", m.number, *m)
	case w.wall+w.mono < due || read < due:
		w.broken("early", "message %d is delivered %d us early, its time in the target is %d us early: %+v",
			m.number, (due-w.wall-w.mono)/1000, (due-read)/1000, *m)
	case o.tooLate(m):
		w.broken("late", "message %d is delivered %d ms late: %+v", m.number, o.late(m)/ms, *m)
	}
	o.inOrder(m, offset)
	m.copies = append(m.copies, at)
}

// late is how late a message is delivered now, which could have been delivered when it was due by the clock
// as it is now.
func (o *delayOracle) late(m *delayedMessage) int64 {
	due := max(slices.Max(m.dues)-o.w.wall, o.w.steppedAt, o.openedAt+100*ms, m.ackedAt)
	return o.w.mono - due
}

// tooLate reports whether that is without a reason. The time of a log does not go back with the clock, so
// that a delay may begin later than the oracle thinks.
func (o *delayOracle) tooLate(m *delayedMessage) bool {
	most, ok := o.w.plan.lateMost()
	if !ok || !m.acked || m.moves > 0 || m.cancelling || m.stored.Relative && o.w.has(clockSteps) {
		return false
	}
	return o.late(m) > most
}

// inOrder checks that of the messages of one millisecond an earlier one does not come after a later one,
// where nothing was in its way.
func (o *delayOracle) inOrder(m *delayedMessage, offset int64) {
	last := o.last[m.target]
	o.last[m.target] = m
	m.offset = offset
	if last == nil || last.tried || m.tried || !o.certain(last) || !o.certain(m) || last.level != m.level {
		return
	}
	if (last.dues[0]+ms-1)/ms == (m.dues[0]+ms-1)/ms && last.offset > offset {
		o.w.broken("order", "message %d, stored before %d and due with it, comes behind it: %+v", m.number,
			last.number, *m)
	}
}

// certain reports whether there is no doubt when a message is due.
func (o *delayOracle) certain(m *delayedMessage) bool {
	return len(m.dues) == 1 && !m.stored.Relative && m.moves == 0
}

// stored notes that the target has stored a message.
func (o *delayOracle) stored(key core.DelayKey) {
	if m := o.message(key); m != nil {
		m.held, m.done = false, true
	}
}

// changed notes that a cancel or a new time is stored.
func (o *delayOracle) changed(m *delayedMessage, h core.DelayHandle, offset, due int64) {
	if due == 0 {
		o.w.counts.cancelled++
		m.cancelled = true
		if len(m.copies) > 0 && !m.weak {
			o.w.broken("cancelled", "message %d is said to be cancelled, and was delivered: %+v", m.number, *m)
		}
		return
	}
	o.w.counts.moved++
	m.moves++
	m.dues = []int64{due}
	m.old = append(m.old, h)
	m.handle = h
	m.handle.Offset = offset
}

// answered judges what a call was told about a message that it did not get.
func (o *delayOracle) answered(h core.DelayHandle, outcome core.DelayOutcome, busy bool) {
	i := slices.IndexFunc(o.messages, func(m *delayedMessage) bool { return m.handle == h })
	if i < 0 {
		return
	}
	m := o.messages[i]
	forgotten := outcome == core.DelayUnknown
	switch {
	case m.cancelled && !m.weak && !forgotten && outcome != core.DelayCancelled:
		o.w.broken("untrue", "message %d was cancelled, a call was told %v: %+v", m.number, outcome, *m)
	case busy || m.weak || m.cancelling || m.held || len(m.dues) > 1:
	case len(m.copies) == 0:
		o.w.broken("untrue", "message %d waits, a call was told %v: %+v", m.number, outcome, *m)
	case !forgotten && outcome != core.DelayFired:
		o.w.broken("untrue", "message %d was delivered, a call was told %v: %+v", m.number, outcome, *m)
	}
}

// crashed notes what nobody may rely on any more.
func (o *delayOracle) crashed(power bool) {
	for _, m := range o.messages {
		m.held = false
		m.weak = m.weak || power && m.level < core.AckDisk
	}
	clear(o.last)
}

// opened looks at what the disk has after a crash: which messages are delivered, and which publishes a client
// has to repeat.
func (o *delayOracle) opened() {
	w := o.w
	o.openedAt = w.mono
	was := make([]int, len(o.messages))
	for i, m := range o.messages {
		was[i] = len(m.copies)
		m.copies = nil
	}
	for _, log := range w.disk.targets {
		for _, r := range log.collect(log.log.Start(), log.log.End()) {
			n, err := strconv.Atoi(string(r.Value))
			if err != nil || n < 1 || n > len(o.messages) {
				w.broken("unsaid", "a target has %q", r.Value)
				return
			}
			m := o.messages[n-1]
			m.copies = append(m.copies, r.offset)
		}
	}
	for i, m := range o.messages {
		if m.done && len(m.copies) < was[i] && !m.weak {
			w.broken("disk", "message %d, which its target had stored, is gone: %+v", m.number, *m)
		}
		m.done = m.done && len(m.copies) > 0
	}
	o.repeat()
}

// repeat has clients publish again what they were not told of, unless the node has it. Its own memory of that
// is as old as its log.
func (o *delayOracle) repeat() {
	there := map[core.DelayKey]bool{}
	log := o.w.disk.delay
	for _, r := range log.collect(0, log.log.End()) {
		d, err := core.DecodeDelayRecord(&r.Record)
		if err != nil {
			o.w.broken("stored", "offset %d of __delay: %v", r.offset, err)
			return
		}
		there[d.Key] = true
	}
	for _, m := range o.messages {
		if m.acked || m.refused || there[m.key] || o.w.chance(4) {
			continue
		}
		o.w.delays.pending++
		o.w.inLife(o.w.until(second), func() {
			o.w.delays.pending--
			o.w.delays.send(m)
		})
	}
}

// firstOpen describes the first message that is not delivered.
func (o *delayOracle) firstOpen() string {
	for _, m := range o.messages {
		if m.acked && !m.cancelled && len(m.copies) == 0 {
			return fmt.Sprintf("message %d waits: %+v", m.number, *m)
		}
	}
	return "all messages are delivered, but something is under way"
}

// finish compares what the targets have with what was promised, when nothing waits.
func (o *delayOracle) finish() {
	for _, m := range o.messages {
		if m.acked && !m.weak && !m.cancelled && !m.cancelling && len(m.copies) != 1 {
			o.w.broken("lost", "message %d is in its target %d times: %+v", m.number, len(m.copies), *m)
		}
	}
}

package core

import (
	"cmp"
	"container/heap"
	"slices"
)

// delayRemembered is how many messages that ended lately a Delay still knows.
const delayRemembered = 1 << 16

// Rate limits of a Delay.
const (
	// DelayOverdue is how late a message is that counts as overdue, in milliseconds.
	DelayOverdue = int64(1000)
	// DelayOverduePerMilli is how many overdue messages are given out in a millisecond.
	DelayOverduePerMilli = 100
	// delayOverdueBurst is how many of them may be given out at once.
	delayOverdueBurst = 2000
)

// DelayEntry is a message that waits: its offset in __delay, and when it is due.
type DelayEntry struct {
	Due    int64 // milliseconds since 1970
	Offset int64
	Retry  int64 // it is not given out before; 0 for one that was not given out yet
}

// Compare orders messages by due time, those of one millisecond by offset.
func (e DelayEntry) Compare(other DelayEntry) int {
	return cmp.Or(cmp.Compare(e.Due, other.Due), cmp.Compare(e.Offset, other.Offset))
}

// at is when the message may be given out.
func (e *DelayEntry) at() int64 { return max(e.Due, e.Retry) }

// DelayState is what a Delay knows of a message.
type DelayState uint8

// The states.
const (
	DelayGone    DelayState = iota // it ended, or was never there: Delay.Outcome may know
	DelayWaiting                   // until it is due
	DelayTaken                     // it is being delivered, or cancelled
)

// delayEnded is what is remembered of a message: a log that lost its end in a power cut may have had another
// one at its offset.
type delayEnded struct {
	tag     uint32
	outcome DelayOutcome
}

// Delay is which messages of one __delay log wait and when they are due. It is a state machine without I/O or
// clock; all times are milliseconds of the wall clock, and the caller's.
//
//	Add ──▶ waits ──Take, Remove──▶ taken ──End──▶ remembered for a while
//	          ▲───────Return───────────┘
//
// Invariant: an offset waits or is taken, never both, and is given out by one Take or Remove at most between
// two Returns: so nothing is delivered twice, whatever the clock does. Take gives out nothing before its time
// by the clock of the call: where the clock steps back, what is due between the new and the old time waits
// in early, for the wheels of the index do not turn back.
type Delay struct {
	index *DelayIndex
	early delayHeap
	taken map[int64]struct{}
	held  map[int64]struct{} // of taken: those that a call is cancelling or rescheduling

	ended map[int64]delayEnded
	ring  []int64 // offsets in ended, by age
	next  int     // in ring, once it is full

	tokens int64 // overdue messages that may be given out
	filled int64 // when tokens were last added
}

// NewDelay makes one without messages, whose time is 0: what is overdue when it is loaded is given out in the
// order of due times.
func NewDelay() *Delay {
	return &Delay{index: NewDelayIndex(0), taken: map[int64]struct{}{}, held: map[int64]struct{}{},
		ended: map[int64]delayEnded{}, tokens: delayOverdueBurst}
}

// Waiting is the number of messages that wait.
func (d *Delay) Waiting() int { return d.index.Len() + len(d.early) }

// Taken is the number of messages that are being delivered or cancelled.
func (d *Delay) Taken() int { return len(d.taken) }

// Add has a message wait. Offsets ascend from call to call.
func (d *Delay) Add(e DelayEntry) {
	if e.Due < d.index.now {
		heap.Push(&d.early, e)
		return
	}
	d.index.Add(e.Due, e.Offset)
}

// State tells whether a message waits.
func (d *Delay) State(offset int64) DelayState {
	if _, taken := d.taken[offset]; taken {
		return DelayTaken
	}
	if _, found := d.index.Due(offset); found || d.early.find(offset) >= 0 {
		return DelayWaiting
	}
	return DelayGone
}

// Outcome tells what became of a message that ended lately, DelayUnknown if it is not remembered. tag is that
// of its key.
func (d *Delay) Outcome(offset int64, tag uint32) DelayOutcome {
	if e := d.ended[offset]; e.tag == tag {
		return e.outcome
	}
	return DelayUnknown
}

// Take appends to into the messages that are due at now, at most so many in all, in the order of due times
// and then of offsets, but for those that came late. They are taken from then on. Of those that are overdue
// it gives out DelayOverduePerMilli for each millisecond that passes.
func (d *Delay) Take(now int64, most int, into []DelayEntry) []DelayEntry {
	d.fill(now)
	start := len(into)
	for len(d.early) > 0 && d.early[0].at() <= now && len(into)-start < most {
		into = append(into, heap.Pop(&d.early).(DelayEntry))
	}
	most -= len(into) - start
	if now >= d.index.now && most > 0 {
		into = d.advance(now, most, into)
	}
	for _, e := range into[start:] {
		d.taken[e.Offset] = struct{}{}
	}
	slices.SortFunc(into[start:], DelayEntry.Compare)
	return into
}

// advance takes from the index: first what is overdue, as far as there are tokens, then the rest.
func (d *Delay) advance(now int64, most int, into []DelayEntry) []DelayEntry {
	fire := func(due, offset int64) { into = append(into, DelayEntry{Due: due, Offset: offset}) }
	if late := now - DelayOverdue; late > d.index.now {
		allowed := min(int64(most), d.tokens)
		fired := d.index.Advance(late, int(allowed), fire)
		d.tokens -= int64(fired)
		if int64(fired) == allowed {
			return into
		}
		most -= fired
	}
	d.index.Advance(now, most, fire)
	return into
}

// fill adds tokens for the time that has passed. Where the clock was set back, what is to be tried again is
// tried when it is due: that time would come much later now.
func (d *Delay) fill(now int64) {
	if now < d.filled {
		for i := range d.early {
			d.early[i].Retry = 0
		}
		heap.Init(&d.early)
	}
	if passed := now - d.filled; passed > 0 && passed < delayOverdueBurst {
		d.tokens = min(d.tokens+passed*DelayOverduePerMilli, delayOverdueBurst)
	} else if passed != 0 {
		d.tokens = delayOverdueBurst
	}
	d.filled = now
}

// Next is a time before which Take gives out nothing; false if nothing waits. It may be earlier than the
// first due time, and has passed where something is overdue that the rate limit holds back.
func (d *Delay) Next() (at int64, found bool) {
	at, found = d.index.Next()
	if len(d.early) > 0 && (!found || d.early[0].at() < at) {
		return d.early[0].at(), true
	}
	return at, found
}

// Remove takes a message that waits out of turn, and gives it; false if it does not wait.
func (d *Delay) Remove(offset int64) (DelayEntry, bool) {
	due, found := d.index.Remove(offset)
	if !found {
		i := d.early.find(offset)
		if i < 0 {
			return DelayEntry{}, false
		}
		due = heap.Remove(&d.early, i).(DelayEntry).Due
	}
	d.taken[offset] = struct{}{}
	return DelayEntry{Due: due, Offset: offset}, true
}

// Return has a message that was taken wait again, until it is due and its Retry has passed.
func (d *Delay) Return(e DelayEntry) {
	if _, taken := d.taken[e.Offset]; !taken {
		panic("core: a delayed message returned that was not taken")
	}
	delete(d.taken, e.Offset)
	heap.Push(&d.early, e)
}

// End ends a message, whether it waits, is taken or is not known, and remembers the outcome for a while.
func (d *Delay) End(e DelayedEnd) {
	if _, taken := d.taken[e.Offset]; !taken { // usually it is, and early need not be searched
		d.Remove(e.Offset)
	}
	delete(d.taken, e.Offset)
	if _, known := d.ended[e.Offset]; !known {
		if len(d.ring) < delayRemembered {
			d.ring = append(d.ring, e.Offset)
		} else {
			delete(d.ended, d.ring[d.next])
			d.ring[d.next] = e.Offset
			d.next = (d.next + 1) % delayRemembered
		}
	}
	d.ended[e.Offset] = delayEnded{e.Tag, e.Outcome}
}

// Scan calls f for messages that wait at offsets of at least from, by offset, at most so many, and gives the
// offset to go on at; done says that there are no more. Those that came late, or again, are given with
// the call that begins at 0, in no order.
func (d *Delay) Scan(from int64, most int, f func(DelayEntry)) (next int64, done bool) {
	if from == 0 {
		for _, e := range d.early {
			f(e)
		}
	}
	return d.index.Scan(from, most, func(due, offset int64) { f(DelayEntry{Due: due, Offset: offset}) })
}

// delayHeap is a heap of messages by due time. It holds few: what came while the clock was behind the
// index, or was given back.
type delayHeap []DelayEntry

// Len implements heap.Interface.
func (h delayHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h delayHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].at(), h[j].at()), h[i].Compare(h[j])) < 0
}

// Swap implements heap.Interface.
func (h delayHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *delayHeap) Push(e any) { *h = append(*h, e.(DelayEntry)) }

// Pop implements heap.Interface.
func (h *delayHeap) Pop() any {
	list := *h
	last := list[len(list)-1]
	*h = list[:len(list)-1]
	return last
}

// find gives the place of an offset, -1 if it is not there.
func (h delayHeap) find(offset int64) int {
	return slices.IndexFunc(h, func(e DelayEntry) bool { return e.Offset == offset })
}

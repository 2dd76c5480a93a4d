package core

import "slices"

// Bounds of the requests of one topic on one node.
const (
	MaxCallsWaiting      = 1024     // that no responder has room for
	MaxCallsWaitingBytes = 16 << 20 // of their records, but for the first
	MaxResponders        = 1024
	MaxCallWindow        = 4096 // that one responder may have in hand
)

// Calls says which responder of a topic gets which request, on one node. Its methods append what is to be
// done to out and give it back.
//
//	Ask ──▶ waiting ──▶ held by a responder ──▶ over: Done, Cancel, or an effect with a code
//
// Invariant: requests wait only while no responder has room for the first of them, and none waits without a
// responder.
type Calls struct {
	responders []*CallResponder // that take requests
	turn       int              // of responders, where looking for one begins
	waiting    callList
}

// Call is a request to one responder. Owner, Deadline and Bytes are set by who asks.
type Call struct {
	Owner    any
	Deadline int64 // from which on it is not handed out, by the clock of now
	Bytes    int   // of its record

	state         callState
	holder        *CallResponder
	earlier, next *Call // among those that wait, or that the holder has
}

type callState uint8

const (
	callNew callState = iota
	callWaiting
	callHeld
	callOver
)

// Over reports whether nothing comes of it any more.
func (c *Call) Over() bool { return c.state == callOver }

// HeldBy reports whether a responder has it in hand.
func (c *Call) HeldBy(r *CallResponder) bool { return c.state == callHeld && c.holder == r }

// CallResponder takes requests. Owner, Window, which is above 0, and MaxBytes are set by who joins.
type CallResponder struct {
	Owner    any
	Window   int   // requests it may have in hand; of those that go to every responder as many again
	MaxBytes int64 // of the records of those that it has in hand, but for the first; 0: any

	held callList
}

// fits reports whether it has room for a request, with window of them at most.
func (r *CallResponder) fits(c *Call, window int) bool {
	count := r.held.count
	return count < window && (r.MaxBytes == 0 || count == 0 || r.held.bytes+int64(c.Bytes) <= r.MaxBytes)
}

// callList is calls in the order in which they came.
type callList struct {
	first, last *Call
	count       int
	bytes       int64
}

func (l *callList) push(c *Call) {
	c.earlier, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.count++
	l.bytes += int64(c.Bytes)
}

func (l *callList) remove(c *Call) {
	if c.earlier != nil {
		c.earlier.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.earlier = c.earlier
	} else {
		l.last = c.earlier
	}
	c.earlier, c.next = nil, nil
	l.count--
	l.bytes -= int64(c.Bytes)
}

// CallEffect is something to be done.
type CallEffect struct {
	Call *Call
	To   *CallResponder // gets it; nil: it is over
	Code Code           // why, if it is over
}

// Responders are those that take requests. The slice is valid until the next step.
func (q *Calls) Responders() []*CallResponder { return q.responders }

// Waiting is how many requests no responder has room for.
func (q *Calls) Waiting() int { return q.waiting.count }

// Join adds a responder: false where there are MaxResponders.
func (q *Calls) Join(r *CallResponder, now int64, out []CallEffect) ([]CallEffect, bool) {
	if len(q.responders) >= MaxResponders {
		return out, false
	}
	q.responders = append(q.responders, r)
	return q.feed(now, out), true
}

// Leave gives a responder no more requests; it answers those that it has.
func (q *Calls) Leave(r *CallResponder, out []CallEffect) []CallEffect {
	at := slices.Index(q.responders, r)
	if at < 0 {
		return out
	}
	q.responders = slices.Delete(q.responders, at, at+1)
	if len(q.responders) > 0 {
		return out
	}
	for q.waiting.count > 0 {
		c := q.waiting.first
		q.waiting.remove(c)
		out = over(c, CodeNoResponders, out)
	}
	return out
}

// Lose is Leave for a responder that answers nothing any more.
func (q *Calls) Lose(r *CallResponder, out []CallEffect) []CallEffect {
	out = q.Leave(r, out)
	for r.held.count > 0 {
		c := r.held.first
		r.held.remove(c)
		out = over(c, CodeResponderLost, out)
	}
	return out
}

// Ask gives a new call to the responder with the fewest, or has it wait.
func (q *Calls) Ask(c *Call, out []CallEffect) []CallEffect {
	if len(q.responders) == 0 {
		return over(c, CodeNoResponders, out)
	}
	w := &q.waiting
	if w.count == 0 {
		if r := q.pick(c); r != nil {
			return hand(c, r, out)
		}
	}
	if w.count >= MaxCallsWaiting || w.count > 0 && w.bytes+int64(c.Bytes) > MaxCallsWaitingBytes {
		return over(c, CodeLimited, out)
	}
	c.state = callWaiting
	w.push(c)
	return out
}

// Offer gives a new call to one responder, which may have twice its window of them.
func (q *Calls) Offer(c *Call, r *CallResponder, out []CallEffect) []CallEffect {
	if !r.fits(c, 2*r.Window) {
		return over(c, CodeLimited, out)
	}
	return hand(c, r, out)
}

// Done ends a call that was answered: false where it was over, or is not that responder's.
func (q *Calls) Done(c *Call, r *CallResponder, now int64, out []CallEffect) ([]CallEffect, bool) {
	if !c.HeldBy(r) {
		return out, false
	}
	r.held.remove(c)
	c.state, c.holder = callOver, nil
	return q.feed(now, out), true
}

// Decline takes a call back from a responder that has left meanwhile, and gives it to another.
func (q *Calls) Decline(c *Call, r *CallResponder, out []CallEffect) []CallEffect {
	if !c.HeldBy(r) {
		return out
	}
	r.held.remove(c)
	c.state, c.holder = callNew, nil
	if slices.Contains(q.responders, r) { // it refuses what it asked for
		out = q.Leave(r, out)
	}
	return q.Ask(c, out)
}

// Cancel ends a call that nobody waits for any more, and gives the responder that has it, if one has.
func (q *Calls) Cancel(c *Call, now int64, out []CallEffect) ([]CallEffect, *CallResponder) {
	holder := c.holder
	switch c.state {
	case callWaiting:
		q.waiting.remove(c)
	case callHeld:
		holder.held.remove(c)
	case callOver:
		return out, nil
	}
	c.state, c.holder = callOver, nil
	return q.feed(now, out), holder
}

// feed hands out what waits while there is room. What came to its deadline meanwhile is over.
func (q *Calls) feed(now int64, out []CallEffect) []CallEffect {
	for q.waiting.count > 0 {
		c := q.waiting.first
		if c.Deadline <= now {
			q.waiting.remove(c)
			out = over(c, CodeLimited, out)
			continue
		}
		r := q.pick(c)
		if r == nil {
			return out
		}
		q.waiting.remove(c)
		out = hand(c, r, out)
	}
	return out
}

// pick gives the responder with the fewest calls in hand, each in turn where several have as few; nil where
// none has room for c.
func (q *Calls) pick(c *Call) *CallResponder {
	var best *CallResponder
	at := 0
	for i := range q.responders {
		turn := (q.turn + i) % len(q.responders)
		r := q.responders[turn]
		if !r.fits(c, r.Window) || best != nil && r.held.count >= best.held.count {
			continue
		}
		best, at = r, turn
		if r.held.count == 0 {
			break
		}
	}
	if best != nil {
		q.turn = at + 1
	}
	return best
}

func hand(c *Call, r *CallResponder, out []CallEffect) []CallEffect {
	c.state, c.holder = callHeld, r
	r.held.push(c)
	return append(out, CallEffect{Call: c, To: r})
}

func over(c *Call, code Code, out []CallEffect) []CallEffect {
	c.state, c.holder = callOver, nil
	return append(out, CallEffect{Call: c, Code: code})
}

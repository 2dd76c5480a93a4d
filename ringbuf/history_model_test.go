package ringbuf

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// This file says what a ring does, as a log of claims that one call after the other is applied to. A
// history of concurrent calls is right if there is an order of them, each between its call and its
// return, in which the log allows every answer (Herlihy and Wing, Linearizability, TOPLAS 1990).

// historyCall is the name of a call of a history.
type historyCall uint8

const (
	callClaim   historyCall = iota // Claim, TryClaim
	callUpTo                       // ClaimUpTo
	callSend                       // TrySend, with one producer
	callPublish                    // Publish
	callAbort                      // Abort
	callAdd                        // Ring.Consumer
	callClose                      // Consumer.Close
	callTake                       // Poll, Next
	callRelease                    // Release
	callTo                         // ReleaseTo
	callRewind                     // Rewind
	callSeal                       // Seal
)

var historyNames = [...]string{"claim", "claimUpTo", "send", "publish", "abort", "add", "close", "take",
	"release", "releaseTo", "rewind", "seal"}

// historyInput is what was called.
type historyInput struct {
	call historyCall
	who  int // the consumer
	n    int // slots wanted, or released
	id   int // of the claim; slot k of it holds id × idStep + k
	deps uint8
	// Set after the run: consumers came or went meanwhile, and one that is just coming may hold
	// producers up a little more than it will.
	unsettled bool
}

const idStep = 100

// historyOutput is what was answered.
type historyOutput struct {
	ok     bool
	closed bool  // ErrClosed
	from   int   // first sequence of the claim, or of the consumer, from the start of the ring
	n      int   // slots claimed
	values []int // taken
}

const (
	logClaims    = 80
	logConsumers = 6
)

// ringLog is the state: all claims in the order of their sequences. It is comparable.
type ringLog struct {
	claims    [logClaims]logClaim
	count     int
	sealed    bool
	consumers [logConsumers]logConsumer
}

type logClaim struct {
	id, n, from uint16
	state       logState
}

type logState uint8

const (
	logOpen logState = iota
	logPublished
	logAborted
)

// logConsumer has the positions of a Consumer.
type logConsumer struct {
	there      bool
	next, read int
	last, got  int
	deps       uint8 // bit i: comes after consumer i
}

// logRules are the fixed properties of the ring.
type logRules struct {
	capacity, headroom int
	shared             bool
}

func (rules logRules) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return ringLog{} },
		Step: func(state, input, output any) (bool, any) {
			log := state.(ringLog)
			ok := rules.step(&log, input.(historyInput), output.(historyOutput))
			return ok, log
		},
		DescribeOperation: describeCall,
	}
}

func describeCall(input, output any) string {
	in, out := input.(historyInput), output.(historyOutput)
	text := historyNames[in.call]
	switch in.call {
	case callClaim, callUpTo, callSend, callPublish, callAbort:
		text += fmt.Sprintf(" #%d of %d", in.id, in.n)
	case callSeal:
	default:
		text += fmt.Sprintf(" by %d, n %d, deps %b", in.who, in.n, in.deps)
	}
	return fmt.Sprintf("%s = ok %v closed %v from %d n %d %v",
		text, out.ok, out.closed, out.from, out.n, out.values)
}

// step applies one call to the log, and tells whether the log allows its answer.
func (rules logRules) step(log *ringLog, in historyInput, out historyOutput) bool {
	c := &log.consumers[in.who]
	switch in.call {
	case callClaim, callUpTo, callSend:
		return rules.claim(log, in, out)
	case callPublish:
		return log.finish(in.id, logPublished)
	case callAbort:
		return rules.abort(log, in.id)
	case callAdd:
		return log.add(in, out)
	case callClose:
		log.remove(in.who)
	case callTake:
		return rules.take(log, in, out)
	case callRelease:
		c.next = c.read
	case callTo:
		c.next = max(c.next, c.last+in.n)
	case callRewind:
		c.read, c.last, c.got = c.next, c.next, 0
	case callSeal:
		log.sealed = true
	}
	return true
}

// claimed is the end of all claims.
func (log *ringLog) claimed() int {
	if log.count == 0 {
		return 0
	}
	last := log.claims[log.count-1]
	return int(last.from + last.n)
}

// published is the end of the claims that are all published or aborted.
func (log *ringLog) published() int {
	for _, claim := range log.claims[:log.count] {
		if claim.state == logOpen {
			return int(claim.from)
		}
	}
	return log.claimed()
}

// slowest is what producers wait for, at least and at most: what is released is free in whole claims, and
// aborted claims behind it may be passed before anybody calls Release.
func (rules logRules) slowest(log *ringLog) (least, most int) {
	least, most = log.claimed()+rules.capacity, log.claimed()+rules.capacity
	none := true
	for i := range log.consumers {
		if c := &log.consumers[i]; c.there {
			none = false
			least = min(least, rules.released(log, c))
			most = min(most, log.passAborted(c.next))
		}
	}
	if none {
		return log.published(), log.published()
	}
	return least, most
}

// released is where the claim begins that the consumer's first slot lies in.
func (rules logRules) released(log *ringLog, c *logConsumer) int {
	if rules.shared {
		for _, claim := range log.claims[:log.count] {
			if int(claim.from) <= c.next && c.next < int(claim.from+claim.n) {
				return int(claim.from)
			}
		}
	}
	return c.next
}

func (log *ringLog) passAborted(at int) int {
	for _, claim := range log.claims[:log.count] {
		if int(claim.from) == at && claim.state == logAborted {
			at += int(claim.n)
		}
	}
	return at
}

// claim is allowed to fail only if there was no room, and to succeed only if nothing that somebody
// still needs is overwritten.
func (rules logRules) claim(log *ringLog, in historyInput, out historyOutput) bool {
	least, most := rules.slowest(log)
	claimed := log.claimed()
	if !out.ok {
		wanted := in.n
		if in.call == callUpTo {
			wanted = 1
		}
		full := claimed+wanted+rules.headroom > least+rules.capacity
		return log.sealed || !out.closed && (full || in.unsettled)
	}
	n := out.n
	if log.sealed || out.from != claimed || claimed+n > most+rules.capacity ||
		n != in.n && (in.call != callUpTo || n < 1 || n > in.n) {
		return false
	}
	claim := logClaim{id: uint16(in.id), n: uint16(n), from: uint16(claimed)}
	if in.call == callSend {
		claim.state = logPublished
	}
	log.claims[log.count] = claim
	log.count++
	return true
}

func (log *ringLog) finish(id int, state logState) bool {
	for i := range log.claims[:log.count] {
		if claim := &log.claims[i]; int(claim.id) == id && claim.state == logOpen {
			claim.state = state
			return true
		}
	}
	return false
}

// abort takes the claim of a lone producer back; its sequences are claimed again.
func (rules logRules) abort(log *ringLog, id int) bool {
	if rules.shared {
		return log.finish(id, logAborted)
	}
	last := &log.claims[max(0, log.count-1)]
	if int(last.id) != id || last.state != logOpen {
		return false
	}
	*last = logClaim{}
	log.count--
	return true
}

func (log *ringLog) add(in historyInput, out historyOutput) bool {
	missing := false
	for i, c := range log.consumers {
		missing = missing || in.deps&(1<<i) != 0 && !c.there
	}
	if !out.ok {
		return log.sealed && out.closed || missing && !out.closed
	}
	if log.sealed || missing || out.from != log.published() {
		return false
	}
	log.consumers[in.who] = logConsumer{
		there: true, next: out.from, read: out.from, last: out.from, deps: in.deps,
	}
	return true
}

// remove gives the followers of a consumer what it followed itself.
func (log *ringLog) remove(who int) {
	gone := log.consumers[who]
	for i := range log.consumers {
		if c := &log.consumers[i]; c.there && c.deps&(1<<who) != 0 {
			c.deps = c.deps&^(1<<who) | gone.deps
		}
	}
	log.consumers[who] = logConsumer{}
}

// take allows any beginning of what the consumer may see, but nothing only if there is nothing, and the
// end of a sealed ring only when all of it was taken.
func (rules logRules) take(log *ringLog, in historyInput, out historyOutput) bool {
	c := &log.consumers[in.who]
	limit := log.published()
	if out.closed {
		return log.sealed && len(out.values) == 0 && limit == log.claimed() &&
			len(log.values(c.read, limit)) == 0
	}
	for i := range log.consumers {
		if c.deps&(1<<i) != 0 {
			limit = min(limit, rules.released(log, &log.consumers[i]))
		}
	}
	there := log.values(c.read, limit)
	if len(out.values) == 0 {
		return len(there) == 0
	}
	if len(out.values) > len(there) || !slices.Equal(out.values, valuesOf(there[:len(out.values)])) {
		return false
	}
	c.last, c.got = there[0].at, len(out.values)
	c.read = c.last + c.got
	return c.read == there[c.got-1].at+1 // a run has no gap in it
}

// logValue is what is in the slot of a sequence.
type logValue struct{ at, value int }

func valuesOf(list []logValue) (values []int) {
	for _, v := range list {
		values = append(values, v.value)
	}
	return values
}

// values lists what was published in [from, to).
func (log *ringLog) values(from, to int) (list []logValue) {
	for _, claim := range log.claims[:log.count] {
		for k := range int(claim.n) {
			if at := int(claim.from) + k; claim.state == logPublished && from <= at && at < to {
				list = append(list, logValue{at, int(claim.id)*idStep + k})
			}
		}
	}
	return list
}

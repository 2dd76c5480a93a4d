package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// callTester drives Calls and checks what it does.
type callTester struct {
	t       testing.TB
	q       Calls
	now     int64
	ends    map[*Call]Code           // of those that are over by an effect
	holders map[*Call]*CallResponder // as the effects say
	asked   int
}

func newCallTester(t testing.TB) *callTester {
	return &callTester{t: t, ends: map[*Call]Code{}, holders: map[*Call]*CallResponder{}}
}

func (c *callTester) apply(effects []CallEffect) {
	c.t.Helper()
	for _, e := range effects {
		if _, over := c.ends[e.Call]; over {
			c.t.Fatalf("%v is over and has another effect", e.Call.Owner)
		}
		if e.To != nil {
			if c.holders[e.Call] != nil {
				c.t.Fatalf("%v is given to %v while %v has it", e.Call.Owner, e.To.Owner, c.holders[e.Call].Owner)
			}
			c.holders[e.Call] = e.To
			continue
		}
		c.ends[e.Call] = e.Code
		delete(c.holders, e.Call)
	}
}

func (c *callTester) ask(bytes int) *Call {
	c.asked++
	call := &Call{Owner: c.asked, Deadline: c.now + 1000, Bytes: bytes}
	c.apply(c.q.Ask(call, nil))
	return call
}

func (c *callTester) join(name string, window int) *CallResponder {
	c.t.Helper()
	r := &CallResponder{Owner: name, Window: window}
	effects, ok := c.q.Join(r, c.now, nil)
	if !ok {
		c.t.Fatalf("%s may not join", name)
	}
	c.apply(effects)
	return r
}

func (c *callTester) done(call *Call, r *CallResponder) bool {
	effects, ok := c.q.Done(call, r, c.now, nil)
	if ok {
		delete(c.holders, call)
		c.ends[call] = 0
	}
	c.apply(effects)
	return ok
}

func TestCalls(t *testing.T) {
	c := newCallTester(t)
	if alone := c.ask(1); c.ends[alone] != CodeNoResponders {
		t.Fatalf("without a responder: %v", c.ends[alone])
	}
	a, b := c.join("a", 2), c.join("b", 1)
	first, second, third, fourth := c.ask(1), c.ask(1), c.ask(1), c.ask(1)
	if c.holders[first] != a || c.holders[second] != b || c.holders[third] != a || c.q.Waiting() != 1 {
		t.Fatalf("given to %v, %d wait; want a, b, a and one that waits", c.holders, c.q.Waiting())
	}
	if c.done(second, a) || !c.done(second, b) || c.holders[fourth] != b || c.done(second, b) {
		t.Error("an answer counts once, from who has it, and makes room for who waits")
	}
	c.apply(c.q.Lose(a, nil))
	if c.ends[first] != CodeResponderLost || c.ends[third] != CodeResponderLost || c.done(first, a) {
		t.Errorf("ends %v: what a lost responder had is lost at once", c.ends)
	}
	waits := c.ask(1)
	c.apply(c.q.Leave(b, nil))
	if c.ends[waits] != CodeNoResponders || !c.done(fourth, b) {
		t.Errorf("ends %v: a responder that leaves answers what it has, and nobody waits for it", c.ends)
	}
}

func TestCallsDecline(t *testing.T) {
	c := newCallTester(t)
	a, b := c.join("a", 1), c.join("b", 1)
	first := c.ask(1)
	c.apply(c.q.Leave(a, nil))
	delete(c.holders, first)
	c.apply(c.q.Decline(first, a, nil))
	if c.holders[first] != b {
		t.Fatalf("declined by a, it is with %v", c.holders[first])
	}
	c.apply(c.q.Decline(first, a, nil)) // says nothing: b has it
	delete(c.holders, first)
	c.apply(c.q.Decline(first, b, nil))
	if c.ends[first] != CodeNoResponders || len(c.q.Responders()) != 0 {
		t.Errorf("declined by all: %v, %d responders", c.ends, len(c.q.Responders()))
	}
}

func TestCallsAreBounded(t *testing.T) {
	c := newCallTester(t)
	a := c.join("a", 1)
	held := c.ask(1)
	for range MaxCallsWaiting {
		c.ask(1)
	}
	if over := c.ask(1); c.ends[over] != CodeLimited || c.q.Waiting() != MaxCallsWaiting {
		t.Fatalf("%d wait, one more: %v", c.q.Waiting(), c.ends[over])
	}
	c.now = 2000 // all that wait have come to their deadline
	c.done(held, a)
	if c.q.Waiting() != 0 || len(c.holders) != 0 || len(c.ends) != MaxCallsWaiting+2 {
		t.Errorf("%d wait, %d are held, %d are over", c.q.Waiting(), len(c.holders), len(c.ends))
	}
	c.ask(1)
	large := c.ask(MaxCallsWaitingBytes + 1)
	if over := c.ask(1); c.q.Waiting() != 1 || c.ends[over] != CodeLimited || large.Over() {
		t.Errorf("%d wait: one that is larger than the bound waits alone", c.q.Waiting())
	}
	for range 2*a.Window - 1 {
		c.apply(c.q.Offer(&Call{}, a, nil))
	}
	more := &Call{}
	if c.apply(c.q.Offer(more, a, nil)); c.ends[more] != CodeLimited {
		t.Errorf("offered beyond twice the window: %v", c.ends[more])
	}
	for i := range MaxResponders - 1 {
		c.join(fmt.Sprint(i), 1)
	}
	if _, ok := c.q.Join(&CallResponder{Window: 1}, c.now, nil); ok {
		t.Errorf("more than %d responders", MaxResponders)
	}
}

// TestCallsAreBoundedByBytes: a responder has no more than its bytes in hand, but for one call that is
// larger; what has no room waits, and what goes to every responder is refused.
func TestCallsAreBoundedByBytes(t *testing.T) {
	c := newCallTester(t)
	a := &CallResponder{Owner: "a", Window: 8, MaxBytes: 100}
	if effects, ok := c.q.Join(a, c.now, nil); !ok || len(effects) != 0 {
		t.Fatalf("joins: %v, %v", effects, ok)
	}
	large := c.ask(1000)
	small := c.ask(1)
	if c.holders[large] != a || c.q.Waiting() != 1 {
		t.Fatalf("given to %v, %d wait; want the large one in hand, alone", c.holders, c.q.Waiting())
	}
	c.done(large, a)
	exact, over, behind := c.ask(99), c.ask(1), c.ask(0)
	if c.holders[small] != a || c.holders[exact] != a || c.q.Waiting() != 2 {
		t.Fatalf("given to %v, %d wait; want 100 bytes in hand and two calls that wait", c.holders, c.q.Waiting())
	}
	offered := &Call{Bytes: 1}
	if c.apply(c.q.Offer(offered, a, nil)); c.ends[offered] != CodeLimited {
		t.Errorf("offered beyond the bytes: %v", c.ends[offered])
	}
	c.done(small, a)
	if c.holders[over] != a || c.holders[behind] != a || c.q.Waiting() != 0 || a.held.bytes != 100 {
		t.Errorf("given to %v, %d wait, %d bytes in hand", c.holders, c.q.Waiting(), a.held.bytes)
	}
}

// TestCallsModel: every call ends once; none waits while somebody has room, or without a responder; who has a
// call is asked for it no more than its window allows.
func TestCallsModel(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 7))
		c := newCallTester(t)
		var live, all []*CallResponder
		var calls []*Call
		for step := range 400 {
			c.now++
			switch pick := r.IntN(20); {
			case pick == 0 && len(live) < 4:
				made := c.join(fmt.Sprint("r", step), 1+r.IntN(3))
				live, all = append(live, made), append(all, made)
			case pick == 1 && len(live) > 0:
				at := r.IntN(len(live))
				if r.IntN(2) == 0 {
					c.apply(c.q.Leave(live[at], nil))
				} else {
					c.apply(c.q.Lose(live[at], nil))
				}
				live = append(live[:at], live[at+1:]...)
			case pick < 10:
				calls = append(calls, c.ask(r.IntN(100)))
				calls[len(calls)-1].Deadline = c.now + int64(r.IntN(100))
			case len(calls) > 0:
				call := calls[r.IntN(len(calls))]
				holder := c.holders[call]
				switch {
				case pick < 13:
					over := call.Over()
					effects, from := c.q.Cancel(call, c.now, nil)
					if from != holder || over && len(effects) > 0 {
						t.Fatalf("seed %d: cancelled at %v, %v has it", seed, from, holder)
					}
					delete(c.holders, call)
					if !over {
						c.ends[call] = 0
					}
					c.apply(effects)
				case holder != nil && pick < 14:
					delete(c.holders, call)
					c.apply(c.q.Decline(call, holder, nil))
					live = append(live[:0:0], c.q.Responders()...)
				case holder != nil:
					if !c.done(call, holder) {
						t.Fatalf("seed %d: the answer of who has it does not count", seed)
					}
				}
			}
			c.check(seed, all, calls)
		}
	}
}

// check holds the state against what the effects have said.
func (c *callTester) check(seed uint64, all []*CallResponder, calls []*Call) {
	c.t.Helper()
	held := map[*CallResponder]int{}
	waiting := 0
	for _, call := range calls {
		_, over := c.ends[call]
		switch holder := c.holders[call]; {
		case over != call.Over():
			c.t.Fatalf("seed %d: call %v is over: %v, said %v", seed, call.Owner, call.Over(), over)
		case holder != nil:
			held[holder]++
		case !over:
			waiting++
		}
	}
	room := false
	for _, r := range all {
		if held[r] > r.Window || held[r] != r.held.count {
			c.t.Fatalf("seed %d: %v has %d of %d, counts %d", seed, r.Owner, held[r], r.Window, r.held.count)
		}
	}
	for _, r := range c.q.Responders() {
		room = room || held[r] < r.Window
	}
	if waiting != c.q.Waiting() || waiting > 0 && (room || len(c.q.Responders()) == 0) {
		c.t.Fatalf("seed %d: %d wait, counts %d, room %v, %d responders", seed, waiting, c.q.Waiting(), room,
			len(c.q.Responders()))
	}
}

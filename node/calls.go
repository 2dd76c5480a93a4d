package node

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// calls has the requests that pass this node, and who answers them. Nothing of it is stored.
//
//	requester ──ask──▶ callTopic (core.Calls) ──give──▶ responder
//	     ◀──reply── asked ◀──done──────────────────────────┘
type calls struct {
	stats callStats

	mu     sync.Mutex // guards the following
	topics map[uint64]*callTopic
	closed bool
}

// callStats counts requests since the node was opened.
type callStats struct {
	mu   sync.Mutex // guards the following
	ends map[core.Code]int64

	late       atomic.Int64 // replies that nobody waited for any more
	cancelled  atomic.Int64
	responders atomic.Int64 // now
	held       atomic.Int64 // requests at responders now
}

func (s *callStats) ended(err error) {
	code := core.Code(0)
	if err != nil {
		code = core.CodeOf(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		s.ends = make(map[core.Code]int64)
	}
	s.ends[code]++
}

// callTopic is the requests of one topic. What the state says is to be done is done without its lock.
type callTopic struct {
	node  *Node
	topic *topic

	mu    sync.Mutex // guards the following
	state core.Calls
	gone  bool // the topic was deleted, or the bus closes
}

// call is a request to one responder.
type call struct {
	core.Call
	asked  *asked
	record []byte
	id     atomic.Uint64             // at the stream of a responder
	given  atomic.Pointer[leat.Call] // to a responder in this process
}

// asked is a request as its requester sees it: one call, or one to each responder.
type asked struct {
	stats *callStats
	topic *callTopic                                // nil if nobody was asked
	every uint64                                    // as wire.CallHead.Gather
	reply func(record []byte, err error, over bool) // see Node.ask
	calls []*call

	mu   sync.Mutex // guards the following, and is held while reply is called
	left int
}

// answerer is one responder. Its methods do not wait.
type answerer interface {
	give(c *call, timeout time.Duration)
	withdraw(c *call) // nobody waits for its reply
	end(err error)    // for good
}

// callTopic gives the requests of a topic; nil if there are none, unless create is set.
func (n *Node) callTopic(t *topic, create bool) *callTopic {
	k := &n.calls
	k.mu.Lock()
	defer k.mu.Unlock()
	found := k.topics[t.id]
	if found == nil && create && !k.closed && !t.deleted.Load() {
		found = &callTopic{node: n, topic: t}
		if k.topics == nil {
			k.topics = map[uint64]*callTopic{}
		}
		k.topics[t.id] = found
	}
	return found
}

// forget ends the responders of a topic that was deleted.
func (k *calls) forget(id uint64, err error) {
	k.mu.Lock()
	t := k.topics[id]
	delete(k.topics, id)
	k.mu.Unlock()
	if t != nil {
		t.close(err)
	}
}

// close ends all responders; what requests there are end with them.
func (k *calls) close() {
	k.mu.Lock()
	k.closed = true
	topics := k.topics
	k.topics = nil
	k.mu.Unlock()
	for _, t := range topics {
		t.close(core.NewError(core.CodeClosed, t.topic.op("respond on"), nil))
	}
}

func (t *callTopic) close(err error) {
	var effects []core.CallEffect
	t.mu.Lock()
	t.gone = true
	var ending []answerer
	for len(t.state.Responders()) > 0 {
		r := t.state.Responders()[0]
		ending = append(ending, r.Owner.(answerer))
		effects = t.state.Lose(r, effects)
	}
	t.mu.Unlock()
	t.do(effects)
	for _, r := range ending {
		r.end(err)
	}
}

// do does what the state says. t.mu must not be held.
func (t *callTopic) do(effects []core.CallEffect) {
	for _, e := range effects {
		c := e.Call.Owner.(*call)
		if e.To != nil {
			t.node.calls.stats.held.Add(1)
			left := time.Duration(c.Deadline - t.node.clock.Mono())
			e.To.Owner.(answerer).give(c, max(left, time.Millisecond))
			continue
		}
		if e.Code == core.CodeResponderLost {
			t.node.calls.stats.held.Add(-1)
		}
		c.asked.answer(nil, t.refusal(e.Code))
	}
}

// refusal is the error of a request that came to nothing here.
func (t *callTopic) refusal(code core.Code) error {
	op := t.topic.op("request on")
	if code == core.CodeLimited {
		err := core.Errorf(code, op, "all responders are busy, and %d requests wait or this one has too long",
			core.MaxCallsWaiting)
		err.Hint = "start more responders, or raise their Concurrency"
		return err
	}
	return core.NewError(code, op, nil)
}

// ask gives a request to one responder of a topic on this node, or to each. reply is called for each answer,
// one after the other, with over set for the last; it must not wait. One with neither record nor error says
// only that.
func (n *Node) ask(t *topic, record []byte, deadline int64, every uint64,
	reply func(record []byte, err error, over bool)) *asked {
	a := &asked{stats: &n.calls.stats, every: every, reply: reply, left: 1}
	a.topic = n.callTopic(t, false)
	if a.topic == nil {
		a.answer(nil, core.NewError(core.CodeNoResponders, t.op("request on"), nil))
		return a
	}
	var room [4]core.CallEffect
	effects := room[:0]
	s := &a.topic.state
	a.topic.mu.Lock()
	if every == 0 {
		effects = s.Ask(a.call(record, deadline), effects)
	} else if to := s.Responders(); len(to) > 0 {
		a.left = len(to)
		for _, r := range to {
			effects = s.Offer(a.call(record, deadline), r, effects)
		}
	} else {
		effects = s.Ask(a.call(record, deadline), effects) // says that there are none
	}
	a.topic.mu.Unlock()
	a.topic.do(effects)
	return a
}

func (a *asked) call(record []byte, deadline int64) *core.Call {
	c := &call{asked: a, record: record}
	c.Call = core.Call{Owner: c, Deadline: deadline, Bytes: len(record)}
	a.calls = append(a.calls, c)
	return &c.Call
}

// answer passes on what came of one call.
func (a *asked) answer(record []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if record != nil || err != nil {
		a.stats.ended(err)
	}
	a.left--
	a.reply(record, err, a.left == 0)
}

// cancel gives up what is under way; replies to it are late.
func (a *asked) cancel(n *Node) {
	if a.topic == nil {
		return
	}
	cancelled := false
	for _, c := range a.calls {
		var effects []core.CallEffect
		a.topic.mu.Lock()
		before := c.Over()
		effects, holder := a.topic.state.Cancel(&c.Call, n.clock.Mono(), effects)
		a.topic.mu.Unlock()
		cancelled = cancelled || !before
		if holder != nil {
			n.calls.stats.held.Add(-1)
			holder.Owner.(answerer).withdraw(c)
		}
		a.topic.do(effects)
	}
	if cancelled {
		n.calls.stats.cancelled.Add(1)
	}
}

// join has a responder given requests.
func (t *callTopic) join(r *core.CallResponder) error {
	op := t.topic.op("respond on")
	t.mu.Lock()
	if t.gone {
		t.mu.Unlock()
		return core.NewError(core.CodeTopicNotFound, op, nil)
	}
	effects, ok := t.state.Join(r, t.node.clock.Mono(), nil)
	t.mu.Unlock()
	if !ok {
		return core.Errorf(core.CodeLimited, op, "%d responders", core.MaxResponders)
	}
	t.node.calls.stats.responders.Add(1)
	t.do(effects)
	return nil
}

// leave gives a responder no more requests; lost says that it answers nothing any more.
func (t *callTopic) leave(r *core.CallResponder, lost bool) {
	var effects []core.CallEffect
	t.mu.Lock()
	if lost {
		effects = t.state.Lose(r, effects)
	} else {
		effects = t.state.Leave(r, effects)
	}
	t.mu.Unlock()
	t.do(effects)
}

// done passes the reply of a responder on. One that declines has not looked at the request.
func (t *callTopic) done(c *call, r *core.CallResponder, record []byte, err error) {
	stats := &t.node.calls.stats
	declines := err != nil && core.CodeOf(err) == core.CodeNoResponders
	if err == nil {
		err = leat.CheckCallSize(t.topic.name, record, int(t.topic.maxRecord.Load()))
	}
	var effects []core.CallEffect
	held := true
	t.mu.Lock()
	if declines && c.asked.every == 0 {
		if held = c.HeldBy(r); held {
			effects = t.state.Decline(&c.Call, r, effects)
		}
	} else {
		effects, held = t.state.Done(&c.Call, r, t.node.clock.Mono(), effects)
	}
	t.mu.Unlock()
	switch {
	case !held && declines:
	case !held:
		stats.late.Add(1)
	case declines && c.asked.every == 0:
		stats.held.Add(-1)
	case declines: // it answers this request elsewhere, or not at all
		stats.held.Add(-1)
		c.asked.answer(nil, nil)
	default:
		stats.held.Add(-1)
		c.asked.answer(record, err)
	}
	t.do(effects)
}

// export gives the figures of requests.
func (k *calls) export() CallStats {
	s := CallStats{Responders: k.stats.responders.Load(), Pending: k.stats.held.Load(),
		Cancelled: k.stats.cancelled.Load(), Late: k.stats.late.Load()}
	k.stats.mu.Lock()
	s.Ends = maps.Clone(k.stats.ends)
	k.stats.mu.Unlock()
	k.mu.Lock()
	topics := slices.Collect(maps.Values(k.topics))
	k.mu.Unlock()
	for _, t := range topics {
		t.mu.Lock()
		s.Pending += int64(t.state.Waiting())
		t.mu.Unlock()
	}
	return s
}

package node

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// callee finds the topic of a request and sees that it is this node that is asked.
func (n *Node) callee(r *leat.CallRequest) (*topic, error) {
	t, err := n.topicFor("request on", r.Topic)
	if err != nil {
		return nil, err
	}
	if r.Key != nil && !r.Every {
		if p := t.partitions[t.table.Partition(routing.Slot(routing.Hash(r.Key)))]; !p.here {
			return nil, notLeader(p.op("request on"), t.placement.Node(p.number))
		}
	}
	return t, leat.CheckCallSize(t.name, r.Record, int(t.maxRecord.Load()))
}

// Call implements leat.Backend. Only responders on this node are asked.
func (n *Node) Call(ctx context.Context, r leat.CallRequest, got func([]byte, error) bool) error {
	t, err := n.callee(&r)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	left := deadline.UnixNano() - n.clock.Now()
	every := uint64(0)
	if r.Every {
		every = 1 // whoever answers here is asked once
	}
	answers := make(chan callAnswer, 1)
	box := &callBox{wake: answers}
	a := n.ask(t, r.Record, n.clock.Mono()+left, every, box.put)
	defer a.cancel(n)
	for {
		var answer callAnswer
		select {
		case answer = <-answers:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.closing:
			return core.NewError(core.CodeClosed, t.op("request on"), nil)
		}
		box.taken()
		if !r.Every || core.CodeOf(answer.err) == core.CodeNoResponders {
			if answer.err == nil {
				got(answer.record, nil)
			}
			return answer.err
		}
		if (answer.record != nil || answer.err != nil) && !got(answer.record, answer.err) || answer.over {
			return nil
		}
	}
}

// callAnswer is one answer to a request.
type callAnswer struct {
	record []byte
	err    error
	over   bool
}

// callBox hands answers to who waits for them, one at a time; there are as many as responders.
type callBox struct {
	wake chan callAnswer // capacity 1

	mu    sync.Mutex // guards the following
	more  []callAnswer
	ready bool // there is one in wake
}

func (b *callBox) put(record []byte, err error, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.more = append(b.more, callAnswer{record, err, over})
	b.offerLocked()
}

func (b *callBox) taken() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = false
	b.offerLocked()
}

// offerLocked fills wake, which has room for it.
func (b *callBox) offerLocked() {
	if !b.ready && len(b.more) > 0 {
		b.wake <- b.more[0]
		b.more, b.ready = b.more[1:], true
	}
}

// localResponder is the backend of a Responder in this process.
type localResponder struct {
	core.CallResponder
	topic *callTopic
	take  func(*leat.Call)
	done  chan struct{}
	once  sync.Once
	err   error // before done is closed
}

var (
	_ answerer              = (*localResponder)(nil)
	_ leat.ResponderBackend = (*localResponder)(nil)
)

// OpenResponder implements leat.Backend.
func (n *Node) OpenResponder(name string, o leat.RespondOptions, take func(*leat.Call)) (
	leat.ResponderBackend, error) {
	t, err := n.topicFor("respond on", name)
	if err != nil {
		return nil, err
	}
	if len(t.local) == 0 {
		return nil, t.partitions[0].refusal()
	}
	r := &localResponder{topic: n.callTopic(t, true), take: take, done: make(chan struct{})}
	if r.topic == nil {
		return nil, core.NewError(core.CodeClosed, t.op("respond on"), nil)
	}
	r.CallResponder = core.CallResponder{Owner: r, Window: o.Concurrency}
	if err := r.topic.join(&r.CallResponder); err != nil {
		return nil, err
	}
	return r, nil
}

// give implements answerer.
func (r *localResponder) give(c *call, timeout time.Duration) {
	record := c.record
	if c.asked.every != 0 {
		record = bytes.Clone(record) // each handler owns its message
	}
	given := leat.NewCall(r.topic.topic.name, record, timeout, func(record []byte, err error) {
		r.topic.done(c, &r.CallResponder, record, err)
	})
	c.given.Store(given)
	r.take(given)
}

// withdraw implements answerer. One that is being given this moment runs to its deadline.
func (r *localResponder) withdraw(c *call) {
	if given := c.given.Load(); given != nil {
		given.Cancel()
	}
}

// end implements answerer.
func (r *localResponder) end(err error) {
	r.once.Do(func() {
		r.err = err
		r.topic.node.calls.stats.responders.Add(-1)
		close(r.done)
	})
}

// Leave implements leat.ResponderBackend.
func (r *localResponder) Leave() { r.topic.leave(&r.CallResponder, false) }

// Close implements leat.ResponderBackend.
func (r *localResponder) Close() error {
	r.topic.leave(&r.CallResponder, true)
	r.end(nil)
	return nil
}

// Done implements leat.ResponderBackend.
func (r *localResponder) Done() <-chan struct{} { return r.done }

// Err implements leat.ResponderBackend.
func (r *localResponder) Err() error {
	select {
	case <-r.done:
		return r.err
	default:
		return nil
	}
}

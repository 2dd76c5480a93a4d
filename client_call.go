package leat

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
	"github.com/leatbus/leat/transport/wire"
)

// callTopicsKept is how many topics a client remembers for its requests.
const callTopicsKept = 1024

// callTopics are the topics that requests were made on, so that each need not ask for its topic.
type callTopics struct {
	mu    sync.Mutex // guards the following
	known map[string]*clientTopic
	turn  int // of nodes, for requests without a key
}

// callTopic gives a topic for requests.
func (c *client) callTopic(ctx context.Context, name string) (*clientTopic, error) {
	k := &c.callTopics
	k.mu.Lock()
	t := k.known[name]
	k.mu.Unlock()
	if t != nil {
		return t, nil
	}
	if err := core.ValidateName("topic", name); err != nil {
		return nil, err
	}
	t, err := c.topic(ctx, "request on", name)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= callTopicsKept {
		k.known = make(map[string]*clientTopic)
	}
	k.known[name] = t
	return t, nil
}

// forgetCallTopic has the next request ask where a topic is.
func (c *client) forgetCallTopic(t *clientTopic) {
	k := &c.callTopics
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known[t.name] == t {
		delete(k.known, t.name)
	}
}

// Call implements Backend. What no responder was given is tried again, while a call waits for a node.
func (c *client) Call(ctx context.Context, r CallRequest, got func([]byte, error) bool) error {
	err := c.retry(ctx, false, func(patient context.Context) error {
		t, err := c.callTopic(ctx, r.Topic)
		if err != nil {
			return final1(err)
		}
		if err := CheckCallSize(r.Topic, r.Record, int(t.maxRecordBytes.Load())); err != nil {
			c.forgetCallTopic(t) // it may have been altered
			return err
		}
		if r.Every {
			return c.gather(ctx, patient, t, &r, got)
		}
		err = c.callOne(ctx, patient, t, &r, got)
		switch core.CodeOf(err) {
		case core.CodeNotLeader, core.CodeTopicNotFound, core.CodePartitionUnknown, core.CodeUnavailable:
			c.forgetCallTopic(t)
		}
		return final1(err)
	})
	if f, ok := err.(*finalError); ok {
		err = f.error
	}
	return err
}

// finalError keeps client.retry from trying again what may have been done, or would only be late.
type finalError struct{ error }

// final1 marks what a request is not tried again for.
func final1(err error) error {
	switch core.CodeOf(err) {
	case core.CodeDraining, core.CodeNotLeader:
		return err
	}
	if err == nil {
		return nil
	}
	return &finalError{err}
}

// callOne asks one responder: of the node of the key, or of the first node that has one.
func (c *client) callOne(ctx, patient context.Context, t *clientTopic, r *CallRequest,
	got func([]byte, error) bool) error {
	head := wire.CallHead{Topic: t.name, Partition: wire.AnyPartition}
	if r.Key != nil {
		partition := t.table.Partition(routing.Slot(routing.Hash(r.Key)))
		head.Partition = uint16(partition)
		return c.callNode(ctx, patient, c.node(t.nodeOf(partition)), &head, r.Record, got)
	}
	var failed error
	for _, n := range c.callNodes(t) {
		err := c.callNode(ctx, patient, n, &head, r.Record, got)
		switch core.CodeOf(err) {
		case core.CodeNoResponders:
			if failed == nil {
				failed = err
			}
			continue
		case core.CodeUnavailable:
			if !errors.Is(err, errUnanswered) { // it was not asked
				failed = err
				continue
			}
		}
		return err
	}
	return failed
}

// callNodes gives the nodes of a topic, each first in turn, and those without a connection last.
func (c *client) callNodes(t *clientTopic) []*clientNode {
	nodes := t.nodesOf()
	k := &c.callTopics
	k.mu.Lock()
	k.turn++
	turn := k.turn % len(nodes)
	k.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*clientNode, 0, len(nodes))
	for i := range nodes {
		list = append(list, c.nodeLocked(nodes[(turn+i)%len(nodes)]))
	}
	slices.SortStableFunc(list, func(a, b *clientNode) int {
		switch {
		case a.conn != nil && b.conn == nil:
			return -1
		case a.conn == nil && b.conn != nil:
			return 1
		}
		return 0
	})
	return list
}

// callNode asks one responder of a node.
func (c *client) callNode(ctx, patient context.Context, n *clientNode, head *wire.CallHead, record []byte,
	got func([]byte, error) bool) error {
	s, err := n.callStream(patient)
	if err != nil {
		return err
	}
	done := make(chan callAnswer, 1)
	id, err := s.send(ctx, head, record, func(a callAnswer) { done <- a })
	if err != nil {
		return err
	}
	select {
	case a := <-done:
		if a.err == nil {
			got(a.record, nil)
		}
		return a.err
	case <-ctx.Done():
		s.cancel(id)
		return ctx.Err()
	}
}

// gathering collects what the responders of several nodes say.
type gathering struct {
	wake  chan struct{} // capacity 1
	heard bool          // somebody has answered; of the goroutine that awaits

	mu      sync.Mutex // guards the following
	answers []callAnswer
}

func (g *gathering) add(a callAnswer) {
	g.mu.Lock()
	g.answers = append(g.answers, a)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *gathering) take() []callAnswer {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.answers
	g.answers = nil
	return taken
}

// gather asks every responder of the topic. It is tried again only if nobody has answered: those who have
// would take it for another request.
func (c *client) gather(ctx, patient context.Context, t *clientTopic, r *CallRequest,
	got func([]byte, error) bool) error {
	head := wire.CallHead{Topic: t.name, Partition: wire.AnyPartition, Gather: uint64(c.random.id())}
	g := &gathering{wake: make(chan struct{}, 1)}
	nodes := t.nodesOf()
	type asked struct {
		stream *callStream
		id     uint64
	}
	list := make([]asked, len(nodes))
	var asking sync.WaitGroup
	for i, node := range nodes {
		asking.Go(func() {
			s, err := c.node(node).callStream(patient)
			var id uint64
			if err == nil {
				id, err = s.send(ctx, &head, r.Record, g.add)
			}
			if err != nil {
				g.add(callAnswer{err: err, last: true})
				return
			}
			list[i] = asked{s, id}
		})
	}
	asking.Wait()
	defer func() {
		for _, a := range list {
			if a.stream != nil {
				a.stream.cancel(a.id)
			}
		}
	}()
	err := g.await(ctx, len(nodes), got)
	if err != nil && g.heard {
		return &finalError{err}
	}
	return final1(err)
}

// await hands out answers until all nodes have given their last. An error after which the request may have
// been done goes before one that says that a node has asked nobody.
func (g *gathering) await(ctx context.Context, nodes int, got func([]byte, error) bool) error {
	none, ended := 0, 0
	var failed error
	for {
		for _, a := range g.take() {
			switch {
			case !a.last:
				g.heard = true
				if !got(a.record, a.err) {
					return nil
				}
				continue
			case core.CodeOf(a.err) == core.CodeNoResponders:
				none++
			case a.err != nil && (failed == nil || core.CodeOf(failed) == core.CodeDraining):
				failed = a.err
			}
			ended++
		}
		switch {
		case ended == nodes && none == nodes:
			return core.NewError(core.CodeNoResponders, "request", nil)
		case ended == nodes:
			return failed
		}
		select {
		case <-g.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// callTimeout is what is left of a context's time, as a node is told.
func (c *client) callTimeout(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	left := time.Duration(deadline.UnixNano() - c.clock.Now())
	return min(max(left, time.Millisecond), wire.MaxCallTimeout)
}

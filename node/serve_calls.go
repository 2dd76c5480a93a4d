package node

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// replyBytes is what may be queued for a client that reads its replies too slowly; beyond it the stream is
// reset, and its requests have failed.
const replyBytes = 16 << 20

// callStream has the requests of one client. Its goroutine reads them; replies are queued by whoever has
// them.
type callStream struct {
	session *session
	stream  transport.Stream
	lane    *transport.Lane

	mu    sync.Mutex              // guards the following
	asked map[uint64]*remoteAsked // each is in session.calls
}

// remoteAsked is a request of a client without its last answer.
type remoteAsked struct {
	asked *asked // the reader's; nil while it is being asked
	bytes int
}

// serveCalls serves a stream that began with CALL_OPEN.
func (c *session) serveCalls(stream transport.Stream, r *transport.Reader) error {
	s := &callStream{session: c, stream: stream, lane: transport.NewLane(stream, replyBytes),
		asked: make(map[uint64]*remoteAsked)}
	r.SetLimit(wire.MaxPayload)
	c.opened(s)
	defer c.closed(s)
	err := ignoreEOF(s.read(r))
	s.mu.Lock()
	list := s.asked
	s.asked = nil
	s.mu.Unlock()
	// The newest first, so that none of them is handed out in place of another.
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(list))) {
		list[id].asked.cancel(c.node)
		c.calls.give(list[id].bytes)
	}
	if err != nil {
		stream.Reset(core.CodeOf(outward(err)))
		s.lane.Wait()
		return err
	}
	return s.lane.Close()
}

func (s *callStream) read(r *transport.Reader) error {
	for {
		h, err := nextFrame(r)
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Call:
			var payload []byte
			if payload, err = r.Payload(nil); err == nil {
				err = s.call(h.Arg, payload)
			}
		case wire.CallCancel:
			s.cancel(h.Arg)
		default:
			err = unexpected(&h, "on a call stream")
		}
		if err != nil {
			return err
		}
	}
}

// call asks what a client asks.
func (s *callStream) call(id uint64, payload []byte) error {
	head, record, err := wire.DecodeCall(payload)
	if err != nil {
		return err
	}
	mine := &remoteAsked{bytes: len(record)}
	s.mu.Lock()
	switch {
	case s.asked[id] != nil:
		defer s.mu.Unlock()
		return wire.Errorf("CALL %d, which is under way", id)
	case !s.session.calls.take(len(record)):
		s.mu.Unlock()
		s.refuse(id, &head, core.Errorf(core.CodeLimited, "request",
			"more than %d requests or %d bytes of them at once", wire.MaxCalls, wire.MaxCallBytes))
		return nil
	}
	s.asked[id] = mine
	s.mu.Unlock()
	t, err := s.callee(&head, record)
	if err != nil {
		s.refuse(id, &head, err)
		s.forget(id, mine)
		return nil
	}
	n := s.session.node
	deadline := n.clock.Mono() + int64(head.Timeout)
	mine.asked = n.ask(t, record, deadline, head.Gather, func(record []byte, err error, over bool) {
		s.reply(id, &head, record, err, over)
		if over {
			s.forget(id, mine)
		}
	})
	return nil
}

// callee finds the topic of a CALL.
func (s *callStream) callee(head *wire.CallHead, record []byte) (*topic, error) {
	if s.session.server.draining() {
		return nil, core.NewError(core.CodeDraining, "request", nil)
	}
	if err := s.session.may(core.ActionPublish, head.Topic); err != nil {
		return nil, err
	}
	t, err := s.session.node.topicFor("request on", head.Topic)
	if err != nil {
		return nil, err
	}
	if head.Partition != wire.AnyPartition {
		if int(head.Partition) >= len(t.partitions) {
			return nil, core.Errorf(core.CodePartitionUnknown, t.op("request on"), "partition %d of %d",
				head.Partition, len(t.partitions))
		}
		if p := t.partitions[head.Partition]; !p.here {
			return nil, notLeader(p.op("request on"), t.placement.Node(p.number))
		}
	}
	return t, leat.CheckCallSize(t.name, record, int(t.maxRecord.Load()))
}

// refuse answers a request that nobody was asked.
func (s *callStream) refuse(id uint64, head *wire.CallHead, err error) {
	s.reply(id, head, nil, err, true)
}

// reply queues an answer. A client that does not read them is given up.
func (s *callStream) reply(id uint64, head *wire.CallHead, record []byte, err error, over bool) {
	if core.CodeOf(err) == core.CodeNoResponders && err != nil && s.session.server.draining() {
		err = core.NewError(core.CodeDraining, "request", nil) // they have left because the node does
	}
	var frames []byte
	h := wire.Header{Type: wire.Reply, Arg: id}
	last := wire.Header{Type: wire.Gathered, Arg: id}
	every := head.Gather != 0
	switch {
	case err != nil && every && over && !ofResponder(err):
		frames = errorFrame(nil, last, err, false)
	case err != nil:
		frames = errorFrame(nil, h, err, false)
	case record != nil:
		frames = wire.AppendReply(make([]byte, 0, 2*wire.HeaderSize+len(record)), id, record)
	}
	if every && over && (err == nil || ofResponder(err)) {
		frames = last.Append(frames)
	}
	if len(frames) == 0 {
		return
	}
	if core.CodeOf(s.lane.Queue(frames)) == core.CodeFull {
		s.stream.Reset(core.CodeLimited)
	}
}

// ofResponder reports whether an error is what one responder of several has come to.
func ofResponder(err error) bool {
	switch core.CodeOf(err) {
	case core.CodeRequestFailed, core.CodeResponderLost, core.CodeRecordTooLarge, core.CodeInvalidRecord:
		return true
	}
	return false
}

// forget drops a request that has its last answer.
func (s *callStream) forget(id uint64, mine *remoteAsked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[id] != mine {
		return
	}
	delete(s.asked, id)
	s.session.calls.give(mine.bytes)
}

// cancel gives up a request, if it is still under way.
func (s *callStream) cancel(id uint64) {
	s.mu.Lock()
	mine := s.asked[id]
	s.mu.Unlock()
	if mine != nil {
		mine.asked.cancel(s.session.node)
		s.forget(id, mine)
	}
}

// drain waits until what is asked is answered, on all call streams of the connection. More is refused by
// then.
func (s *callStream) drain(ctx context.Context) { s.session.await(ctx, s.session.calls.whenIdle()) }

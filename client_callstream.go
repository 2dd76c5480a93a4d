package leat

import (
	"context"
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// What a client has asked of one node and got no answer to: a request beyond it waits.
const (
	maxCalls     = wire.MaxCalls
	maxCallBytes = wire.MaxCallBytes
)

// callStream is the stream of a connection on which requests go out and replies come back. The first request
// opens it.
type callStream struct {
	conn   *clientConn
	stream *clientStream
	lane   *transport.Lane

	mu      sync.Mutex // guards the following
	pending map[uint64]*pendingCall
	nextID  uint64
	bytes   int
	room    chan struct{} // closed and replaced when a call has ended
	err     error         // why it is over
}

// pendingCall is a request that was sent.
type pendingCall struct {
	got    func(callAnswer) // called from the reader; it must not block
	bytes  int
	gather bool
}

// callAnswer is a reply, or why there is none. last says that no other comes from this node.
type callAnswer struct {
	record []byte
	err    error
	last   bool
}

// callStream gives the call stream to a node.
func (n *clientNode) callStream(patient context.Context) (*callStream, error) {
	conn, err := n.connection(patient)
	if err != nil {
		return nil, err
	}
	conn.mu.Lock()
	s := conn.callStream
	conn.mu.Unlock()
	if s != nil && !s.over() {
		return s, nil
	}
	if conn.welcome.Features&wire.FeatureCalls == 0 {
		return nil, core.Errorf(core.CodeUnsupported, "request",
			"the node at %s is of version %q, which has no requests", conn.address, conn.welcome.Server)
	}
	if s, err = conn.openCalls(patient); err != nil {
		return nil, err
	}
	conn.mu.Lock()
	now := conn.callStream
	if now == nil || now.over() {
		conn.callStream, now = s, s
	}
	conn.mu.Unlock()
	if now != s { // somebody else was faster
		s.stream.Reset(0)
	}
	return now, nil
}

func (c *clientConn) openCalls(patient context.Context) (*callStream, error) {
	s := &callStream{conn: c, pending: make(map[uint64]*pendingCall), room: make(chan struct{})}
	stream, err := c.open(patient, s.busy)
	if err != nil {
		return nil, err
	}
	s.stream, s.lane = stream, transport.NewLane(stream, maxCallBytes)
	open := wire.Header{Type: wire.CallOpen}
	err = s.lane.Send(open.Append(nil))
	if err == nil && !c.client.goTask(s.run) {
		err = c.client.closedError("request")
	}
	if err != nil {
		stream.drop(err)
		return nil, err
	}
	return s, nil
}

func (s *callStream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

func (s *callStream) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0
}

// send sends a request as soon as there is room for it. got is given its answers, unless it is cancelled.
func (s *callStream) send(ctx context.Context, head *wire.CallHead, record []byte, got func(callAnswer)) (
	uint64, error) {
	s.mu.Lock()
	for s.err == nil && (len(s.pending) >= maxCalls || s.bytes > 0 && s.bytes+len(record) > maxCallBytes) {
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		s.mu.Lock()
	}
	if s.err != nil {
		defer s.mu.Unlock()
		return 0, core.NewError(core.CodeDraining, "request", s.err)
	}
	s.nextID++
	id := s.nextID
	s.pending[id] = &pendingCall{got: got, bytes: len(record), gather: head.Gather != 0}
	s.bytes += len(record)
	s.mu.Unlock()
	s.conn.wakeWatch()
	told := *head
	told.Timeout = s.conn.client.callTimeout(ctx)
	// An error of the lane ends the stream, and the call with it.
	_ = s.lane.Send(wire.AppendCall(make([]byte, 0, wire.HeaderSize+wire.CallHeadSize+len(head.Topic)+
		len(record)+8), id, &told, record))
	return id, nil
}

// cancel gives a request up, if it has not ended.
func (s *callStream) cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[id] == nil {
		return
	}
	h := wire.Header{Type: wire.CallCancel, Arg: id}
	// It is queued before there is room, so that no CALL overtakes it. A stream that is over has nothing to
	// cancel; what a node cannot be told runs to its deadline.
	_ = s.lane.Queue(h.Append(nil))
	s.endLocked(id)
}

// endLocked forgets a request and makes room for another.
func (s *callStream) endLocked(id uint64) {
	if p := s.pending[id]; p != nil {
		delete(s.pending, id)
		s.bytes -= p.bytes
		close(s.room)
		s.room = make(chan struct{})
	}
}

// run reads answers until the stream ends; what waits has failed then.
func (s *callStream) run() {
	err := s.read()
	s.stream.drop(err)
	s.lane.Wait()
	s.mu.Lock()
	s.err = err
	pending := s.pending
	s.pending, s.bytes = nil, 0
	close(s.room)
	s.room = make(chan struct{})
	s.mu.Unlock()
	for _, p := range pending {
		p.got(callAnswer{err: lost(err), last: true})
	}
}

func (s *callStream) read() error {
	for {
		h, err := s.stream.next()
		if err != nil {
			return err
		}
		if h.Type != wire.Reply && h.Type != wire.Gathered {
			if err := unexpected(h); err != nil {
				return err
			}
			continue
		}
		payload, err := s.stream.reader.Payload(nil)
		if err != nil {
			return err
		}
		if err := s.answered(&h, payload); err != nil {
			return err
		}
	}
}

// answered passes an answer on. One that nobody waits for any more is dropped.
func (s *callStream) answered(h *wire.Header, payload []byte) error {
	a := callAnswer{record: payload, last: h.Type == wire.Gathered}
	switch {
	case h.Aux != 0:
		var body wire.ErrorBody
		if err := wire.Unmarshal(h.Type, payload, &body); err != nil {
			return err
		}
		a.record, a.err = nil, body.Error(core.Code(h.Aux))
	case h.Type == wire.Reply:
		if err := wire.CheckCallRecord(payload); err != nil {
			return err
		}
	}
	s.mu.Lock()
	p := s.pending[h.Arg]
	if p != nil && !p.gather {
		a.last = true
	}
	if a.last {
		s.endLocked(h.Arg)
	}
	s.mu.Unlock()
	if p != nil {
		p.got(a)
	}
	return nil
}

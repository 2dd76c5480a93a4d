package node

import (
	"context"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// responderBytes is how much of requests a responder at a client may have in hand: far below replyBytes, at
// which its stream is reset.
const responderBytes = replyBytes / 2

// responderStream is a responder at a client. Its goroutine reads the replies; requests are queued by whoever
// asks.
type responderStream struct {
	core.CallResponder
	session *session
	topic   *callTopic
	stream  transport.Stream
	lane    *transport.Lane

	mu     sync.Mutex // guards the following
	nextID uint64
	held   map[uint64]*call
	mark   idleMark // of held
	opened bool     // RESPONDING was queued
	early  []byte   // CALL frames that go behind it
}

var _ answerer = (*responderStream)(nil)

// serveResponder serves a stream that began with RESPOND.
func (c *session) serveResponder(stream transport.Stream, r *transport.Reader, h *wire.Header) error {
	var body wire.RespondBody
	if err := readBody(r, h, &body); err != nil {
		return err
	}
	if body.Window < 1 || body.Window > core.MaxCallWindow {
		return wire.Errorf("RESPOND with a window of %d", body.Window)
	}
	// It reads what others publish, and publishes what they take for the answer.
	for _, action := range []core.Action{core.ActionRead, core.ActionPublish} {
		if err := c.may(action, body.Topic); err != nil {
			return err
		}
	}
	t, err := c.node.topicFor("respond on", body.Topic)
	if err != nil {
		return err
	}
	if len(t.local) == 0 {
		return t.partitions[0].refusal()
	}
	s := &responderStream{session: c, stream: stream, lane: transport.NewLane(stream, replyBytes),
		topic: c.node.callTopic(t, true), held: make(map[uint64]*call)}
	if s.topic == nil {
		return core.NewError(core.CodeTopicNotFound, t.op("respond on"), nil)
	}
	s.CallResponder = core.CallResponder{Owner: s, Window: int(body.Window), MaxBytes: responderBytes}
	r.SetLimit(wire.MaxPayload)
	if err := s.topic.join(&s.CallResponder); err != nil {
		return err
	}
	s.open()
	c.opened(s)
	err = ignoreEOF(s.read(r))
	c.closed(s)
	s.topic.leave(&s.CallResponder, true)
	c.node.calls.stats.responders.Add(-1)
	s.nothingHeld()
	if err != nil {
		stream.Reset(core.CodeOf(outward(err)))
		s.lane.Wait()
		return err
	}
	return s.lane.Close()
}

// open tells the client that it is a responder. It has been one since before, so that a request which comes
// when the client knows is not refused.
func (s *responderStream) open() {
	t := s.topic.topic
	frames := wire.Marshal(nil, wire.Header{Type: wire.Responding}, &wire.RespondingBody{
		TopicID: t.id, MaxRecordBytes: int(t.maxRecord.Load())})
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.lane.Queue(append(frames, s.early...)) // a stream that has failed ends at its reader
	s.early, s.opened = nil, true
}

func (s *responderStream) read(r *transport.Reader) error {
	for {
		h, err := nextFrame(r)
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Reply:
			var payload []byte
			if payload, err = r.Payload(nil); err == nil {
				err = s.reply(&h, payload)
			}
		case wire.Resign:
			s.topic.leave(&s.CallResponder, false)
		default:
			err = unexpected(&h, "on a responder stream")
		}
		if err != nil {
			return err
		}
	}
}

// reply takes a REPLY. One to what was cancelled meanwhile is late.
func (s *responderStream) reply(h *wire.Header, payload []byte) error {
	var failed error
	if h.Aux != 0 {
		var body wire.ErrorBody
		if err := wire.Unmarshal(h.Type, payload, &body); err != nil {
			return err
		}
		failed, payload = body.Error(replyCode(core.Code(h.Aux))), nil
	} else if err := wire.CheckCallRecord(payload); err != nil {
		return err
	}
	s.mu.Lock()
	if h.Arg == 0 || h.Arg > s.nextID {
		defer s.mu.Unlock()
		return wire.Errorf("REPLY to %d, which was not asked", h.Arg)
	}
	c := s.held[h.Arg]
	delete(s.held, h.Arg)
	s.mu.Unlock()
	if c == nil {
		s.topic.node.calls.stats.late.Add(1)
	} else {
		s.topic.done(c, &s.CallResponder, payload, failed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark.set(len(s.held)) // once the answer is on its way
	return nil
}

// replyCode is the code of a responder's error as requesters are told it: not one by which the node would
// speak.
func replyCode(code core.Code) core.Code {
	switch code {
	case core.CodeNoResponders, core.CodeRecordTooLarge, core.CodeInvalidRecord, core.CodeLimited:
		return code
	}
	return core.CodeRequestFailed
}

// give implements answerer.
func (s *responderStream) give(c *call, timeout time.Duration) {
	head := wire.CallHead{Timeout: min(timeout, wire.MaxCallTimeout), Gather: c.asked.every,
		Partition: wire.AnyPartition}
	frame := make([]byte, 0, wire.HeaderSize+wire.CallHeadSize+len(c.record))
	s.mu.Lock()
	s.nextID++
	c.id.Store(s.nextID)
	s.held[s.nextID] = c
	s.mark.set(len(s.held))
	frame = wire.AppendCall(frame, s.nextID, &head, c.record)
	var err error
	if s.opened {
		err = s.lane.Queue(frame)
	} else {
		s.early = append(s.early, frame...)
	}
	s.mu.Unlock()
	if core.CodeOf(err) == core.CodeFull && err != nil {
		s.stream.Reset(core.CodeLimited) // it does not read: its reader here ends, and it is lost
	}
}

// withdraw implements answerer.
func (s *responderStream) withdraw(c *call) {
	id := c.id.Load()
	s.mu.Lock()
	mine := s.held[id] == c
	if mine {
		delete(s.held, id)
		s.mark.set(len(s.held))
	}
	s.mu.Unlock()
	if mine {
		h := wire.Header{Type: wire.CallCancel, Arg: id}
		_ = s.lane.Queue(h.Append(nil)) // one that cannot be told runs to its deadline
	}
}

// end implements answerer.
func (s *responderStream) end(err error) { s.stream.Reset(core.CodeOf(outward(err))) }

// nothingHeld forgets what a responder that is gone will not answer.
func (s *responderStream) nothingHeld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.held)
	s.mark.set(0)
}

// drain gives the responder nothing more and waits until it has answered.
func (s *responderStream) drain(ctx context.Context) {
	s.topic.leave(&s.CallResponder, false)
	s.mu.Lock()
	idle := s.mark.wait()
	s.mu.Unlock()
	s.session.await(ctx, idle)
}

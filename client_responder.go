package leat

import (
	"context"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// gathersSeen is how many requests to all responders are remembered, so that each is answered once, whichever
// nodes it comes from.
const gathersSeen = 1024

// remoteResponder is the Backend of a Responder over a server. It has a stream to each node that has
// partitions of the topic, and opens another where one is lost.
type remoteResponder struct {
	client *client
	topic  *clientTopic
	take   func(*Call)
	window int32 // of each node
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup // sources
	done   chan struct{}
	once   sync.Once
	ending sync.Once

	mu      sync.Mutex // guards the following
	sources []*responderSource
	leaving bool
	err     error // why it ended by itself
	seen    map[uint64]struct{}
	recent  [gathersSeen]uint64 // what is in seen, 0 for none
	turn    int                 // of recent
}

// responderSource is the stream to one node. Its goroutine reads it.
type responderSource struct {
	responder *remoteResponder
	node      *clientNode
	opened    chan error // what the first stream came to; capacity 1
	told      bool       // guarded by the responder's lock, as the next
	session   *responderSession
}

// responderSession is one stream of a responder.
type responderSession struct {
	source *responderSource
	lane   *transport.Lane
	most   int // bytes of a reply

	mu   sync.Mutex // guards the following
	held map[uint64]*Call
}

// endOfBus closes a responder that its owner has not closed.
type endOfBus struct{ *remoteResponder }

// Close implements clientSubscription.
func (e endOfBus) Close() error {
	e.fail(e.client.closedError(e.topic.op("respond on")))
	return e.remoteResponder.Close()
}

// OpenResponder implements Backend. It returns once every node has answered that can be reached, and one at
// least has.
func (c *client) OpenResponder(topic string, o RespondOptions, take func(*Call)) (ResponderBackend, error) {
	if err := core.ValidateName("topic", topic); err != nil {
		return nil, err
	}
	t, err := c.openTopic("respond on", topic)
	if err != nil {
		return nil, err
	}
	nodes := t.nodesOf()
	r := &remoteResponder{client: c, topic: t, take: take, done: make(chan struct{}),
		window: int32(max(o.Concurrency/len(nodes), 1)), seen: make(map[uint64]struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, node := range nodes {
		r.sources = append(r.sources, &responderSource{responder: r, node: c.node(node),
			opened: make(chan error, 1)})
	}
	if !c.keep(endOfBus{r}) {
		r.cancel()
		return nil, c.closedError(t.op("respond on"))
	}
	for _, f := range r.sources {
		r.tasks.Go(f.run)
	}
	if err := r.firstAnswers(); err != nil {
		_ = r.Close() // says nothing that err does not
		return nil, err
	}
	return r, nil
}

// firstAnswers waits for what the first streams came to.
func (r *remoteResponder) firstAnswers() error {
	patient, cancel := r.client.patient(r.client.ctx)
	defer cancel()
	var failed error
	open := 0
	for _, f := range r.sources {
		var err error
		select {
		case err = <-f.opened:
		case <-patient.Done():
			r.client.mu.Lock()
			err = f.node.unavailableLocked()
			r.client.mu.Unlock()
		}
		switch {
		case err == nil:
			open++
		case core.CodeOf(err) != core.CodeUnavailable:
			return err
		default:
			failed = err
		}
	}
	if open > 0 {
		return nil
	}
	return failed
}

// Done implements ResponderBackend.
func (r *remoteResponder) Done() <-chan struct{} { return r.done }

// Err implements ResponderBackend.
func (r *remoteResponder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Leave implements ResponderBackend.
func (r *remoteResponder) Leave() {
	r.mu.Lock()
	r.leaving = true
	var lanes []*transport.Lane
	for _, f := range r.sources {
		if f.session != nil {
			lanes = append(lanes, f.session.lane)
		}
	}
	r.mu.Unlock()
	resign := wire.Header{Type: wire.Resign}
	for _, lane := range lanes {
		_ = lane.Queue(resign.Append(nil)) // a stream that is over has nothing to give up
	}
}

// Close implements ResponderBackend.
func (r *remoteResponder) Close() error {
	r.once.Do(func() {
		r.mu.Lock()
		r.leaving = true
		var lanes []*transport.Lane
		for _, f := range r.sources {
			if f.session != nil {
				lanes = append(lanes, f.session.lane)
			}
		}
		r.mu.Unlock()
		if len(lanes) == 0 {
			r.cancel()
		}
		patience, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		stop := context.AfterFunc(patience, r.cancel)
		defer stop()
		for _, lane := range lanes {
			_ = lane.Close() // behind the last reply; the node ends its side then, or it is reset
		}
		r.tasks.Wait()
		r.client.drop(endOfBus{r})
		r.end()
	})
	return nil
}

// end ends the sources, and whoever waits for Done.
func (r *remoteResponder) end() {
	r.cancel()
	r.ending.Do(func() { close(r.done) })
}

// fail notes why the responder ends by itself; its owner is told by Done.
func (r *remoteResponder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !r.leaving {
		r.err = err
	}
}

// isLeaving reports whether no other stream is wanted.
func (r *remoteResponder) isLeaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaving
}

// again reports whether a request to all responders has come before.
func (r *remoteResponder) again(gather uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.seen[gather]; ok {
		return true
	}
	delete(r.seen, r.recent[r.turn])
	r.recent[r.turn] = gather
	r.turn = (r.turn + 1) % gathersSeen
	r.seen[gather] = struct{}{}
	return false
}

// tell says what the first stream came to.
func (f *responderSource) tell(err error) {
	f.responder.mu.Lock()
	defer f.responder.mu.Unlock()
	if !f.told {
		f.told = true
		f.opened <- err
	}
}

// run is the source's goroutine.
func (f *responderSource) run() {
	r, c := f.responder, f.responder.client
	for attempt := 0; r.ctx.Err() == nil && !r.isLeaving(); attempt++ {
		began := c.clock.Mono()
		err := f.serve()
		if r.ctx.Err() != nil || r.isLeaving() {
			return
		}
		if f.final(err) {
			r.fail(err)
			f.tell(err)
			r.end()
			return
		}
		if c.clock.Mono()-began > int64(time.Second) {
			attempt = 0
		}
		if c.sleep(r.ctx, attempt) != nil {
			return
		}
	}
}

// final reports whether another stream is of no use.
func (f *responderSource) final(err error) bool {
	switch core.CodeOf(err) {
	case core.CodeTopicNotFound, core.CodeUnauthenticated, core.CodeDenied, core.CodeUnsupported,
		core.CodeInvalidName:
		return true
	case core.CodeLimited, core.CodeNotLeader: // when it is opened first, that is the answer
		f.responder.mu.Lock()
		defer f.responder.mu.Unlock()
		return !f.told
	}
	return false
}

// serve opens a stream and reads it until it ends.
func (f *responderSource) serve() error {
	r := f.responder
	conn, err := f.node.connection(r.ctx)
	if err != nil {
		return err
	}
	if conn.welcome.Features&wire.FeatureCalls == 0 {
		return core.Errorf(core.CodeUnsupported, r.topic.op("respond on"),
			"the node at %s is of version %q, which has no requests", conn.address, conn.welcome.Server)
	}
	stream, err := conn.open(r.ctx, func() bool { return true })
	if err != nil {
		return err
	}
	stop := context.AfterFunc(r.ctx, func() { stream.Reset(0) })
	defer stop()
	s := &responderSession{source: f, lane: transport.NewLane(stream, maxCallBytes),
		held: make(map[uint64]*Call)}
	if err = s.open(stream); err == nil {
		f.use(s)
		f.tell(nil)
		err = s.read(stream)
		f.use(nil)
	}
	stream.drop(err)
	s.lane.Wait()
	s.mu.Lock()
	held := s.held
	s.held = nil
	s.mu.Unlock()
	for _, call := range held {
		call.Cancel()
	}
	return err
}

// use makes a stream the one that replies and resigning go to.
func (f *responderSource) use(s *responderSession) {
	f.responder.mu.Lock()
	defer f.responder.mu.Unlock()
	f.session = s
}

func (s *responderSession) open(stream *clientStream) error {
	r := s.source.responder
	body := wire.RespondBody{Topic: r.topic.name, Window: r.window}
	if err := s.lane.Send(wire.Marshal(nil, wire.Header{Type: wire.Respond}, body)); err != nil {
		return err
	}
	var answer wire.RespondingBody
	if _, err := stream.answer(wire.Responding, &answer); err != nil {
		return err
	}
	if answer.TopicID != r.topic.id {
		return core.Errorf(core.CodeTopicNotFound, r.topic.op("respond on"), "another topic has its name now")
	}
	s.most = answer.MaxRecordBytes
	return nil
}

func (s *responderSession) read(stream *clientStream) error {
	for {
		h, err := stream.next()
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Call:
			var payload []byte
			if payload, err = stream.reader.Payload(nil); err == nil {
				err = s.call(h.Arg, payload)
			}
		case wire.CallCancel:
			s.cancel(h.Arg)
		default:
			err = unexpected(h)
		}
		if err != nil {
			return err
		}
	}
}

// call hands a request to the responder.
func (s *responderSession) call(id uint64, payload []byte) error {
	head, record, err := wire.DecodeCall(payload)
	if err != nil {
		return err
	}
	r := s.source.responder
	if head.Gather != 0 && r.again(head.Gather) {
		s.reply(id, nil, core.NewError(core.CodeNoResponders, "respond", nil))
		return nil
	}
	call := NewCall(r.topic.name, record, head.Timeout,
		func(record []byte, err error) { s.reply(id, record, err) })
	s.mu.Lock()
	under, double := len(s.held), s.held[id] != nil
	if !double {
		s.held[id] = call
	}
	s.mu.Unlock()
	if double || under > 4*int(r.window) { // the node's bound is half of it; CALL_CANCEL may come late
		call.Cancel()
		return wire.Errorf("CALL %d, with %d under way", id, under)
	}
	r.take(call)
	return nil
}

// cancel gives a request up that nobody waits for any more. The node does not count it, so this side does not
// either, however long the handler goes on.
func (s *responderSession) cancel(id uint64) {
	s.mu.Lock()
	call := s.held[id]
	delete(s.held, id)
	s.mu.Unlock()
	if call != nil {
		call.Cancel()
	}
}

// reply sends what came of a request.
func (s *responderSession) reply(id uint64, record []byte, err error) {
	s.mu.Lock()
	delete(s.held, id)
	s.mu.Unlock()
	if err == nil {
		err = CheckCallSize(s.source.responder.topic.name, record, s.most)
	}
	if err == nil {
		_ = s.lane.Send(wire.AppendReply(make([]byte, 0, wire.HeaderSize+len(record)), id, record))
		return // the requester is told by the node where the stream is over
	}
	code, body := wire.ErrorOf(err)
	_ = s.lane.Send(wire.Marshal(nil, wire.Header{Type: wire.Reply, Aux: uint16(code), Arg: id}, &body))
}

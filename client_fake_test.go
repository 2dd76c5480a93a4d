package leat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// fakeCluster is nodes that speak the protocol over Pipe, with logs in memory that follow the rules of
// core.Partition. It can be made to misbehave.
type fakeCluster struct {
	t      testing.TB
	placed func(partition int32) uint16 // node of each partition
	window uint64                       // credit of producers

	features uint64 // of WELCOME

	mu     sync.Mutex // guards the following
	wake   sync.Cond  // something was appended, or a stream ended
	nodes  map[uint16]*fakeNode
	topics map[string]*fakeTopic
	nextID uint64
	groups map[string]*fakeGroup
	queues fakeQueues
	frames int // of all streams, both ways
	cutAt  int // the connection on which this frame passes is cut; 0: none
	errs   []error

	// answer may answer a batch in place of the log, with a code, or drop the connection.
	answer func(p *fakePart, h *core.FrameHeader) core.Code
	// opening may refuse a stream.
	opening func(node uint16, t wire.Type) core.Code
	// garble may change a frame of the node, header included, before it is written.
	garble func(t wire.Type, frame []byte) []byte
	// ponging says whether PINGs are answered; nil: always.
	ponging func() bool
	// calling gives what a node says to a request to all its responders: a code, or 0 for one reply.
	calling func(node uint16) core.Code
}

type fakeNode struct {
	cluster *fakeCluster
	id      uint16
	down    bool
	dials   int
	newest  *fakeStream // its newest control stream
	conns   map[transport.Conn]bool
	running sync.WaitGroup
}

type fakeTopic struct {
	name   string
	id     uint64
	cfg    core.TopicConfig
	parts  []*fakePart
	names  map[string]uint64 // instance of each named producer
	epochs map[string]int16
}

type fakePart struct {
	number int32
	state  *core.Partition
	start  int64
	frames []fakeFrame
	lose   func() (int32, int32) // what a producer that resumes is told to have lost
	bumped int16
}

type fakeFrame struct {
	base, next int64
	bytes      []byte
	producer   int64
}

type fakeGroup struct {
	topic     *fakeTopic
	committed map[int32]int64
	members   []*fakeMember
	gen       int32
	owner     map[int32]*fakeMember
}

type fakeMember struct {
	group  *fakeGroup
	stream *fakeStream
	owned  map[int32]int32 // generation
	name   string
}

func newFake(t testing.TB, nodes int) *fakeCluster {
	f := &fakeCluster{t: t, window: 1 << 20, features: wire.FeatureQueues,
		nodes: map[uint16]*fakeNode{}, topics: map[string]*fakeTopic{},
		nextID: 16,
		groups: map[string]*fakeGroup{}}
	f.wake.L = &f.mu
	for i := range nodes {
		id := uint16(i)
		if nodes > 1 {
			id++
		}
		f.nodes[id] = &fakeNode{cluster: f, id: id, conns: map[transport.Conn]bool{}}
	}
	f.placed = func(partition int32) uint16 {
		if nodes == 1 {
			return 0
		}
		return uint16(int(partition)%nodes) + 1
	}
	return f
}

func address(id uint16) string { return fmt.Sprintf("n%d:4740", id) }

// dial is the dialFunc of clients.
func (f *fakeCluster) dial(ctx context.Context, to string) (transport.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if address(n.id) != to {
			continue
		}
		n.dials++
		if n.down {
			return nil, core.Errorf(core.CodeUnavailable, "dial "+to, "down")
		}
		dialed, accepted := transport.Pipe(wire.ALPNClient)
		n.conns[accepted] = true
		n.running.Go(func() { n.serve(accepted) })
		return dialed, ctx.Err()
	}
	return nil, core.Errorf(core.CodeUnavailable, "dial "+to, "no such node")
}

// client gives a client that is connected. Everything is closed and checked at the end of the test.
func (f *fakeCluster) client(options ...DialOption) (*Bus, *client) {
	f.t.Helper()
	var o dialOptions
	for _, option := range options {
		option(&o)
	}
	var seeds []string
	for id := range f.nodes {
		seeds = append(seeds, address(id))
	}
	slices.Sort(seeds)
	c := newClient(strings.Join(seeds, ","), f.dial, o, 1)
	if err := c.connect(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	bus := NewBus(c)
	f.t.Cleanup(func() {
		_ = bus.Close() // tests that care look at it themselves
		f.stop()
	})
	return bus, c
}

// stop ends all nodes and fails the test over what they found wrong.
func (f *fakeCluster) stop() {
	for id := range f.nodes {
		f.cut(id, true)
	}
	for _, n := range f.nodes {
		n.running.Wait()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, err := range f.errs {
		f.t.Error("fake node: ", err)
	}
	f.errs = nil
}

// cut ends the connections of a node. down: it takes no more.
func (f *fakeCluster) cut(id uint16, down bool) {
	f.mu.Lock()
	n := f.nodes[id]
	n.down = down
	var conns []transport.Conn
	for conn := range n.conns {
		conns = append(conns, conn)
	}
	clear(n.conns)
	f.wake.Broadcast()
	f.mu.Unlock()
	for _, conn := range conns {
		conn.Close(core.CodeUnavailable, "cut by the test")
	}
}

func (f *fakeCluster) up(id uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[id].down = false
}

// topic makes a topic.
func (f *fakeCluster) topic(name string, cfg core.TopicConfig) *fakeTopic {
	f.mu.Lock()
	defer f.mu.Unlock()
	cfg = cfg.WithDefaults()
	t := &fakeTopic{name: name, id: f.nextID, cfg: cfg, names: map[string]uint64{}, epochs: map[string]int16{}}
	f.nextID++
	for i := range cfg.Partitions {
		t.parts = append(t.parts, &fakePart{number: int32(i), state: core.NewPartition(core.AckPage, 0, 0)})
	}
	f.topics[name] = t
	return t
}

// wrong notes a breach of the protocol by the client.
func (f *fakeCluster) wrong(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	f.mu.Lock()
	f.errs = append(f.errs, err)
	f.mu.Unlock()
	return err
}

// passes counts a frame and reports whether the connection lives on.
func (f *fakeCluster) passes(conn transport.Conn) bool {
	f.mu.Lock()
	f.frames++
	cut := f.frames == f.cutAt
	f.mu.Unlock()
	if cut {
		conn.Close(core.CodeUnavailable, "cut by the test")
	}
	return !cut
}

// fakeStream is one stream of a node.
type fakeStream struct {
	transport.Stream
	node   *fakeNode
	conn   transport.Conn
	reader *transport.Reader

	mu     sync.Mutex // serialises writes
	closed atomic.Bool
}

var errCut = errors.New("cut")

func (s *fakeStream) next() (wire.Header, []byte, error) {
	h, err := s.reader.Next()
	if err != nil {
		return h, nil, err
	}
	payload, err := s.reader.Payload(nil)
	if err == nil && !s.node.cluster.passes(s.conn) {
		err = errCut
	}
	return h, payload, err
}

func (s *fakeStream) send(h wire.Header, payload []byte) error {
	h.Length = uint32(len(payload))
	return s.write(h.Type, append(h.Append(nil), payload...))
}

func (s *fakeStream) json(h wire.Header, body any) error {
	return s.write(h.Type, wire.Marshal(nil, h, body))
}

func (s *fakeStream) write(t wire.Type, frame []byte) error {
	f := s.node.cluster
	f.mu.Lock()
	garble := f.garble
	f.mu.Unlock()
	if garble != nil {
		frame = garble(t, frame)
	}
	if !s.node.cluster.passes(s.conn) {
		return errCut
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.Write(frame)
	return err
}

func (n *fakeNode) serve(conn transport.Conn) {
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		streams.Go(func() {
			s := &fakeStream{Stream: stream, node: n, conn: conn, reader: transport.NewReader(stream, wire.MaxPayload)}
			code := core.Code(0)
			if err := n.serveStream(s); err != nil {
				code = core.CodeOf(err)
			}
			s.closed.Store(true)
			n.cluster.mu.Lock()
			n.cluster.wake.Broadcast()
			n.cluster.mu.Unlock()
			if code == core.CodeInternal {
				code = 0
			}
			if code != 0 {
				stream.Reset(code)
			} else {
				_ = stream.Close()
			}
		})
	}
}

func (n *fakeNode) serveStream(s *fakeStream) error {
	h, payload, err := s.next()
	if err != nil {
		return err
	}
	n.cluster.mu.Lock()
	opening := n.cluster.opening
	n.cluster.mu.Unlock()
	if opening != nil {
		if code := opening(n.id, h.Type); code != 0 {
			return core.NewError(code, "open", nil)
		}
	}
	switch h.Type {
	case wire.Hello:
		return n.control(s)
	case wire.ProducerOpen:
		return n.producer(s, payload)
	case wire.Subscribe:
		return n.subscription(s, h, payload)
	case wire.Join:
		return n.member(s, payload)
	case wire.QueueOpen:
		return n.queue(s, h, payload)
	case wire.CallOpen:
		return n.calls(s)
	}
	return n.cluster.wrong("stream begins with %v", h.Type)
}

// calls answers requests to all responders. A reply is the request itself.
func (n *fakeNode) calls(s *fakeStream) error {
	for {
		h, payload, err := s.next()
		if err != nil {
			return err
		}
		if h.Type != wire.Call { // CALL_CANCEL comes after GATHERED, if at all
			continue
		}
		_, record, err := wire.DecodeCall(payload)
		if err != nil {
			return n.cluster.wrong("CALL: %v", err)
		}
		last := wire.Header{Type: wire.Gathered, Arg: h.Arg}
		if code := n.cluster.calling(n.id); code != 0 {
			last.Aux = uint16(code)
			err = s.json(last, wire.ErrorBody{})
		} else if err = s.send(wire.Header{Type: wire.Reply, Arg: h.Arg}, record); err == nil {
			err = s.send(last, nil)
		}
		if err != nil {
			return err
		}
	}
}

func (n *fakeNode) mapBody() wire.MapBody {
	f := n.cluster
	body := wire.MapBody{Epoch: 1}
	if len(f.nodes) == 1 {
		return body
	}
	body.Meta = 1
	for id := range f.nodes {
		body.Nodes = append(body.Nodes, wire.NodeBody{ID: id, Address: address(id), Up: true})
	}
	for i := range core.GroupsPartitions {
		body.GroupNodes = append(body.GroupNodes, uint16(i%len(f.nodes))+1)
	}
	return body
}

func (n *fakeNode) control(s *fakeStream) error {
	n.cluster.mu.Lock()
	n.newest = s
	n.cluster.mu.Unlock()
	if err := s.json(wire.Header{Type: wire.Welcome}, wire.WelcomeBody{Version: 1,
		Features: n.cluster.features, Node: n.id,
		Map: n.mapBody()}); err != nil {
		return err
	}
	for {
		h, payload, err := s.next()
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Ping:
			if n.cluster.ponging != nil && !n.cluster.ponging() {
				continue
			}
			err = s.send(wire.Header{Type: wire.Pong, Arg: h.Arg}, nil)
		case wire.Request:
			answer, failed := n.request(wire.Op(h.Aux), payload)
			back := wire.Header{Type: wire.Response, Arg: h.Arg}
			if failed != nil {
				code, body := wire.ErrorOf(failed)
				back.Aux = uint16(code)
				answer = body
			}
			err = s.json(back, answer)
		default:
			return n.cluster.wrong("%v on the control stream", h.Type)
		}
		if err != nil {
			return err
		}
	}
}

func (n *fakeNode) request(op wire.Op, payload []byte) (any, error) {
	f := n.cluster
	switch op {
	case wire.OpTopics:
		var r wire.TopicsRequest
		if err := wire.Unmarshal(wire.Request, payload, &r); err != nil {
			return nil, err
		}
		return n.topics(&r)
	case wire.OpCreateTopic:
		var b wire.TopicBody
		if err := wire.Unmarshal(wire.Request, payload, &b); err != nil {
			return nil, err
		}
		if n.id != n.mapBody().Meta {
			e := core.NewError(core.CodeNotLeader, "create topic", nil)
			e.Node = n.mapBody().Meta
			return nil, e
		}
		f.mu.Lock()
		exists := f.topics[b.Name] != nil
		f.mu.Unlock()
		if exists {
			return nil, core.Errorf(core.CodeTopicExists, "create topic", "from the fake")
		}
		f.topic(b.Name, topicConfig(&b))
		return wire.Empty{}, nil
	case wire.OpDeleteTopic:
		var b wire.NameBody
		if err := wire.Unmarshal(wire.Request, payload, &b); err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.topics[b.Name] == nil {
			return nil, core.ErrTopicNotFound
		}
		delete(f.topics, b.Name)
		f.wake.Broadcast()
		return wire.Empty{}, nil
	case wire.OpOffsets:
		var b wire.OffsetsBody
		if err := wire.Unmarshal(wire.Request, payload, &b); err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		t := f.topics[b.Topic]
		if t == nil {
			return nil, core.ErrTopicNotFound
		}
		return wire.OffsetsAnswer{Partitions: t.places(b.Partitions)}, nil
	}
	return n.groupRequest(op, payload)
}

func (n *fakeNode) groupRequest(op wire.Op, payload []byte) (any, error) {
	f := n.cluster
	switch op {
	case wire.OpGroups:
		return n.groups(), nil
	case wire.OpResetGroup:
		var b wire.ResetBody
		if err := wire.Unmarshal(wire.Request, payload, &b); err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		g := f.groups[b.Group]
		if g == nil {
			return nil, core.ErrGroupNotFound
		}
		for _, o := range b.Offsets {
			g.committed[o.Partition] = o.Offset
		}
		return wire.Empty{}, nil
	case wire.OpCluster:
		return wire.ClusterAnswer{Map: n.mapBody(), Node: n.id}, nil
	}
	return nil, core.Errorf(core.CodeUnsupported, "ask", "op %d", op)
}

func (n *fakeNode) groups() wire.GroupsAnswer {
	f := n.cluster
	f.mu.Lock()
	defer f.mu.Unlock()
	var answer wire.GroupsAnswer
	for name, g := range f.groups {
		info := wire.GroupInfoBody{Group: name, Topic: g.topic.name, Generation: g.gen}
		for p := range g.topic.parts {
			one := wire.GroupPartitionBody{Partition: int32(p), Committed: -1}
			if at, ok := g.committed[int32(p)]; ok {
				one.Committed = at
			}
			info.Partitions = append(info.Partitions, one)
		}
		if n.id == 0 || n.mapBody().GroupNodes[core.GroupsPartition(name)] == n.id {
			answer.Groups = append(answer.Groups, info)
		}
	}
	return answer
}

func (n *fakeNode) topics(r *wire.TopicsRequest) (any, error) {
	f := n.cluster
	f.mu.Lock()
	defer f.mu.Unlock()
	var answer wire.TopicsAnswer
	for name, t := range f.topics {
		if r.Name != "" && r.Name != name {
			continue
		}
		b := wire.TopicBody{Name: name, ID: t.id, Partitions: t.cfg.Partitions, Ack: uint8(t.cfg.Ack),
			MaxRecordBytes: t.cfg.MaxRecordBytes}
		for _, p := range t.parts {
			if n.id != 0 {
				b.Placement = append(b.Placement, f.placed(p.number))
			}
			if r.Detail && f.placed(p.number) == n.id {
				b.Local = append(b.Local, wire.PartitionBody{Partition: p.number, Start: p.start, End: p.state.LogEnd(),
					HighWater: p.state.HighWater()})
			}
		}
		answer.Topics = append(answer.Topics, b)
	}
	if r.Name != "" && len(answer.Topics) == 0 {
		return nil, core.ErrTopicNotFound
	}
	slices.SortFunc(answer.Topics, func(a, b wire.TopicBody) int { return strings.Compare(a.Name, b.Name) })
	return answer, nil
}

// places resolves positions. The lock must be held.
func (t *fakeTopic) places(asked []wire.SubscribePartition) []wire.SubscribedPartition {
	var list []wire.SubscribedPartition
	for _, a := range asked {
		p := t.parts[a.Partition]
		one := wire.SubscribedPartition{Partition: a.Partition, Offset: p.start}
		switch core.PositionKind(a.Kind) {
		case core.PositionLatest:
			one.Offset = p.state.HighWater()
		case core.PositionOffset:
			if one.Offset = a.Value; a.Value < p.start || a.Value > p.state.LogEnd() {
				one.Code, one.Error = core.CodeOffsetOutOfRange, &wire.ErrorBody{Op: "read", Cause: "from the fake"}
			}
		}
		list = append(list, one)
	}
	return list
}

// soon is a context that ends a test that hangs.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

package node

import (
	"context"
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// producerKey names the one stream that a producer may have.
type producerKey struct {
	topic uint64 // that of the log
	id    int64
}

// producerStream takes PRODUCE frames of one remote producer.
//
//	client ──▶ reader ──▶ journal ──▶ complete ──▶ ackBook ──▶ client
//	              └─ no room ─▶ backlog ─▶ appender ─┘
//
// The reader journals by itself where the level allows it, and then writes the answers: a lone publish
// needs no other goroutine.
type producerStream struct {
	session *session
	stream  transport.Stream
	reader  *transport.Reader
	topic   *topic
	stats   *topicStats
	ctx     context.Context // ends with the stream
	cancel  context.CancelFunc

	id       int64 // 0 for level none
	delayed  bool  // its records are messages to be delivered later
	name     string
	instance uint64
	level    core.Ack
	index    uint32 // in Node.producers

	book    *ackBook
	wake    chan struct{} // of the ack writer; capacity 1
	writer  sync.WaitGroup
	appends sync.WaitGroup
	over    chan struct{} // closed when nothing of the stream is left in the node

	// The following is owned by the reader.
	received uint64 // bytes of PRODUCE frames begun
	isAwake  bool   // the book knows that the reader looks
	payload  []byte // for frames beyond the reader's buffer
	frame    remoteFrame

	mu        sync.Mutex // guards the following
	backlog   []backlogged
	appending bool  // the appender runs; the reader appends to backlog only
	cause     error // why the node ended the stream
}

// backlogged is a frame that waits for room.
type backlogged struct {
	frame remoteFrame
	size  int   // of the PRODUCE frame
	large int   // bytes of budget to give back
	err   error // why it is refused, in its turn
}

// serveProducer serves a stream that began with PRODUCER_OPEN.
func (c *session) serveProducer(stream transport.Stream, r *transport.Reader, h *wire.Header) error {
	var body wire.ProducerOpenBody
	if err := readBody(r, h, &body); err != nil {
		return err
	}
	p, err := c.newProducerStream(stream, r, &body)
	if err != nil {
		return err
	}
	defer c.budget.giveWindow(p.book.window)
	defer p.cancel()
	answer, err := p.open(&body)
	if err != nil {
		p.leave()
		return err
	}
	c.opened(p)
	defer c.closed(p)
	c.server.stats.producers.Add(1)
	defer c.server.stats.producers.Add(-1)
	ok := wire.Marshal(nil, wire.Header{Type: wire.ProducerOK, Arg: p.book.window}, answer)
	if _, err = stream.Write(ok); err == nil {
		r.SetLimit(wire.MaxPayload)
		p.writer.Go(p.writeAcks)
		err = p.read()
	}
	return p.close(err)
}

func (c *session) newProducerStream(
	stream transport.Stream, r *transport.Reader, body *wire.ProducerOpenBody,
) (*producerStream, error) {
	if err := c.may(core.ActionPublish, body.Topic); err != nil {
		return nil, err
	}
	t, err := c.node.topicFor("publish to", body.Topic)
	if err != nil {
		return nil, err
	}
	level := core.Ack(body.Ack)
	if err := level.Available(); err != nil {
		return nil, err
	}
	if level = level.Or(t.cfg.Ack); (level == core.AckNone) != (body.ProducerID == 0) || body.ProducerID < 0 {
		return nil, wire.Errorf("PRODUCER_OPEN of producer %d at level %v", body.ProducerID, level)
	}
	if body.Name != "" && (level == core.AckNone || body.Instance == 0) {
		return nil, wire.Errorf("PRODUCER_OPEN with a name at level %v, instance %d", level, body.Instance)
	}
	if body.Delayed && (body.Name != "" || body.ProducerID&(core.MaxPartitions-1) != 0) {
		return nil, wire.Errorf("PRODUCER_OPEN for delayed messages of producer %d, name %s", body.ProducerID,
			core.Quote(body.Name))
	}
	if err := t.checkOpened(body.Partitions); err != nil {
		return nil, err
	}
	p := &producerStream{
		session: c, stream: stream, reader: r, topic: t, stats: c.server.stats.topic(t.name),
		id: body.ProducerID, delayed: body.Delayed, name: body.Name, instance: body.Instance,
		level: max(level, t.cfg.Ack),
		wake:  make(chan struct{}, 1), over: make(chan struct{}),
		book: newAckBook(len(t.partitions), c.budget.takeWindow()),
	}
	if level == core.AckNone {
		p.level = t.cfg.Ack // how it is stored; nothing is answered
	}
	p.book.clock, p.book.took = c.node.clock, c.server.stats.ackPage
	if p.level == core.AckDisk {
		p.book.took = c.server.stats.ackDisk
	}
	p.ctx, p.cancel = context.WithCancel(c.ctx)
	return p, nil
}

// checkOpened checks what PRODUCER_OPEN says of partitions: each costs a look at the journal, and may cost
// an epoch on the disk, so that each comes once.
func (t *topic) checkOpened(list []wire.ProducerPartition) error {
	if len(list) > len(t.partitions) {
		return t.tooMany(len(list))
	}
	seen := make(map[int32]bool, len(list))
	for _, at := range list {
		if at.Partition < 0 || int(at.Partition) >= len(t.partitions) || at.NextSeq < 0 || at.Epoch < 0 {
			return wire.Errorf("PRODUCER_OPEN with partition %d of %d, epoch %d, sequence %d",
				at.Partition, len(t.partitions), at.Epoch, at.NextSeq)
		}
		if seen[at.Partition] {
			return wire.Errorf("PRODUCER_OPEN names partition %d twice", at.Partition)
		}
		seen[at.Partition] = true
	}
	return nil
}

// open makes the stream the only one of its producer and says where each partition goes on.
func (p *producerStream) open(body *wire.ProducerOpenBody) (*wire.ProducerOKBody, error) {
	answer := &wire.ProducerOKBody{TopicID: p.topic.id, MaxRecordBytes: p.topic.config().MaxRecordBytes}
	if p.id == 0 {
		return answer, nil
	}
	n := p.session.node
	if p.name != "" {
		id, epoch, err := n.claimName(p.ctx, p.topic, p.name, p.instance, body.Resume, p)
		if err != nil {
			return nil, err
		}
		if id != p.id {
			return nil, wire.Errorf("PRODUCER_OPEN of %s as producer %d, want %d", core.Quote(p.name), p.id, id)
		}
		answer.Epoch = epoch
	}
	if err := p.session.server.takeOver(p); err != nil {
		return nil, err
	}
	p.index = n.register(p)
	for _, at := range body.Partitions {
		goOn, err := p.goOn(at, answer)
		if err != nil {
			return nil, err
		}
		answer.Partitions = append(answer.Partitions, goOn)
	}
	return answer, nil
}

// goOn says where a partition goes on that the client has sent to before.
func (p *producerStream) goOn(
	at wire.ProducerPartition, answer *wire.ProducerOKBody,
) (wire.ProducerPartition, error) {
	epoch, next, known := p.logOf(at.Partition).producerState(p.producerOf(at.Partition))
	switch {
	case !known:
		return at, nil // forgotten, or never known: as the client says
	case epoch == at.Epoch && !sequenceBefore(next, at.NextSeq):
		at.NextSeq = next
		return at, nil
	case epoch == at.Epoch:
		at.LostFrom, at.LostTo = next, at.NextSeq
	case at.NextSeq == 0 && epochAfter(at.Epoch, epoch):
		return at, nil // nothing of the newer epoch was answered
	case epochAfter(at.Epoch, epoch):
		at.LostFrom, at.LostTo = 0, at.NextSeq
	default:
		return at, core.NewError(core.CodeProducerFenced, p.topic.op("publish to"), nil)
	}
	fresh, err := p.freshEpoch(at.Epoch)
	if err != nil {
		return at, err
	}
	if p.name != "" {
		answer.Epoch = fresh
	}
	at.Epoch, at.NextSeq = fresh, 0
	return at, nil
}

// freshEpoch gives an epoch after old: a stored one for a producer with a name.
func (p *producerStream) freshEpoch(old int16) (int16, error) {
	if p.name == "" {
		return core.NextProducerEpoch(old), nil
	}
	return p.session.node.bumpName(p.ctx, p.topic, p.name, p.instance)
}

// epochAfter compares epochs, which wrap at 2¹⁵.
func epochAfter(a, b int16) bool {
	d := (a - b) & (1<<15 - 1)
	return d != 0 && d < 1<<14
}

// sequenceBefore compares sequences, which wrap at 2³¹.
func sequenceBefore(a, b int32) bool {
	d := (uint32(b) - uint32(a)) & (1<<31 - 1)
	return d != 0 && d < 1<<30
}

// takeOver ends the stream that the producer had before, and waits until nothing of it is in flight.
func (s *Server) takeOver(p *producerStream) error {
	key := p.key()
	for {
		s.mu.Lock()
		old := s.producers[key]
		if old == nil {
			s.producers[key] = p
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		code := core.CodeUnavailable // its own client has left it
		if old.instance != p.instance {
			code = core.CodeProducerFenced
		}
		old.end(core.NewError(code, p.topic.op("publish to"), nil))
		select {
		case <-old.over:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

// fence ends the stream because its name was given to another instance, and waits until it is over.
func (p *producerStream) fence(ctx context.Context) {
	p.end(core.NewError(core.CodeProducerFenced, p.topic.op("publish to"), nil))
	select {
	case <-p.over:
	case <-ctx.Done():
	}
}

// end makes the stream end with an error; the first one counts. It does not wait.
func (p *producerStream) end(err error) {
	p.mu.Lock()
	if p.cause == nil {
		p.cause = err
	}
	err = p.cause
	p.mu.Unlock()
	p.stream.Reset(core.CodeOf(err))
	p.cancel()
}

// close waits until nothing of the stream is in flight, so that the sequences that the next stream of
// this producer is told are final.
func (p *producerStream) close(err error) error {
	p.mu.Lock()
	if p.cause != nil {
		err = p.cause
	}
	p.mu.Unlock()
	if err = ignoreEOF(err); err == nil {
		p.appends.Wait()
		err = p.rest()
		p.awaitQuiet(p.ctx) // a client that has ended its side reads the last answers
	}
	p.book.end()
	if err != nil {
		endStream(p.stream, err) // whoever writes gives up
	}
	p.cancel()
	p.appends.Wait()
	p.writer.Wait()
	if settled := p.book.whenSettled(); settled != nil {
		select {
		case <-settled:
		case <-p.session.server.ctx.Done():
			return err // the disk hangs: the index is kept until the bus closes, for the answer to come
		}
	}
	p.leave()
	return err
}

// leave frees what the stream has in the node.
func (p *producerStream) leave() {
	if p.name != "" {
		p.session.node.releaseName(p.topic, p.name, p)
	}
	if p.index != nobody {
		p.session.node.unregister(p.index)
	}
	s, key := p.session.server, p.key()
	s.mu.Lock()
	if s.producers[key] == p {
		delete(s.producers, key)
	}
	s.mu.Unlock()
	close(p.over)
}

// drain waits until everything received was answered, or, where nobody reads answers, has left the node.
func (p *producerStream) drain(ctx context.Context) {
	p.awaitQuiet(ctx)
	if !p.book.hasEnded() {
		return
	}
	select {
	case <-p.over:
	case <-ctx.Done():
	}
}

func (p *producerStream) awaitQuiet(ctx context.Context) {
	quiet := p.book.whenQuiet()
	if quiet == nil {
		return
	}
	select {
	case <-quiet:
	case <-ctx.Done():
	}
}

package leat

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// queueSession is one stream of a member. The source's goroutine reads it, and the writer writes what was
// settled meanwhile: at once when it is idle, and everything that came in between when it is not. Acks that
// nothing depends on wait for others.
type queueSession struct {
	source  *queueSource
	stream  *clientStream
	wake    chan struct{} // for the writer; capacity 1
	stop    chan struct{} // ends the writer
	ended   chan struct{} // closed when nothing comes of the stream any more
	lease   time.Duration // of the group
	reasons bool          // the node takes nacks with a reason
	over    atomic.Bool   // what was granted is not to be delivered any more

	// The following is guarded by the queue's lock.
	live     bool // answers reach the node
	received int64
	granted  int64 // credit
	credited int64 // of it, told
	buffered int64
	first    *remoteGrant // of those with open records
	inHand   int          // records that the loop was given and are not answered
	revoked  bool
	leaving  bool
	doubt    bool // something was settled that no COMMITTED has confirmed
	settles  settleQueue
	extends  int
	commits  []chan error
	sequence uint64 // of the last COMMIT
	sent     map[uint64][]chan error
	parting  bool // LEAVE was sent
	left     bool // and answered
	leftErr  error
	kept     int  // records acked in settles, while only acks are to be written
	tellFrom int  // records acked from which they are written at once
	hurry    bool // what is to be written is not to wait
	writer   writerState

	slab []remoteGrant // of the reader, to be used
}

const (
	maxExtends = 4096 // leases that wait to be extended
	grantSlab  = 32   // grants that are allocated at once
)

func (s *queueSession) queue() *remoteQueue { return s.source.queue }

// op says what was tried, for errors.
func (s *queueSession) op(verb string) string { return s.queue().topic.op(verb) }

// open makes the stream that of a member.
func (s *queueSession) open() error {
	q := s.queue()
	o := &q.options
	q.mu.Lock()
	s.granted = s.source.window
	s.credited = s.granted
	body := wire.QueueOpenBody{Group: o.Group, Topic: q.topic.name, Mode: uint8(o.Mode), MaxHeld: s.source.share,
		Kind: uint8(o.From.Kind), Value: o.From.Value, Config: queueConfigBody(&o.Queue),
		Filter: o.Filter}
	q.mu.Unlock()
	h := wire.Header{Type: wire.QueueOpen, Arg: uint64(s.granted)}
	if _, err := s.stream.Write(wire.Marshal(nil, h, body)); err != nil {
		return err
	}
	var opened wire.QueueOpenedBody
	if _, err := s.stream.answer(wire.QueueOpened, &opened); err != nil {
		return err
	}
	if opened.TopicID != q.topic.id {
		return core.Errorf(core.CodeTopicNotFound, q.topic.op("read"), "another topic has its name now")
	}
	s.lease = time.Duration(opened.Lease)
	s.tellFrom = 1
	if o.Mode == core.GroupQueue && opened.MaxUnsettled >= patientUnsettled {
		s.tellFrom = min(max(int(body.MaxHeld)/4, 1), tellMost)
	}
	return nil
}

func queueConfigBody(c *core.QueueConfig) wire.QueueConfigBody {
	return wire.QueueConfigBody{Lease: int64(c.Lease), MaxUnsettled: c.MaxUnsettled, MaxAttempts: c.MaxAttempts,
		Rate: c.Rate, RetryMin: int64(c.Retry.Min), RetryMax: int64(c.Retry.Max), RetryFactor: c.Retry.Factor,
		RetryJitter: c.Retry.Jitter}
}

// run serves the open stream until it ends.
func (s *queueSession) run() error {
	q := s.queue()
	s.sent = map[uint64][]chan error{}
	q.mu.Lock()
	s.live, s.source.session = true, s
	s.hurry = true // the user may have closed the subscription
	s.leaving = q.closed.Load()
	q.mu.Unlock()
	var writing sync.WaitGroup
	writing.Go(s.write)
	err := s.read()
	s.close()
	close(s.stop)
	s.stream.drop(err)
	writing.Wait()
	return err
}

// close gives up what the stream has brought.
func (s *queueSession) close() {
	q := s.queue()
	s.over.Store(true)
	q.mu.Lock()
	s.live, s.source.session = false, nil
	for g := s.first; g != nil; g = g.next {
		g.open, g.inHand = 0, 0
	}
	s.first = nil
	waiting := s.commits
	for _, list := range s.sent {
		waiting = append(waiting, list...)
	}
	if (s.doubt || len(s.sent) > 0) && !s.left {
		q.late = core.Errorf(core.CodeStaleAck, s.op("commit on"), "the connection ended before the node answered")
	}
	s.commits, s.sent = nil, nil
	q.changed.Store(true)
	q.mu.Unlock()
	for _, done := range waiting {
		done <- nil // late says what was lost
	}
	close(s.ended)
	q.rouse()
}

// read takes what the node says until the stream ends.
func (s *queueSession) read() error {
	for {
		h, err := s.stream.next()
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Grant:
			err = s.take(&h)
		case wire.Stale, wire.Committed, wire.PartitionFailed, wire.Left:
			var payload []byte
			if payload, err = s.stream.reader.Small(); err == nil {
				err = s.told(&h, payload)
			}
		case wire.Revoke:
			s.revoke()
		default:
			err = unexpected(h)
		}
		if err != nil || s.left {
			return err
		}
	}
}

// told does what a small frame says.
func (s *queueSession) told(h *wire.Header, payload []byte) error {
	q := s.queue()
	switch h.Type {
	case wire.Stale:
		return s.stale(payload)
	case wire.PartitionFailed:
		var body wire.ErrorBody
		if err := wire.Unmarshal(h.Type, payload, &body); err != nil {
			return err
		}
		q.fail(body.Error(core.Code(h.Arg)))
		return nil
	case wire.Committed:
		return s.committed(h, payload)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !s.parting {
		return unexpected(*h)
	}
	s.left = true
	if h.Aux != 0 {
		s.leftErr = core.NewError(core.Code(h.Aux), s.op("leave the group on"), nil)
	}
	return nil
}

// take puts a GRANT where the loop finds it.
func (s *queueSession) take(h *wire.Header) error {
	q := s.queue()
	ch := newChunk(int(h.Length))
	payload, err := s.stream.reader.Payload(ch.buf)
	if err != nil {
		return err
	}
	ch.buf = payload
	head, runs, err := wire.DecodeGrant(h, payload)
	if err != nil {
		return err
	}
	if int(head.Partition) >= q.topic.cfg.Partitions {
		return wire.Errorf("GRANT of partition %d, the topic has %d", head.Partition, q.topic.cfg.Partitions)
	}
	if len(s.slab) == 0 {
		s.slab = make([]remoteGrant, grantSlab)
	}
	g := &s.slab[0]
	s.slab = s.slab[1:]
	*g = remoteGrant{session: s, partition: head.Partition, attempt: head.Attempt, grant: head.Grant,
		open: head.Grant.Left, chunk: ch, size: int64(h.Size()), rest: head.Grant.Left, runs: runs}
	g.waits.Store(true)
	q.mu.Lock()
	s.received += g.size
	s.buffered += g.size
	if s.received-g.size >= s.granted {
		defer q.mu.Unlock()
		return wire.Errorf("GRANT at %d of %d bytes of credit", s.received-g.size, s.granted)
	}
	s.listLocked(g)
	q.ready = append(q.ready, g)
	q.mu.Unlock()
	q.rouse()
	return nil
}

// freedLocked takes the memory of a grant back, and grants its bytes anew once half the window was used.
func (s *queueSession) freedLocked(g *remoteGrant) {
	g.chunk.free()
	g.chunk, g.runs, g.records = nil, nil, nil
	s.buffered -= g.size
	limit := s.received + s.source.window - s.buffered
	if limit-s.granted >= s.source.window/2 {
		s.granted = limit
		s.signalLocked()
	}
}

func (s *queueSession) listLocked(g *remoteGrant) {
	if g.next = s.first; g.next != nil {
		g.next.earlier = g
	}
	s.first = g
}

func (s *queueSession) unlistLocked(g *remoteGrant) {
	if g.earlier != nil {
		g.earlier.next = g.next
	} else {
		s.first = g.next
	}
	if g.next != nil {
		g.next.earlier = g.earlier
	}
}

// handLocked notes that the loop has a grant, and which of its records it may deliver.
func (s *queueSession) handLocked(g *remoteGrant) {
	if s.over.Load() {
		return // nothing: when it leaves, the node hands them out again
	}
	s.queue().moved = true
	g.inHand, g.wanted = g.open, g.open
	s.inHand += bits.OnesCount64(g.inHand)
}

// recallLocked takes from the loop what it has not delivered and is not to deliver any more.
func (s *queueSession) recallLocked(g *remoteGrant) {
	keep := g.wanted & g.open
	if s.over.Load() {
		s.outOfHandLocked(g, keep)
		keep = 0
	}
	if g.wanted = keep; keep == 0 {
		g.waits.Store(false)
	}
}

// answeredLocked notes that nothing more can be said of records of a grant that were open.
func (s *queueSession) answeredLocked(g *remoteGrant, which uint64) {
	if g.open &^= which; g.open == 0 {
		s.unlistLocked(g)
	}
	s.outOfHandLocked(g, which)
}

// outOfHandLocked notes that the loop has done with records of a grant, or is not given them.
func (s *queueSession) outOfHandLocked(g *remoteGrant, which uint64) {
	s.inHand -= bits.OnesCount64(g.inHand & which)
	g.inHand &^= which
	if s.revoked && s.inHand == 0 {
		s.leaving = true
		s.signalLocked()
	}
}

// revoke stops delivery because the node drains; the member leaves when nothing is in hand.
func (s *queueSession) revoke() {
	q := s.queue()
	s.over.Store(true)
	q.mu.Lock()
	s.revoked = true
	if s.inHand == 0 {
		s.leaving = true
		s.signalLocked()
	}
	q.changed.Store(true)
	q.mu.Unlock()
	q.rouse()
}

// stale notes that leases are over, or that answers came when they were.
func (s *queueSession) stale(payload []byte) error {
	entries, err := wire.DecodeQueueEntries(payload, nil)
	if err != nil {
		return err
	}
	type delivery struct {
		partition int32
		epoch     int64
	}
	over := make(map[delivery]uint64, len(entries))
	for _, e := range entries {
		over[delivery{e.Partition, e.Grant.Epoch}] |= e.Grant.Left
	}
	q := s.queue()
	q.mu.Lock()
	for g := s.first; g != nil; {
		following := g.next
		at := delivery{g.partition, g.grant.Epoch}
		if which := over[at] & g.open; which != 0 {
			over[at] &^= which
			s.answeredLocked(g, which)
		}
		g = following
	}
	for at, which := range over {
		if which != 0 {
			q.late = core.Errorf(core.CodeStaleAck, s.op("commit on"), "%d messages of partition %d",
				bits.OnesCount64(which), at.partition)
		}
	}
	q.changed.Store(true)
	q.mu.Unlock()
	q.rouse()
	return nil
}

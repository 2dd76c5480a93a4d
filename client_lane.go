package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

const (
	writeBytes = 64 << 10 // what is gathered for one write
	writeSmall = 16 << 10 // batches below it are copied together
	partingFor = time.Second
)

// producerLane sends the batches of one producer to one node. There is no timer: while a write is under way,
// or nothing may be sent, batches fill; an idle lane sends at once, on the goroutine of a caller that waits.
type producerLane struct {
	p    *remoteProducer
	node *clientNode
	wake chan struct{} // capacity 1

	opened chan struct{} // closed when the first attempt to open a stream has ended

	// The following is guarded by the producer's lock.
	stream      *clientStream // nil while there is none
	writing     bool          // somebody writes, and looks at ready afterwards
	idle        chan struct{} // closed when that ended after the stream was lost; nil if nobody waits
	ready       []*producerPart
	head        int
	sent        uint64 // bytes of PRODUCE frames on the stream
	credit      uint64
	unanswered  int
	epoch       int16 // for partitions that were not sent to
	answered    bool  // the node has opened a stream of this producer
	tried       bool  // opened is closed
	reopen      bool  // a stream is needed, whatever is ready
	strange     int   // times the node missed a sequence, since it last stored one
	unreachable error // what publishes get while the node cannot be reached for long
	lastErr     error
	held        []*producerPart // wait for another try

	// The following belongs to who writes.
	taken   []*produceBatch
	scratch []byte

	settledNow []*produceBatch // belongs to the reader
}

// laneLocked gives the lane to a node.
func (p *remoteProducer) laneLocked(node uint16) *producerLane {
	l := p.lanes[node]
	if l == nil {
		l = &producerLane{p: p, node: p.client.node(node), wake: make(chan struct{}, 1),
			opened: make(chan struct{})}
		p.lanes[node] = l
		p.tasks.Go(l.run)
	}
	return l
}

func (l *producerLane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// offerLocked says that a partition has something to send. now: the caller waits for it, so it may write.
func (l *producerLane) offerLocked(part *producerPart, now bool) {
	l.readyLocked(part)
	if now && !l.writing && l.stream != nil {
		l.writeRoundLocked()
	}
	if l.stream == nil || !l.writing && l.mayWriteLocked() {
		l.signal()
	}
}

func (l *producerLane) readyLocked(part *producerPart) {
	if !part.ready && part.sendable() {
		part.ready = true
		l.ready = append(l.ready, part)
	}
}

func (l *producerLane) mayWriteLocked() bool { return l.head < len(l.ready) && l.sent < l.credit }

// gatherLocked takes batches for one write, in turn from the partitions that have some.
func (l *producerLane) gatherLocked() {
	l.taken = l.taken[:0]
	for bytes := uint64(0); bytes < writeBytes && l.mayWriteLocked(); {
		part := l.ready[l.head]
		l.ready[l.head] = nil
		if l.head++; l.head == len(l.ready) {
			l.ready, l.head = l.ready[:0], 0
		}
		part.ready = false
		if part.lane != l || !part.sendable() {
			continue
		}
		b := part.takeLocked(l)
		b.refs.Add(1)
		l.taken = append(l.taken, b)
		bytes += b.frameBytes()
		l.sent += b.frameBytes()
		if l.p.level != core.AckNone {
			l.unanswered++
		}
		l.readyLocked(part)
	}
}

// writeRoundLocked writes once what is there. The lock is not held meanwhile. It reports whether it wrote.
func (l *producerLane) writeRoundLocked() bool {
	l.gatherLocked()
	if len(l.taken) == 0 {
		return false
	}
	l.writing = true
	stream := l.stream
	l.p.mu.Unlock()
	err := l.write(stream)
	if l.p.level == core.AckNone {
		for _, b := range l.taken {
			l.p.finish(b)
		}
	}
	for i, b := range l.taken {
		b.release()
		l.taken[i] = nil
	}
	l.p.mu.Lock()
	l.writing = false
	if l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
	if err != nil && l.stream == stream {
		l.stream = nil
		l.lastErr = err
		stream.Reset(0) // ends the reader, which ends the session
	}
	return true
}

// write writes the batches that were taken, small ones in one piece.
func (l *producerLane) write(stream *clientStream) error {
	l.scratch = l.scratch[:0]
	for _, b := range l.taken {
		b.finish(l.p.producerOf(b.part.number))
		if len(l.taken) > 1 && b.frameBytes() < writeSmall {
			l.scratch = append(l.scratch, b.buf...)
			continue
		}
		if err := l.writeScratch(stream); err != nil {
			return err
		}
		if _, err := stream.Write(b.buf); err != nil {
			return err
		}
	}
	return l.writeScratch(stream)
}

func (l *producerLane) writeScratch(stream *clientStream) error {
	if len(l.scratch) == 0 {
		return nil
	}
	_, err := stream.Write(l.scratch)
	l.scratch = l.scratch[:0]
	return err
}

// run is the lane's goroutine.
func (l *producerLane) run() {
	c := l.p.client
	attempt, since, failing, silent := 0, int64(0), false, time.Duration(0)
	for l.awaitWork(failing) {
		if !failing {
			since = c.clock.Mono() - int64(silent)
		}
		stream, err := l.open(since)
		if failing = err != nil; !failing {
			since = c.clock.Mono()
			err = l.serve(stream)
			silent = l.unreached(stream.conn)
			if now := c.clock.Mono(); now-since > int64(min(time.Second, c.options.unreachableAfter)) {
				attempt, since = 0, now
			}
		}
		if code := core.CodeOf(err); code == core.CodeNotLeader || code == core.CodeTopicNotFound {
			l.relocate()
		}
		if !l.failed(err, since) || c.sleep(l.p.ctx, attempt) != nil {
			return
		}
		attempt++
	}
}

// unreached gives how long callers have waited in vain when a connection ended. What is left until they are
// told is enough to connect again.
func (l *producerLane) unreached(conn *clientConn) time.Duration {
	const connecting = 600 * time.Millisecond
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if !conn.silent.Load() || l.unanswered == 0 {
		return 0
	}
	return max(min(deadAfter*lookEvery, l.p.client.options.unreachableAfter-connecting), 0)
}

// relocate asks where the partitions of the lane are, and gives those away that are elsewhere.
func (l *producerLane) relocate() {
	p := l.p
	ctx, cancel := p.client.patient(p.ctx)
	defer cancel()
	err := p.client.refresh(ctx, p.topic)
	p.mu.Lock()
	defer p.mu.Unlock()
	if core.CodeOf(err) == core.CodeTopicNotFound {
		p.faultLocked(core.NewError(core.CodeTopicNotFound, p.topic.op("publish to"), err))
	}
	if err != nil || p.ctx.Err() != nil {
		return
	}
	for _, part := range p.parts {
		if part == nil || part.lane != l || p.topic.nodeOf(part.number) == l.node.id {
			continue
		}
		part.lane, part.ready, part.held = p.laneLocked(p.topic.nodeOf(part.number)), false, false
		part.lane.reopen = true
		if other := part.lane.stream; other != nil {
			other.Reset(0) // the new one begins with this partition too
		}
		part.lane.signal()
	}
}

// awaitWork waits until a stream is needed. It reports false when the producer was closed.
func (l *producerLane) awaitWork(failing bool) bool {
	for {
		if l.p.ctx.Err() != nil {
			return false
		}
		l.p.mu.Lock()
		// While publishes are refused because the node could not be reached, only a stream that opens ends it.
		need := failing || l.unreachable != nil || l.reopen || l.p.fault != nil || l.head < len(l.ready) ||
			l.unanswered > 0 || l.p.options.ID != ""
		l.p.mu.Unlock()
		if need {
			return true
		}
		select {
		case <-l.wake:
		case <-l.p.ctx.Done():
		}
	}
}

// failed notes why there is no stream, and answers what waits once that has lasted long enough. It reports
// false where nothing can be published any more.
func (l *producerLane) failed(err error, since int64) bool {
	p := l.p
	p.mu.Lock()
	l.lastErr = err
	long := p.client.clock.Mono()-since >= int64(p.client.options.unreachableAfter)
	passes := passingOpen(err) || core.CodeOf(err) == core.CodeOutOfSequence && l.strange < maxStrange
	switch code := core.CodeOf(err); {
	case p.ctx.Err() != nil:
	case code == core.CodeProducerFenced:
		p.faultLocked(err)
	case !passes:
		l.unreachable = err
	case long && code == core.CodeUnavailable:
		l.unreachable = err
	case long:
		l.unreachable = core.NewError(core.CodeUnavailable, p.topic.op("publish to"), err)
	}
	why := p.fault
	if why == nil {
		why = l.unreachable
	}
	var over []*produceBatch
	if why != nil {
		over = l.abandonLocked()
		l.openedLocked()
	}
	gone := p.fault != nil || p.ctx.Err() != nil
	p.mu.Unlock()
	p.finishAll(over, why)
	return !gone
}

// maxStrange is how often a producer asks a node again that misses what was sent.
const maxStrange = 3

// openedLocked says that the first attempt to open has ended.
func (l *producerLane) openedLocked() {
	if !l.tried {
		l.tried = true
		close(l.opened)
	}
}

// passingOpen reports whether a stream that could not be opened, or was lost, may be opened later.
func passingOpen(err error) bool {
	switch core.CodeOf(err) {
	case 0, core.CodeUnavailable, core.CodeTopicNotFound, core.CodeProtocol, core.CodeClosed, core.CodeInternal:
		return true
	}
	return passing(err)
}

// faultLocked ends the producer for good.
func (p *remoteProducer) faultLocked(err error) {
	if p.fault == nil {
		p.fault = err
	}
	for _, l := range p.lanes {
		l.signal()
	}
}

// abandonLocked takes out everything of the lane that callers wait for.
func (l *producerLane) abandonLocked() []*produceBatch {
	var over []*produceBatch
	for _, part := range l.p.parts {
		if part != nil && part.lane == l {
			over = part.abandonLocked(over)
		}
	}
	return over
}

// giveUp takes out everything when the lane has ended.
func (l *producerLane) giveUp() []*produceBatch {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.abandonLocked()
}

// open connects and opens a stream. While the node cannot be reached, what waits is answered as soon as
// that has lasted long enough.
func (l *producerLane) open(since int64) (*clientStream, error) {
	ctx, cancel := context.WithCancel(l.p.ctx)
	defer cancel()
	l.p.mu.Lock()
	told, fault := l.unreachable != nil, l.p.fault
	l.p.mu.Unlock()
	if fault != nil {
		return nil, fault
	}
	if !told {
		// Until callers have been told, connecting ends when they have to be.
		left := int64(l.p.client.options.unreachableAfter) - (l.p.client.clock.Mono() - since)
		ctx, cancel = context.WithTimeout(ctx, time.Duration(max(left, 1)))
		defer cancel()
	}
	conn, err := l.node.connection(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := conn.open(ctx, l.owed)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { stream.Reset(0) })
	defer stop()
	if err := l.openStream(stream); err != nil {
		stream.drop(err)
		return nil, err
	}
	return stream, nil
}

// owed reports whether the node owes an answer.
func (l *producerLane) owed() bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.unanswered > 0 && l.p.level != core.AckNone || l.stream == nil
}

func (l *producerLane) openStream(stream *clientStream) error {
	p := l.p
	body := wire.ProducerOpenBody{Topic: p.topic.name, Ack: uint8(p.level), ProducerID: p.id, Name: p.options.ID,
		Instance: p.instance, Delayed: p.delayed}
	if p.delayed {
		if err := p.delaysRefusedBy(stream.conn); err != nil {
			return err
		}
	}
	p.mu.Lock()
	body.Resume = l.answered
	for _, part := range p.parts {
		if part != nil && part.lane == l && part.known {
			body.Partitions = append(body.Partitions, wire.ProducerPartition{
				Partition: part.number, Epoch: part.epoch, NextSeq: part.firstUnanswered()})
		}
	}
	p.mu.Unlock()
	if _, err := stream.Write(wire.Marshal(nil, wire.Header{Type: wire.ProducerOpen}, body)); err != nil {
		return err
	}
	var ok wire.ProducerOKBody
	h, err := stream.answer(wire.ProducerOK, &ok)
	if err != nil {
		return err
	}
	if ok.TopicID != p.topic.id {
		return core.Errorf(core.CodeTopicNotFound, p.topic.op("publish to"), "another topic has its name now")
	}
	return l.resume(stream, h.Arg, &ok)
}

// resume goes on with what the node has.
func (l *producerLane) resume(stream *clientStream, credit uint64, ok *wire.ProducerOKBody) error {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok.MaxRecordBytes > 0 {
		p.topic.maxRecordBytes.Store(int64(ok.MaxRecordBytes))
	}
	l.ready, l.head, l.unanswered = l.ready[:0], 0, 0
	l.held, l.reopen = l.held[:0], false
	l.sent, l.credit, l.epoch = 0, credit, ok.Epoch
	has := make(map[int32]*wire.ProducerPartition, len(ok.Partitions))
	for i := range ok.Partitions {
		has[ok.Partitions[i].Partition] = &ok.Partitions[i]
	}
	for _, part := range p.parts {
		if part == nil || part.lane != l {
			continue
		}
		part.ready, part.held = false, false
		if a := has[part.number]; part.known && a != nil {
			over, lost, err := part.resumeLocked(a)
			if err != nil {
				return err
			}
			for _, b := range over {
				b.release()
			}
			if lost > 0 {
				p.lost = append(p.lost, lostTail{part.number, lost})
			}
		} else if part.known {
			return core.Errorf(core.CodeNotLeader, p.topic.op("publish to"), "partition %d is not there", part.number)
		}
		l.readyLocked(part)
	}
	l.stream, l.answered, l.unreachable = stream, true, nil
	l.openedLocked()
	return nil
}

// serve writes until the stream ends, and gives the reason.
func (l *producerLane) serve(stream *clientStream) error {
	p := l.p
	ended := make(chan error, 1)
	p.tasks.Go(func() { ended <- l.read(stream) })
	var err error
	timer := p.client.clock.NewTimer(time.Hour)
	defer timer.Stop()
	for err == nil {
		p.mu.Lock()
		for l.stream == stream && !l.writing && l.writeRoundLocked() {
		}
		over, retry := l.retryHeldLocked()
		err = p.fault
		p.mu.Unlock()
		p.finishAll(over, core.Errorf(core.CodeUnavailable, p.topic.op("publish to"), "refused for too long"))
		if retry > 0 {
			timer.Reset(retry)
		}
		if err != nil {
			break
		}
		select {
		case <-l.wake:
		case <-timer.C():
		case err = <-ended:
			ended <- err
		case <-p.ctx.Done():
			l.depart(stream, ended)
			err = p.ctx.Err()
		}
	}
	stream.drop(err)
	<-ended
	p.mu.Lock()
	l.stream = nil
	if l.writing { // a publisher; its write ends, for the stream has
		idle := make(chan struct{})
		l.idle = idle
		p.mu.Unlock()
		<-idle
		return err
	}
	p.mu.Unlock()
	return err
}

// depart ends a stream in order, so that what was written at level none arrives.
func (l *producerLane) depart(stream *clientStream, ended chan error) {
	_ = stream.Close() // the stream is over either way
	timer := l.p.client.clock.NewTimer(partingFor)
	defer timer.Stop()
	select {
	case err := <-ended:
		ended <- err
	case <-timer.C():
	}
}

package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// source reads the partitions that one node has for a subscription. Its goroutine opens the stream, reads
// it, and opens another when it is lost: then every partition goes on behind what was read of it.
//
// Invariant: granted ≤ received + window − buffered, so what is buffered is at most the window and a frame.
type source struct {
	sub    *remoteSubscription
	node   *clientNode
	wake   chan struct{} // capacity 1
	opened chan error    // what the first stream came to; capacity 1

	// The following is guarded by the subscription's lock.
	started  bool
	told     bool            // opened has its value
	stream   *clientStream   // nil while there is none that reads
	lane     *transport.Lane // of stream
	window   int64
	received int64 // bytes of BATCH frames on the stream
	granted  int64
	buffered int64
}

// sourceLocked gives the source of a node.
func (s *remoteSubscription) sourceLocked(node uint16) *source {
	from := s.sources[node]
	if from == nil {
		from = &source{sub: s, node: s.client.node(node), wake: make(chan struct{}, 1), opened: make(chan error, 1)}
		s.sources[node] = from
	}
	return from
}

// startLocked starts the sources that were not, and gives all.
func (s *remoteSubscription) startLocked() []*source {
	var list []*source
	for _, from := range s.sources {
		from.window = max(subscriptionCredit/int64(len(s.sources)), creditLeast)
		list = append(list, from)
		if !from.started && s.ctx.Err() == nil {
			from.started = true
			s.tasks.Go(from.run)
		}
	}
	return list
}

func (f *source) unavailable() error {
	c := f.sub.client
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.node.unavailableLocked()
}

// cursorsLocked gives the cursors that the node should send.
func (f *source) cursorsLocked() []*remoteCursor {
	var list []*remoteCursor
	for _, c := range *f.sub.byPart.Load() {
		if c != nil && c.source == f && c.reading() {
			list = append(list, c)
		}
	}
	return list
}

// run is the source's goroutine.
func (f *source) run() {
	s, attempt := f.sub, 0
	since := s.client.clock.Mono()
	for f.awaitCursors() {
		began := s.client.clock.Mono()
		err := f.session()
		if s.ctx.Err() != nil {
			return
		}
		now := s.client.clock.Mono()
		if now-began > int64(time.Second) {
			attempt, since = 0, now
		}
		if !f.goOn(err, now-since > int64(s.client.options.unreachableAfter)) {
			return
		}
		if s.client.sleep(s.ctx, attempt) != nil {
			return
		}
		attempt++
	}
}

// awaitCursors waits until there is something to read.
func (f *source) awaitCursors() bool {
	for f.sub.ctx.Err() == nil {
		f.sub.mu.Lock()
		n := len(f.cursorsLocked())
		f.sub.mu.Unlock()
		if n > 0 {
			return true
		}
		select {
		case <-f.wake:
		case <-f.sub.ctx.Done():
		}
	}
	return false
}

// goOn decides after a stream has ended, or did not open.
func (f *source) goOn(err error, long bool) bool {
	s := f.sub
	switch core.CodeOf(err) {
	case core.CodeTopicNotFound, core.CodeNotLeader, core.CodePartitionUnknown:
		if f.relocate() {
			return true
		}
		s.end(core.NewError(core.CodeTopicNotFound, s.topic.op("read"), nil))
	case core.CodeUnauthenticated, core.CodeDenied, core.CodeUnsupported, core.CodeInvalidConfig,
		core.CodeLevelUnavailable:
		s.end(err)
	default:
		if long {
			f.tell(f.unavailable())
		}
		return true
	}
	f.tell(err)
	return false
}

// tell says what the first stream came to.
func (f *source) tell(err error) {
	f.sub.mu.Lock()
	defer f.sub.mu.Unlock()
	if !f.told {
		f.told = true
		f.opened <- err
	}
}

// relocate asks where the partitions are now, and reports whether the topic is still there.
func (f *source) relocate() bool {
	s := f.sub
	ctx, cancel := s.client.patient(s.ctx)
	defer cancel()
	if err := s.client.refresh(ctx, s.topic); core.CodeOf(err) == core.CodeTopicNotFound {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range *s.byPart.Load() {
		if c == nil || c.source != f || s.topic.nodeOf(c.number) == f.node.id {
			continue
		}
		c.source = s.sourceLocked(s.topic.nodeOf(c.number))
		c.source.addLocked(c)
	}
	s.startLocked()
	return true
}

// session opens a stream and reads it until it ends.
func (f *source) session() error {
	s := f.sub
	conn, err := f.node.connection(s.ctx)
	if err != nil {
		return err
	}
	if err := conn.filters(s.topic.op("subscribe to"), s.options.Filter); err != nil {
		return err
	}
	stream, err := conn.open(s.ctx, func() bool { return true })
	if err != nil {
		return err
	}
	lane := transport.NewLane(stream, streamBound)
	stop := context.AfterFunc(s.ctx, func() { stream.Reset(0) })
	err = f.subscribe(stream, lane)
	if err == nil {
		f.tell(nil)
		err = f.read(stream)
	}
	stop()
	stream.drop(err)
	s.mu.Lock()
	if f.stream == stream {
		f.stream, f.lane = nil, nil
	}
	s.mu.Unlock()
	lane.Wait()
	return err
}

// subscribe opens the stream and takes over where each partition starts.
func (f *source) subscribe(stream *clientStream, lane *transport.Lane) error {
	s := f.sub
	body := wire.SubscribeBody{Topic: s.topic.name, ReadAt: uint8(s.options.ReadAt),
		Group: s.options.Group, Filter: s.options.Filter}
	s.mu.Lock()
	cursors := f.cursorsLocked()
	for _, c := range cursors {
		at := c.at
		if c.resolved {
			at = core.AtOffset(c.want)
		}
		body.Partitions = append(body.Partitions,
			wire.SubscribePartition{Partition: c.number, Kind: uint8(at.Kind), Value: at.Value})
	}
	f.received = 0
	f.granted = max(f.window-f.buffered, 0) // with nothing granted, CREDIT follows when the loop has read on
	credit := uint64(f.granted)
	s.mu.Unlock()
	if _, err := stream.Write(wire.Marshal(nil, wire.Header{Type: wire.Subscribe, Arg: credit},
		body)); err != nil {
		return err
	}
	var answer wire.SubscribedBody
	if _, err := stream.answer(wire.Subscribed, &answer); err != nil {
		return err
	}
	if answer.TopicID != s.topic.id {
		return core.Errorf(core.CodeTopicNotFound, s.topic.op("read"), "another topic has its name now")
	}
	return f.begin(stream, lane, cursors, &answer)
}

// begin places the cursors as the node answered, and lets changes reach the stream.
func (f *source) begin(stream *clientStream, lane *transport.Lane, asked []*remoteCursor,
	answer *wire.SubscribedBody) error {
	s := f.sub
	has := make(map[int32]*wire.SubscribedPartition, len(answer.Partitions))
	for i := range answer.Partitions {
		has[answer.Partitions[i].Partition] = &answer.Partitions[i]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.stream, f.lane = stream, lane
	begun := make(map[*remoteCursor]bool, len(asked))
	for _, c := range asked {
		a := has[c.number]
		switch {
		case a == nil:
			return wire.Errorf("SUBSCRIBED says nothing of partition %d", c.number)
		case a.Code == core.CodeNotLeader, a.Code == core.CodeTopicNotFound, passing(core.NewError(a.Code, "",
			nil)):
			return bodyError(a.Code, a.Error)
		case a.Code != 0 && !f.told && a.Code == core.CodeOffsetOutOfRange && s.member == nil:
			f.told = true
			err := bodyError(a.Code, a.Error)
			f.opened <- err
			return err
		case a.Code != 0:
			f.partitionFailedLocked(c, a.Code, bodyError(a.Code, a.Error))
		case !c.resolved:
			c.startLocked(a.Offset)
		case a.Offset != c.want:
			return wire.Errorf("partition %d starts at %d, asked for %d", c.number, a.Offset, c.want)
		}
		begun[c] = true
	}
	for _, c := range asked { // what changed while the answer was on its way
		if !c.reading() || c.source != f {
			f.sendLocked(wire.Header{Type: wire.Remove, Aux: uint16(c.number)})
		}
	}
	for _, c := range f.cursorsLocked() {
		if !begun[c] {
			f.addLocked(c)
		}
	}
	f.grantLocked()
	return nil
}

// addLocked has the node send a partition from where its cursor is.
func (f *source) addLocked(c *remoteCursor) {
	select {
	case f.wake <- struct{}{}:
	default:
	}
	if f.stream == nil || !c.reading() {
		return // the next SUBSCRIBE has it
	}
	if !c.resolved {
		f.sub.tasks.Go(func() { f.resolve(c) })
		return
	}
	f.sendLocked(wire.Header{Type: wire.Add, Aux: uint16(c.number), Arg: uint64(c.want)})
}

// removeLocked has the node send no more of a partition.
func (f *source) removeLocked(c *remoteCursor) {
	f.sendLocked(wire.Header{Type: wire.Remove, Aux: uint16(c.number)})
}

// sendLocked queues a small frame. One that gets lost is made up for when the stream is opened again.
func (f *source) sendLocked(h wire.Header) {
	if f.lane == nil {
		return
	}
	var frame [wire.HeaderSize]byte
	h.Put(frame[:])
	if f.lane.Queue(frame[:]) != nil {
		f.stream.Reset(0)
	}
}

// resolve asks where a cursor that was added to an open stream starts.
func (f *source) resolve(c *remoteCursor) {
	s := f.sub
	s.mu.Lock()
	at := c.at
	s.mu.Unlock()
	offset, err := f.offsetOf(c.number, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.gone || c.resolved || s.ctx.Err() != nil:
	case err == nil:
		c.startLocked(offset)
		f.addLocked(c)
	case f.stream != nil && !passing(err) && core.CodeOf(err) != core.CodeUnavailable:
		f.partitionFailedLocked(c, core.CodeOf(err), err)
	case f.stream != nil:
		f.stream.Reset(0) // SUBSCRIBE asks the same
	}
}

// offsetOf asks the node where a position is.
func (f *source) offsetOf(partition int32, at core.Position) (int64, error) {
	body := wire.OffsetsBody{Topic: f.sub.topic.name, Partitions: []wire.SubscribePartition{
		{Partition: partition, Kind: uint8(at.Kind), Value: at.Value}}}
	var answer wire.OffsetsAnswer
	if err := f.sub.client.ask(f.sub.ctx, f.node, true, wire.OpOffsets, body, &answer); err != nil {
		return 0, err
	}
	if len(answer.Partitions) != 1 || answer.Partitions[0].Partition != partition {
		return 0, wire.Errorf("%d offsets, asked for one", len(answer.Partitions))
	}
	if a := &answer.Partitions[0]; a.Code != 0 {
		return 0, bodyError(a.Code, a.Error)
	}
	return answer.Partitions[0].Offset, nil
}

// freedLocked takes a chunk back, and grants its bytes anew once half the window was used.
func (f *source) freedLocked(ch *chunk) {
	f.buffered -= ch.size
	ch.free()
	f.grantLocked()
}

// forgetLocked counts the chunk that the loop has as taken back: its partition is gone, and the loop may not
// look for long.
func (f *source) forgetLocked(c *remoteCursor) {
	if c.lent != nil {
		f.buffered -= c.lent.size
		c.lent.source, c.lent = nil, nil
		f.grantLocked()
	}
}

func (f *source) grantLocked() {
	limit := f.received + f.window - f.buffered
	if f.stream != nil && limit-f.granted >= f.window/2 {
		f.granted = limit
		f.sendLocked(wire.Header{Type: wire.Credit, Arg: uint64(limit)})
	}
}

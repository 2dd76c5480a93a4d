package leat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// remoteProducer is the Backend of one Producer: it encodes messages into batches per partition, and a lane
// per node sends them.
type remoteProducer struct {
	client    *client
	topic     *clientTopic
	options   ProducerOptions
	level     core.Ack
	id        int64  // 0 at level none
	instance  uint64 // of this producer, for WithID
	sticky    atomic.Uint64
	delayed   bool          // it carries the delayed messages of another producer
	number    atomic.Uint64 // of the last of them
	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
	room      room
	callbacks callbacks
	waiters   sync.Pool // of *clientWaiter

	ctx     context.Context // ends the lanes
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // the lanes
	closing chan struct{}  // closed when publishers that wait for room give up

	settling settling

	mu    sync.Mutex      // guards the following, and parts, lanes and batches
	parts []*producerPart // nil where nothing was published yet
	lanes map[uint16]*producerLane
	fault error // why nothing can be published any more
	lost  []lostTail
	// broken is the panic of a callback that nobody was told of yet.
	broken error
	delays *remoteProducer // carries delayed messages; nil until there is one
}

// lostTail is what a power cut took of a partition.
type lostTail struct {
	partition int32
	records   int32
}

// settling wakes whoever waits until something was answered.
type settling struct {
	waiting atomic.Int32
	mu      sync.Mutex // guards the following
	changed chan struct{}
}

// OpenProducer implements Backend.
func (c *client) OpenProducer(name string, o ProducerOptions) (ProducerBackend, error) {
	const op = "open a producer on"
	t, err := c.openTopic(op, name)
	if err != nil {
		return nil, err
	}
	p := newRemoteProducer(c, t, o)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		p.cancel()
		return nil, c.closedError(t.op(op))
	}
	c.producers[p] = struct{}{}
	c.mu.Unlock()
	if o.ID != "" {
		if err := p.openAll(); err != nil {
			_ = p.Close() // says nothing that err does not
			return nil, err
		}
	}
	return p, nil
}

func newRemoteProducer(c *client, t *clientTopic, o ProducerOptions) *remoteProducer {
	p := &remoteProducer{
		client: c, topic: t, options: o, level: o.Ack.Or(t.cfg.Ack), closing: make(chan struct{}),
		parts: make([]*producerPart, t.cfg.Partitions), lanes: map[uint16]*producerLane{},
	}
	p.instance = uint64(c.random.id())
	if p.level != core.AckNone {
		p.id = c.random.id()
	}
	if o.ID != "" {
		p.id = core.NamedProducerID(o.ID)
	}
	p.sticky.Store(c.random.next() >> 1) // producers do not walk the partitions in step
	p.room.changed = make(chan struct{})
	p.settling.changed = make(chan struct{})
	p.callbacks = callbacks{producer: p, wake: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// openAll opens a producer with a name on all nodes of its topic, so that no older instance can come first
// on one of them.
func (p *remoteProducer) openAll() error {
	ctx, cancel := p.client.patient(p.client.ctx)
	defer cancel()
	var opening []*producerLane
	p.mu.Lock()
	for _, node := range p.topic.nodesOf() {
		opening = append(opening, p.laneLocked(node))
	}
	p.mu.Unlock()
	for _, l := range opening {
		select {
		case <-l.opened:
		case <-ctx.Done():
		}
		p.mu.Lock()
		err := p.fault
		if err == nil && !l.answered {
			err = l.lastErr
			if err == nil {
				err = core.NewError(core.CodeUnavailable, p.topic.op("open a producer on"), ctx.Err())
			}
		}
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// check computes a message's encoded size, or says why it cannot be published.
func (p *remoteProducer) check(m *Message) (int, error) {
	if err := core.CheckHeaders(p.topic.name, m.Headers); err != nil {
		return 0, err
	}
	return p.checkSize(len(m.Key), len(m.Value), m.Headers, m.extras())
}

// CheckClaim implements ProducerBackend.
func (p *remoteProducer) CheckClaim(keyBytes, valueBytes int) error {
	_, err := p.checkSize(keyBytes, valueBytes, nil, core.Extras{})
	return err
}

func (p *remoteProducer) checkSize(keyBytes, valueBytes int, headers []Header, x core.Extras) (int, error) {
	if p.closed.Load() {
		return 0, p.client.closedError(p.topic.op("publish to"))
	}
	size, err := core.ExtendedRecordSize(keyBytes, valueBytes, headers, x)
	if err != nil {
		return 0, err
	}
	if most := p.topic.maxRecordBytes.Load(); int64(size) > most && !p.delayed {
		p.askLimit()
		return 0, core.Errorf(core.CodeRecordTooLarge, p.topic.op("publish to"),
			"%d bytes with key and headers, at most %d", size, most)
	}
	return size, nil
}

// askLimit finds out whether the topic takes larger records by now, for the next that is refused. It does
// not wait, and asks once at a time.
func (p *remoteProducer) askLimit() {
	if !p.topic.asking.CompareAndSwap(false, true) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	p.tasks.Go(func() {
		defer p.topic.asking.Store(false)
		_ = p.client.refresh(p.ctx, p.topic) // the limit stays as it is known
	})
}

// route chooses the partition of a message. hash is that of its key, 0 for a null key.
func (p *remoteProducer) route(m *Message, size int) (partition int32, hash uint64, err error) {
	if m.Key != nil {
		hash = routing.Hash(m.Key)
	}
	if p.options.Partitioner == Manual {
		if m.Partition < 0 || int(m.Partition) >= len(p.parts) {
			return 0, 0, core.Errorf(core.CodePartitionUnknown, p.topic.op("publish to"),
				"partition %d of %d", m.Partition, len(p.parts))
		}
		return m.Partition, hash, nil
	}
	if m.Key != nil {
		return p.topic.table.Partition(routing.Slot(hash)), hash, nil
	}
	// Null keys stay with one partition for StickyBytes: the sum of sizes counts the turns.
	turn := p.sticky.Add(uint64(size)) / routing.StickyBytes
	return int32(turn % uint64(len(p.parts))), 0, nil
}

// placed is a message that has passed its checks.
type placed struct {
	partition int32
	hash      uint64
	size      int
}

func (p *remoteProducer) place(m *Message) (placed, error) {
	size, err := p.check(m)
	if err != nil {
		return placed{}, err
	}
	partition, hash, err := p.route(m, size)
	return placed{partition, hash, size}, err
}

// takeRoom waits for room in flight.
func (p *remoteProducer) takeRoom(ctx context.Context, records, bytes int) error {
	err := p.room.take(ctx, p.closing, roomOf(records, bytes))
	if errors.Is(err, core.ErrClosed) {
		return p.client.closedError(p.topic.op("publish to"))
	}
	return err
}

func (p *remoteProducer) fullError() error {
	return core.NewError(core.CodeFull, p.topic.op("publish to"), nil)
}

// Publish implements ProducerBackend.
func (p *remoteProducer) Publish(ctx context.Context, m Message) (Receipt, error) {
	if m.Deferred() {
		return p.publishDelayed(ctx, &m)
	}
	at, err := p.place(&m)
	if err != nil {
		return Receipt{}, err
	}
	if err := p.takeRoom(ctx, 1, at.size); err != nil {
		return Receipt{}, err
	}
	if p.level == core.AckNone {
		if err := p.append(at, &m, recordCall{}, true); err != nil {
			return Receipt{}, err
		}
		return p.unreceipted(at.partition), nil
	}
	w := p.newWaiter()
	if err := p.append(at, &m, recordCall{waiter: w}, true); err != nil {
		w.free()
		return Receipt{}, err
	}
	return w.await(ctx)
}

// PublishAsync implements ProducerBackend.
func (p *remoteProducer) PublishAsync(m Message, done func(Receipt, error)) {
	if m.Deferred() {
		p.publishDelayedAsync(&m, done)
		return
	}
	at, err := p.place(&m)
	if err == nil {
		err = p.takeRoomAs(p.options.Full, at.size)
	}
	if err != nil {
		p.callbacks.answer(done, Receipt{}, err)
		return
	}
	if p.level == core.AckNone {
		receipt := p.unreceipted(at.partition)
		if err := p.append(at, &m, recordCall{}, false); err != nil {
			p.callbacks.answer(done, Receipt{}, err)
			return
		}
		p.callbacks.answer(done, receipt, nil)
		return
	}
	if err := p.append(at, &m, recordCall{done: done}, false); err != nil {
		p.callbacks.answer(done, Receipt{}, err)
	}
}

// takeRoomAs takes room for one record as a full-policy says. Level none always waits: nothing would tell
// of what is dropped.
func (p *remoteProducer) takeRoomAs(policy FullPolicy, size int) error {
	if policy == Block || p.level == core.AckNone {
		return p.takeRoom(context.Background(), 1, size)
	}
	if !p.room.try(roomOf(1, size)) {
		return p.fullError()
	}
	return nil
}

// TryPublish implements ProducerBackend. While the node cannot be reached there is no room.
func (p *remoteProducer) TryPublish(m Message) error {
	if m.Deferred() {
		return p.tryDelayed(&m)
	}
	at, err := p.place(&m)
	if err != nil {
		return err
	}
	if !p.room.try(roomOf(1, at.size)) {
		return p.fullError()
	}
	err = p.append(at, &m, recordCall{}, false)
	if core.CodeOf(err) == core.CodeUnavailable {
		return core.NewError(core.CodeFull, p.topic.op("publish to"), err)
	}
	return err
}

func (p *remoteProducer) unreceipted(partition int32) Receipt {
	return Receipt{Topic: p.topic.name, Partition: partition, Offset: -1}
}

// append adds a message, for which there is room, to what its partition collects. If the lane is idle and
// the caller would wait anyway (now), it sends on the caller's goroutine.
func (p *remoteProducer) append(at placed, m *Message, call recordCall, now bool) error {
	p.mu.Lock()
	part, err := p.partLocked(at.partition)
	if err != nil {
		p.mu.Unlock()
		p.room.free(roomOf(1, at.size))
		return err
	}
	b := part.open
	if b != nil && (m.ID != "" || !b.fits(at.size)) {
		part.sealLocked()
		b = nil
	}
	if b == nil {
		b = newBatch(part)
		part.open = b
	}
	b.addCall(call)
	b.add(m, at.hash, at.size)
	b.whole = m.ID != "" // a frame is stored or repeated as a whole
	part.issued++
	part.lane.offerLocked(part, now)
	p.mu.Unlock()
	return nil
}

// addCall notes who waits for the record that comes next.
func (b *produceBatch) addCall(call recordCall) {
	if call.done == nil && call.waiter == nil {
		return
	}
	call.at = int32(b.records)
	b.async = b.async || call.done != nil
	b.calls = append(b.calls, call)
}

// partLocked gives a partition that takes messages, or why it does not.
func (p *remoteProducer) partLocked(number int32) (*producerPart, error) {
	if p.fault != nil {
		return nil, p.fault
	}
	if p.ctx.Err() != nil {
		return nil, p.client.closedError(p.topic.op("publish to"))
	}
	part := p.parts[number]
	if part == nil {
		part = &producerPart{number: number, lane: p.laneLocked(p.topic.nodeOf(number))}
		p.parts[number] = part
	}
	if err := part.lane.unreachable; err != nil {
		return nil, err
	}
	return part, nil
}

// PublishBatch implements ProducerBackend.
func (p *remoteProducer) PublishBatch(ctx context.Context, batch []Message) (Receipt, error) {
	partition, size, err := p.checkBatch(batch)
	if err != nil {
		return Receipt{}, err
	}
	if err := p.takeRoom(ctx, len(batch), size); err != nil {
		return Receipt{}, err
	}
	var w *clientWaiter
	if p.level != core.AckNone {
		w = p.newWaiter()
	}
	if err := p.appendBatch(partition, batch, size, w); err != nil {
		if w != nil {
			w.free()
		}
		return Receipt{}, err
	}
	if w == nil {
		return p.unreceipted(partition), nil
	}
	return w.await(ctx)
}

func (p *remoteProducer) appendBatch(partition int32, batch []Message, size int, w *clientWaiter) error {
	b := newBatch(nil)
	b.grow(size)
	b.buf = b.buf[:batchHeaders]
	for i := range batch {
		m := &batch[i]
		one, err := core.ExtendedRecordSize(len(m.Key), len(m.Value), m.Headers, m.extras())
		if err != nil {
			panic("leat: a message changed while it was published")
		}
		var hash uint64
		if m.Key != nil {
			hash = routing.Hash(m.Key)
		}
		b.add(m, hash, one)
	}
	b.whole = true
	if w != nil {
		b.calls = append(b.calls, recordCall{waiter: w})
	}
	p.mu.Lock()
	part, err := p.partLocked(partition)
	if err != nil {
		p.mu.Unlock()
		p.room.free(roomOf(b.records, b.bytes))
		b.release()
		return err
	}
	part.sealLocked()
	b.part = part
	part.queue.push(b)
	part.issued += uint64(b.records)
	part.lane.offerLocked(part, true)
	p.mu.Unlock()
	return nil
}

// checkBatch finds the one partition of a batch and its encoded size.
func (p *remoteProducer) checkBatch(batch []Message) (partition int32, size int, err error) {
	op := p.topic.op("publish a batch to")
	if len(batch) == 0 || len(batch) > core.MaxBatchRecords {
		return 0, 0, core.Errorf(core.CodeInvalidRecord, op,
			"%d messages, want 1 to %d", len(batch), core.MaxBatchRecords)
	}
	partition = -1
	first, total := 0, 0 // first is the message that chose the partition
	for i := range batch {
		size, err := p.check(&batch[i])
		if err == nil && batch[i].Deferred() {
			err = core.Errorf(core.CodeInvalidRecord, op, "message %d is delayed: publish it by itself", i)
		}
		if err != nil {
			return 0, 0, err
		}
		total += size
		if batch[i].Key == nil && p.options.Partitioner != Manual {
			continue // a null key goes wherever the batch goes
		}
		to, _, err := p.route(&batch[i], size)
		if err != nil {
			return 0, 0, err
		}
		if partition >= 0 && to != partition {
			return 0, 0, core.Errorf(core.CodeMixedPartitions, op,
				"message %d belongs to partition %d, message %d to %d", first, partition, i, to)
		}
		if partition < 0 {
			partition, first = to, i
		}
	}
	if total > core.MaxBatchBytes {
		return 0, 0, core.Errorf(core.CodeRecordTooLarge, op, "%d bytes, at most %d", total, core.MaxBatchBytes)
	}
	if partition < 0 {
		partition, _, err = p.route(&batch[0], total)
	}
	return partition, total, err
}

// mishaps makes the error of records that a power cut took, and of a callback that panicked, once.
func (p *remoteProducer) mishaps() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, l := range p.lost {
		op := fmt.Sprintf("publish to partition %d of topic %s", l.partition, core.Quote(p.topic.name))
		errs = append(errs, core.Errorf(core.CodeTailLost, op, "%d acknowledged records are gone", l.records))
	}
	errs = append(errs, p.broken)
	p.lost, p.broken = nil, nil
	return errors.Join(errs...)
}

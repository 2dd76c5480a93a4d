package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

const closeWait = 10 * time.Second // how long closing drains before it fails the rest

// producer is the data plane of one leat.Producer: it publishes into the shard rings without
// touching an actor.
type producer struct {
	node    *Node
	topic   *topic
	options leat.ProducerOptions
	level   core.Ack // AckNone, or the least its records get
	own     bool     // it is the node's: it may set headers that users may not
	index   uint32   // in Node.producers
	sticky  atomic.Uint64
	closed  atomic.Bool
	answers answers
}

// route chooses the partition of a message. hash is that of its key, 0 for a null key.
func (p *producer) route(m *leat.Message, size int) (part *partition, hash uint64, err error) {
	parts := p.topic.partitions
	if m.Key != nil {
		hash = routing.Hash(m.Key)
	}
	if p.options.Partitioner == leat.Manual {
		if m.Partition < 0 || int(m.Partition) >= len(parts) {
			return nil, 0, core.Errorf(core.CodePartitionUnknown, p.topic.op("publish to"),
				"partition %d of %d", m.Partition, len(parts))
		}
		return parts[m.Partition], hash, nil
	}
	if m.Key != nil {
		return parts[p.topic.table.Partition(routing.Slot(hash))], hash, nil
	}
	if len(p.topic.local) > 0 {
		parts = p.topic.local // they belong anywhere, so they need no other node
	}
	// Null keys stay with one partition for StickyBytes: the sum of sizes counts the turns.
	turn := p.sticky.Add(uint64(size)) / routing.StickyBytes
	return parts[turn%uint64(len(parts))], 0, nil
}

// check computes a message's encoded size, or says why it cannot be published.
func (p *producer) check(m *leat.Message) (int, error) {
	if !p.own {
		if err := core.CheckHeaders(p.topic.name, m.Headers); err != nil {
			return 0, err
		}
	}
	return p.checkSize(len(m.Key), len(m.Value), m.Headers, extrasOf(m))
}

// CheckClaim implements leat.ProducerBackend.
func (p *producer) CheckClaim(keyBytes, valueBytes int) error {
	_, err := p.checkSize(keyBytes, valueBytes, nil, core.Extras{})
	return err
}

func (p *producer) checkSize(keyBytes, valueBytes int, headers []leat.Header, x core.Extras) (int, error) {
	if p.closed.Load() {
		return 0, core.NewError(core.CodeClosed, p.topic.op("publish to"), nil)
	}
	if p.topic.deleted.Load() {
		return 0, core.NewError(core.CodeTopicNotFound, p.topic.op("publish to"), nil)
	}
	size, err := core.ExtendedRecordSize(keyBytes, valueBytes, headers, x)
	if err != nil {
		return 0, err
	}
	if most := int(p.topic.maxRecord.Load()); size > most {
		return 0, core.Errorf(core.CodeRecordTooLarge, p.topic.op("publish to"),
			"%d bytes with key and headers, at most %d", size, most)
	}
	return size, nil
}

// Publish implements leat.ProducerBackend.
func (p *producer) Publish(ctx context.Context, m leat.Message) (leat.Receipt, error) {
	size, err := p.check(&m)
	if err != nil {
		return leat.Receipt{}, err
	}
	part, hash, err := p.route(&m, size)
	if err != nil {
		return leat.Receipt{}, err
	}
	if m.Deferred() {
		return p.publishDelayed(ctx, &m, part)
	}
	e := entry{part: part, keyHash: hash, records: 1, level: part.level(p.level)}
	if p.level == core.AckNone {
		return p.unreceipted(part), p.oneWay(ctx, &e, &m, size, true)
	}
	if e.level == core.AckPage && size <= inlineBytes && m.ID == "" {
		return p.publishOwn(ctx, &e, &m, size)
	}
	if e.level == core.AckDisk && size <= inlineBytes && ctx.Done() == nil {
		return p.publishSynced(ctx, &e, &m, size)
	}
	w := p.node.waiters.take()
	e.producer, e.ticket = waiterProducer, w.index
	if err := p.node.commit(ctx, &e, &m, size, true); err != nil {
		p.node.waiters.free(w)
		return leat.Receipt{}, err
	}
	part.shard.journalSoon(e.level)
	return p.node.waiters.await(ctx, w)
}

// PublishBatch implements leat.ProducerBackend.
func (p *producer) PublishBatch(ctx context.Context, batch []leat.Message) (leat.Receipt, error) {
	part, size, err := p.checkBatch(batch)
	if err != nil {
		return leat.Receipt{}, err
	}
	if err := p.node.admit(ctx, part, true); err != nil {
		return leat.Receipt{}, err
	}
	e := entry{part: part, records: len(batch), level: part.level(p.level)}
	if p.level == core.AckNone {
		err := p.node.commitBody(ctx, &e, batch, size, true)
		part.shard.journalSoon(e.level)
		return p.unreceipted(part), err
	}
	w := p.node.waiters.take()
	e.producer, e.ticket = waiterProducer, w.index
	if err := p.node.commitBody(ctx, &e, batch, size, true); err != nil {
		p.node.waiters.free(w)
		return leat.Receipt{}, err
	}
	part.shard.journalSoon(e.level)
	return p.node.waiters.await(ctx, w)
}

// checkBatch finds the one partition of a batch and its encoded size.
func (p *producer) checkBatch(batch []leat.Message) (*partition, int, error) {
	op := p.topic.op("publish a batch to")
	if len(batch) == 0 || len(batch) > core.MaxBatchRecords {
		return nil, 0, core.Errorf(core.CodeInvalidRecord, op,
			"%d messages, want 1 to %d", len(batch), core.MaxBatchRecords)
	}
	var part *partition
	first, total := 0, 0 // first is the message that chose part
	for i := range batch {
		size, err := p.check(&batch[i])
		if err == nil && batch[i].Deferred() {
			err = core.Errorf(core.CodeInvalidRecord, op, "message %d is delayed: publish it by itself", i)
		}
		if err != nil {
			return nil, 0, err
		}
		total += size
		if batch[i].Key == nil && p.options.Partitioner != leat.Manual {
			continue // a null key goes wherever the batch goes
		}
		to, _, err := p.route(&batch[i], size)
		if err != nil {
			return nil, 0, err
		}
		if part != nil && to != part {
			return nil, 0, core.Errorf(core.CodeMixedPartitions, op,
				"message %d belongs to partition %d, message %d to %d", first, part.number, i, to.number)
		}
		if part == nil {
			part, first = to, i
		}
	}
	if total > core.MaxBatchBytes {
		return nil, 0, core.Errorf(core.CodeRecordTooLarge, op, "%d bytes, at most %d", total, core.MaxBatchBytes)
	}
	if part == nil {
		var err error
		if part, _, err = p.route(&batch[0], total); err != nil {
			return nil, 0, err
		}
	}
	return part, total, nil
}

// TryPublish implements leat.ProducerBackend.
func (p *producer) TryPublish(m leat.Message) error {
	size, err := p.check(&m)
	if err != nil {
		return err
	}
	part, hash, err := p.route(&m, size)
	if err != nil {
		return err
	}
	if m.Deferred() {
		return p.tryDelayed(&m, part)
	}
	e := entry{part: part, keyHash: hash, records: 1, level: part.level(p.level)}
	return p.oneWay(context.Background(), &e, &m, size, false)
}

// oneWay publishes without an answer.
func (p *producer) oneWay(ctx context.Context, e *entry, m *leat.Message, size int, wait bool) error {
	if err := p.node.commit(ctx, e, m, size, wait); err != nil {
		return err
	}
	e.part.shard.journalLater()
	return nil
}

func (p *producer) unreceipted(part *partition) leat.Receipt {
	return leat.Receipt{Topic: p.topic.name, Partition: part.number, Offset: -1}
}

// PublishAsync implements leat.ProducerBackend.
func (p *producer) PublishAsync(m leat.Message, done func(leat.Receipt, error)) {
	size, err := p.check(&m)
	var part *partition
	var hash uint64
	if err == nil {
		part, hash, err = p.route(&m, size)
	}
	if err != nil {
		p.answers.refuse(done, err)
		return
	}
	if m.Deferred() {
		p.publishDelayedAsync(&m, part, done)
		return
	}
	if p.level == core.AckNone {
		e := entry{part: part, keyHash: hash, records: 1, level: part.topic.cfg.Ack}
		err := p.oneWay(context.Background(), &e, &m, size, true)
		p.answers.answerNow(done, p.unreceipted(part), err)
		return
	}
	ticket, err := p.reserve(part, done, size)
	if err != nil {
		p.answers.refuse(done, err)
		return
	}
	e := entry{part: part, keyHash: hash, records: 1, level: part.level(p.level)}
	e.producer, e.ticket = p.index, ticket
	if err = p.closedMeanwhile(); err == nil {
		err = p.node.commit(context.Background(), &e, &m, size, true)
	}
	if err != nil {
		p.answers.fail(ticket, err)
		return
	}
	if e.level == core.AckPage && p.answers.quiet() {
		part.shard.journalSoon(e.level)
		return
	}
	part.shard.journalLater()
}

// reserve takes a ticket as the full-policy says. A policy that does not wait does not wait for a
// disk that is behind either.
func (p *producer) reserve(part *partition, done func(leat.Receipt, error), size int) (uint32, error) {
	if p.options.Full != leat.Block {
		if err := p.node.admit(context.Background(), part, false); err != nil {
			return 0, err
		}
	}
	return p.answers.reserve(done, size, p.options.Full)
}

// complete is called by the journal with outcomes of this producer, under the lock of the shard.
func (p *producer) complete(s *shard, run []outcome) { p.answers.complete(s.index, run) }

// Flush implements leat.ProducerBackend.
func (p *producer) Flush(ctx context.Context) error {
	for _, part := range p.topic.partitions {
		part.shard.journalLater()
	}
	return p.answers.flush(ctx)
}

// Close implements leat.ProducerBackend.
func (p *producer) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	return p.node.closeProducer(p)
}

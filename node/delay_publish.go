package node

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// deferral is a delayed message on its way into __delay.
type deferral struct {
	entry  entry
	stored leat.Message // the record of __delay
	size   int          // of it
	handle core.DelayHandle
}

// deferMessage wraps a message for a target.
func (p *producer) deferMessage(m *leat.Message, target *partition) (deferral, error) {
	d := p.node.delays
	if err := target.refusal(); err != nil {
		return deferral{}, err
	}
	value, err := p.wrapDelayed(m, target)
	if err != nil {
		return deferral{}, err
	}
	key := d.nextKey()
	out := deferral{stored: leat.Message{Key: key.Encode(nil), Value: value}}
	if out.size, err = core.EncodedRecordSize(out.stored.Key, out.stored.Value, nil); err != nil {
		return deferral{}, err
	}
	out.entry = entry{part: d.part, keyHash: routing.Hash(out.stored.Key), records: 1,
		level: d.part.level(max(p.level, p.topic.cfg.Ack))}
	out.handle = core.DelayHandle{Topic: p.topic.id, Partition: target.number, Tag: key.Tag()}
	return out, nil
}

// wrapDelayed makes the value of the record of __delay.
func (p *producer) wrapDelayed(m *leat.Message, target *partition) ([]byte, error) {
	d, err := m.DelayedRecord(time.Unix(0, p.node.clock.Now()))
	if err != nil {
		return nil, err
	}
	size, err := core.ExtendedRecordSize(len(m.Key), len(m.Value), m.Headers, extrasOf(m))
	if err != nil {
		return nil, err
	}
	d.Topic, d.Partition, d.Level = p.topic.id, target.number, max(p.level, p.topic.cfg.Ack)
	head := d.EncodeHead(make([]byte, 0, 64+size))
	value := head[:len(head)+size]
	record := value[len(head):]
	var hash uint64
	if m.Key != nil {
		hash = routing.Hash(m.Key)
	}
	putRecord(record, m, hash)
	return value, core.CheckDelayed(record, int(p.topic.maxRecord.Load()))
}

// receipt is the receipt of a delayed message, made from that of its record in __delay.
func (d *deferral) receipt(p *producer, stored leat.Receipt) leat.Receipt {
	r := leat.Receipt{Topic: p.topic.name, Partition: d.handle.Partition, Offset: -1, Time: stored.Time}
	if stored.Offset >= 0 {
		h := d.handle
		h.Offset = stored.Offset
		r.Handle = h.String()
	}
	return r
}

// publishDelayed is Publish for a delayed message.
func (p *producer) publishDelayed(ctx context.Context, m *leat.Message, target *partition) (leat.Receipt,
	error) {
	d, err := p.deferMessage(m, target)
	if err != nil {
		return leat.Receipt{}, err
	}
	if p.level == core.AckNone {
		return p.unreceipted(target), p.oneWay(ctx, &d.entry, &d.stored, d.size, true)
	}
	w := p.node.waiters.take()
	d.entry.producer, d.entry.ticket = waiterProducer, w.index
	if err := p.node.commit(ctx, &d.entry, &d.stored, d.size, true); err != nil {
		p.node.waiters.free(w)
		return leat.Receipt{}, err
	}
	d.entry.part.shard.journalSoon(d.entry.level)
	stored, err := p.node.waiters.await(ctx, w)
	if err != nil {
		return leat.Receipt{}, err
	}
	return d.receipt(p, stored), nil
}

// tryDelayed is TryPublish for a delayed message.
func (p *producer) tryDelayed(m *leat.Message, target *partition) error {
	d, err := p.deferMessage(m, target)
	if err != nil {
		return err
	}
	return p.oneWay(context.Background(), &d.entry, &d.stored, d.size, false)
}

// publishDelayedAsync is PublishAsync for a delayed message.
func (p *producer) publishDelayedAsync(m *leat.Message, target *partition, done func(leat.Receipt, error)) {
	d, err := p.deferMessage(m, target)
	if err != nil {
		p.answers.refuse(done, err)
		return
	}
	if p.level == core.AckNone {
		err := p.oneWay(context.Background(), &d.entry, &d.stored, d.size, true)
		p.answers.answerNow(done, p.unreceipted(target), err)
		return
	}
	answer := done
	if done != nil {
		answer = func(stored leat.Receipt, err error) {
			if err != nil {
				done(leat.Receipt{}, err)
				return
			}
			done(d.receipt(p, stored), nil)
		}
	}
	ticket, err := p.reserve(d.entry.part, answer, d.size)
	if err != nil {
		p.answers.refuse(done, err)
		return
	}
	d.entry.producer, d.entry.ticket = p.index, ticket
	if err = p.closedMeanwhile(); err == nil {
		err = p.node.commit(context.Background(), &d.entry, &d.stored, d.size, true)
	}
	if err != nil {
		p.answers.fail(ticket, err)
		return
	}
	if p.answers.quiet() {
		d.entry.part.shard.journalSoon(d.entry.level)
		return
	}
	d.entry.part.shard.journalLater()
}

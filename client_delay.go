package leat

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// noDelays is the error of what a node of an earlier version cannot do.
func noDelays(op string, conn *clientConn) error {
	return core.Errorf(core.CodeUnsupported, op, "the node, of version %s, knows no delayed messages",
		core.Quote(conn.welcome.Server))
}

// delaysRefused is noDelays for a node that is connected and of such a version; nil for all others.
func (p *remoteProducer) delaysRefused(partition int32) error {
	n := p.client.node(p.topic.nodeOf(partition))
	p.client.mu.Lock()
	conn := n.conn
	p.client.mu.Unlock()
	if conn == nil {
		return nil
	}
	return p.delaysRefusedBy(conn)
}

func (p *remoteProducer) delaysRefusedBy(conn *clientConn) error {
	if conn.welcome.Features&wire.FeatureDelays != 0 {
		return nil
	}
	return noDelays(p.topic.op("publish a delayed message to"), conn)
}

// later gives the producer that carries the delayed messages of p. It has the partitions of the topic as p
// has them, but its streams go to __delay of the nodes that have those; so whatever happens on the way, a
// message is stored once.
func (p *remoteProducer) later() (*remoteProducer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.fault != nil:
		return nil, p.fault
	case p.ctx.Err() != nil:
		return nil, p.client.closedError(p.topic.op("publish to"))
	case p.delays == nil:
		o := ProducerOptions{Partitioner: Manual, Ack: p.options.Ack, Full: p.options.Full}
		d := newRemoteProducer(p.client, p.topic, o)
		d.delayed = true
		d.id &^= core.MaxPartitions - 1 // a partition's frames have the producer of its number
		if d.level != core.AckNone && d.id == 0 {
			d.id = core.MaxPartitions
		}
		p.delays = d
	}
	return p.delays, nil
}

// laterNow gives that producer if there was something to carry.
func (p *remoteProducer) laterNow() *remoteProducer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delays
}

// producerOf is the producer of the frames of a partition.
func (p *remoteProducer) producerOf(partition int32) int64 {
	if p.delayed && p.id != 0 {
		return p.id + int64(partition)
	}
	return p.id
}

// deferral is a delayed message on its way.
type deferral struct {
	by      *remoteProducer
	message Message // the record of __delay
	key     core.DelayKey
	topic   uint64
}

// deferMessage wraps a delayed message for __delay.
func (p *remoteProducer) deferMessage(m *Message) (deferral, error) {
	at, err := p.place(m)
	if err != nil {
		return deferral{}, err
	}
	d, err := m.DelayedRecord(time.Unix(0, p.client.clock.Now()))
	if err == nil {
		err = p.delaysRefused(at.partition)
	}
	if err != nil {
		return deferral{}, err
	}
	d.Topic, d.Partition, d.Level = p.topic.id, at.partition, max(p.level, p.topic.cfg.Ack)
	head := d.EncodeHead(make([]byte, 0, 64+at.size))
	value := head[:len(head)+at.size]
	record := value[len(head):]
	core.PutExtendedRecord(record, m.Key, m.Value, m.Headers, at.hash, 0, m.extras())
	if err := core.CheckDelayed(record, int(p.topic.maxRecordBytes.Load())); err != nil {
		return deferral{}, err
	}
	by, err := p.later()
	if err != nil {
		return deferral{}, err
	}
	key := core.DelayKey{Random: by.instance, Number: by.number.Add(1)}
	return deferral{by: by, key: key, topic: p.topic.id,
		message: Message{Key: key.Encode(nil), Value: value, Partition: at.partition}}, nil
}

// receipt makes the receipt of a delayed message from that of its record in __delay.
func (d *deferral) receipt(stored Receipt, err error) (Receipt, error) {
	if err != nil {
		return Receipt{}, err
	}
	if stored.Offset >= 0 {
		h := core.DelayHandle{Topic: d.topic, Partition: stored.Partition, Offset: stored.Offset,
			Tag: d.key.Tag()}
		stored.Handle, stored.Offset = h.String(), -1
	}
	return stored, nil
}

// publishDelayed is Publish for a delayed message.
func (p *remoteProducer) publishDelayed(ctx context.Context, m *Message) (Receipt, error) {
	d, err := p.deferMessage(m)
	if err != nil {
		return Receipt{}, err
	}
	return d.receipt(d.by.Publish(ctx, d.message))
}

// publishDelayedAsync is PublishAsync for a delayed message.
func (p *remoteProducer) publishDelayedAsync(m *Message, done func(Receipt, error)) {
	d, err := p.deferMessage(m)
	switch {
	case err != nil:
		p.callbacks.answer(done, Receipt{}, err)
	case done == nil:
		d.by.PublishAsync(d.message, nil)
	default:
		d.by.PublishAsync(d.message, func(r Receipt, err error) {
			r, err = d.receipt(r, err)
			p.callbacks.answer(done, r, err) // a producer calls back on one goroutine
		})
	}
}

// tryDelayed is TryPublish for a delayed message.
func (p *remoteProducer) tryDelayed(m *Message) error {
	d, err := p.deferMessage(m)
	if err != nil {
		return err
	}
	return d.by.TryPublish(d.message)
}

// CancelDelayed implements Backend.
func (c *client) CancelDelayed(ctx context.Context, handle string) (DelayOutcome, error) {
	body := wire.HandleBody{Handle: handle}
	answer, err := c.changeDelayed(ctx, handle, true, wire.OpCancelDelayed, body)
	return DelayOutcome(answer.Outcome), err
}

// Reschedule implements Backend.
func (c *client) Reschedule(ctx context.Context, handle string, at time.Time) (string, DelayOutcome, error) {
	due, err := DueTime("reschedule a delayed message", at, time.Unix(0, c.clock.Now()))
	if err != nil {
		return "", DelayUnknown, err
	}
	body := wire.RescheduleBody{Handle: handle, Due: due}
	answer, err := c.changeDelayed(ctx, handle, false, wire.OpReschedule, body)
	return answer.Handle, DelayOutcome(answer.Outcome), err
}

// changeDelayed asks the node that has the target of a delayed message. Any node says who that is, unless the
// topic is gone: then all are asked, for each knows of what waited with it.
func (c *client) changeDelayed(ctx context.Context, handle string, safe bool, op wire.Op, body any) (
	answer wire.DelayOutcomeBody, err error,
) {
	if _, err := core.ParseDelayHandle(handle); err != nil {
		return answer, err
	}
	patient, cancel := c.patient(ctx)
	conn, err := c.anyConnection(patient)
	cancel()
	if err != nil {
		return answer, err
	}
	first := conn.node
	err = c.askDelays(ctx, first, safe, op, body, &answer)
	if err != nil || answer.Mine || answer.Outcome != uint8(DelayUnknown) {
		return answer, err
	}
	for _, n := range c.allNodes() {
		if n == first {
			continue
		}
		if err := c.askDelays(ctx, n, safe, op, body, &answer); err != nil ||
			answer.Outcome != uint8(DelayUnknown) {
			return answer, err
		}
	}
	return answer, nil
}

// askDelays is ask of a node that must know delayed messages.
func (c *client) askDelays(ctx context.Context, n *clientNode, safe bool, op wire.Op, body, answer any,
) error {
	return c.askWith(ctx, n, safe, wire.FeatureDelays, op, body, answer)
}

// delayedPart is what one node says about its delayed messages.
type delayedPart struct {
	answer wire.DelayedAnswer
	err    error
}

// Delayed implements Backend: every node lists what waits on it, and the first of all are the page.
func (c *client) Delayed(ctx context.Context, filter DelayFilter) (DelayedPage, error) {
	if _, err := core.ParseDelayPlace(filter.After); err != nil {
		return DelayedPage{}, err
	}
	if filter.Topic != "" {
		if err := core.ValidateName("topic", filter.Topic); err != nil {
			return DelayedPage{}, err
		}
	}
	body := wire.DelayedBody{Topic: filter.Topic, Key: presentBytes(filter.Key), Limit: filter.Limit,
		After: filter.After}
	body.From, body.To = filter.Span()
	nodes := c.allNodes()
	parts := make([]delayedPart, len(nodes))
	var asking sync.WaitGroup
	for i, n := range nodes {
		asking.Go(func() {
			parts[i].err = c.askDelays(ctx, n, true, wire.OpDelayed, body, &parts[i].answer)
		})
	}
	asking.Wait()
	return mergeDelayed(parts, filter.Limit)
}

// placedMessage is a delayed message of a list.
type placedMessage struct {
	place   core.DelayPlace
	message *wire.DelayedMessageBody
}

// mergeDelayed makes one page of those of all nodes. What is behind the place up to which some node has
// looked is left for the next one, because that node may have more before it.
func mergeDelayed(parts []delayedPart, limit int) (page DelayedPage, err error) {
	var all []placedMessage
	var end *core.DelayPlace // nil: every node has looked at all
	missing := 0
	for i := range parts {
		a := &parts[i].answer
		if errors.Is(parts[i].err, core.ErrTopicNotFound) {
			missing++ // a node may not have heard of the topic yet
			err = parts[i].err
			continue
		}
		if parts[i].err != nil {
			return DelayedPage{}, parts[i].err
		}
		for j := range a.Messages {
			place, err := core.ParseDelayPlace(a.Messages[j].Place)
			if err != nil {
				return DelayedPage{}, wire.Errorf("a delayed message: %w", err)
			}
			all = append(all, placedMessage{place, &a.Messages[j]})
		}
		if a.Next == "" {
			continue
		}
		next, err := core.ParseDelayPlace(a.Next)
		if err != nil {
			return DelayedPage{}, wire.Errorf("a list of delayed messages: %w", err)
		}
		if end == nil || next.Compare(*end) < 0 {
			end = &next
		}
	}
	if missing == len(parts) {
		return DelayedPage{}, err
	}
	slices.SortFunc(all, func(a, b placedMessage) int { return a.place.Compare(b.place) })
	for i := range all {
		if end != nil && all[i].place.Compare(*end) > 0 {
			break
		}
		if len(page.Messages) == limit {
			end = &all[i-1].place
			break
		}
		page.Messages = append(page.Messages, delayedMessage(all[i].message))
	}
	if end != nil {
		page.Next = end.String()
	}
	return page, nil
}

func delayedMessage(b *wire.DelayedMessageBody) DelayedMessage {
	m := DelayedMessage{Handle: b.Handle, Topic: b.Topic, Partition: b.Partition, Due: time.Unix(0, b.Due),
		Stored: time.Unix(0, b.Stored), Bytes: b.Bytes}
	if b.Key != nil {
		m.Key = *b.Key
	}
	return m
}

// closeLater closes the producer of delayed messages, which drains until ctx ends. p takes none any more, but
// still calls back.
func (p *remoteProducer) closeLater(ctx context.Context) error {
	d := p.laterNow()
	if d == nil {
		return nil
	}
	d.closed.Store(true)
	return d.close(ctx)
}

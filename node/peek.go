package node

import (
	"bytes"
	"context"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
	"github.com/leatbus/leat/transport/wire"
)

// Topic implements leat.Backend.
func (n *Node) Topic(ctx context.Context, name string) (leat.TopicInfo, error) {
	if _, err := n.topicFor("describe", name); err != nil {
		return leat.TopicInfo{}, err
	}
	infos, err := n.Topics(ctx)
	if err != nil {
		return leat.TopicInfo{}, err
	}
	for i := range infos {
		if infos[i].Name == name {
			return infos[i], nil
		}
	}
	return leat.TopicInfo{}, core.NewError(core.CodeTopicNotFound, "describe topic "+core.Quote(name), nil)
}

// Peek implements leat.Backend.
func (n *Node) Peek(ctx context.Context, topic string, q leat.PeekSlice) (leat.PeekRun, error) {
	t, err := n.topicFor("peek into", topic)
	if err != nil {
		return leat.PeekRun{}, err
	}
	p, err := t.readable(q.Partition)
	if err != nil {
		return leat.PeekRun{}, err
	}
	if q.Limit <= 0 || q.Scan <= 0 || q.ValueBytes < 0 {
		return leat.PeekRun{}, core.Errorf(core.CodeInvalidConfig, p.op("peek into"),
			"limit %d, scan %d, value bytes %d: want more", q.Limit, q.Scan, q.ValueBytes)
	}
	high := p.highWater.Load()
	from, err := p.near(q.From, p.log.Start(), high)
	if err != nil {
		return leat.PeekRun{}, err
	}
	to, err := p.near(q.To, high, high)
	if err != nil {
		return leat.PeekRun{}, err
	}
	f, err := readFilter(q.Filter)
	if err != nil {
		return leat.PeekRun{}, err
	}
	peek := peeker{part: p, query: &q, filter: matcherFor(f, p), to: to, high: high}
	if q.ID != "" {
		err = peek.readID(ctx, from)
	} else {
		err = peek.read(ctx, from)
	}
	return peek.run, err
}

// near turns a position into an offset of [start, high]; the default is usual.
func (p *partition) near(at core.Position, usual, high int64) (int64, error) {
	offset := usual
	switch at.Kind {
	case core.PositionDefault:
	case core.PositionOffset:
		offset = at.Value
	case core.PositionEarliest, core.PositionLatest, core.PositionTime:
		var err error
		if offset, err = p.resolve(at); err != nil {
			return 0, err
		}
	default:
		return 0, core.Errorf(core.CodeUnsupported, p.op("peek into"), "position of kind %d", at.Kind)
	}
	return min(max(offset, p.log.Start()), high), nil
}

// peeker is one Peek.
type peeker struct {
	part     *partition
	query    *leat.PeekSlice
	filter   *filter.Matcher // nil for none
	to, high int64
	run      leat.PeekRun

	headers core.HeaderDecoder
	bytes   int // answered
	passed  int // bytes looked at
}

// read looks at records from an offset on until a limit is reached.
func (k *peeker) read(ctx context.Context, from int64) error {
	c := &cursor{part: k.part, filter: k.filter}
	c.start(from)
	defer c.close()
	for {
		if k.run.Next = c.next; c.next >= k.to {
			k.run.Done = true
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := c.fetch(k.high, false)
		if err != nil {
			return err
		}
		if !found { // the rest has no record
			k.run.Next, k.run.Done = k.to, true
			return nil
		}
		if k.query.ID != "" && k.passFrame(c) {
			if k.run.Next = c.next; k.full() {
				k.run.Done = c.next >= k.to
				return nil
			}
			continue
		}
		for c.hasRecords() && c.next < k.to {
			if err := k.look(c); err != nil {
				return err
			}
			k.run.Next = c.next
			if k.full() {
				k.run.Done = c.next >= k.to
				return nil
			}
		}
	}
}

// readID is read for a message with an id: what the partition remembers of it, or a look at the records.
func (k *peeker) readID(ctx context.Context, from int64) error {
	at, known, err := k.part.recall(ctx, core.MessageIDOf([]byte(k.query.ID)))
	if err != nil {
		return err
	}
	if known && at >= from && at < k.to {
		one := *k
		one.to = at + 1
		if err := one.read(ctx, at); err != nil {
			return err
		}
		if len(one.run.Messages) > 0 { // else another id has this hash, or the record is not to be given
			k.run = one.run
			k.run.Next, k.run.Done = k.to, true
			return nil
		}
	}
	if k.query.Remembered {
		k.run.Next, k.run.Done = k.to, true
		return nil
	}
	return k.read(ctx, from)
}

// recall gives the offset of the newest record that had an id, if the partition remembers one. It waits for
// the journal's step under way.
func (p *partition) recall(ctx context.Context, id core.MessageID) (offset int64, known bool, err error) {
	type place struct {
		offset int64
		known  bool
	}
	answer := make(chan place, 1)
	p.shard.call(func() {
		offset, _, known := p.state.FindID(id, 0) // however old it is: the record itself is looked at
		answer <- place{offset, known}
	})
	select {
	case found := <-answer:
		return found.offset, found.known, nil
	case <-ctx.Done():
		return 0, false, ctx.Err()
	case <-p.shard.journal.node.closing:
		return 0, false, core.NewError(core.CodeClosed, p.op("peek into"), nil)
	}
}

// passFrame moves behind the frame under way if none of its records has an id, and reports whether it did.
func (k *peeker) passFrame(c *cursor) bool {
	h := core.ParseFrameHeader(c.frames)
	if h.Attrs&core.AttrIDs != 0 {
		return false
	}
	left := min(k.query.Scan, wire.MaxPeekScan) - k.run.Scanned
	if n := min(h.NextOffset()-c.next, k.to-c.next, left); n > 0 {
		k.run.Scanned += n
		c.next += n
	}
	k.passed += len(c.records)
	c.records = nil
	return true
}

func (k *peeker) full() bool {
	return len(k.run.Messages) >= min(k.query.Limit, wire.MaxPeekRecords) ||
		k.run.Scanned >= min(k.query.Scan, wire.MaxPeekScan) ||
		k.bytes >= wire.MaxPeekBytes || k.passed >= wire.MaxPeekRead
}

// look takes the next record of the frame under way.
func (k *peeker) look(c *cursor) error {
	var m leat.Message
	given, err := c.take(&m, &k.headers)
	if err != nil {
		return err
	}
	k.run.Scanned++
	if !given { // its time to live has ended, or it does not pass
		return nil
	}
	k.passed += len(m.Key) + len(m.Value)
	if k.query.Key != nil && (m.Key == nil || !bytes.Equal(m.Key, k.query.Key)) ||
		k.query.ID != "" && m.ID != k.query.ID {
		return nil
	}
	found := leat.Peeked{KeyBytes: len(m.Key), ValueBytes: len(m.Value)}
	if most := k.query.ValueBytes; most > 0 {
		m.Key, m.Value = m.Key[:min(most, len(m.Key))], m.Value[:min(most, len(m.Value))]
	}
	found.Message = *m.Clone()
	k.run.Messages = append(k.run.Messages, found)
	k.bytes += len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		k.bytes += len(h.Key) + len(h.Value)
	}
	return nil
}

// answerPeek is Peek for a client.
func (n *Node) answerPeek(ctx context.Context, q *wire.PeekBody) (wire.PeekAnswer, error) {
	run, err := n.Peek(ctx, q.Topic, leat.PeekSlice{Partition: q.Partition, From: positionOf(q.From),
		To: positionOf(q.To), Key: q.Key, Filter: q.Filter, ID: string(q.ID), Remembered: q.Remembered,
		Limit: q.Limit, Scan: q.Scan, ValueBytes: q.ValueBytes})
	if err != nil {
		return wire.PeekAnswer{}, err
	}
	answer := wire.PeekAnswer{Scanned: run.Scanned, Next: run.Next, Done: run.Done}
	for i := range run.Messages {
		m := &run.Messages[i]
		body := wire.PeekedBody{Offset: m.Offset, Time: m.Time.UnixNano(), Key: m.Key, Value: m.Value,
			KeyBytes: m.KeyBytes, ValueBytes: m.ValueBytes, ID: []byte(m.ID), TTL: int64(m.TTL)}
		for _, h := range m.Headers {
			body.Headers = append(body.Headers, wire.HeaderBody{Key: h.Key, Value: h.Value})
		}
		answer.Records = append(answer.Records, body)
	}
	return answer, nil
}

func positionOf(b wire.PositionBody) core.Position {
	return core.Position{Kind: core.PositionKind(b.Kind), Value: b.Value}
}

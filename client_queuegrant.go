package leat

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// remoteGrant is one GRANT: records that this member was lent, and the Delivery that their answers go to.
//
//	read ──▶ ready list ──▶ current of the loop ──▶ in hand, until all of it is answered
type remoteGrant struct {
	session   *queueSession
	partition int32
	attempt   int32
	grant     core.QueueGrant
	waits     atomic.Bool // records of it wait for the loop

	// The following is guarded by the queue's lock.
	open          uint64       // not answered
	renewed       int64        // when renew saw it first, or extended its lease
	inHand        uint64       // of open, those that were given to the loop
	earlier, next *remoteGrant // of the session, with open records

	// The following is owned by the loop, once the grant is in the ready list.
	chunk   *chunk
	size    int64  // as the credit counts it
	rest    uint64 // records in what follows
	wanted  uint64 // of those, the ones to be delivered
	runs    []byte
	records []byte // rest of the run under way
	count   int32  // of records
	time    time.Time
}

var _ Delivery = (*remoteGrant)(nil)

// take fills m with the next wanted record; there must be one.
func (g *remoteGrant) take(m *Message, headers *core.HeaderDecoder) error {
	for {
		if g.count == 0 {
			if len(g.records) > 0 {
				return g.corrupt("%d bytes behind the last record of a run", len(g.records))
			}
			var run wire.GrantRun
			run, g.runs = wire.NextGrantRun(g.runs)
			g.records, g.count, g.time = run.Records, run.Count, time.Unix(0, run.Time)
		}
		r, n, err := core.DecodeRecord(g.records)
		if err != nil {
			return core.NewError(core.CodeOf(err), g.session.op("read"), err)
		}
		bit := bits.TrailingZeros64(g.rest)
		g.rest &= g.rest - 1
		g.records, g.count = g.records[n:], g.count-1
		if g.wanted&(1<<bit) == 0 {
			continue // it is not this member's any more
		}
		if g.wanted &^= 1 << bit; g.wanted == 0 {
			g.waits.Store(false)
		}
		m.Headers = m.Headers[:0]
		if len(r.RawHeaders) > 0 {
			if m.Headers, err = headers.Decode(r.RawHeaders, m.Headers); err != nil {
				return core.NewError(core.CodeOf(err), g.session.op("read"), err)
			}
		}
		m.Key, m.Value, m.TTL, m.ID = r.Key, r.Value, r.TTL, string(r.ID)
		m.Topic, m.Partition = g.session.queue().topic.name, g.partition
		m.Offset, m.Time = g.grant.Lo+int64(bit), g.time
		SetDelivery(m, g.attempt, g)
		return nil
	}
}

func (g *remoteGrant) corrupt(format string, args ...any) error {
	return core.Errorf(core.CodeCorrupt, g.session.op("read"), format, args...)
}

// Ack implements Delivery.
func (g *remoteGrant) Ack(offset int64) error {
	return g.answer("ack on", wire.SettleAck, offset, 0, "")
}

// Nack implements Delivery.
func (g *remoteGrant) Nack(offset int64, delay time.Duration, reason string) error {
	const op = "nack on"
	if reason == "" {
		return g.answer(op, wire.SettleNack, offset, max(int64(delay), -1), "")
	}
	if !g.session.reasons {
		err := core.Errorf(core.CodeUnsupported, g.session.op(op), "partition %d, offset %d: its node is of a "+
			"version whose nacks have no reason", g.partition, offset)
		err.Hint = "call Nack, which takes none, or upgrade the node"
		return err
	}
	return g.answer(op, wire.SettleNackBecause, offset, max(int64(delay), -1), core.CutReason(reason))
}

// Reject implements Delivery.
func (g *remoteGrant) Reject(offset int64, reason string) error {
	return g.answer("reject on", wire.SettleReject, offset, 0, core.CutReason(reason))
}

// Extend implements Delivery.
func (g *remoteGrant) Extend(offset int64) error {
	return g.answer("extend on", wire.SettleExtend, offset, 0, "")
}

// answer leaves what is said of a record to the writer, once.
func (g *remoteGrant) answer(op string, kind wire.SettleKind, offset, delay int64, reason string) error {
	s := g.session
	q := s.source.queue
	bit := uint64(0)
	if at := offset - g.grant.Lo; at >= 0 && at < 64 {
		bit = 1 << at
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed.Load():
		return q.client.closedError(q.topic.op(op))
	case g.open&bit == 0:
		return core.Errorf(core.CodeStaleAck, q.topic.op(op), "partition %d, offset %d", g.partition, offset)
	case kind != wire.SettleExtend:
		q.moved = true
		s.answeredLocked(g, bit)
	case s.extends >= maxExtends:
		return core.Errorf(core.CodeFull, q.topic.op(op), "%d leases wait to be extended", s.extends)
	default:
		q.moved = true
		s.extends++
	}
	s.settleLocked(kind, g, bit, delay, reason)
	return nil
}

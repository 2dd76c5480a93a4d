package node

import (
	"context"
	"math/bits"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// read takes what the client says until it leaves, or its stream ends.
func (s *queueStream) read(r *transport.Reader) (left bool, err error) {
	var settled wire.Settlement
	for {
		h, err := nextFrame(r)
		if err != nil {
			return false, err
		}
		switch h.Type {
		case wire.Credit:
			s.grantMore(h.Arg)
		case wire.Settle:
			var payload []byte
			if payload, err = r.Small(); err == nil {
				err = wire.DecodeSettle(&h, payload, &settled)
			}
			if err == nil {
				err = s.settle(&settled)
			}
		case wire.Commit:
			err = s.commit(&h)
		case wire.Leave:
			return true, nil
		default:
			err = unexpected(&h, "on a queue stream")
		}
		if err != nil {
			return false, err
		}
	}
}

// grantMore raises the credit; one that is lower than before is late and says nothing.
func (s *queueStream) grantMore(credit uint64) {
	if credit > s.credit.Load() {
		s.credit.Store(credit)
		select {
		case s.granted <- struct{}{}:
		default:
		}
	}
}

// settle does what the client says of its records, and tells it what came too late.
func (s *queueStream) settle(said *wire.Settlement) error {
	var stale []byte
	if said.Kind == wire.SettleAck {
		stale = s.ack(said.Entries)
	} else {
		for i := range said.Entries {
			e := &said.Entries[i]
			stale = appendStale(stale, e, s.settleOne(said, e))
		}
	}
	if len(stale) == 0 {
		return nil
	}
	h := wire.Header{Type: wire.Stale, Length: uint32(len(stale))}
	return s.lane.Send(append(h.Append(nil), stale...))
}

// appendStale appends what of an entry came too late.
func appendStale(dst []byte, e *wire.QueueEntry, late uint64) []byte {
	if late == 0 {
		return dst
	}
	over := *e
	over.Grant.Left = late
	return over.Append(dst)
}

// ack takes all acks of a frame, and then has the member look once.
func (s *queueStream) ack(entries []wire.QueueEntry) (stale []byte) {
	acked := 0
	s.mu.Lock()
	for i := range entries {
		e, taken := &entries[i], uint64(0)
		if g := s.grantLocked(e); g != nil {
			taken = g.take(e.Grant.Left)
			acked += bits.OnesCount64(taken)
		}
		stale = appendStale(stale, e, e.Grant.Left&^taken)
	}
	s.mu.Unlock()
	if acked > 0 {
		addSome(&s.counted.acked, int64(acked))
		s.sub.member.acked()
	}
	return stale
}

// settleOne gives the records of an entry that are not the member's any more. It is not an ack.
func (s *queueStream) settleOne(said *wire.Settlement, e *wire.QueueEntry) (late uint64) {
	s.mu.Lock()
	g := s.grantLocked(e)
	s.mu.Unlock()
	if g == nil {
		return e.Grant.Left
	}
	if said.Kind == wire.SettleExtend {
		return g.member.group.extend(g, e.Grant.Left)
	}
	for left := e.Grant.Left; left != 0; left &= left - 1 {
		bit := bits.TrailingZeros64(left)
		offset := g.lo + int64(bit)
		var err error
		switch said.Kind {
		case wire.SettleNack, wire.SettleNackBecause:
			err = g.Nack(offset, time.Duration(said.Delay), said.Reason)
		default:
			err = g.Reject(offset, said.Reason)
		}
		if err != nil {
			late |= 1 << bit
		}
	}
	return late
}

// grantLocked finds what was handed out as the client says.
func (s *queueStream) grantLocked(e *wire.QueueEntry) *queueGrant {
	g := s.grants[queueDelivery{e.Partition, e.Grant.Epoch}]
	if g == nil || g.lo != e.Grant.Lo || g.slot != e.Grant.Slot {
		return nil
	}
	return g
}

// commit answers a COMMIT when everything settled so far is stored.
func (s *queueStream) commit(asked *wire.Header) error {
	if asked.Length != 0 {
		return wire.Errorf("COMMIT with entries on a queue stream")
	}
	if s.waiting.Add(1) > maxWaiting {
		return core.Errorf(core.CodeLimited, "commit", "%d commits wait for their answer", maxWaiting)
	}
	s.commits.Go(func() {
		defer s.waiting.Add(-1)
		ctx, cancel := context.WithTimeout(s.session.ctx, closeWait)
		defer cancel()
		h := wire.Header{Type: wire.Committed, Arg: asked.Arg}
		frame := h.Append(nil)
		if err := s.sub.member.group.commit(ctx); err != nil {
			frame = errorFrame(nil, h, err, false)
		}
		_ = s.lane.Send(frame) // a stream that is gone ends at its reader
	})
	return nil
}

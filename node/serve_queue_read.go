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
	for i := range said.Entries {
		e := &said.Entries[i]
		if late := s.settleOne(said, e); late != 0 {
			over := *e
			over.Grant.Left = late
			stale = over.Append(stale)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	h := wire.Header{Type: wire.Stale, Length: uint32(len(stale))}
	return s.lane.Send(append(h.Append(nil), stale...))
}

// settleOne gives the records of an entry that are not the member's any more.
func (s *queueStream) settleOne(said *wire.Settlement, e *wire.QueueEntry) (late uint64) {
	g := s.grantOf(e)
	if g == nil {
		return e.Grant.Left
	}
	if said.Kind == wire.SettleAck {
		taken := g.take(e.Grant.Left)
		if taken != 0 {
			addSome(&s.counted.acked, int64(bits.OnesCount64(taken)))
			g.member.acked()
		}
		return e.Grant.Left &^ taken
	}
	if said.Kind == wire.SettleExtend {
		return g.member.group.extend(g, e.Grant.Left)
	}
	for left := e.Grant.Left; left != 0; left &= left - 1 {
		bit := bits.TrailingZeros64(left)
		offset := g.lo + int64(bit)
		var err error
		switch said.Kind {
		case wire.SettleNack:
			err = g.Nack(offset, time.Duration(said.Delay))
		default:
			err = g.Reject(offset, said.Reason)
		}
		if err != nil {
			late |= 1 << bit
		}
	}
	return late
}

// grantOf finds what was handed out as the client says.
func (s *queueStream) grantOf(e *wire.QueueEntry) *queueGrant {
	s.mu.Lock()
	defer s.mu.Unlock()
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

package node

import (
	"bytes"
	"context"
	"math/bits"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// send hands the client what the member is handed, until sending ends. How it ends is not its business then.
func (s *queueStream) send() error {
	err := s.sendAll()
	if s.sending.Err() != nil {
		return nil
	}
	return err
}

func (s *queueStream) sendAll() error {
	for {
		if err := s.sub.await(s.sending); err != nil {
			return err
		}
		for len(s.sub.grants) > 0 {
			if err := s.sending.Err(); err != nil {
				return err
			}
			had := len(s.out)
			if err := s.gatherAll(); err != nil {
				return err
			}
			if had > 0 && len(s.out) == had { // all of it was over, and such may come for long
				if err := s.flush(); err != nil {
					return err
				}
			}
			if err := s.sub.take(); err != nil { // what comes at once goes with it
				return err
			}
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// gatherAll gathers what was handed to the member, and writes what is a lot.
func (s *queueStream) gatherAll() error {
	for _, g := range s.sub.grants {
		s.remember(g)
		if err := s.gather(g); err != nil {
			return err
		}
		if len(s.out) >= sendBytes {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *queueStream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	err := s.lane.Send(s.out)
	if s.out = s.out[:0]; cap(s.out) > sendKept {
		s.out = nil
	}
	return err
}

// grantFrame is a GRANT in the making.
type grantFrame struct {
	at    int    // of out
	run   int    // of out, where the run under way begins
	count int    // of its records
	time  int64  // of its records
	bits  uint64 // of the records in the frame
}

// gather appends the records of a grant that are there and still the member's. What cannot be read is
// refused, and the client told; what the log has no more is settled.
func (s *queueStream) gather(g *queueGrant) error {
	var f grantFrame
	for todo := g.left.Load(); todo != 0; todo &= todo - 1 {
		bit := bits.TrailingZeros64(todo)
		c, record, err := s.record(g, g.lo+int64(bit))
		if err != nil {
			return err
		}
		if record == nil {
			continue
		}
		if f.bits != 0 && len(s.out)+len(record)-f.at > sendBytes {
			s.endFrame(g, &f)
		}
		if f.bits == 0 {
			if s.sent >= s.credit.Load() { // that may take long, and nothing of the map is kept for it
				record = bytes.Clone(record)
				s.sub.rest()
			}
			if err := s.awaitCredit(); err != nil {
				return err
			}
			f.at = len(s.out)
			s.out = wire.BeginGrant(s.out)
		}
		if at := c.time.UnixNano(); f.count == 0 || at != f.time {
			s.endRun(&f)
			f.time, f.run = at, len(s.out)
			s.out = wire.BeginGrantRun(s.out, at)
		}
		s.out = append(s.out, record...)
		f.count++
		f.bits |= 1 << bit
	}
	if f.bits != 0 {
		s.endFrame(g, &f)
	}
	return nil
}

func (s *queueStream) endRun(f *grantFrame) {
	if f.count > 0 {
		wire.EndGrantRun(s.out, f.run, f.count)
		f.count = 0
	}
}

func (s *queueStream) endFrame(g *queueGrant, f *grantFrame) {
	s.endRun(f)
	h := wire.EndGrant(s.out, f.at, &wire.GrantHead{Partition: g.part.part.number, Grant: g.core(f.bits),
		Attempt: g.attempt})
	s.sent += uint64(h.Size())
	addSome(&s.counted.delivered, int64(bits.OnesCount64(f.bits)))
	addSome(&s.counted.deliveredBytes, int64(h.Length))
	f.bits = 0
}

// record gives one record of a grant, as it is in the log, and the cursor that is behind it; nil if there is
// nothing to deliver.
func (s *queueStream) record(g *queueGrant, offset int64) (*cursor, []byte, error) {
	p := g.part.part
	c := s.sub.cursors[p.number]
	if c == nil || c.next != offset || !c.hasRecords() {
		found, err := s.sub.seek(p, offset)
		if err != nil {
			return nil, nil, s.unreadable(g, offset, err)
		}
		if !found {
			_ = g.Ack(offset) // a stale lease is as good
			return nil, nil, nil
		}
		c = s.sub.cursors[p.number]
	}
	r, n, err := core.DecodeRecord(c.records)
	if err != nil {
		return nil, nil, s.unreadable(g, offset, err)
	}
	record := c.records[:n:n]
	c.records = c.records[n:]
	c.next++
	c.skipRemoved()
	if c.part.topic.leaves(&r, c.time.UnixNano(), c.part.shard.clock) {
		_ = g.Ack(offset)
		return nil, nil, nil
	}
	return c, record, nil
}

// unreadable refuses a record that cannot be read and tells the client; an error ends the stream.
func (s *queueStream) unreadable(g *queueGrant, offset int64, err error) error {
	if core.CodeOf(err) == core.CodeClosed || s.topic.deleted.Load() {
		return err
	}
	_ = g.Nack(offset, -1, err.Error()) // a stale lease is as good
	h := wire.Header{Type: wire.PartitionFailed, Aux: uint16(g.part.part.number)}
	return s.lane.Send(errorFrame(nil, h, err, true))
}

// awaitCredit waits until another frame may be begun.
func (s *queueStream) awaitCredit() error {
	for s.sent >= s.credit.Load() {
		if err := s.flush(); err != nil {
			return err
		}
		select {
		case <-s.granted:
		case <-s.sending.Done():
			return context.Cause(s.sending)
		}
	}
	return nil
}

// remember has the reader find a grant. Those that are over are forgotten now and then.
func (s *queueStream) remember(g *queueGrant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.grants) >= s.sweep {
		for at, old := range s.grants {
			if old.left.Load() == 0 {
				delete(s.grants, at)
			}
		}
		s.sweep = max(2*len(s.grants), grantsKept)
	}
	s.grants[queueDelivery{g.part.part.number, g.epoch}] = g
}

package node

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// queueGrant is records that a member of a queue group was handed: those of the bits of left, bit i for
// offset lo+i. Whoever takes a bit out of left has the say over that record: the member with an answer, or
// the group when the lease ends. So an ack costs no lock and no message, and one that was told to be good is:
//
//	member:  left &^= bit ──▶ acked, found by the group's next look: known &^ left
//	group:   lease over: left = 0 ──▶ what the member had not taken is delivered again
type queueGrant struct {
	lo      int64
	left    atomic.Uint64 // not answered
	member  *queueMember
	part    *queuePart
	epoch   int64
	slot    int32
	attempt int32
	waits   atomic.Bool // records of it wait in this process for a loop
	known   uint64      // guarded by the group's lock: not answered, as far as core.Queue knows
}

var _ leat.Delivery = (*queueGrant)(nil)

// grantChunk is how many grants are made at a time: of key-shared groups each has one record.
const grantChunk = 32

// records is how many the group thinks are out.
func (g *queueGrant) records() int32 { return int32(bits.OnesCount64(g.known)) }

func (g *queueGrant) core(left uint64) core.QueueGrant {
	return core.QueueGrant{Lo: g.lo, Left: left, Epoch: g.epoch, Slot: g.slot}
}

// take gives a record's bit to the caller, 0 if somebody else had it.
func (g *queueGrant) take(bit uint64) uint64 { return g.left.And(^bit) & bit }

func (g *queueGrant) bit(offset int64) uint64 { return 1 << uint64(offset-g.lo) }

// stale is the answer to an answer that is of no use any more.
func (g *queueGrant) stale(op string, offset int64) error {
	code := core.CodeStaleAck
	if g.member.closed.Load() {
		code = core.CodeClosed
	}
	return core.Errorf(code, op, "offset %d of partition %d of topic %s, attempt %d", offset, g.part.part.number,
		core.Quote(g.part.part.topic.name), g.attempt)
}

// Ack implements leat.Delivery.
func (g *queueGrant) Ack(offset int64) error {
	if g.take(g.bit(offset)) == 0 {
		return g.stale("ack", offset)
	}
	g.member.acked()
	return nil
}

// Nack implements leat.Delivery.
func (g *queueGrant) Nack(offset int64, delay time.Duration, reason string) error {
	in := core.QueueInput{Kind: core.QueueNack, Delay: max(int64(delay), -1)}
	return g.member.group.answer(g, offset, &in, reason)
}

// Reject implements leat.Delivery.
func (g *queueGrant) Reject(offset int64, reason string) error {
	return g.member.group.answer(g, offset, &core.QueueInput{Kind: core.QueueReject}, reason)
}

// Extend implements leat.Delivery.
func (g *queueGrant) Extend(offset int64) error {
	if g.member.group.extend(g, g.bit(offset)) != 0 {
		return g.stale("extend", offset)
	}
	return nil
}

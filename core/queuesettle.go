package core

import "math/bits"

// answer takes what a member says about records it was handed.
func (q *Queue) answer(in *QueueInput, out *QueueEffects) {
	g := in.Grant
	left := uint64(0)
	if g.Slot >= 0 && int(g.Slot) < len(q.entries.slab) {
		e := q.entries.at(g.Slot)
		if e.state == queueLeased && e.epoch == g.Epoch && e.lo == g.Lo && e.member == in.Member {
			left = e.left & g.Left
		}
	}
	if late := g.Left &^ left; late != 0 || left == 0 {
		stale := g
		stale.Left = late
		out.add(QueueEffect{Kind: QueueStale, Member: in.Member, Offset: g.Lo, Grant: stale})
	}
	if left == 0 {
		return
	}
	switch in.Kind {
	case QueueAck:
		q.settle(g.Slot, left, out)
	case QueueNack:
		q.fail(g.Slot, left, in.Delay, 0, out)
	case QueueReject:
		q.fail(g.Slot, left, 0, CodeRejected, out)
	case QueueExtend:
		e := q.entries.at(g.Slot)
		q.entries.unlease(g.Slot)
		e.time = q.now + int64(q.cfg.Lease)
		q.entries.lease(g.Slot)
	}
}

// settle ends records of an entry, which is leased or dying.
func (q *Queue) settle(slot int32, which uint64, out *QueueEffects) {
	e := q.entries.at(slot)
	n := int64(bits.OnesCount64(which))
	if e.state == queueLeased {
		q.hold(e.member, -n)
	}
	e.left &^= which
	q.unsettled -= n
	q.dirty = true
	if e.left == 0 {
		if e.state == queueLeased {
			q.entries.unlease(slot)
		}
		q.drop(slot, out)
	}
}

// drop takes an entry without records, which is in no order any more, away, and lets the next record of its
// key come up.
func (q *Queue) drop(slot int32, out *QueueEffects) {
	e := *q.entries.at(slot)
	if e.stored {
		out.add(QueueEffect{Kind: QueueErase, Offset: e.lo})
	}
	q.entries.remove(slot)
	if e.key == 0 || !q.cfg.Ordered {
		return
	}
	k := q.keys[e.key]
	if k.first != slot {
		panic("core: a record was settled before an older one of its key")
	}
	if e.behind < 0 {
		delete(q.keys, e.key)
		return
	}
	k.first = e.behind
	q.keys[e.key] = k
	q.comeUp(k.first)
}

// comeUp has an entry that is in no order handed out, or made a dead letter, when its time has come.
func (q *Queue) comeUp(slot int32) {
	if e := q.entries.at(slot); e.time > q.now || e.code != 0 {
		q.entries.delay(slot, e.time)
		return
	}
	q.entries.makeReady(slot)
}

// release has what a member has handed out again, as if it had not been.
func (q *Queue) release(slot int32, out *QueueEffects) {
	q.entries.unlease(slot)
	if !q.forget(slot, out) {
		q.entries.makeReady(slot)
	}
}

// fail takes records of a leased entry from their member after an attempt that failed: they come again
// after delay, −1 for that of the policy, or become dead letters, because of code if it is not 0.
func (q *Queue) fail(slot int32, which uint64, delay int64, code Code, out *QueueEffects) {
	e := q.entries.at(slot)
	q.hold(e.member, -int64(bits.OnesCount64(which)))
	if which == e.left && e.left&(e.left-1) == 0 {
		q.entries.unlease(slot)
		q.failOne(slot, delay, code, out)
		return
	}
	lo, attempts, epoch := e.lo, e.attempts, e.epoch
	e.left &^= which
	if e.left == 0 {
		q.entries.unlease(slot)
		q.entries.remove(slot)
	}
	for ; which != 0; which &= which - 1 {
		bit := int64(bits.TrailingZeros64(which))
		single := q.entries.add(queueEntry{lo: lo + bit, left: 1, attempts: attempts, epoch: epoch})
		q.failOne(single, delay, code, out)
	}
}

// failOne decides about one record, whose entry is in no order.
func (q *Queue) failOne(slot int32, delay int64, code Code, out *QueueEffects) {
	e := q.entries.at(slot)
	bit := int64(bits.TrailingZeros64(e.left))
	e.lo, e.left = e.lo+bit, 1
	if q.forget(slot, out) {
		return
	}
	e.attempts++
	if code == 0 && q.cfg.MaxAttempts > 0 && e.attempts >= q.cfg.MaxAttempts {
		code = CodeAttemptsExhausted
	}
	e.stored, e.code, q.dirty = true, code, true
	if delay < 0 {
		delay = q.cfg.Retry.delay(e.attempts, q.random())
	}
	due := q.now + delay
	if code != 0 {
		due = q.now
	}
	out.add(QueueEffect{Kind: QueueStore, Offset: e.lo, Attempt: e.attempts, Due: due, Code: code})
	switch {
	case code != 0:
		q.bury(slot, out)
	case delay == 0:
		q.entries.makeReady(slot)
	default:
		q.entries.delay(slot, due)
	}
}

// random is a step of splitmix64 (Steele, Lea, Flood 2014).
func (q *Queue) random() uint64 {
	q.dice += 0x9e3779b97f4a7c15
	z := q.dice
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// bury asks for a record to be made a dead letter. It keeps the lock of its key until it is one.
func (q *Queue) bury(slot int32, out *QueueEffects) {
	q.epoch++
	e := q.entries.at(slot)
	e.state, e.epoch, e.member, e.time = queueDying, q.epoch, 0, 0
	out.add(QueueEffect{Kind: QueueBury, Code: e.code, Attempt: e.attempts, Offset: e.lo, Grant: q.grant(slot)})
}

// buriedRetry is how long a dead letter that could not be stored waits.
const buriedRetry = int64(1e9)

func (q *Queue) buried(in *QueueInput, out *QueueEffects) {
	g := in.Grant
	if g.Slot < 0 || int(g.Slot) >= len(q.entries.slab) {
		panic("core: dead letter of no record")
	}
	e := q.entries.at(g.Slot)
	if e.state != queueDying || e.epoch != g.Epoch {
		panic("core: dead letter that was not asked for")
	}
	if in.Kind == QueueBuried {
		q.settle(g.Slot, e.left, out)
		return
	}
	q.entries.delay(g.Slot, q.now+max(in.Delay, buriedRetry))
}

// expire ends leases and delays that are over.
func (q *Queue) expire(out *QueueEffects) {
	for {
		slot := q.entries.leases.first
		if slot < 0 || q.entries.at(slot).time > q.now {
			break
		}
		q.fail(slot, q.entries.at(slot).left, -1, 0, out)
	}
	for len(q.entries.delayed) > 0 && q.entries.at(q.entries.delayed[0]).time <= q.now {
		slot := q.entries.delayed.pop(&q.entries)
		switch e := q.entries.at(slot); {
		case q.forget(slot, out):
		case e.code != 0:
			q.bury(slot, out)
		default:
			q.entries.makeReady(slot)
		}
	}
}

// trimmed settles what the log has not any more. What a member has it may still ack; the rest goes when it
// comes up.
func (q *Queue) trimmed(start int64) {
	if start <= q.start {
		return
	}
	q.start = start
	q.skip(start)
}

// skip goes on at offset, if that is ahead.
func (q *Queue) skip(offset int64) {
	if offset > q.next {
		q.next, q.dirty = offset, true
		q.highWater = max(q.highWater, offset)
	}
}

// forget settles those records of an entry, which is in no order, that the log has not any more. It reports
// whether that were all; then the entry is gone.
func (q *Queue) forget(slot int32, out *QueueEffects) bool {
	e := q.entries.at(slot)
	for e.left != 0 {
		bit := int64(bits.TrailingZeros64(e.left))
		if e.lo+bit >= q.start {
			return false
		}
		e.left &= e.left - 1
		q.unsettled--
		q.dirty = true
	}
	q.drop(slot, out)
	return true
}

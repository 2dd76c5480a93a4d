package core

import "sort"

// hasWork reports whether there is something that a member with room could be handed.
func (q *Queue) hasWork() bool {
	return len(q.entries.ready) > 0 || !q.cfg.readsAhead() && q.fresh() > 0
}

// fresh is how many records that nobody ever had may be handed out.
func (q *Queue) fresh() int64 {
	return max(min(q.highWater-q.next, q.cfg.MaxUnsettled-q.unsettled), 0)
}

// handOut gives members what they have room for, in turn, and asks for keys that are wanted next.
func (q *Queue) handOut(out *QueueEffects) {
	for len(q.roomy) > 0 && q.hasWork() {
		m := q.roomy[q.turn]
		most := q.bucket.allow(q.now, min(m.room(), queueRun))
		if most < 1 {
			break
		}
		slot := q.take(most, out)
		if slot < 0 {
			continue // what was ready is gone from the log
		}
		q.turn++
		if q.turn >= len(q.roomy) {
			q.turn = 0
		}
		q.deliver(slot, m, out)
	}
	q.askKeys(out)
}

// take gives an entry of at most so many records that a member is to have; −1 if that which was ready has
// none left.
func (q *Queue) take(most int64, out *QueueEffects) int32 {
	if len(q.entries.ready) > 0 {
		slot := q.entries.ready.pop(&q.entries)
		if q.forget(slot, out) {
			return -1
		}
		if q.entries.at(slot).records() > most {
			q.split(slot, most)
		}
		return slot
	}
	// The rest is shared out, so that few records do not go to one member while others have nothing.
	share := (q.fresh() + int64(len(q.roomy)) - 1) / int64(len(q.roomy))
	n := max(min(most, share), 1)
	slot := q.entries.add(queueEntry{lo: q.next, left: ^uint64(0) >> (64 - n)})
	q.next += n
	q.unsettled += n
	q.dirty = true
	return slot
}

// split leaves the first n records to an entry and makes another of the others, which is ready.
func (q *Queue) split(slot int32, n int64) {
	e := q.entries.at(slot)
	rest := e.left
	for range n {
		rest &= rest - 1
	}
	e.left &^= rest
	other := queueEntry{lo: e.lo, left: rest, attempts: e.attempts}
	q.entries.makeReady(q.entries.add(other))
}

func (q *Queue) deliver(slot int32, m *queueMember, out *QueueEffects) {
	q.epoch++
	e := q.entries.at(slot)
	e.member, e.epoch, e.time = m.id, q.epoch, q.now+int64(q.cfg.Lease)
	q.entries.lease(slot)
	q.bucket.take(e.records())
	q.hold(m.id, e.records())
	out.add(QueueEffect{Kind: QueueDeliver, Member: m.id, Offset: e.lo, Attempt: e.attempts + 1,
		Grant: q.grant(slot)})
}

func (q *Queue) grant(slot int32) QueueGrant {
	e := q.entries.at(slot)
	return QueueGrant{Lo: e.lo, Left: e.left, Epoch: e.epoch, Slot: slot}
}

// askKeys asks for the keys of the next records while there is room and little is ready. Those that were
// not settled when the queue was restored come first: they are the older ones.
func (q *Queue) askKeys(out *QueueEffects) {
	if !q.cfg.readsAhead() || q.reading || len(q.roomy) == 0 || len(q.entries.ready) > queueReadAhead/2 {
		return
	}
	from, n := q.next, min(q.fresh(), queueReadAhead)
	if len(q.unread) > 0 {
		from = q.unread[0].offset
		i := sort.Search(len(q.unread), func(i int) bool { return q.unread[i].offset >= from+queueReadAhead })
		n = q.unread[i-1].offset + 1 - from
	}
	if n > 0 {
		q.reading = true
		out.add(QueueEffect{Kind: QueueRead, Offset: from, Count: int32(n)})
	}
}

// waits puts an entry that is in no order yet behind those of its key; it reports whether there are any.
func (q *Queue) waits(slot int32) bool {
	key := q.entries.at(slot).key
	if key == 0 || !q.cfg.Ordered {
		return false
	}
	k, locked := q.keys[key]
	if !locked {
		q.keys[key] = queueKey{slot, slot}
		return false
	}
	q.entries.at(slot).state = queueWaiting
	q.entries.at(k.last).behind = slot
	k.last = slot
	q.keys[key] = k
	return true
}

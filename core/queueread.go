package core

import "math/bits"

// skips is which of n records from the i-th on are left out, n from 1 to 64.
func (in *QueueInput) skips(i, n int64) uint64 {
	word := func(at int64) uint64 {
		if at < int64(len(in.Skip)) {
			return in.Skip[at]
		}
		return 0
	}
	at, shift := i/64, uint(i%64)
	found := word(at) >> shift
	if shift > 0 {
		found |= word(at+1) << (64 - shift)
	}
	return found & (^uint64(0) >> (64 - uint(n)))
}

// takeKeys makes entries of records that were read. Some may have been trimmed since they were asked for.
func (q *Queue) takeKeys(in *QueueInput, out *QueueEffects) {
	end := in.Offset + int64(len(in.Keys))
	if !q.reading || in.Offset > q.next || end > q.highWater {
		panic("core: keys of other records than were asked for")
	}
	q.reading = false
	n := 0
	for ; n < len(q.unread) && q.unread[n].offset < end; n++ {
		r := q.unread[n]
		if in.skips(r.offset-in.Offset, 1) != 0 && r.code == 0 {
			q.leaveOut(r, out)
			continue
		}
		q.enterRestored(r, in.Keys[r.offset-in.Offset])
	}
	q.unread = q.unread[n:]
	for q.next < end {
		if q.cfg.Ordered {
			q.enterOne(in)
		} else {
			q.enterRun(in, min(end-q.next, queueRun))
		}
		q.dirty = true
	}
}

// enterOne makes an entry of the next record, unless it is left out.
func (q *Queue) enterOne(in *QueueInput) {
	i := q.next - in.Offset
	if in.skips(i, 1) == 0 {
		slot := q.entries.add(queueEntry{lo: q.next, left: 1, key: in.Keys[i]})
		if !q.waits(slot) {
			q.entries.makeReady(slot)
		}
		q.unsettled++
	}
	q.next++
}

// enterRun makes an entry of the next n records, at most 64, without those that are left out.
func (q *Queue) enterRun(in *QueueInput, n int64) {
	left := ^in.skips(q.next-in.Offset, n) & (^uint64(0) >> (64 - uint(n)))
	if left != 0 {
		q.entries.makeReady(q.entries.add(queueEntry{lo: q.next, left: left}))
		q.unsettled += int64(bits.OnesCount64(left))
	}
	q.next += n
}

// leaveOut settles a record that was not settled when the queue was restored, and that a filter leaves out
// now. One that is to become a dead letter stays so.
func (q *Queue) leaveOut(r unreadRecord, out *QueueEffects) {
	if r.attempts > 0 {
		out.add(QueueEffect{Kind: QueueErase, Offset: r.offset})
	}
	q.unsettled--
	q.dirty = true
}

package core

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// QueueProgressVersion is the version byte of the progress this build writes, and the newest it reads.
const QueueProgressVersion = 1

// Dirty reports whether there is progress that EncodeProgress has not given.
func (q *Queue) Dirty() bool { return q.dirty }

// queueRunOf is records of progress that are not settled: those of the bits of left, of which the first is
// set.
type queueRunOf struct {
	lo   int64
	left uint64
}

// EncodeProgress appends what is settled to dst: the first offset that nobody ever had, and what before it
// is not settled and has no stored attempts. The layout is in docs/format.md. It takes time with the number
// of entries.
func (q *Queue) EncodeProgress(dst []byte) []byte {
	q.dirty = false
	runs := make([]queueRunOf, 0, q.entries.used+len(q.unread))
	for slot := range q.entries.slab {
		if e := &q.entries.slab[slot]; e.state != queueFree && !e.stored {
			shift := bits.TrailingZeros64(e.left)
			runs = append(runs, queueRunOf{e.lo + int64(shift), e.left >> shift})
		}
	}
	for _, r := range q.unread {
		if r.attempts == 0 {
			runs = append(runs, queueRunOf{r.offset, 1})
		}
	}
	slices.SortFunc(runs, func(a, b queueRunOf) int { return cmp.Compare(a.lo, b.lo) })
	dst = append(dst, QueueProgressVersion, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(runs)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(q.next))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(q.epoch))
	last := int64(0)
	for _, r := range runs {
		dst = binary.AppendUvarint(dst, uint64(r.lo-last))
		dst = binary.AppendUvarint(dst, r.left>>1)
		last = r.lo
	}
	return dst
}

// queueProgressHead is the length of progress before its entries.
const queueProgressHead = 24

// epochStep is more grants than a queue hands out between two times that its progress is stored: none gets
// the epoch of one from before a crash, even if the clock was set back.
const epochStep = 1 << 32

// RestoreProgress brings back what EncodeProgress gave, before the first step and before any RestoreFailed.
// Errors: CodeCorrupt, CodeVersionTooNew; then the queue is as it was.
func (q *Queue) RestoreProgress(src []byte) error {
	bad := func(format string, args ...any) error {
		return Errorf(CodeCorrupt, "read progress of a queue", format, args...)
	}
	switch {
	case len(src) > 0 && src[0] > QueueProgressVersion:
		return Errorf(CodeVersionTooNew, "read progress of a queue", "version %d, this build reads up to %d",
			src[0], QueueProgressVersion)
	case len(src) < queueProgressHead || src[0] == 0 || src[1]|src[2]|src[3] != 0:
		return bad("%d bytes, at least %d", len(src), queueProgressHead)
	}
	count := binary.LittleEndian.Uint32(src[4:])
	next := int64(binary.LittleEndian.Uint64(src[8:]))
	epoch := int64(binary.LittleEndian.Uint64(src[16:]))
	rest := src[queueProgressHead:]
	if next < 0 || epoch < 0 || uint64(count) > uint64(len(rest))/2 {
		return bad("next %d, epoch %d, %d entries in %d bytes", next, epoch, count, len(rest))
	}
	runs := make([]queueRunOf, 0, count)
	for range count {
		r, n := decodeQueueRun(rest, runs)
		if n == 0 || r.lo+int64(bits.Len64(r.left)) > next {
			return bad("entry %d is cut short, out of order or ends behind %d", len(runs), next)
		}
		runs, rest = append(runs, r), rest[n:]
	}
	if len(rest) > 0 {
		return bad("%d bytes too many", len(rest))
	}
	q.next, q.highWater = next, max(q.highWater, next)
	q.epoch = max(q.epoch, min(epoch, math.MaxInt64-epochStep)+epochStep)
	for _, r := range runs {
		for left := r.left; left != 0; left &= left - 1 {
			q.unread = append(q.unread, unreadRecord{offset: r.lo + int64(bits.TrailingZeros64(left))})
		}
	}
	return nil
}

// decodeQueueRun reads the run after those before, and its length, 0 where it is wrong.
func decodeQueueRun(src []byte, before []queueRunOf) (queueRunOf, int) {
	delta, n := binary.Uvarint(src)
	if n <= 0 || delta > math.MaxInt64/2 {
		return queueRunOf{}, 0
	}
	left, m := binary.Uvarint(src[n:])
	if m <= 0 || left > math.MaxInt64 {
		return queueRunOf{}, 0
	}
	r := queueRunOf{int64(delta), left<<1 | 1}
	if len(before) > 0 {
		r.lo += before[len(before)-1].lo
		if delta == 0 || r.lo > math.MaxInt64/2 {
			return queueRunOf{}, 0
		}
	}
	for i := len(before) - 1; i >= 0 && r.lo-before[i].lo < queueRun; i-- {
		if before[i].left>>(r.lo-before[i].lo)&r.left != 0 { // a record is in both
			return queueRunOf{}, 0
		}
	}
	return r, n + m
}

// unreadRecord is one that was not settled when the queue was restored.
type unreadRecord struct {
	offset   int64
	due      int64
	attempts int32
	code     Code // why it is to become a dead letter; 0 if it is not
}

// RestoreFailed brings back what a QueueStore told of a record, and no QueueErase since. Due is on the clock
// of Step. It is called after RestoreProgress.
func (q *Queue) RestoreFailed(offset, due int64, attempts int32, code Code) {
	for ; q.next <= offset; q.next++ { // progress is older: what lies between may be settled or not
		if q.next < offset {
			q.unread = append(q.unread, unreadRecord{offset: q.next})
		}
	}
	q.highWater = max(q.highWater, q.next)
	q.unread = append(q.unread, unreadRecord{offset, due, max(attempts, 1), code})
}

// Failures calls f with what QueueStore told of every record that failed and is not settled, in no order; due
// is 0 where it may be delivered at once, or somebody has it.
func (q *Queue) Failures(f func(offset, due int64, attempts int32, code Code)) {
	for _, r := range q.unread {
		if r.attempts > 0 {
			f(r.offset, r.due, r.attempts, r.code)
		}
	}
	for slot := range q.entries.slab {
		e := &q.entries.slab[slot]
		if e.state == queueFree || !e.stored {
			continue
		}
		due := int64(0)
		if e.state == queueDelayed || e.state == queueWaiting {
			due = e.time
		}
		f(e.lo+int64(bits.TrailingZeros64(e.left)), due, e.attempts, e.code)
	}
}

// RestoredEnd forgets what was restored of offsets from end on: the log lost those records, and will give
// their offsets again. It is called before Restored.
func (q *Queue) RestoredEnd(end int64) {
	q.next, q.highWater = min(q.next, end), min(q.highWater, end)
	q.unread = slices.DeleteFunc(q.unread, func(r unreadRecord) bool { return r.offset >= end })
}

// Restored ends what RestoreProgress and RestoreFailed began; the log starts at start. It is called before
// the first step.
func (q *Queue) Restored(start int64) {
	slices.SortStableFunc(q.unread, func(a, b unreadRecord) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), -cmp.Compare(a.attempts, b.attempts))
	})
	q.unread = slices.CompactFunc(q.unread, func(a, b unreadRecord) bool { return a.offset == b.offset })
	q.unread = slices.DeleteFunc(q.unread, func(r unreadRecord) bool { return r.offset < start })
	q.trimmed(start)
	q.unsettled = int64(len(q.unread))
	if q.cfg.readsAhead() {
		return // they are asked for first
	}
	for _, r := range q.unread {
		q.enterRestored(r, 0)
	}
	q.unread = nil
}

// enterRestored makes the entry of a record that was not settled.
func (q *Queue) enterRestored(r unreadRecord, key uint64) {
	slot := q.entries.add(queueEntry{lo: r.offset, left: 1, key: key, attempts: r.attempts,
		stored: r.attempts > 0, code: r.code, time: r.due})
	if !q.waits(slot) {
		q.comeUp(slot)
	}
}

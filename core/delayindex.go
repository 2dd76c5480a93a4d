package core

import (
	"math/bits"
	"slices"
	"sort"
)

// The wheels of a DelayIndex: 256 slots each, of 1 ms in the first and 256 times as long in each further
// one, which is 8,900 years in all.
const (
	delayLevels   = 6
	delaySlots    = 256
	delaySlotBits = 8
	delayMax      = int64(1)<<(delayLevels*delaySlotBits) - 1
)

// delayChunk is entries in the order of their offsets, in which they came.
const (
	delayChunkBits = 10
	delayChunkLen  = 1 << delayChunkBits
)

// delayEntry is one message that waits. A free one has offset −1.
type delayEntry struct {
	due            int64 // ms
	offset         int64
	earlier, later int32 // neighbours in the slot of a wheel, −1 for none
}

type delayChunk struct {
	entries [delayChunkLen]delayEntry
	used    int32 // that were ever taken
	live    int32
}

// DelayIndex knows when delayed messages are due: 24 bytes each for as long as they wait, in hierarchical
// timing wheels (Varghese and Lauck 1987, scheme 6, with slots aligned to the clock). Messages of one
// millisecond fire in the order in which they were added. All times are milliseconds since 1970, and the
// caller's; it is a state machine without I/O or clock.
//
// Invariant: an entry is in the wheel of the highest digit, to the base 256, in which its due time differs
// from now. So no later one of the same millisecond is in a wheel before it, and wheels that are emptied
// into lower ones keep the order.
type DelayIndex struct {
	now    int64
	count  int
	wheels [delayLevels][delaySlots]queueList
	filled [delayLevels][delaySlots / 64]uint64 // slots that are not empty

	chunks []*delayChunk // by number; nil where free
	order  []int32       // numbers of chunks, by offset
	free   []int32
}

// NewDelayIndex makes an empty index whose time is now. Where messages are loaded that may be overdue, begin
// at 0: Advance takes no longer for it.
func NewDelayIndex(now int64) *DelayIndex {
	d := &DelayIndex{now: min(max(now, 0), delayMax)}
	for level := range d.wheels {
		for slot := range d.wheels[level] {
			d.wheels[level][slot] = queueList{-1, -1}
		}
	}
	return d
}

// Len is the number of messages that wait.
func (d *DelayIndex) Len() int { return d.count }

// Bytes is about how much memory the entries take.
func (d *DelayIndex) Bytes() int64 { return int64(len(d.order)) * delayChunkLen * 24 }

func (d *DelayIndex) at(slot int32) *delayEntry {
	return &d.chunks[slot>>delayChunkBits].entries[slot&(delayChunkLen-1)]
}

// Add has a message wait until due. Offsets must ascend from call to call, 0 or more. One that is due
// already fires at the next Advance, behind those that are due now.
func (d *DelayIndex) Add(due, offset int64) {
	slot := d.take(offset)
	e := d.at(slot)
	e.due, e.offset = min(max(due, d.now), delayMax), offset
	d.place(slot)
	d.count++
}

// Remove takes a message out and gives when it was due; false if it does not wait.
func (d *DelayIndex) Remove(offset int64) (due int64, found bool) {
	slot, found := d.find(offset)
	if !found {
		return 0, false
	}
	due = d.at(slot).due
	d.unlink(slot)
	d.release(slot)
	return due, true
}

// Due gives when a message that waits is due.
func (d *DelayIndex) Due(offset int64) (due int64, found bool) {
	slot, found := d.find(offset)
	if !found {
		return 0, false
	}
	return d.at(slot).due, true
}

// Advance moves the time on to now, and fires what is due by then, in the order of due times, but at most so
// many messages: with less than most it is done. A time before the last one is taken for that one.
func (d *DelayIndex) Advance(now int64, most int, fire func(due, offset int64)) (fired int) {
	now = min(max(now, d.now), delayMax)
	for {
		for list := &d.wheels[0][d.now&(delaySlots-1)]; list.first >= 0; {
			if fired == most {
				return fired
			}
			slot := list.first
			e := *d.at(slot)
			d.unlink(slot)
			d.release(slot)
			fired++
			fire(e.due, e.offset)
		}
		level, at, found := d.nearest()
		if !found || at > now {
			d.now = now
			return fired
		}
		d.now = at
		if level > 0 {
			d.empty(level)
		}
	}
}

// Next is a time before which nothing is due; false if nothing waits. It may be earlier than the first due
// time: an Advance to it then fires nothing, and the next answer is later.
func (d *DelayIndex) Next() (at int64, found bool) {
	if d.wheels[0][d.now&(delaySlots-1)].first >= 0 {
		return d.now, true
	}
	_, at, found = d.nearest()
	return at, found
}

// nearest is the first slot behind now that is not empty, and when its time begins.
func (d *DelayIndex) nearest() (level int, at int64, found bool) {
	for level := range delayLevels {
		shift := level * delaySlotBits
		digit := int(d.now >> shift & (delaySlots - 1))
		if slot := nextBit(&d.filled[level], digit+1); slot < delaySlots {
			above := d.now >> (shift + delaySlotBits) << delaySlotBits
			return level, (above | int64(slot)) << shift, true
		}
	}
	return 0, 0, false
}

// nextBit is the first bit set from i on; len(set)*64 if there is none.
func nextBit(set *[delaySlots / 64]uint64, i int) int {
	for ; i < delaySlots; i = (i/64 + 1) * 64 {
		if word := set[i/64] >> (i % 64); word != 0 {
			return i + bits.TrailingZeros64(word)
		}
	}
	return delaySlots
}

// place links an entry behind those of its slot.
func (d *DelayIndex) place(slot int32) {
	e := d.at(slot)
	level, digit := d.slotOf(e.due)
	list := &d.wheels[level][digit]
	e.earlier, e.later = list.last, -1
	if list.last >= 0 {
		d.at(list.last).later = slot
	} else {
		list.first = slot
		d.filled[level][digit/64] |= 1 << (digit % 64)
	}
	list.last = slot
}

func (d *DelayIndex) slotOf(due int64) (level int, digit int64) {
	if differs := uint64(due ^ d.now); differs != 0 {
		level = (bits.Len64(differs) - 1) / delaySlotBits
	}
	return level, due >> (level * delaySlotBits) & (delaySlots - 1)
}

func (d *DelayIndex) unlink(slot int32) {
	e := d.at(slot)
	level, digit := d.slotOf(e.due)
	list := &d.wheels[level][digit]
	if e.earlier >= 0 {
		d.at(e.earlier).later = e.later
	} else {
		list.first = e.later
	}
	if e.later >= 0 {
		d.at(e.later).earlier = e.earlier
	} else {
		list.last = e.earlier
	}
	if list.first < 0 {
		d.filled[level][digit/64] &^= 1 << (digit % 64)
	}
}

// empty moves the entries of the slot of a wheel whose time begins now to lower wheels.
func (d *DelayIndex) empty(level int) {
	digit := d.now >> (level * delaySlotBits) & (delaySlots - 1)
	list := &d.wheels[level][digit]
	slot := list.first
	*list = queueList{-1, -1}
	d.filled[level][digit/64] &^= 1 << (digit % 64)
	for slot >= 0 {
		later := d.at(slot).later
		d.place(slot)
		slot = later
	}
}

// take gives the slot of a new entry, which is the last by offset.
func (d *DelayIndex) take(offset int64) int32 {
	if n := len(d.order); n > 0 {
		if c := d.chunks[d.order[n-1]]; c.used < delayChunkLen {
			if c.used > 0 && c.entries[c.used-1].offset >= offset {
				panic("core: delayed messages out of order")
			}
			c.used++
			c.live++
			return d.order[n-1]<<delayChunkBits | (c.used - 1)
		}
	}
	number := d.newChunk()
	d.order = append(d.order, number)
	d.chunks[number].used, d.chunks[number].live = 1, 1
	return number << delayChunkBits
}

func (d *DelayIndex) newChunk() int32 {
	if n := len(d.free); n > 0 {
		number := d.free[n-1]
		d.free = d.free[:n-1]
		d.chunks[number] = &delayChunk{}
		return number
	}
	d.chunks = append(d.chunks, &delayChunk{})
	return int32(len(d.chunks) - 1)
}

// release frees an unlinked entry, and its chunk where that has few left. A free entry keeps its offset, so
// that the chunk stays in order, and is told by its links.
func (d *DelayIndex) release(slot int32) {
	e := d.at(slot)
	e.earlier, e.later = freeEntry, freeEntry
	d.count--
	number := slot >> delayChunkBits
	c := d.chunks[number]
	if c.live--; c.live > delayChunkLen/4 {
		return
	}
	switch i := d.orderOf(number); {
	case i == len(d.order)-1 && c.used < delayChunkLen: // there is room for more
	case c.live == 0:
		d.dropChunk(i)
	case !d.merge(i - 1):
		d.merge(i)
	}
}

// merge puts the entries of the chunks i and i+1 of order into one, if few are left: a few messages that
// wait long do not keep the memory of many that did not.
func (d *DelayIndex) merge(i int) bool {
	if i < 0 || i+1 >= len(d.order) {
		return false
	}
	olds := [2]int32{d.order[i], d.order[i+1]}
	if d.chunks[olds[0]].live+d.chunks[olds[1]].live > delayChunkLen/2 {
		return false
	}
	number := d.newChunk()
	merged := d.chunks[number]
	for _, old := range olds {
		for n := range d.chunks[old].used {
			if e := &d.chunks[old].entries[n]; e.earlier != freeEntry {
				merged.entries[merged.used] = *e
				d.relink(number<<delayChunkBits | merged.used)
				merged.used++
			}
		}
	}
	merged.live = merged.used
	d.dropChunk(i + 1)
	d.dropChunk(i)
	d.order = slices.Insert(d.order, i, number)
	return true
}

// relink has the neighbours of an entry that was moved point to it.
func (d *DelayIndex) relink(slot int32) {
	e := d.at(slot)
	level, digit := d.slotOf(e.due)
	list := &d.wheels[level][digit]
	if e.earlier >= 0 {
		d.at(e.earlier).later = slot
	} else {
		list.first = slot
	}
	if e.later >= 0 {
		d.at(e.later).earlier = slot
	} else {
		list.last = slot
	}
}

const freeEntry = -2

func (d *DelayIndex) orderOf(number int32) int {
	first := d.chunks[number].entries[0].offset
	return sort.Search(len(d.order), func(i int) bool { return d.chunks[d.order[i]].entries[0].offset >= first })
}

func (d *DelayIndex) dropChunk(i int) {
	number := d.order[i]
	d.order = slices.Delete(d.order, i, i+1)
	d.chunks[number] = nil
	d.free = append(d.free, number)
}

// find gives the slot of a message that waits.
func (d *DelayIndex) find(offset int64) (slot int32, found bool) {
	after := func(i int) bool { return d.chunks[d.order[i]].entries[0].offset > offset }
	i := sort.Search(len(d.order), after) - 1
	if i < 0 {
		return 0, false
	}
	c := d.chunks[d.order[i]]
	n := sort.Search(int(c.used), func(n int) bool { return c.entries[n].offset >= offset })
	if n == int(c.used) || c.entries[n].offset != offset || c.entries[n].earlier == freeEntry {
		return 0, false
	}
	return d.order[i]<<delayChunkBits | int32(n), true
}

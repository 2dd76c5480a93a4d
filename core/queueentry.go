package core

import "math/bits"

// queueState is where the records of an entry stand.
type queueState uint8

const (
	queueFree    queueState = iota
	queueReady              // to be handed out
	queueLeased             // a member has them
	queueDelayed            // they failed, and are ready when due
	queueWaiting            // behind another record of their key
	queueDying              // they are becoming a dead letter
)

// queueEntry is records that are not settled: those of the bits of left. What failed once, and each record
// of a key-shared group, has an entry of its own.
type queueEntry struct {
	lo     int64
	left   uint64
	time   int64  // end of the lease, or when it is due
	key    uint64 // hash; 0 for none
	member int64
	epoch  int64 // of the last grant
	// Leased: neighbours in the list of leases. Waiting, and the first of a key: later is the next of the key
	// by behind. Free: later is the next free one.
	earlier, later int32
	behind         int32 // next record of the same key, −1 for none
	attempts       int32 // that failed
	state          queueState
	stored         bool // its attempts are stored
	code           Code // dying: why
}

func (e *queueEntry) records() int64 { return int64(bits.OnesCount64(e.left)) }

// queueKey is the entries of a key, by offset: the first has the lock.
type queueKey struct{ first, last int32 }

// queueList is entries linked by earlier and later.
type queueList struct{ first, last int32 }

// queueEntries is a slab of entries, and the orders in which they come up.
type queueEntries struct {
	slab    []queueEntry
	free    int32
	used    int
	leases  queueList // by end of the lease
	ready   queueHeap // by offset
	delayed queueHeap // by due time, then offset
}

func (s *queueEntries) init() { s.free, s.leases = -1, queueList{-1, -1} }

func (s *queueEntries) at(slot int32) *queueEntry { return &s.slab[slot] }

// add takes a slot. What at gave before is not to be used any more.
func (s *queueEntries) add(e queueEntry) int32 {
	s.used++
	e.behind = -1
	slot := s.free
	if slot < 0 {
		s.slab = append(s.slab, e)
		return int32(len(s.slab) - 1)
	}
	s.free = s.slab[slot].later
	s.slab[slot] = e
	return slot
}

func (s *queueEntries) remove(slot int32) {
	s.used--
	s.slab[slot] = queueEntry{later: s.free}
	s.free = slot
}

// lease puts an entry at the end of the list: leases are equally long, so that it ends last.
func (s *queueEntries) lease(slot int32) {
	e := s.at(slot)
	e.state, e.earlier, e.later = queueLeased, s.leases.last, -1
	if s.leases.last >= 0 {
		s.at(s.leases.last).later = slot
	} else {
		s.leases.first = slot
	}
	s.leases.last = slot
}

func (s *queueEntries) unlease(slot int32) {
	e := s.at(slot)
	if e.earlier >= 0 {
		s.at(e.earlier).later = e.later
	} else {
		s.leases.first = e.later
	}
	if e.later >= 0 {
		s.at(e.later).earlier = e.earlier
	} else {
		s.leases.last = e.earlier
	}
	e.earlier, e.later = -1, -1
}

// makeReady has an entry handed out again.
func (s *queueEntries) makeReady(slot int32) {
	e := s.at(slot)
	e.state, e.time, e.member = queueReady, 0, 0
	s.ready.push(s, slot)
}

// delay has an entry wait until due.
func (s *queueEntries) delay(slot int32, due int64) {
	e := s.at(slot)
	e.state, e.time, e.member = queueDelayed, due, 0
	s.delayed.push(s, slot)
}

// queueHeap is a heap of slots by time, then offset. Entries in the ready heap have time 0.
type queueHeap []int32

func (h queueHeap) less(s *queueEntries, a, b int32) bool {
	x, y := s.at(a), s.at(b)
	if x.time != y.time {
		return x.time < y.time
	}
	return x.lo < y.lo
}

func (h *queueHeap) push(s *queueEntries, slot int32) {
	list := append(*h, slot)
	i := len(list) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !list.less(s, slot, list[parent]) {
			break
		}
		list[i] = list[parent]
		i = parent
	}
	list[i] = slot
	*h = list
}

func (h *queueHeap) pop(s *queueEntries) int32 {
	list := *h
	top, last := list[0], list[len(list)-1]
	list = list[:len(list)-1]
	*h = list
	if len(list) == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(list) {
			break
		}
		if child+1 < len(list) && list.less(s, list[child+1], list[child]) {
			child++
		}
		if !list.less(s, list[child], last) {
			break
		}
		list[i] = list[child]
		i = child
	}
	list[i] = last
	return top
}

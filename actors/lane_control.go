package actors

import "sync/atomic"

// controlCapacity is the number of control messages that may wait for one actor.
const controlCapacity = 64

// controlLane is a bounded queue of messages of any type, many senders, one receiver. Its ring is made
// at the first use: most actors get all their messages through the data lane.
//
// source: D. Vyukov's bounded queue. A slot's sequence says whose turn it is: pos for the sender of
// position pos, pos+1 for the receiver, pos+capacity for the sender of the next lap.
type controlLane struct {
	ring atomic.Pointer[controlRing]
	room turnstile
}

type controlRing struct {
	tail  atomic.Uint64 // next position to be written, by senders
	_     [56]byte
	head  atomic.Uint64 // next position to be read; written by the receiver only
	_     [56]byte
	slots [controlCapacity]controlSlot
}

type controlSlot struct {
	sequence atomic.Uint64
	msg      any
}

// push adds msg unless the lane is full.
func (l *controlLane) push(msg any) bool {
	r := l.ring.Load()
	if r == nil {
		r = l.make()
	}
	for {
		at := r.tail.Load()
		slot := &r.slots[at%controlCapacity]
		switch turn := int64(slot.sequence.Load() - at); {
		case turn < 0:
			return false
		case turn == 0 && r.tail.CompareAndSwap(at, at+1):
			slot.msg = msg
			slot.sequence.Store(at + 1)
			return true
		}
	}
}

func (l *controlLane) make() *controlRing {
	r := new(controlRing)
	for i := range r.slots {
		r.slots[i].sequence.Store(uint64(i))
	}
	l.ring.CompareAndSwap(nil, r)
	return l.ring.Load()
}

// pop belongs to the mailbox's run.
func (l *controlLane) pop() (any, bool) {
	r := l.ring.Load()
	if r == nil {
		return nil, false
	}
	at := r.head.Load()
	slot := &r.slots[at%controlCapacity]
	if slot.sequence.Load() != at+1 {
		return nil, false
	}
	msg := slot.msg
	slot.msg = nil
	slot.sequence.Store(at + controlCapacity)
	r.head.Store(at + 1)
	l.room.open()
	return msg, true
}

func (l *controlLane) len() int {
	r := l.ring.Load()
	if r == nil {
		return 0
	}
	head := r.head.Load() // first: the tail read later is not behind it
	return int(r.tail.Load() - head)
}

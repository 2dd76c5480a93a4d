package ringbuf

import (
	"context"
	"sync"
	"sync/atomic"
)

// parkingLot is where goroutines sleep until something they wait for may have changed. It never
// loses a wake-up as long as both sides keep this order:
//
//	parker: enter (counts itself in waiting) → look at the condition again → block
//	waker:  change the condition             → wake (reads waiting)
//
// Where each line is a sequentially consistent atomic operation (the Go memory model promises it for
// sync/atomic; on amd64 an atomic store is XCHG, a full fence), at least one side sees the other:
// either the waker counts the parker, or the parker's second look sees the change.
//
// Where the condition changes by a release only (see release), the waker's load of waiting may pass its
// store. Then barrier is set, and the parker executes a fence on all processors after it counted
// itself. If the waker's store comes before that fence, the second look sees it; if it comes after, so
// does the load, which sees the count. models/park.pml checks the three ways, models/stage.pml the
// graph.
//
// It blocks in a channel select only, never in a mutex, so that a goroutine parked here is durably
// blocked for testing/synctest. The zero value is ready.
type parkingLot struct {
	_       [cacheGap]byte
	waiting atomic.Int32 // length of the list at head, and alarmBit; wakers read it at every publish or release
	barrier bool         // of those who park; set before use
	_       [cacheGap - 8]byte

	mu   sync.Mutex
	head *parked // guarded by mu: goroutines waiting for a wake-up
	free *parked // guarded by mu: places to reuse, so that parking does not allocate
	ever int64   // guarded by mu: how often somebody entered
	_    [cacheGap]byte
}

// alarmBit in waiting sends every waker the slow way, so that those who look at waiting anyway learn that
// something else has changed. It stays.
const alarmBit = 1 << 30

// alarm sets alarmBit.
func (l *parkingLot) alarm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting.Store(l.waiting.Load() | alarmBit)
}

// sleepers is the length of the list.
func (l *parkingLot) sleepers() int { return int(l.waiting.Load() &^ alarmBit) }

// parked is the place of one goroutine in a parkingLot.
//
// Invariant: taking a place off the list for a wake-up (listed false) is always followed by exactly
// one token, and the owner always receives it before the place is reused. So no stale token exists.
type parked struct {
	token      chan struct{} // capacity 1: the waker's send never blocks
	next, prev *parked
	listed     bool // guarded by parkingLot.mu
}

// await returns nil once ready reports true, or ctx.Err() if ctx ends first. The caller has just seen
// that it is not ready, so the first look comes after the first step of w's ladder. ready must be
// cheap, and whoever makes it true must call wake afterwards.
func (l *parkingLot) await(ctx context.Context, w waiting, ready func() bool) error {
	done := ctx.Done()
	for step := 0; ; step++ {
		if !w.pause(step) {
			if err := l.park(ctx, ready); err != nil {
				return err
			}
			step = 0
		}
		if ready() {
			return nil
		}
		select {
		case <-done:
			return ctx.Err()
		default:
		}
	}
}

// park blocks until the next wake-up, unless ready already holds once waiting is visible to wakers.
func (l *parkingLot) park(ctx context.Context, ready func() bool) error {
	p := l.enter()
	if l.barrier {
		barrier()
	}
	if ready() {
		l.leave(p)
		return nil
	}
	select {
	case <-p.token:
		l.recycle(p)
		return nil
	case <-ctx.Done():
		l.leave(p)
		return ctx.Err()
	}
}

// wake lets every goroutine that entered before it go on. It costs one load when nobody waits.
func (l *parkingLot) wake() {
	if l.waiting.Load() != 0 {
		l.wakeAll()
	}
}

// wakeAll empties the list before it sends the tokens: between a wake-up and the moment the woken
// goroutine runs (tens of microseconds) further wakers must find an empty list and pay nothing.
func (l *parkingLot) wakeAll() {
	l.mu.Lock()
	p := l.head
	l.head = nil
	l.waiting.Store(l.waiting.Load() & alarmBit)
	for q := p; q != nil; q = q.next {
		q.listed = false
	}
	l.mu.Unlock()
	for p != nil {
		next := p.next // before the token: with it the place is its owner's again
		p.token <- struct{}{}
		p = next
	}
}

func (l *parkingLot) enter() *parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.free
	if p != nil {
		l.free = p.next
	} else {
		p = &parked{token: make(chan struct{}, 1)}
	}
	p.prev, p.next, p.listed = nil, l.head, true
	if l.head != nil {
		l.head.prev = p
	}
	l.head = p
	l.ever++
	l.waiting.Add(1)
	return p
}

// leave gives up a place without having been woken.
func (l *parkingLot) leave(p *parked) {
	l.mu.Lock()
	if !p.listed {
		l.mu.Unlock()
		<-p.token // a waker holds the place: its token is on the way, and it must not stay behind
		l.recycle(p)
		return
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		l.head = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.listed = false
	l.waiting.Add(-1)
	p.next, l.free = l.free, p
	l.mu.Unlock()
}

func (l *parkingLot) recycle(p *parked) {
	l.mu.Lock()
	p.next, l.free = l.free, p
	l.mu.Unlock()
}

// parks is how often somebody went to sleep here, or was about to.
func (l *parkingLot) parks() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ever
}

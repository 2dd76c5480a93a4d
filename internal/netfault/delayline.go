package netfault

import (
	"container/heap"
	"sync"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// delayLine calls functions later, in the order of their times.
type delayLine struct {
	clock  clock.Clock
	bound  int
	wake   chan struct{} // holds a token when an earlier call was added
	closed chan struct{}

	mu    sync.Mutex // guards the following
	calls callHeap
	added uint64
}

type call struct {
	due   int64  // on the clock's Mono
	order uint64 // of adding, for those due at once
	do    func()
}

func newDelayLine(c clock.Clock, bound int) *delayLine {
	return &delayLine{clock: c, bound: bound, wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// add has do called after delay, and reports whether there was room.
func (l *delayLine) add(delay time.Duration, do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) >= l.bound {
		return false
	}
	l.added++
	due := l.clock.Mono() + int64(delay)
	earliest := len(l.calls) == 0 || due < l.calls[0].due
	heap.Push(&l.calls, call{due, l.added, do})
	if earliest {
		select {
		case l.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
	return true
}

// close ends run. What waits is dropped.
func (l *delayLine) close() { close(l.closed) }

// run calls until close.
func (l *delayLine) run() {
	timer := l.clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.callDue())
		select {
		case <-timer.C():
		case <-l.wake:
		case <-l.closed:
			return
		}
	}
}

// callDue calls everything that is due, and gives the time until the next.
func (l *delayLine) callDue() time.Duration {
	for {
		l.mu.Lock()
		wait := time.Hour
		if len(l.calls) > 0 {
			wait = time.Duration(l.calls[0].due - l.clock.Mono())
		}
		if wait > 0 {
			l.mu.Unlock()
			return wait
		}
		next := heap.Pop(&l.calls).(call)
		l.mu.Unlock()
		next.do()
	}
}

// callHeap implements heap.Interface.
type callHeap []call

// Len implements heap.Interface.
func (h callHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h callHeap) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].order < h[j].order
}

// Swap implements heap.Interface.
func (h callHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *callHeap) Push(x any) { *h = append(*h, x.(call)) }

// Pop implements heap.Interface.
func (h *callHeap) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = call{}
	*h = (*h)[:len(*h)-1]
	return last
}

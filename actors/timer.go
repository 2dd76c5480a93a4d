package actors

import (
	"container/heap"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/leatbus/leat/internal/clock"
)

// timerRetry is how long a due message waits when its mailbox has no room.
const timerRetry = 5 * time.Millisecond

// TimerID names a timer of one System; 0 names none.
type TimerID uint64

// After sends msg to an actor d from now, at once if d <= 0. It never blocks. 0 after Close.
func (s *System) After(d time.Duration, pid *PID, msg any) TimerID {
	return s.timers.add(&timerEntry{pid: pid, msg: msg}, d)
}

// Cancel keeps a timer from firing, and reports whether it did: false if the message was sent before.
func (s *System) Cancel(id TimerID) bool { return s.timers.cancel(id) }

// timers is a heap of what is due, and one goroutine with one timer set to the earliest. The goroutine
// starts with the first entry and sleeps without a timer while there is none.
type timers struct {
	clock    clock.Clock
	routines *Goroutines
	deliver  func(pid *actor.PID, msg any) bool // false: no room now
	giveUp   func(pid *actor.PID, msg any)
	changed  chan struct{} // capacity 1: the earliest entry is another one, or closed is set

	mu sync.Mutex
	// mu guards the following.
	pending timerHeap
	byID    map[TimerID]*timerEntry
	last    TimerID
	running bool
	closed  bool
}

// timerEntry either sends msg to pid or calls.
type timerEntry struct {
	id    TimerID
	due   int64 // nanoseconds of the clock's Mono
	until int64 // when to give up on a full mailbox; 0 before the first try
	place int   // in the heap
	pid   *actor.PID
	msg   any
	call  func()
}

func newTimers(c clock.Clock, routines *Goroutines, deliver func(*actor.PID, any) bool,
	giveUp func(*actor.PID, any)) *timers {
	return &timers{clock: c, routines: routines, deliver: deliver, giveUp: giveUp,
		changed: make(chan struct{}, 1), byID: map[TimerID]*timerEntry{}}
}

// call runs fn d from now, on the goroutine of the timers: it must not block.
func (t *timers) call(d time.Duration, fn func()) TimerID {
	return t.add(&timerEntry{call: fn}, d)
}

func (t *timers) add(e *timerEntry, d time.Duration) TimerID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !t.startLocked() {
		return 0
	}
	t.last++
	e.id, e.due = t.last, t.clock.Mono()+int64(max(d, 0))
	t.pushLocked(e)
	return e.id
}

func (t *timers) pushLocked(e *timerEntry) {
	heap.Push(&t.pending, e)
	t.byID[e.id] = e
	if e.place == 0 {
		t.signal()
	}
}

func (t *timers) signal() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *timers) startLocked() bool {
	if t.running {
		return true
	}
	if t.running = t.routines.acquire(); t.running {
		go t.run() // ends with close; the System waits for it
	}
	return t.running
}

func (t *timers) cancel(id TimerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byID[id]
	if e == nil {
		return false
	}
	heap.Remove(&t.pending, e.place)
	delete(t.byID, id)
	return true
}

// close drops what is pending. The goroutine ends soon after.
func (t *timers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed, t.pending = true, nil
	clear(t.byID)
	t.signal()
}

func (t *timers) run() {
	defer t.routines.release()
	timer := t.clock.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	for {
		wait, ok := t.fire()
		if !ok {
			return
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C():
		case <-t.changed:
			timer.Stop()
		}
	}
}

// fire does all that is due, and returns the time to the next entry, 0 if there is none. False after
// close.
func (t *timers) fire() (wait time.Duration, ok bool) {
	for {
		e, wait, ok := t.next()
		if e == nil {
			return wait, ok
		}
		if e.call != nil {
			e.call()
		} else if !t.deliver(e.pid, e.msg) {
			t.postpone(e)
		}
	}
}

// next takes the first entry off the heap if it is due.
func (t *timers) next() (due *timerEntry, wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, 0, false
	}
	if len(t.pending) == 0 {
		return nil, 0, true
	}
	e := t.pending[0]
	if wait := e.due - t.clock.Mono(); wait > 0 {
		return nil, time.Duration(wait), true
	}
	heap.Pop(&t.pending)
	delete(t.byID, e.id)
	return e, 0, true
}

// postpone tries a message again soon, so that one slow actor does not hold up the timers of the others.
func (t *timers) postpone(e *timerEntry) {
	now := t.clock.Mono()
	if e.until == 0 {
		e.until = now + int64(controlWait)
	}
	if now >= e.until {
		t.giveUp(e.pid, e.msg)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		e.due = now + int64(timerRetry)
		t.pushLocked(e)
	}
}

// timerHeap orders entries by due time, and those due together as they were added.
type timerHeap []*timerEntry

// Len is for container/heap, as the following are.
func (h timerHeap) Len() int { return len(h) }

// Less compares due times.
func (h timerHeap) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].id < h[j].id
}

// Swap keeps the places up to date.
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push adds a *timerEntry.
func (h *timerHeap) Push(x any) {
	e := x.(*timerEntry)
	e.place = len(*h)
	*h = append(*h, e)
}

// Pop takes the last one.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

package node

import (
	"slices"
	"sync"
	"sync/atomic"
)

// directWakes is how many subscriptions of one partition the journal wakes itself; more are left to
// the notifier, because waking a crowd is not the journal's job.
const directWakes = 2

// sleeper is where one subscription sleeps.
type sleeper struct {
	parked atomic.Bool
	wake   chan struct{} // capacity 1
}

func newSleeper() *sleeper { return &sleeper{wake: make(chan struct{}, 1)} }

// rouse wakes the sleeper if it is parked. A token may be left from before: sleepers look again.
func (s *sleeper) rouse() {
	if s.parked.Load() && s.parked.CompareAndSwap(true, false) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// force wakes the sleeper also where it has not said that it is parked, for what must not be missed.
func (s *sleeper) force() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// readerList holds the sleepers of the subscriptions that read one partition.
type readerList struct {
	list     atomic.Pointer[[]*sleeper] // copied on write
	mu       sync.Mutex                 // serialises writers
	notified atomic.Bool                // queued at the notifier
}

func (r *readerList) add(s *sleeper) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := append(slices.Clone(r.load()), s)
	r.list.Store(&list)
}

func (r *readerList) remove(s *sleeper) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(r.load()), func(other *sleeper) bool { return other == s })
	r.list.Store(&list)
}

func (r *readerList) load() []*sleeper {
	if list := r.list.Load(); list != nil {
		return *list
	}
	return nil
}

// wake tells the subscriptions that there is more to read. The caller has moved the mark before, with a
// full barrier in between, and sleepers look at it after they say they are parked.
func (r *readerList) wake(n *notifier) {
	list := r.load()
	if len(list) <= directWakes {
		for _, s := range list {
			s.rouse()
		}
		return
	}
	if r.notified.CompareAndSwap(false, true) {
		n.push(r)
	}
}

// forceAll wakes all, for the end of the topic.
func (r *readerList) forceAll() {
	for _, s := range r.load() {
		s.force()
	}
}

// rouseAll is the notifier's part of wake.
func (r *readerList) rouseAll() {
	r.notified.Store(false) // before looking, so that a later wake queues again
	for _, s := range r.load() {
		s.rouse()
	}
}

// notifier wakes crowds of subscriptions on its own goroutine.
type notifier struct {
	wake chan struct{} // capacity 1
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex // guards the following
	list  []*readerList
	spare []*readerList
}

func (n *notifier) start() {
	n.wake = make(chan struct{}, 1)
	n.stop = make(chan struct{})
	n.done.Go(n.run)
}

func (n *notifier) close() {
	close(n.stop)
	n.done.Wait()
}

func (n *notifier) push(r *readerList) {
	n.mu.Lock()
	n.list = append(n.list, r)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notifier) run() {
	for {
		select {
		case <-n.wake:
		case <-n.stop:
			return
		}
		for _, r := range n.take() {
			r.rouseAll()
		}
	}
}

func (n *notifier) take() []*readerList {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.list
	n.list, n.spare = n.spare[:0], taken
	return taken
}

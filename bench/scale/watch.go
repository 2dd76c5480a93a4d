package scale

import (
	"fmt"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
)

// member is one subscription of the group.
type member struct {
	sub  *leat.Subscription
	held int  // partitions, as OnAssign told
	gone bool // it leaves: what it is told does not matter any more
}

// watch finds out when a group has settled after a change: all partitions are held, each once, and nobody has
// more than one more than another. A group that has come so far moves nothing else.
type watch struct {
	partitions int
	settled    chan int64 // the time of it, capacity 1

	mu      sync.Mutex // guards the following and the members
	members []*member
	held    int // by all of them
	moved   int // partitions given to somebody since the last change
	waiting bool
}

// comes says that a member is about to join.
func (w *watch) comes(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = append(w.members, m)
	w.begin()
}

// goes says that the oldest member is about to leave.
func (w *watch) goes(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.gone = true
	w.held -= m.held
	w.members = w.members[1:]
	w.begin()
}

func (w *watch) begin() {
	w.moved, w.waiting = 0, true
	select {
	case <-w.settled: // nobody has waited for it
	default:
	}
}

// told is called for what OnAssign says.
func (w *watch) told(m *member, assigned, revoked int) {
	now := clock.System.Mono()
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.gone {
		return
	}
	m.held += assigned - revoked
	w.held += assigned - revoked
	w.moved += assigned
	if w.waiting && w.balanced() {
		w.waiting = false
		w.settled <- now
	}
}

func (w *watch) balanced() bool {
	if w.held != w.partitions {
		return false
	}
	share := w.partitions / len(w.members)
	for _, m := range w.members {
		if m.held != share && m.held != share+1 {
			return false
		}
	}
	return true
}

// moves is how many partitions were given to somebody since the last change.
func (w *watch) moves() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moved
}

func (w *watch) describe() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	least, most := w.partitions, 0
	for _, m := range w.members {
		least, most = min(least, m.held), max(most, m.held)
	}
	return fmt.Sprintf("%d members hold %d of %d partitions, %d to %d each", len(w.members), w.held,
		w.partitions, least, most)
}

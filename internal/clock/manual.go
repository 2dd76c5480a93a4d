package clock

import (
	"slices"
	"sync"
	"time"
)

// Manual is a Clock that moves only when told to. Its methods may be called by any goroutine.
type Manual struct {
	mu sync.Mutex
	// mu guards the following.
	now     int64 // wall time, nanoseconds since 1970
	mono    int64 // nanoseconds since NewManual
	pending []*manualTimer
	changed chan struct{} // closed and replaced when pending changes; nil while nobody waits
}

// NewManual returns a clock whose wall time is now, in nanoseconds since 1970, and whose Mono is 0.
func NewManual(now int64) *Manual { return &Manual{now: now} }

// Now returns the wall time in nanoseconds since 1970.
func (m *Manual) Now() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Mono returns the nanoseconds the clock was advanced by since NewManual.
func (m *Manual) Mono() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mono
}

// SetWall sets the wall time, in nanoseconds since 1970, as a person or NTP would: either way, while
// Mono and the timers stay as they are.
func (m *Manual) SetWall(now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = now
}

// Advance moves both times forward by d and fires every timer that comes due, in order of due time;
// each receives the wall time at which it was due. It panics if d is negative.
func (m *Manual) Advance(d time.Duration) {
	if d < 0 {
		panic("clock: Advance by a negative duration")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	end := m.mono + int64(d)
	for len(m.pending) > 0 && m.pending[0].due <= end {
		t := m.pending[0]
		m.moveLocked(t.due)
		m.removeLocked(t)
		t.fireLocked()
	}
	m.moveLocked(end)
}

func (m *Manual) moveLocked(mono int64) {
	m.now += mono - m.mono
	m.mono = mono
}

// Timers returns how many timers are pending.
func (m *Manual) Timers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

// AwaitTimers blocks until at least n timers are pending, so that a test advances the clock only when
// the code under test waits for it.
func (m *Manual) AwaitTimers(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.pending) < n {
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
		<-changed
		m.mu.Lock()
	}
}

// NewTimer returns a timer that fires in the Advance that passes d from now; at once if d <= 0.
func (m *Manual) NewTimer(d time.Duration) Timer {
	t := &manualTimer{clock: m, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// addLocked keeps pending sorted by due time; timers due together fire in the order they were set.
func (m *Manual) addLocked(t *manualTimer) {
	i := len(m.pending)
	for i > 0 && m.pending[i-1].due > t.due {
		i--
	}
	m.pending = slices.Insert(m.pending, i, t)
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

func (m *Manual) removeLocked(t *manualTimer) bool {
	i := slices.Index(m.pending, t)
	if i < 0 {
		return false
	}
	m.pending = slices.Delete(m.pending, i, i+1)
	return true
}

type manualTimer struct {
	clock *Manual
	c     chan time.Time // holds at most one time: fired, not yet received
	due   int64          // on the clock's Mono; guarded by clock.mu
}

func (t *manualTimer) C() <-chan time.Time { return t.c }

func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.stopLocked()
}

func (t *manualTimer) Reset(d time.Duration) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.stopLocked()
	t.due = t.clock.mono + int64(max(d, 0))
	if d <= 0 {
		t.fireLocked()
		return
	}
	t.clock.addLocked(t)
}

// stopLocked drops a time nobody has received, as package time does since Go 1.23.
func (t *manualTimer) stopLocked() bool {
	pending := t.clock.removeLocked(t)
	select {
	case <-t.c:
		// Fired but never received: for the caller it was still to come.
		return true
	default:
		return pending
	}
}

// fireLocked never blocks: the channel has room, for a timer is stopped before it is set again.
func (t *manualTimer) fireLocked() { t.c <- time.Unix(0, t.clock.now).UTC() }

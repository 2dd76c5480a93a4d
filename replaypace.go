package leat

import (
	"math"
	"time"
)

// liveWithin is how close to now a replay is over.
const liveWithin = int64(time.Second)

// replayPace is the timeline of a replay: it says when what was appended at a time comes.
//
//	appended ──────●────●───────────●──…──●─▶    times of records
//	               │    │           │     │
//	due ───────────●──●───●──≤gap──●──●──▶      on the clock of the reader, at twice the speed
//
// All times are nanoseconds: of records and of the wall clock since 1970, others on a clock that does not go
// back. It belongs to one goroutine.
type replayPace struct {
	speed float64
	gap   int64 // nobody waits longer for the next record
	// What was appended at record is due at due.
	record, due int64
	last        int64 // when a record came last
	begun       bool
}

// begin starts the timeline with what was appended at first.
func (p *replayPace) begin(first, now int64) {
	if !p.begun {
		p.begun, p.record, p.due, p.last = true, first, now, now
	}
}

// dueAt is when a record comes.
func (p *replayPace) dueAt(appended int64) int64 {
	d := float64(appended-p.record) / p.speed
	if d > math.MaxInt64/4 || d < -math.MaxInt64/4 {
		return p.due + int64(math.Copysign(math.MaxInt64/4, d))
	}
	return p.due + int64(d)
}

// wait is how long the earliest record that is known has to wait; 0 if it comes now, and then it is taken as
// given. After a gap the timeline goes on from there.
func (p *replayPace) wait(appended, now int64) time.Duration {
	due := min(p.dueAt(appended), p.last+p.gap)
	if due > now {
		return time.Duration(due - now)
	}
	if p.dueAt(appended) > now {
		p.record, p.due = appended, now
	}
	p.last = now
	return 0
}

// live reports whether the timeline has reached the present.
func (p *replayPace) live(now, wall int64) bool {
	passed := float64(now-p.due) * p.speed
	return passed >= float64(wall-p.record-liveWithin)
}

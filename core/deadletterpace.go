package core

import "time"

// redriveStep is how many letters a step takes at most.
const redriveStep = 2048

// DeadLetterPace says how many dead letters a job may take, and when. It is a state machine without a clock.
// Letters go evenly: what a slow step left unused is not caught up by a burst, but for what a second allows.
type DeadLetterPace struct {
	Rate  float64 // letters a second; 0 for no limit
	Limit int64   // letters in all; 0 for no limit

	taken int64
	begun bool
	due   int64 // when the next letter may go, nanoseconds
}

// Room gives how many letters the next step may take; 0 with a wait asks to come again after it, 0 without
// says that the limit is reached.
func (p *DeadLetterPace) Room(now int64) (n int, wait time.Duration) {
	n = redriveStep
	if p.Limit > 0 {
		if p.taken >= p.Limit {
			return 0, 0
		}
		n = int(min(int64(n), p.Limit-p.taken))
	}
	if p.Rate <= 0 {
		return n, 0
	}
	if !p.begun {
		p.begun, p.due = true, now
	}
	p.due = max(p.due, now-int64(time.Second))
	if p.due > now {
		return 0, time.Duration(p.due - now)
	}
	allowed := 1 + float64(now-p.due)*p.Rate/1e9
	return int(min(float64(n), allowed)), 0
}

// Took notes that a step took n letters, at most what Room gave.
func (p *DeadLetterPace) Took(n int) {
	p.taken += int64(n)
	if p.Rate > 0 {
		p.due += int64(float64(n) * 1e9 / p.Rate)
	}
}

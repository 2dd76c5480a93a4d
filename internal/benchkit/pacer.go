package benchkit

import "github.com/leatbus/leat/internal/clock"

// Pacer gives the intended times of an open-loop load of a fixed rate. It spins: a Go timer of 50 µs
// is a millisecond late. It belongs to one goroutine.
type Pacer struct {
	clock clock.Clock
	start int64 // of message 0, on Mono
	rate  int64 // messages per second, at least 1
	next  int64 // number of the next message
}

// NewPacer starts a load of rate messages per second now.
func NewPacer(c clock.Clock, rate int64) *Pacer {
	return &Pacer{clock: c, start: c.Mono(), rate: max(rate, 1)}
}

// Wait spins until the next message is due and returns its intended time on the clock's Mono. A
// caller that is late gets the times it missed, one by one and at once: the delay belongs to the
// messages.
func (p *Pacer) Wait() int64 {
	due := p.Due()
	for p.clock.Mono() < due {
	}
	p.next++
	return due
}

// Due is the intended time of the next message.
func (p *Pacer) Due() int64 {
	// Split, so that no count of messages overflows.
	return p.start + p.next/p.rate*1e9 + p.next%p.rate*1e9/p.rate
}

// Take is Wait without waiting: it takes the next message if that is due.
func (p *Pacer) Take(now int64) (due int64, ok bool) {
	due = p.Due()
	if now < due {
		return 0, false
	}
	p.next++
	return due, true
}

// Postpone moves everything that was not sent yet by nanos, for a pause of the load's own choice.
func (p *Pacer) Postpone(nanos int64) { p.start += nanos }

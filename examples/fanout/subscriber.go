package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// verdict is what the numbers in the ticks say.
type verdict struct {
	delivered, lost, duplicated, reordered uint64
}

func (v *verdict) add(other verdict) {
	v.delivered += other.delivered
	v.lost += other.lost
	v.duplicated += other.duplicated
	v.reordered += other.reordered
}

// subscriber is one reader of the feed. It belongs to its goroutine.
type subscriber struct {
	start     time.Time // of the feed
	next      uint64    // one more than the highest number seen
	seen      uint64    // bit i says that number next-1-i was seen
	verdict   verdict   // but for lost
	distinct  uint64
	latencies *hdrhistogram.Histogram // in nanoseconds, two digits
	last      [16]uint32              // price by symbol: what a subscriber is for
}

func newSubscriber(start time.Time) *subscriber {
	return &subscriber{start: start, latencies: newLatencies()}
}

// newLatencies makes a histogram from 1 µs to a minute. It takes 20 KiB, and there are a thousand.
func newLatencies() *hdrhistogram.Histogram { return hdrhistogram.New(1_000, 60e9, 2) }

// handle takes one tick and reports whether more will come.
func (s *subscriber) handle(t *tick) bool {
	if t.price == 0 {
		return false
	}
	late := time.Since(s.start) - t.due
	// In bounds, so there is no error.
	_ = s.latencies.RecordValue(min(max(int64(late), 1), int64(time.Minute)))
	s.last[t.symbol%uint32(len(s.last))] = t.price
	s.observe(t.number)
	return true
}

func (s *subscriber) observe(number uint64) {
	s.verdict.delivered++
	switch {
	case number == s.next:
		s.seen = s.seen<<1 | 1
		s.next++
		s.distinct++
	case number > s.next: // what was jumped over stays a zero bit, and may still come
		s.seen = s.seen<<(number-s.next+1) | 1
		s.next = number + 1
		s.distinct++
	case s.next-1-number >= 64 || s.seen>>(s.next-1-number)&1 == 1:
		s.verdict.duplicated++ // or so late that it counts as such
	default:
		s.seen |= 1 << (s.next - 1 - number)
		s.verdict.reordered++
		s.distinct++
	}
}

// judge tells the verdict on a feed of so many ticks.
func (s *subscriber) judge(ticks uint64) verdict {
	v := s.verdict
	v.lost = ticks - min(s.distinct, ticks)
	return v
}

package ringbuf

import "sync/atomic"

// meter counts what a producer does off the fast path.
type meter struct {
	waits   atomic.Int64
	dropped atomic.Int64
}

// Stats is the state of a ring. The parts are read one after the other while it runs.
type Stats struct {
	Capacity  int   // slots
	Claimed   int64 // slots claimed so far (one producer: published), aborted ones included
	Waits     int64 // times that a producer had to wait for room
	Dropped   int64 // slots that DropNewest dropped
	Parks     int64 // times that somebody went to sleep, of producers and consumers
	Consumers []ConsumerStats
}

// ConsumerStats is the state of one consumer.
type ConsumerStats struct {
	Name     string
	Released int64 // slots released so far, counted from the beginning of the ring
	Lag      int64 // slots claimed and not released
}

// Stats counts. It reads words that producers and consumers write, so call it a few times a second, not a few
// times a microsecond. Anybody may call it.
func (r *Ring[T]) Stats() Stats {
	s := Stats{Capacity: int(r.size), Parks: r.readers.parks() + r.writers.parks()}
	for _, c := range r.consumers() {
		s.Parks += c.lot.parks()
		s.Consumers = append(s.Consumers, ConsumerStats{Name: c.name, Released: c.released.value.Load() - r.start})
	}
	s.Claimed = r.claimed() - r.start // last: nobody has released more
	for i := range s.Consumers {
		s.Consumers[i].Lag = s.Claimed - s.Consumers[i].Released
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.meters {
		s.Waits += m.waits.Load()
		s.Dropped += m.dropped.Load()
	}
	return s
}

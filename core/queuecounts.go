package core

import "math/bits"

// QueueCounts is where the records stand that a queue has not settled.
type QueueCounts struct {
	Held   int64 // members have them
	Failed int64 // they wait for their next delivery, or to be a dead letter
	Oldest int64 // the first offset that is not settled, Queue.Next if all before that are
}

// Counts looks at every entry: it takes time with their number.
func (q *Queue) Counts() QueueCounts {
	c := QueueCounts{Oldest: q.next}
	for slot := range q.entries.slab {
		e := &q.entries.slab[slot]
		switch e.state {
		case queueFree:
			continue
		case queueLeased:
			c.Held += e.records()
		case queueDelayed, queueDying:
			c.Failed += e.records()
		}
		c.Oldest = min(c.Oldest, e.lo+int64(bits.TrailingZeros64(e.left)))
	}
	for i := range q.unread {
		if q.unread[i].attempts > 0 {
			c.Failed++
		}
		c.Oldest = min(c.Oldest, q.unread[i].offset)
	}
	return c
}

package queue

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/leatbus/leat/internal/benchkit"
)

// tally is what workers got of messages that carry their number, from 0. A message is the number and then
// words that are the same in all.
type tally struct {
	size  int
	count int64
	rest  uint64          // sum of those words
	seen  []atomic.Uint64 // a bit per message
	keys  *keys           // nil where keys do not matter
	hands []*hand
}

// hand is the part of a worker. Its counters are written by one goroutine.
type hand struct {
	*tally
	fresh     atomic.Int64 // messages that nobody had seen before
	again     atomic.Int64
	reordered atomic.Int64
	wrong     atomic.Int64 // messages that nobody sent
	_         [64]byte     // so that the counters of two workers share no cache line
}

// newMessage makes a message of size bytes, a multiple of 8, with number 0.
func newMessage(size int) []byte {
	value := make([]byte, size)
	for i := 8; i < size; i++ {
		value[i] = 'a' + byte(i%26) // text, so that it can be part of a line of JSON
	}
	return value
}

// setNumber numbers a message.
func setNumber(value []byte, number int64) { binary.LittleEndian.PutUint64(value, uint64(number)) }

func newTally(size int, count int64, workers int) *tally {
	t := &tally{size: size, count: count, seen: make([]atomic.Uint64, (count+63)/64)}
	t.rest = sum(newMessage(size))
	for range workers {
		t.hands = append(t.hands, &hand{tally: t})
	}
	return t
}

func sum(value []byte) (total uint64) {
	for ; len(value) >= 8; value = value[8:] {
		total += binary.LittleEndian.Uint64(value)
	}
	return total
}

// see takes a message.
func (h *hand) see(value []byte) {
	if len(value) != h.size {
		h.wrong.Add(1)
		return
	}
	number := binary.LittleEndian.Uint64(value)
	if number >= uint64(h.count) || sum(value) != number+h.rest {
		h.wrong.Add(1)
		return
	}
	bit := uint64(1) << (number & 63)
	if h.seen[number>>6].Or(bit)&bit != 0 {
		h.again.Add(1)
		return
	}
	h.fresh.Store(h.fresh.Load() + 1)
}

// done is how many messages were seen.
func (t *tally) done() (n int64) {
	for _, h := range t.hands {
		n += h.fresh.Load()
	}
	return n
}

// again is how many came once more.
func (t *tally) again() (n int64) {
	for _, h := range t.hands {
		n += h.again.Load()
	}
	return n
}

// judge puts into a sample what was wrong with messages, other than that they came twice.
func (t *tally) judge(s *benchkit.Sample) {
	s.Lost = t.wanted() - t.done()
	for _, h := range t.hands {
		s.Reordered += h.reordered.Load()
		s.SumWrong = s.SumWrong || h.wrong.Load() > 0
	}
}

// wanted is how many messages are to be seen.
func (t *tally) wanted() int64 {
	if t.keys == nil {
		return t.count
	}
	return t.count - t.keys.refused(t.count)
}

package handoff

import "fmt"

// RingSlots is the size of every ring and queue that is measured.
const RingSlots = 1 << 16

// Event is a message of 64 bytes, one cache line.
type Event [8]int64

// Fill writes all 64 bytes.
func (e *Event) Fill(v int64) {
	e[0], e[1], e[2], e[3] = v, v, v, v
	e[4], e[5], e[6], e[7] = v, v, v, v
}

// Sum reads all 64 bytes.
func (e *Event) Sum() int64 {
	return e[0] + e[1] + e[2] + e[3] + e[4] + e[5] + e[6] + e[7]
}

// FillWords writes a run of messages of 8 bytes, numbered from first on, and returns the next number.
func FillWords(run []int64, first int64) int64 {
	for i := range run {
		run[i] = first
		first++
	}
	return first
}

// FillEvents writes a run of messages of 64 bytes, numbered from first on, and returns the next number.
func FillEvents(run []Event, first int64) int64 {
	for i := range run {
		run[i].Fill(first)
		first++
	}
	return first
}

// Tally is what a consumer saw of one producer's messages 0, 1, 2 … It is passed by value, so that it
// stays in registers.
type Tally struct {
	Next  int64 // messages seen, and the number expected next
	sum   int64
	wrong int64 // not 0 once a message did not have the number expected
}

// Word counts a message of 8 bytes.
func (t Tally) Word(v int64) Tally {
	t.wrong |= v ^ t.Next
	t.Next++
	t.sum += v
	return t
}

// Words counts a run of messages of 8 bytes.
func (t Tally) Words(run []int64) Tally {
	for _, v := range run {
		t = t.Word(v)
	}
	return t
}

// Event counts a message of 64 bytes; number is the word that tells which it is.
func (t Tally) Event(number, sum int64) Tally {
	t.wrong |= number ^ t.Next
	t.Next++
	t.sum += sum
	return t
}

// Events counts a run of messages of 64 bytes.
func (t Tally) Events(run []Event) Tally {
	for i := range run {
		t = t.Event(run[i][0], run[i].Sum())
	}
	return t
}

// Check judges what was seen of n messages that sum up to perMessage × their number + extra each.
func (t Tally) Check(n, perMessage, extra int64) error {
	switch want := perMessage*(n*(n-1)/2) + extra*n; {
	case t.Next != n:
		return fmt.Errorf("handoff: %d messages arrived; want %d", t.Next, n)
	case t.wrong != 0:
		return fmt.Errorf("handoff: of %d messages some were out of order", n)
	case t.sum != want:
		return fmt.Errorf("handoff: the bytes of %d messages sum up to %d; want %d", n, t.sum, want)
	}
	return nil
}

// Producers is how many producers the scenarios with several of them have.
const Producers = 3

// producerBits of a message's number say whose it is.
const producerBits = 2

// Numbered is message i of a producer among several.
func Numbered(producer int, i int64) int64 { return i<<producerBits | int64(producer) }

// SharedTally is what a consumer saw of several producers' messages.
type SharedTally struct {
	Seen  int64
	next  [1 << producerBits]int64
	sum   int64
	wrong int64
}

// Event counts a message of 64 bytes.
func (t *SharedTally) Event(e *Event) {
	of := e[0] & (1<<producerBits - 1)
	t.wrong |= e[0]>>producerBits ^ t.next[of]
	t.next[of]++
	t.sum += e.Sum()
	t.Seen++
}

// Events counts a run of messages of 64 bytes.
func (t *SharedTally) Events(run []Event) {
	for i := range run {
		t.Event(&run[i])
	}
}

// Check judges what was seen of n messages, the same number from each of [Producers].
func (t *SharedTally) Check(n int64) error {
	each, want := n/Producers, int64(0)
	for producer := range Producers {
		if t.next[producer] != each {
			return fmt.Errorf("handoff: %d messages of producer %d arrived; want %d",
				t.next[producer], producer, each)
		}
		want += 8 * (each*(each-1)/2<<producerBits + each*int64(producer))
	}
	switch {
	case t.Seen != n:
		return fmt.Errorf("handoff: %d messages arrived; want %d", t.Seen, n)
	case t.wrong != 0:
		return fmt.Errorf("handoff: of %d messages some were out of their producer's order", n)
	case t.sum != want:
		return fmt.Errorf("handoff: the bytes of %d messages sum up to %d; want %d", n, t.sum, want)
	}
	return nil
}

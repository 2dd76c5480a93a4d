package netfault

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Faults are what befalls packets of one direction.
type Faults struct {
	Loss      float64       // probability, 0 to 1, that a packet is lost
	Duplicate float64       // probability, 0 to 1, that a packet comes twice
	Delay     time.Duration // of every packet
	Jitter    time.Duration // up to this much more delay, drawn for each packet, which changes their order
}

// Counts are numbers of packets of one direction.
type Counts struct {
	Delivered  int // copies included
	Lost       int
	Duplicated int
	Delayed    int // copies included
	Reordered  int // delivered behind one that had come later
	Cut        int // dropped by Cut
	Overflowed int // dropped because too much was waiting
}

// direction is one way through the relay.
type direction struct {
	mu      sync.Mutex // guards the following
	faults  Faults
	random  *rand.Rand
	counts  Counts
	number  int // of the last packet that came
	highest int // of those delivered
}

// fate is what becomes of one copy of a packet.
type fate struct {
	number int
	delay  time.Duration
}

func newDirection(faults Faults, seed, stream uint64) *direction {
	return &direction{faults: faults, random: rand.New(rand.NewPCG(seed, stream))}
}

func (d *direction) set(faults Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = faults
}

func (d *direction) read() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// count adds one to a field of d.counts.
func (d *direction) count(field *int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*field++
}

// decide draws the fate of the next packet: none, one or two copies. It draws the same numbers whatever
// the faults are, so that one fault does not move another.
func (d *direction) decide() (copies int, first, second fate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := d.random.Float64() < d.faults.Loss
	twice := d.random.Float64() < d.faults.Duplicate
	d.number++
	first = fate{d.number, d.delayLocked()}
	second = fate{d.number, d.delayLocked()}
	switch {
	case lost:
		d.counts.Lost++
		return 0, first, second
	case twice:
		d.counts.Duplicated++
		copies = 2
	default:
		copies = 1
	}
	if first.delay > 0 || second.delay > 0 {
		d.counts.Delayed += copies
	}
	return copies, first, second
}

func (d *direction) delayLocked() time.Duration {
	return d.faults.Delay + time.Duration(d.random.Float64()*float64(d.faults.Jitter))
}

// delivered notes that a packet is on its way.
func (d *direction) delivered(number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Delivered++
	if number < d.highest {
		d.counts.Reordered++
	}
	d.highest = max(d.highest, number)
}

package ringbuf

import "runtime"

// WaitStrategy says how a goroutine waits for room or for data.
type WaitStrategy uint8

const (
	// Park spins for about two microseconds, then yields the processor for about fifty, then sleeps
	// until it is woken. Waking a sleeping goroutine costs tens of microseconds and several of them
	// are the waker's, which is what the yielding pays for. It is the default.
	Park WaitStrategy = iota
	// Block sleeps at once, in a channel receive only. It is what tests in virtual time
	// (testing/synctest) need, and what saves most processor time when events are rare.
	Block
	// Spin never sleeps: it spins, then yields for ever. It costs a processor while it waits.
	Spin
)

const (
	// spinSteps looks are made with the processor held, one every relaxCycles.
	spinSteps = 24
	// relaxCycles is the floor between two looks at a word that another core writes, about 100 ns:
	// each look takes the cache line away from the writer, so a faster poll slows what it waits for.
	relaxCycles = 256
	// yieldSteps calls of Gosched at about 100 ns each come near the price of parking.
	yieldSteps = 512
	// yieldStepsAlone is used when GOMAXPROCS is 1: the other side runs inside the first Gosched or
	// it does not run at all, and waking a goroutine of one's own processor is cheap.
	yieldStepsAlone = 16
)

// waiting is a wait strategy turned into step counts, made once for a ring.
type waiting struct {
	spins  int // steps that hold the processor
	yields int // steps after those that call Gosched; below 0: without end
}

func newWaiting(s WaitStrategy) waiting {
	if s == Block {
		return waiting{}
	}
	w := waiting{spins: spinSteps, yields: yieldSteps}
	if runtime.GOMAXPROCS(0) == 1 { // spinning would only keep the other side from running
		w = waiting{yields: yieldStepsAlone}
	}
	if s == Spin {
		w.yields = -1
	}
	return w
}

// pause passes the time of one step and reports true, or reports false when it is time to park.
func (w waiting) pause(step int) bool {
	switch {
	case step < w.spins:
		relax(relaxCycles)
	case w.yields < 0 || step < w.spins+w.yields:
		runtime.Gosched()
	default:
		return false
	}
	return true
}

// relax burns about n processor cycles without touching memory.
//
//go:noinline
func relax(n int) {
	for range n {
	}
}

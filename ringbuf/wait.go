package ringbuf

import (
	"runtime"
	"sync"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// WaitStrategy says how a goroutine waits for room or for data.
type WaitStrategy uint8

const (
	// Park spins for about three microseconds, then yields the processor for about fifty, then sleeps
	// until it is woken. Waking a sleeping goroutine costs tens of microseconds and several of them
	// are the waker's, which is what the yielding pays for. It is the default.
	Park WaitStrategy = iota
	// Block sleeps at once, in a channel receive only. It is what tests in virtual time
	// (testing/synctest) need, and what saves most processor time when events are rare.
	Block
	// Spin never sleeps: it spins, then yields for ever. It costs a processor while it waits.
	Spin
)

// The steps of waiting, in nanoseconds.
const (
	// defaultFloor is the pause between a run that was used up and the first look for the next: each
	// look takes the cache line away from the producer, so a consumer that follows too closely gets runs
	// of one and slows both down. It is about a round trip between two cores: a longer one costs
	// latency, a shorter one throughput.
	defaultFloor = 100
	spinNanos    = 3_000
	yieldNanos   = 50_000
	// yieldsAlone is used when GOMAXPROCS is 1: the other side runs inside the first Gosched or it does
	// not run at all, and waking a goroutine of one's own processor is cheap.
	yieldsAlone = 16
)

// waiting is a wait strategy turned into counts, made once for a ring.
type waiting struct {
	floor  uint32 // pauses before the first look; 0: none
	spins  int    // steps of one pause each, with the processor held
	yields int    // steps after those that call Gosched; below 0: without end
}

func newWaiting(s WaitStrategy, floor time.Duration) waiting {
	if s == Block {
		return waiting{}
	}
	w := waiting{yields: yieldsAlone}
	if runtime.GOMAXPROCS(0) > 1 { // else spinning would only keep the other side from running
		cost := calibrated()
		if floor == 0 {
			floor = defaultFloor
		}
		w.floor = uint32(max(0, int64(floor)) / cost.pause)
		w.spins, w.yields = int(spinNanos/cost.pause), int(yieldNanos/cost.yield)
	}
	if s == Spin {
		w.yields = -1
	}
	return w
}

// settle passes the time between a run that was used up and the first look for the next.
func (w *waiting) settle() {
	if w.floor > 0 {
		pause(w.floor)
	}
}

// pause passes the time of one step and reports true, or reports false when it is time to park.
func (w *waiting) pause(step int) bool {
	switch {
	case step < w.spins:
		pause(1)
	case w.yields < 0 || step < w.spins+w.yields:
		runtime.Gosched()
	default:
		return false
	}
	return true
}

// costs are nanoseconds, at least 1.
type costs struct{ pause, yield int64 }

// calibrated measures once what a pause and a Gosched cost on this machine: PAUSE takes from 40 to 140
// cycles on x86, and what stands for it elsewhere anything.
var calibrated = sync.OnceValue(func() costs {
	return costs{
		pause: best(64, 40, func(n int) { pause(uint32(n)) }),
		yield: best(16, 200, func(n int) {
			for range n {
				runtime.Gosched()
			}
		}),
	}
})

// best is the nanoseconds of one of n in the fastest of some runs of n. It gives otherwise where the clock
// stands still, as in virtual time, and where it is coarser than that.
func best(n int, otherwise int64, run func(n int)) int64 {
	fastest := int64(0)
	for range 8 {
		start := clock.System.Mono()
		run(n)
		if took := clock.System.Mono() - start; took > 0 && (fastest == 0 || took < fastest) {
			fastest = took
		}
	}
	if fastest == 0 {
		return otherwise
	}
	return min(max(fastest/int64(n), 1), 2_000)
}

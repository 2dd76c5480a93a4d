package ringbuf

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// TestMain fails the run if any test leaves a goroutine behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && !settles(func() bool { return runtime.NumGoroutine() <= before }) {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines left: %d before, %d after\n%s\n",
			before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// settles yields until the condition holds, and gives up after about a second.
func settles(holds func() bool) bool {
	for range 2_000_000 {
		if holds() {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// until yields until the condition holds. A condition that never holds ends in the test's timeout,
// whose stack dump shows who waits for what.
func until(holds func() bool) {
	for !holds() {
		runtime.Gosched()
	}
}

// forSeeds runs body under n seeds, or under LEAT_SEED alone; failures name the seed.
func forSeeds(t *testing.T, n int, body func(t *testing.T, random *rand.Rand)) {
	t.Helper()
	first := uint64(1)
	if text := os.Getenv("LEAT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("LEAT_SEED=%q: %v", text, err)
		}
		first, n = seed, 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		body(t, rand.New(rand.NewPCG(seed, 0)))
		if t.Failed() {
			t.Fatalf("repeat with LEAT_SEED=%d go test -run '^%s$'", seed, t.Name())
		}
	}
}

// twice doubles at run time, where it may overflow: an int has 32 bits on some machines.
func twice(n int) int { return n * 2 }

// burn passes the time of n short steps without touching memory.
//
//go:noinline
func burn(n int) {
	for range n {
	}
}

// cut returns small when the run is short, or slowed down by the race detector or by having one
// processor: two goroutines that wake each other keep it for 10 ms before a third one gets a turn.
func cut(full, small int) int {
	if testing.Short() || raceEnabled || runtime.GOMAXPROCS(0) == 1 {
		return small
	}
	return full
}

package benchkit

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

//go:embed canary/pingpong.c
var pingPongSource string

const (
	canaryLength = 60 * time.Millisecond
	canaryBatch  = 64 // round trips between two looks at the clock
	hopsMin      = 16 // batches, however long they take
	canaryLimit  = 10 * time.Second
)

// canary measures how fast two processors hand a cache line over, which is what a slow phase of the
// machine changes first. It gives the median hop in nanoseconds.
type canary struct {
	kind string // "C", "Go", or why there is none
	hop  func(ctx context.Context) (nanos float64, err error)
}

// newCanary compiles the C program into dir. Without a compiler the canary is written in Go, which is
// steady too, but its hop has two locked instructions in it. With one processor there is none: hop is nil.
func newCanary(ctx context.Context, dir string) (canary, error) {
	if runtime.NumCPU() < 2 || runtime.GOMAXPROCS(0) < 2 {
		return canary{kind: "none: it needs two processors"}, nil
	}
	path, err := CompileC(ctx, dir, "pingpong", pingPongSource)
	var skip *SkipError
	switch {
	case errors.As(err, &skip):
		return canary{kind: "Go: " + skip.Why, hop: goPingPong}, nil
	case ctx.Err() != nil:
		return canary{}, ctx.Err()
	case err != nil:
		// A compiler without threads or a target of its own is as good as none.
		return canary{kind: "Go: the C compiler failed", hop: goPingPong}, nil
	}
	hop := func(ctx context.Context) (float64, error) { return runPingPong(ctx, path) }
	return canary{kind: "C", hop: hop}, nil
}

func runPingPong(ctx context.Context, path string) (float64, error) {
	limited, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	length := strconv.FormatInt(canaryLength.Milliseconds(), 10)
	output, err := exec.CommandContext(limited, path, length).Output()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("benchkit: run the canary: %w", err)
	}
	var result struct {
		P50 float64 `json:"p50_ns"`
	}
	if err := json.Unmarshal(output, &result); err != nil || result.P50 <= 0 {
		return 0, fmt.Errorf("benchkit: the canary printed %q: want a line of JSON", output)
	}
	return result.P50, nil
}

// paddedWord has lines of its own.
type paddedWord struct {
	_     [128]byte
	value atomic.Uint64
	_     [120]byte
}

// goPingPong is the same in Go: two threads, two lines.
func goPingPong(ctx context.Context) (float64, error) {
	var ping, pong paddedWord
	var stop atomic.Bool
	var answerer sync.WaitGroup
	answerer.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for next := uint64(1); ; next++ {
			for ping.value.Load() != next {
				if stop.Load() {
					return
				}
			}
			pong.value.Store(next)
		}
	})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	hops := make([]float64, 0, 1<<14)
	start := clock.System.Mono()
	next := uint64(1)
	for before := start; (before-start < int64(canaryLength) || len(hops) < hopsMin) && ctx.Err() == nil; {
		for range canaryBatch {
			ping.value.Store(next)
			for pong.value.Load() != next {
			}
			next++
		}
		after := clock.System.Mono()
		if before-start >= int64(canaryLength)/10 {
			hops = append(hops, float64(after-before)/(2*canaryBatch))
		}
		before = after
	}
	stop.Store(true)
	answerer.Wait()
	return quantile(slices.Sorted(slices.Values(hops)), 0.5), ctx.Err()
}

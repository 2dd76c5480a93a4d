//go:build !amd64

package handoff

import "time"

var ticksBegan = time.Now()

// ticks reads the clock.
func ticks() int64 { return int64(time.Since(ticksBegan)) }

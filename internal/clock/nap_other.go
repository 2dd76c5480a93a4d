//go:build !linux

package clock

import "time"

func nap(time.Duration) bool { return false }

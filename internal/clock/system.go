package clock

import "time"

// System is the machine's clock. Inside a testing/synctest bubble it follows the bubble's time.
var System Clock = system{}

// processStart anchors Mono. It carries a monotonic reading, which time.Since subtracts.
var processStart = time.Now()

type system struct{}

func (system) Now() int64  { return time.Now().UnixNano() }
func (system) Mono() int64 { return int64(time.Since(processStart)) }

func (system) NewTimer(d time.Duration) Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ timer *time.Timer }

func (t systemTimer) C() <-chan time.Time   { return t.timer.C }
func (t systemTimer) Stop() bool            { return t.timer.Stop() }
func (t systemTimer) Reset(d time.Duration) { t.timer.Reset(d) }

package core

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// BenchmarkDelayMemory has ten million messages wait, due over a year, and reports the memory that takes.
func BenchmarkDelayMemory(b *testing.B) {
	const pending = 10_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		d, dice := NewDelay(), rand.New(rand.NewPCG(1, 1))
		d.Take(1_800_000_000_000, 1, nil)
		for offset := range int64(pending) {
			d.Add(DelayEntry{Due: 1_800_000_000_000 + dice.Int64N(365*24*3600*1000), Offset: offset})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/pending, "B/pending")
		runtime.KeepAlive(d)
	}
}

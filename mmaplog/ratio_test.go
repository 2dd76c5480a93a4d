//go:build linux

package mmaplog

import (
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// BenchmarkAppendRatio alternates rounds of both: one 64 MiB segment filled with 256-byte records
// published one by one, and another one of the same kind filled by copies of the same bytes. It reports
// the medians and how much of the copy's rate the append reaches.
func BenchmarkAppendRatio(b *testing.B) {
	l := openBenchLog(b, core.AckPage)
	record := encodeRecord(string(make([]byte, 256-core.RecordHeaderSize-1-7)))
	for l.w.seg == nil || l.w.seg.header.size < core.MaxSegmentBytes {
		appendOne(b, l, record)
	}
	var raw, logged []float64
	for range max(b.N, 5) {
		p, err := l.takeSpare(0)
		for err == nil && p.size < core.MaxSegmentBytes {
			l.store.janitor.discard(p)
			p, err = l.prepareFile(core.MaxSegmentBytes, nil)
		}
		if err == nil {
			err = p.res.region.Populate(0, p.size)
		}
		if err != nil {
			b.Fatal(err)
		}
		raw = append(raw, nanosPer(func() int { return fillRaw(p.res.region.Bytes(), record) }))
		l.store.janitor.discard(p)
		syncNow(l)
		if err := l.w.seg.live.Load().region.Populate(0, core.MaxSegmentBytes); err != nil {
			b.Fatal(err)
		}
		l.w.seg.nudges.populated.Store(core.MaxSegmentBytes)
		logged = append(logged, nanosPer(func() int { return fillLog(b, l, record) }))
		for first := l.w.seg; l.w.seg == first; { // roll, outside the time
			appendOne(b, l, record)
		}
	}
	slices.Sort(raw)
	slices.Sort(logged)
	b.ReportMetric(raw[len(raw)/2], "raw-ns/record")
	b.ReportMetric(logged[len(logged)/2], "log-ns/record")
	b.ReportMetric(raw[len(raw)/2]/logged[len(logged)/2], "ratio")
}

// BenchmarkAppendCached appends 256-byte records one by one to the same 32 KiB again and again, and nothing
// is synced: what is left is the processor's work.
func BenchmarkAppendCached(b *testing.B) {
	s := openTest(b, OS(), b.TempDir(), Options{FlushEvery: 1 << 50, FlushBytes: 1 << 60})
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage})
	if err != nil {
		b.Fatal(err)
	}
	record := encodeRecord(string(make([]byte, 256-core.RecordHeaderSize-1-7)))
	appendOne(b, l, record)
	start := l.w.pos
	for b.Loop() {
		if l.w.pos > start+32<<10 {
			l.w.pos = start
		}
		appendOne(b, l, record)
	}
}

func appendOne(b *testing.B, l *Log, record []byte) {
	if _, err := l.Append(1, record, 1); err != nil {
		b.Fatal(err)
	}
}

// nanosPer times f, which answers how many records it did.
func nanosPer(f func() int) float64 {
	start := clock.System.Mono()
	n := f()
	return float64(clock.System.Mono()-start) / float64(max(n, 1))
}

func fillRaw(m, record []byte) int {
	n := 0
	for at := headerSize; at+len(record) <= len(m); n++ {
		at += copy(m[at:], record)
	}
	return n
}

func fillLog(b *testing.B, l *Log, record []byte) int {
	n := 0
	for ; l.w.pos+2*int64(len(record)) < l.w.dataEnd; n++ {
		appendOne(b, l, record)
	}
	return n
}

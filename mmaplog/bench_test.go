//go:build linux

package mmaplog

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
)

// BenchmarkAppend compares publishing 256-byte records one by one with the raw copy of as many bytes
// into a prefaulted map, which is the floor.
func BenchmarkAppend(b *testing.B) {
	record := encodeRecord(string(make([]byte, 256-core.RecordHeaderSize-1-7)))
	if len(record) != 256 {
		b.Fatal(len(record))
	}
	b.Run("memcpy", func(b *testing.B) { benchMemcpy(b, record) })
	b.Run("prepared", func(b *testing.B) { benchAppend(b, record, 1, true) })
	b.Run("prepared100", func(b *testing.B) { benchAppend(b, record, 100, true) })
	b.Run("sustained", func(b *testing.B) { benchAppend(b, record, 1, false) })
}

func benchMemcpy(b *testing.B, record []byte) {
	const size = 64 << 20
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Munmap(m)
	b.SetBytes(int64(len(record)))
	at := 0
	for b.Loop() {
		if at+len(record) > size {
			at = 0
		}
		at += copy(m[at:], record)
	}
}

func openBenchLog(b *testing.B, level core.Ack) *Log {
	b.Helper()
	s, err := Open(OS(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	l, err := s.OpenLog(16, 0, LogOptions{Level: level, RetentionBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return l
}

// benchAppend leaves the preparation of segments out of the time if prepared is set.
func benchAppend(b *testing.B, record []byte, batch int, prepared bool) {
	l := openBenchLog(b, core.AckPage)
	b.SetBytes(int64(len(record)))
	var seg *segment
	for i := 0; i < b.N; i += batch {
		if prepared && (l.w.seg != seg || seg == nil) {
			b.StopTimer()
			seg = l.w.seg
			prepareAhead(b, l)
			b.StartTimer()
		}
		l.Begin(int64(i))
		for range batch {
			if _, err := l.Add(record, 1); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := l.Publish(); err != nil {
			b.Fatal(err)
		}
	}
}

// prepareAhead waits until the next segment is prepared and the current one prefaulted.
func prepareAhead(b *testing.B, l *Log) {
	p, err := l.takeSpare(0)
	if err != nil {
		b.Fatal(err)
	}
	if err := p.res.region.Populate(0, p.size); err != nil {
		b.Fatal(err)
	}
	l.prep.mu.Lock()
	l.prep.putLocked(p, nil, nil)
	l.prep.mu.Unlock()
}

// BenchmarkRead reads the log from its start, by what its bytes come from.
func BenchmarkRead(b *testing.B) {
	for _, mode := range []string{"hot", "hot checked", "cold"} {
		b.Run(mode, func(b *testing.B) {
			l := openBenchLog(b, core.AckPage)
			record := encodeRecord(string(make([]byte, 224)))
			const records = 100_000
			for i := range int64(records) {
				if i%100 == 0 {
					l.Begin(i)
				}
				if _, err := l.Add(record, 1); err != nil {
					b.Fatal(err)
				}
				if i%100 == 99 {
					if _, err := l.Publish(); err != nil {
						b.Fatal(err)
					}
				}
			}
			if mode == "cold" {
				l.store.opts.HotBytes = -1
			}
			b.SetBytes(int64(len(record)))
			r := l.Reader(0)
			r.verified = mode == "hot checked"
			defer r.Close()
			b.ResetTimer()
			for n := 0; n < b.N; {
				before := r.Offset()
				run, err := r.Next(l.End())
				if err != nil {
					b.Fatal(err)
				}
				if run == nil {
					r.Seek(0)
					continue
				}
				n += int(r.Offset() - before)
			}
		})
	}
}

// BenchmarkRecover opens a log of 256 MiB nothing of which is known durable.
func BenchmarkRecover(b *testing.B) {
	dir := b.TempDir()
	s := openTest(b, OS(), dir, Options{FlushEvery: 1 << 40, FlushBytes: 1 << 40})
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage})
	if err != nil {
		b.Fatal(err)
	}
	record := encodeRecord(string(make([]byte, 224)))
	for l.w.next.offset < 1_000_000 {
		l.Begin(1)
		for range 100 {
			if _, err := l.Add(record, 1); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := l.Publish(); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := openTest(b, OS(), dir, Options{})
		l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage})
		if err != nil || l.Recovery().Frames < 10_000 {
			b.Fatal(err, l.Recovery())
		}
		b.SetBytes(l.Recovery().Bytes)
		_ = s.Close()
	}
}

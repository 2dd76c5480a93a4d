package mmaplog

import (
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/leatbus/leat/core"
)

func encodeRecord(value string) []byte {
	key := []byte("k")
	n, err := core.EncodedRecordSize(key, []byte(value), nil)
	if err != nil {
		panic(err)
	}
	b := make([]byte, n)
	core.PutRecord(b, key, []byte(value), nil, xxhash.Sum64(key), 0)
	return b
}

func TestAppendReadReopen(t *testing.T) {
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		for name, fs := range map[string]FS{"os": OS(), "heap": Heap()} {
			t.Run(fmt.Sprint(level, "/", name), func(t *testing.T) {
				dir := t.TempDir()
				s, err := Open(fs, dir, Options{})
				if err != nil {
					t.Fatal(err)
				}
				l, err := s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
				if err != nil {
					t.Fatal(err)
				}
				total := int64(0)
				for round := range 2 {
					for range 5000 {
						l.Begin(1000 + total)
						base, err := l.Add(encodeRecord(fmt.Sprintf("%d %0200d", total, total)), 1)
						if err != nil || base != total {
							t.Fatal(base, err)
						}
						total++
						if end, err := l.Publish(); err != nil || end != total {
							t.Fatal(end, err)
						}
					}
					verify(t, l, total)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s, err = Open(fs, dir, Options{})
					if err != nil {
						t.Fatal(err)
					}
					l, err = s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
					if err != nil {
						t.Fatal(err)
					}
					if l.End() != total || l.DurableEnd() != total {
						t.Fatal(l.End(), l.DurableEnd(), total, l.Recovery())
					}
					verify(t, l, total)
					t.Logf("round %d: %d segments, %d bytes, %+v", round, l.Segments(), l.Bytes(), l.Recovery())
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func verify(t *testing.T, l *Log, total int64) {
	t.Helper()
	r := l.Reader(l.Start())
	defer r.Close()
	at := l.Start()
	for {
		run, err := r.Next(total)
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			break
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if h.BaseOffset != at {
				t.Fatalf("offset %d, want %d", h.BaseOffset, at)
			}
			p := run[core.FrameHeaderSize:h.Length]
			for range h.Records {
				rec, n, err := core.DecodeRecord(p)
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("%d %0200d", at, at); string(rec.Value) != want {
					t.Fatalf("record %d: %q", at, rec.Value)
				}
				p = p[n:]
				at++
			}
			run = run[h.Size():]
		}
	}
	if at != total {
		t.Fatalf("read up to %d, want %d", at, total)
	}
}

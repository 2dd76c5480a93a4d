package node

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// TestScrubIsTold: what the scrubber finds, and a disk on which no segment is made, are in the statistics.
func TestScrubIsTold(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk, SegmentBytes: core.MinSegmentBytes},
		WithScrubEvery(50*time.Millisecond))
	stats := func() *Stats {
		s, err := StatsOf(soon(t), b.Bus)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p := b.producer("t")
	m := leat.Message{Value: make([]byte, 10_000)}
	for range 60 {
		publish(t, p, m)
	}
	eventually(t, "a pass", func() bool { return stats().Scrub.Passes > 0 })
	if s := stats(); s.Scrub.Damaged != 0 || s.LowOnSpace {
		t.Errorf("%+v, low on space: %v", s.Scrub, s.LowOnSpace)
	}
	flipOldest(t, b.fs, filepath.Join("data", "t"))
	eventually(t, "damage", func() bool { return stats().Scrub.Damaged == 1 })

	const total = 1 << 30
	b.fs.SizeSpace(total/30, total)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = p.Publish(soon(t), m)
	}
	wantError(t, "Publish", err, leat.ErrStorageFull)
	if !stats().LowOnSpace {
		t.Error("low on space, and the statistics do not say so")
	}
	b.fs.SizeSpace(total/2, total)
	if stats().LowOnSpace {
		t.Error("room enough, and the statistics do not say so")
	}
}

// flipOldest flips a bit of the oldest segment of the only user's topic.
func flipOldest(t *testing.T, fs *mmaplog.MemFS, dir string) {
	t.Helper()
	names, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range names {
		folder := filepath.Join(dir, topic, "0")
		segments, err := fs.ReadDir(folder)
		if err != nil || len(segments) < 3 {
			continue
		}
		for _, name := range segments {
			if !strings.HasSuffix(name, ".seg") {
				continue
			}
			f, err := fs.Open(filepath.Join(folder, name), mmaplog.ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			var c [1]byte
			if _, err := f.ReadAt(c[:], 5000); err != nil {
				t.Fatal(err)
			}
			c[0] ^= 1
			if _, err := f.WriteAt(c[:], 5000); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no topic has several segments")
}

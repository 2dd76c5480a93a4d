package mmaplog

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// TestTruncateSuffix at every kind of place: the log goes on there with the new term, readers behind it
// are told, and opening it again finds the same.
func TestTruncateSuffix(t *testing.T) {
	for _, level := range bothSinks {
		for _, from := range []int64{0, 1, 240, 500, 899, 900} {
			fs := Heap()
			s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
			l := openLog(t, s, level)
			values := numbered(900, 1000)
			appendValues(t, l, values...)
			if l.Segments() < 3 {
				t.Fatal("too few segments")
			}
			behind, before := l.Reader(from+1), l.Reader(from/2)
			if _, err := behind.Next(l.End()); err != nil {
				t.Fatal(err)
			}
			behind.Seek(from + 1)
			if err := l.TruncateSuffix(from, 7); err != nil {
				t.Fatalf("%v: truncate at %d: %v", level, from, err)
			}
			if l.End() != from || from < 900 && (l.DurableEnd() != from || l.UnsyncedBytes() != 0) {
				t.Fatalf("%v: ends at %d, %d, unsynced %d", level, l.End(), l.DurableEnd(), l.UnsyncedBytes())
			}
			appendValues(t, l, "a", "b", "c")
			if from < 900 {
				_, err := behind.Next(l.End())
				wantCode(t, "read behind the cut", err, core.CodeOffsetOutOfRange)
			}
			if _, err := before.Next(l.End()); err != nil {
				t.Fatalf("%v: read before the cut at %d: %v", level, from, err)
			}
			want := append(slices.Clone(values[:from]), "a", "b", "c")
			wantValues(t, l, want...)
			if err := wantTerms(l, from, 7); err != nil {
				t.Fatal(err)
			}
			syncNow(l)
			after := fs.Crash(1)
			mustClose(t, s)
			for _, disk := range []*MemFS{fs, after} {
				l = openLog(t, openTest(t, disk, "data", Options{}), level)
				if got := mustRead(t, l); !slices.Equal(got, want) || l.Recovery().CutBytes != 0 {
					t.Fatalf("%v: cut at %d: %d values after opening, want %d; %+v", level, from, len(got), len(want),
						l.Recovery())
				}
			}
			_ = behind.Close()
			_ = before.Close()
		}
	}
}

func wantTerms(l *Log, from int64, term uint32) error {
	return eachFrame(l, func(h *core.FrameHeader) error {
		if want := h.BaseOffset >= from; (h.Term == term) != want {
			return fmt.Errorf("frame of offset %d has term %d", h.BaseOffset, h.Term)
		}
		return nil
	})
}

func TestTruncateRefuses(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{Clock: clock.NewManual(1)})
	l := openLog(t, s, core.AckDisk)
	l.Begin(1)
	mustAdd(t, l, encodeRecord("x"))
	wantCode(t, "within a batch", l.TruncateSuffix(0, 1), core.CodeInternal)
	mustAdd(t, l, encodeRecord("y"))
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "behind the end", l.TruncateSuffix(3, 1), core.CodeOffsetOutOfRange)
	wantCode(t, "inside a frame", l.TruncateSuffix(1, 1), core.CodeInvalidRecord)
	if err := l.TruncateSuffix(2, 5); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "a lower term", l.TruncateSuffix(2, 4), core.CodeInvalidRecord)
	wantValues(t, l, "x", "y")
}

// TestTruncateSurvivesACrash cuts the power before every step of the disk: the log ends where it did, or
// where it was truncated, and what was truncated never comes back once something was appended there.
func TestTruncateSurvivesACrash(t *testing.T) {
	for _, level := range bothSinks {
		for _, from := range []int64{1, 260, 500} {
			fs := Heap()
			s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
			l := openLog(t, s, level)
			values := numbered(520, 1000)
			appendValues(t, l, values...)
			syncNow(l)
			drainJanitor(s)
			var images []*MemFS
			var mu sync.Mutex // the preparer is at work, too
			done := false
			fs.Hook(func(op, name string) {
				mu.Lock()
				defer mu.Unlock()
				if !done {
					images = append(images, fs.Crash(uint64(len(images))), fs.Crash(uint64(1000+len(images))))
				}
			})
			if err := l.TruncateSuffix(from, 3); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			done = true
			mu.Unlock()
			fs.Hook(nil)
			images = append(images, fs.Crash(7))
			truncated := 0
			for i, image := range images {
				got, again := reopenTwice(t, image, level)
				if again != got || got != from && got != 520 {
					t.Fatalf("%v: cut at %d, image %d: ends at %d, then at %d", level, from, i, got, again)
				}
				if got == from {
					truncated++
				} else if i == len(images)-1 {
					t.Fatalf("%v: the truncation at %d is gone", level, from)
				}
			}
			if truncated < 2 || len(images)-truncated < 2 {
				t.Errorf("%v: %d of %d images are truncated", level, truncated, len(images))
			}
			mustClose(t, s)
		}
	}
}

// reopenTwice gives the end of a log after two openings, with an append and a power cut in between.
func reopenTwice(t *testing.T, fs *MemFS, level core.Ack) (first, second int64) {
	t.Helper()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(2)})
	l := openLog(t, s, level)
	first = l.End()
	if _, err := readValues(l); err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, "new")
	syncNow(l)
	after := fs.Crash(1)
	mustClose(t, s)
	s = openTest(t, after, "data", Options{})
	l = openLog(t, s, level)
	values := mustRead(t, l)
	if values[first] != "new" || int64(len(values)) != first+1 {
		t.Fatalf("%d values behind %d, %.20q there", len(values), first, values[first])
	}
	mustClose(t, s)
	return first, l.End() - 1
}

// TestAppendFrame: a follower that is given a log's frames has the same ones, but for what is local.
func TestAppendFrame(t *testing.T) {
	for _, level := range bothSinks {
		fs := Heap()
		s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
		leader := openLog(t, s, level)
		follower, err := s.OpenLog(16, 1, LogOptions{Level: level, SegmentBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		c := &crashRunFrames{}
		c.fill(t, leader, 400)
		copyFrames(t, leader, follower)
		a, b := localless(readRuns(t, leader)), localless(readRuns(t, follower))
		if follower.End() != leader.End() || !bytes.Equal(a, b) {
			t.Fatalf("%v: the follower ends at %d, the leader at %d; equal: %v", level, follower.End(), leader.End(),
				bytes.Equal(a, b))
		}
		syncNow(follower)
		mustClose(t, s)
		s = openTest(t, fs, "data", Options{})
		if follower, err = s.OpenLog(16, 1, LogOptions{Level: level}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, localless(readRuns(t, follower))) {
			t.Fatalf("%v: the follower changed by opening it", level)
		}
	}
}

// crashRunFrames makes frames of all kinds.
type crashRunFrames struct{ seq int32 }

func (c *crashRunFrames) fill(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		l.Begin(int64(i))
		record := encodeRecord(string(make([]byte, i*7%3000)))
		if i%3 == 0 {
			h := produced(5, c.seq, record, 1)
			c.seq++
			if _, err := l.AddFrame(&h, record); err != nil {
				t.Fatal(err)
			}
		} else {
			mustAdd(t, l, record)
		}
		if _, err := l.Publish(); err != nil {
			t.Fatal(err)
		}
	}
}

// copyFrames gives the frames behind a follower's end to it, a run in a batch.
func copyFrames(t *testing.T, leader, follower *Log) {
	t.Helper()
	r := leader.Reader(follower.End())
	defer r.Close()
	for {
		run, err := r.Next(leader.End())
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			return
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if err := follower.AppendFrame(&h, run[core.FrameHeaderSize:h.Length]); err != nil {
				t.Fatal(err)
			}
			run = run[h.Size():]
		}
		if _, err := follower.Publish(); err != nil {
			t.Fatal(err)
		}
	}
}

// localless clears what is local in frames: the checksum of the header, and what was durable.
func localless(frames []byte) []byte {
	for at := 0; at < len(frames); at += sizeAt(frames, at) {
		clear(frames[at+4 : at+8])
		clear(frames[at+60 : at+62])
	}
	return frames
}

func TestAppendFrameRefuses(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{Clock: clock.NewManual(1)})
	leader := openLog(t, s, core.AckDisk)
	if err := leader.TruncateSuffix(0, 3); err != nil {
		t.Fatal(err)
	}
	leader.Begin(10)
	mustAdd(t, leader, encodeRecord("x"))
	if _, err := leader.Publish(); err != nil {
		t.Fatal(err)
	}
	frame, partition := readRuns(t, leader), int32(0)
	for name, tt := range map[string]struct {
		change func(*core.FrameHeader)
		code   core.Code
	}{
		"index":   {func(h *core.FrameHeader) { h.Index++ }, core.CodeInvalidRecord},
		"offset":  {func(h *core.FrameHeader) { h.BaseOffset++ }, core.CodeInvalidRecord},
		"chain":   {func(h *core.FrameHeader) { h.PrevCRC++ }, core.CodeInvalidRecord},
		"length":  {func(h *core.FrameHeader) { h.Length++ }, core.CodeInvalidRecord},
		"filler":  {func(h *core.FrameHeader) { h.Attrs = uint8(core.FrameFiller) }, core.CodeInvalidRecord},
		"version": {func(h *core.FrameHeader) { h.Version++ }, core.CodeInvalidRecord},
		"payload": {func(h *core.FrameHeader) { h.PayloadCRC++ }, core.CodeCorrupt},
	} {
		partition++
		l, err := s.OpenLog(17, partition, LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		h := core.ParseFrameHeader(frame)
		tt.change(&h)
		wantCode(t, name, l.AppendFrame(&h, frame[core.FrameHeaderSize:h.Length-h.Length%8]), tt.code)
		h = core.ParseFrameHeader(frame)
		if err := l.AppendFrame(&h, frame[core.FrameHeaderSize:h.Length]); err != nil {
			t.Fatalf("%s: the log was changed by a refused frame: %v", name, err)
		}
		if end, err := l.Publish(); end != 1 || err != nil {
			t.Fatalf("%s: ends at %d, %v", name, end, err)
		}
		old := h
		old.Index, old.BaseOffset, old.PrevCRC, old.Term = 2, 1, h.PayloadCRC, 2
		wantCode(t, "term", l.AppendFrame(&old, frame[core.FrameHeaderSize:h.Length]), core.CodeInvalidRecord)
		old.Term, old.Time = 3, 9
		wantCode(t, "time", l.AppendFrame(&old, frame[core.FrameHeaderSize:h.Length]), core.CodeInvalidRecord)
	}
}

package mmaplog

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"

	"github.com/leatbus/leat/core"
)

// produced is the header of a frame of a producer, as a client fills it.
func produced(id int64, baseSeq int32, payload []byte, records int) core.FrameHeader {
	return core.FrameHeader{
		Length: uint32(core.FrameHeaderSize + len(payload)), ProducerID: id, ProducerEpoch: int16(id % 7),
		BaseSeq: baseSeq, PayloadCRC: core.Checksum(payload), Records: uint16(records), Version: core.FrameVersion,
	}
}

// sameProducer compares what a producer's frame keeps; the zero header stands for an anonymous frame.
func sameProducer(got, want *core.FrameHeader) bool {
	same := got.ProducerID == want.ProducerID && got.ProducerEpoch == want.ProducerEpoch &&
		got.BaseSeq == want.BaseSeq && got.Attrs == want.Attrs
	return same && (want.ProducerID == 0 || got.Length == want.Length && got.Records == want.Records &&
		got.PayloadCRC == want.PayloadCRC)
}

// eachFrame hands the headers of all frames to f.
func eachFrame(l *Log, f func(*core.FrameHeader) error) error {
	r := l.Reader(l.Start())
	defer r.Close()
	for {
		run, err := r.Next(l.End())
		if err != nil || run == nil {
			return err
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if err := f(&h); err != nil {
				return err
			}
			run = run[h.Size():]
		}
	}
}

// TestAddFrameKeepsTheFrame mixes frames with plain records, padded and not, in one batch.
func TestAddFrameKeepsTheFrame(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{})
			l := openLog(t, s, level)
			first, second := encodeRecord("first"), encodeRecord("second")
			odd := []byte("a payload of 23 bytes..") // as a Kafka batch may be
			frame := produced(7, 41, append(bytes.Clone(first), second...), 2)
			frame.Index, frame.BaseOffset, frame.Time, frame.Term, frame.PrevCRC, frame.DurableLag = 9, 9, 9, 9, 9, 9
			kafka := produced(8, 5, odd, 3)
			kafka.Attrs = uint8(core.FrameKafka)
			l.Begin(100)
			mustAdd(t, l, first)
			if base, err := l.AddFrame(&frame, append(bytes.Clone(first), second...)); base != 1 || err != nil {
				t.Fatalf("AddFrame = %d, %v; want 1", base, err)
			}
			if base, err := l.AddFrame(&kafka, odd); base != 3 || err != nil {
				t.Fatalf("AddFrame = %d, %v; want 3", base, err)
			}
			mustAdd(t, l, first)
			mustAdd(t, l, second)
			if end, err := l.Publish(); end != 8 || err != nil {
				t.Fatalf("Publish = %d, %v; want 8", end, err)
			}
			check := func(l *Log) {
				t.Helper()
				var got []core.FrameHeader
				err := eachFrame(l, func(h *core.FrameHeader) error { got = append(got, *h); return nil })
				if err != nil {
					t.Fatal(err)
				}
				want := []core.FrameHeader{{BaseOffset: 0, Records: 1}, frame, kafka, {BaseOffset: 6, Records: 2}}
				want[1].BaseOffset, want[2].BaseOffset = 1, 3
				if len(got) != len(want) {
					t.Fatalf("%d frames, want %d", len(got), len(want))
				}
				prevCRC := uint32(0)
				for i := range got {
					g, w := &got[i], &want[i]
					if !sameProducer(g, w) || g.BaseOffset != w.BaseOffset || g.Records != w.Records ||
						g.Index != uint64(i+1) || g.PrevCRC != prevCRC || g.Time != 100 || g.Term != 0 {
						t.Errorf("frame %d is %+v, want %+v", i, *g, *w)
					}
					prevCRC = g.PayloadCRC
				}
			}
			check(l)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			check(openLog(t, openTest(t, fs, "data", Options{}), level))
		})
	}
}

func mustAdd(t *testing.T, l *Log, record []byte) {
	t.Helper()
	if _, err := l.Add(record, 1); err != nil {
		t.Fatal(err)
	}
}

func TestAddFrameRefuses(t *testing.T) {
	l := openLog(t, openTest(t, Heap(), "data", Options{}), core.AckPage)
	record := encodeRecord("x")
	for what, change := range map[string]func(h *core.FrameHeader){
		"no records":        func(h *core.FrameHeader) { h.Records = 0 },
		"too many records":  func(h *core.FrameHeader) { h.Records = core.MaxBatchRecords + 1 },
		"another length":    func(h *core.FrameHeader) { h.Length++ },
		"length 0":          func(h *core.FrameHeader) { h.Length = 0 },
		"a filler":          func(h *core.FrameHeader) { h.Attrs = uint8(core.FrameFiller) },
		"compression":       func(h *core.FrameHeader) { h.Attrs |= 1 << 4 },
		"negative producer": func(h *core.FrameHeader) { h.ProducerID = -1 },
	} {
		h := produced(7, 0, record, 1)
		change(&h)
		l.Begin(1)
		_, err := l.AddFrame(&h, record)
		wantCode(t, what, err, core.CodeInvalidRecord)
	}
	if end, err := l.Publish(); end != 0 || err != nil {
		t.Errorf("Publish = %d, %v; want nothing stored", end, err)
	}
}

// TestAddFrameRollsAndRecoversFromAFullDisk: a frame that finds no room leaves the batch as it was.
func TestAddFrameRollsAndRecoversFromAFullDisk(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			l := openLog(t, openTest(t, fs, "data", Options{}), level)
			appendValues(t, l, "before")
			large := encodeRecord(string(make([]byte, 1<<20)))
			h := produced(7, 0, large, 1)
			syncNow(l)
			fs.LimitSpace(0)
			l.Begin(2)
			mustAdd(t, l, encodeRecord("kept"))
			_, err := l.AddFrame(&h, large)
			wantCode(t, "full disk", err, core.CodeStorageFull)
			if end, err := l.Publish(); end != 2 || err != nil {
				t.Fatalf("Publish = %d, %v; want 2", end, err)
			}
			fs.LimitSpace(-1)
			l.Begin(3)
			if base, err := l.AddFrame(&h, large); base != 2 || err != nil {
				t.Fatalf("AddFrame = %d, %v; want 2", base, err)
			}
			if _, err := l.Publish(); err != nil {
				t.Fatal(err)
			}
			if l.Segments() != 2 {
				t.Errorf("%d segments, want 2", l.Segments())
			}
			wantValues(t, l, "before", "kept", string(make([]byte, 1<<20)))
		})
	}
}

// TestFailedWriteDropsFrames: after a batch that was not written, frames continue where it began.
func TestFailedWriteDropsFrames(t *testing.T) {
	fs := Heap()
	l := openLog(t, openTest(t, fs, "data", Options{}), core.AckDisk)
	appendValues(t, l, "before")
	record := encodeRecord("frame")
	h := produced(7, 0, record, 1)
	fs.FailWrites(fmt.Errorf("full: %w", syscall.ENOSPC))
	l.Begin(2)
	if base, err := l.AddFrame(&h, record); base != 1 || err != nil {
		t.Fatalf("AddFrame = %d, %v", base, err)
	}
	_, err := l.Publish()
	wantCode(t, "Publish", err, core.CodeStorageFull)
	fs.FailWrites(nil)
	appendValues(t, l, "after")
	l.Begin(3)
	if base, err := l.AddFrame(&h, record); base != 2 || err != nil {
		t.Fatalf("AddFrame = %d, %v; want 2", base, err)
	}
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	wantValues(t, l, "before", "after", "frame")
}

func TestAddFrameDoesNotAllocate(t *testing.T) {
	l := openLog(t, openTest(t, Heap(), "data", Options{}), core.AckPage)
	record := encodeRecord("steady")
	h := produced(7, 0, record, 1)
	n := testing.AllocsPerRun(500, func() {
		l.Begin(1)
		if _, err := l.AddFrame(&h, record); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

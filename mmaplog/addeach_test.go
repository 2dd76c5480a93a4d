package mmaplog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestAddEach puts the same records into two logs, one by one and in lists, through ends of frames and
// segments: both must hold the same frames.
func TestAddEach(t *testing.T) {
	for _, noMap := range []bool{false, true} {
		t.Run(fmt.Sprintf("noMap=%v", noMap), func(t *testing.T) {
			s := openTest(t, Heap(), "data", Options{NoMap: noMap})
			logs := [2]*Log{}
			for i := range logs {
				var err error
				o := LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes}
				if logs[i], err = s.OpenLog(uint64(16+i), 0, o); err != nil {
					t.Fatal(err)
				}
			}
			offset := int64(0)
			for batch := range 60 {
				var list [][]byte
				for i := range 1 + batch*53%900 {
					list = append(list, encodeRecord(strings.Repeat("x", (batch*31+i*7)%400)))
				}
				if batch%20 == 19 {
					list = append(list, encodeRecord(strings.Repeat("y", core.MergeFrameBytes)))
				}
				for _, l := range logs {
					l.Begin(int64(batch + 1))
				}
				for _, record := range list {
					if _, err := logs[0].Add(record, 1); err != nil {
						t.Fatal(err)
					}
				}
				base, added, err := logs[1].AddEach(list)
				if base != offset || added != len(list) || err != nil {
					t.Fatalf("batch %d: AddEach = %d, %d, %v; want %d, %d", batch, base, added, err, offset, len(list))
				}
				offset += int64(len(list))
				for i, l := range logs {
					if end, err := l.Publish(); end != offset || err != nil {
						t.Fatalf("log %d: Publish = %d, %v; want %d", i, end, err, offset)
					}
				}
			}
			sameFrames(t, logs[0], logs[1], offset)
		})
	}
}

func sameFrames(t *testing.T, one, other *Log, end int64) {
	t.Helper()
	readers := [2]*Reader{one.Reader(0), other.Reader(0)}
	for readers[0].Offset() < end {
		var runs [2]string
		for i, r := range readers {
			run, err := r.Next(end)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(run); {
				h := core.ParseFrameHeader(run[at:])
				h.HeaderCRC, h.DurableLag = 0, 0 // they differ by the segment's id and by the time of syncs
				runs[i] += fmt.Sprintf("%+v %x\n", h, run[at+core.FrameHeaderSize:at+int(h.Length)])
				at += int(h.Size())
			}
		}
		if runs[0] != runs[1] {
			t.Fatalf("frames differ before offset %d", readers[0].Offset())
		}
	}
}

// TestAddEachStopsAtTheFirstError offers a list whose third record is none.
func TestAddEachStopsAtTheFirstError(t *testing.T) {
	l := openLog(t, openTest(t, Heap(), "data", Options{}), core.AckPage)
	l.Begin(1)
	good := encodeRecord("good")
	base, added, err := l.AddEach([][]byte{good, good, good[:9], good})
	if base != 0 || added != 2 {
		t.Errorf("AddEach = %d, %d; want 0, 2", base, added)
	}
	wantCode(t, "AddEach", err, core.CodeInvalidRecord)
	if end, err := l.Publish(); end != 2 || err != nil {
		t.Errorf("Publish = %d, %v; want 2", end, err)
	}
	wantValues(t, l, "good", "good")
}

// TestAddEachAfterALargeRecord: a frame that one record has filled beyond what is merged takes no more.
func TestAddEachAfterALargeRecord(t *testing.T) {
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		s := openTest(t, Heap(), "data", Options{})
		l := openLog(t, s, level)
		large, small := numbered(1, core.MergeFrameBytes+100)[0], "small"
		l.Begin(1)
		if _, err := l.Add(encodeRecord(large), 1); err != nil {
			t.Fatal(err)
		}
		base, added, err := l.AddEach([][]byte{encodeRecord(small), encodeRecord(small)})
		if err != nil || base != 1 || added != 2 {
			t.Fatalf("%v: AddEach = %d, %d, %v", level, base, added, err)
		}
		if _, err := l.Publish(); err != nil {
			t.Fatal(err)
		}
		wantValues(t, l, large, small, small)
	}
}

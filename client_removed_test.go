package leat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestRemoteSkipsRemoved: what compaction left of records is not delivered, wherever in a frame it is, and
// the offsets of the others are theirs.
func TestRemoteSkipsRemoved(t *testing.T) {
	for _, tt := range []struct {
		from  int64
		gone  []int // of ten records in frames of four, from offset 100 on
		wants []int64
	}{
		{100, nil, []int64{100, 101, 102, 103, 104, 105, 106, 107, 108, 109}},
		{100, []int{0, 1, 5, 9}, []int64{102, 103, 104, 106, 107, 108}},
		{100, []int{4, 5, 6, 7}, []int64{100, 101, 102, 103, 108, 109}},
		{101, []int{1, 2, 3}, []int64{104, 105, 106, 107, 108, 109}},
		{102, []int{0, 1}, []int64{102, 103, 104, 105, 106, 107, 108, 109}},
		{100, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, nil},
	} {
		var run []byte
		for base := 0; base < 10; base += 4 {
			run = append(run, compactedFrame(t, int64(100+base), min(4, 10-base), func(i int) bool {
				return slices.Contains(tt.gone, base+i)
			})...)
		}
		c := &remoteCursor{sub: &remoteSubscription{topic: &clientTopic{name: "t"}}, next: tt.from}
		c.begin(&chunk{buf: run})
		var got []int64
		for {
			more, err := c.fetch()
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
			var m Message
			if err := c.take(&m, &core.HeaderDecoder{}); err != nil {
				t.Fatal(err)
			}
			if string(m.Value) != fmt.Sprint(m.Offset) {
				t.Errorf("offset %d has value %s", m.Offset, m.Value)
			}
			got = append(got, m.Offset)
		}
		if !slices.Equal(got, tt.wants) || c.next != 110 {
			t.Errorf("from %d without %v: got %v and goes on at %d; want %v", tt.from, tt.gone, got, c.next, tt.wants)
		}
	}
}

// compactedFrame is a frame of n records whose values are their offsets, some of them removed.
func compactedFrame(t *testing.T, base int64, n int, removed func(int) bool) []byte {
	t.Helper()
	frame := make([]byte, core.FrameHeaderSize)
	for i := range n {
		value := fmt.Append(nil, base+int64(i))
		size, err := core.EncodedRecordSize(nil, value, nil)
		if err != nil {
			t.Fatal(err)
		}
		record := make([]byte, size)
		core.PutRecord(record, nil, value, nil, 0, int32(i))
		if removed(i) {
			record = record[:core.RecordHeaderSize]
			core.PutRemoved(record, int32(i))
		}
		frame = append(frame, record...)
	}
	payload := frame[core.FrameHeaderSize:]
	h := core.FrameHeader{Length: uint32(len(frame)), Index: 1, BaseOffset: base, Records: uint16(n),
		PayloadCRC: core.Checksum(payload), Version: core.FrameVersion}
	h.Encode(frame, 0)
	return frame
}

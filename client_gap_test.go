package leat

import (
	"testing"

	"github.com/leatbus/leat/core"
)

// TestCursorStepsOverRecordsGivenUp: a frame of type empty has offsets without records; a repair leaves it.
func TestCursorStepsOverRecordsGivenUp(t *testing.T) {
	record := make([]byte, 32)
	core.PutRecord(record, []byte("k"), []byte("value"), nil, 1, 0)
	frame := func(kind core.FrameType, offset int64, records uint16, payload []byte) []byte {
		b := append(make([]byte, core.FrameHeaderSize), payload...)
		h := core.FrameHeader{Length: uint32(len(b)), Index: 1, BaseOffset: offset, Records: records,
			PayloadCRC: core.Checksum(payload), Attrs: uint8(kind), Version: core.FrameVersion}
		h.Encode(b, 0)
		return b
	}
	c := &remoteCursor{next: 4}
	c.run = append(frame(core.FrameEmpty, 3, 7, make([]byte, 40)), frame(core.FrameEmpty, 10, 2, nil)...)
	c.run = append(c.run, frame(core.FrameData, 12, 1, record)...)
	found, err := c.fetch()
	if !found || err != nil || c.next != 12 || len(c.records) != len(record) {
		t.Fatalf("fetch = %v, %v at offset %d with %d bytes of records; want those at 12", found, err, c.next,
			len(c.records))
	}
}

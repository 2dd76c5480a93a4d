package node

import (
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestRefusedBehindOneAnswered has the frame before a refused one answered while the refused one waited for
// room, and its ticket given to a later frame, which is refused too.
func TestRefusedBehindOneAnswered(t *testing.T) {
	for name, partition := range map[string]uint16{"same partition": 0, "another partition": 1} {
		t.Run(name, func(t *testing.T) {
			b := newAckBook(2, 1<<20)
			full := core.NewError(core.CodeLogFenced, "publish", nil)
			first := b.reserve(ackSlot{records: 1, baseSeq: 1})
			b.commit(first)
			second := b.reserve(ackSlot{records: 1, baseSeq: 2})
			b.commit(second)
			b.settle([]outcome{{ticket: first, records: 1}}, &ackCounts{})
			third := b.reserve(ackSlot{partition: partition, records: 1, baseSeq: 3})
			if third != first {
				t.Fatalf("ticket %d, want that of the first frame, %d", third, first)
			}
			b.refuse(second, full)
			b.commit(third)
			b.refuse(third, full)
			if b.whenSettled() != nil {
				t.Fatalf("%d frames are never answered", b.inFlight)
			}
			entries, err := wire.DecodeAcks(b.entries[wire.HeaderSize:])
			if err != nil || entries.Len() != 3 {
				t.Fatalf("%d entries, err %v", entries.Len(), err)
			}
			for i := range entries.Len() {
				if e := entries.At(i); e.BaseSeq != int32(i+1) {
					t.Errorf("answer %d is for sequence %d", i, e.BaseSeq)
				}
			}
		})
	}
}

package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// TestDedupWindow: an id is remembered for as long as its topic says, and can be published again after that.
func TestDedupWindow(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		manual := clock.NewManual(1e18)
		b := one(t, leat.TopicConfig{Ack: level}, withClock(manual))
		p := b.producer("t")
		m := leat.Message{Value: []byte("v"), ID: "x"}
		first := publish(t, p, m)
		manual.Advance(core.DefaultDedupWindow - 1)
		if r := publish(t, p, m); !r.Duplicate || r.Offset != first.Offset || !r.Time.Equal(first.Time) {
			t.Errorf("%v, within the window: %+v, want %+v", level, r, first)
		}
		manual.Advance(time.Hour) // the journal reads the clock anew
		if r := publish(t, p, m); r.Duplicate || r.Offset != 1 {
			t.Errorf("%v, after the window: %+v, want offset 1", level, r)
		}
		if err := b.AlterTopic(soon(t), "t", leat.TopicChange{DedupWindow: new(10 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		manual.Advance(9 * time.Hour)
		if r := publish(t, p, m); !r.Duplicate || r.Offset != 1 {
			t.Errorf("%v, with a longer window: %+v, want a duplicate of offset 1", level, r)
		}
	}
}

// TestIDsSurviveARestart, with a saved state and without, closed and cut off; and so do the sequences of a
// remote producer whose messages were duplicates.
func TestIDsSurviveARestart(t *testing.T) {
	for _, segments := range []int{1, 3} {
		for _, crash := range []bool{false, true} {
			t.Run(fmt.Sprintf("segments %d, crash %v", segments, crash), func(t *testing.T) {
				cfg := leat.TopicConfig{Ack: leat.AckDisk, SegmentBytes: core.MinSegmentBytes}
				b := one(t, cfg)
				p := b.producer("t")
				want := map[string]leat.Receipt{}
				for i := 0; b.partition(0).log.Segments() < segments || i < 5; i++ {
					m := leat.Message{Value: make([]byte, 3000), ID: fmt.Sprint("id ", i)}
					want[m.ID] = publish(t, p, m)
					publish(t, p, text("between"))
				}
				end := b.partition(0).log.End()
				if crash {
					after := b.fs.Crash(1)
					b.close()
					b = openBed(t, after, WithTopic("t", cfg))
				} else {
					b = b.reopen(WithTopic("t", cfg))
				}
				p = b.producer("t")
				for id, first := range want {
					r := publish(t, p, leat.Message{Value: []byte("again"), ID: id})
					if !r.Duplicate || r.Offset != first.Offset || !r.Time.Equal(first.Time) {
						t.Fatalf("%s: %+v, want %+v", id, r, first)
					}
				}
				if r := publish(t, p, leat.Message{ID: "fresh"}); r.Duplicate || r.Offset != end {
					t.Errorf("another id: %+v, want offset %d", r, end)
				}
			})
		}
	}
}

// sendIDs commits a frame of one encoded record that has an id, and gives its outcome.
func (r *remote) sendIDs(p *partition, baseSeq int32, record []byte) outcome {
	r.t.Helper()
	f := r.frame(p, baseSeq, "")
	f.payload, f.ids = record, true
	f.header.Length, f.header.PayloadCRC = uint32(core.FrameHeaderSize+len(record)), core.Checksum(record)
	if err := core.CheckProduced(&f.header, f.payload, core.DefaultRecordBytes, false); err != nil {
		r.t.Fatal(err)
	}
	r.commit(f)
	list := r.outcomes(int(r.ticket))
	return list[len(list)-1]
}

// TestRemoteDuplicateKeepsItsSequence: the sequence of a frame that was stored under its id by another
// producer is in the log, so that its producer goes on behind it, also after a crash.
func TestRemoteDuplicateKeepsItsSequence(t *testing.T) {
	cfg := leat.TopicConfig{Ack: leat.AckDisk}
	b := one(t, cfg)
	first := publish(t, b.producer("t"), leat.Message{Value: []byte("v"), ID: "x"})
	part, r := b.partition(0), newRemote(t, b.node, 7)
	size, err := core.ExtendedRecordSize(0, 1, nil, core.Extras{ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	record := make([]byte, size)
	core.PutExtendedRecord(record, nil, []byte("w"), nil, 0, 0, core.Extras{ID: "x"})
	again := func() outcome { return r.sendIDs(part, 0, record) }
	wantStored(t, "published by another", again(), first.Offset, true)
	wantStored(t, "sent again", again(), first.Offset, true)
	wantStored(t, "the next", r.send(part, 1, "next"), first.Offset+2, false) // behind the stub
	after := b.fs.Crash(1)
	b.close()
	b = openBed(t, after, WithTopic("t", cfg))
	part, r = b.partition(0), newRemote(t, b.node, 7)
	if _, next, known := part.producerState(7); next != 2 || !known {
		t.Errorf("after a crash the next sequence is %d, %v; want 2", next, known)
	}
	wantStored(t, "sent again after a crash", r.sendIDs(part, 0, record), first.Offset, true)
	if got := values(take(t, b.subscribe("t", leat.From(leat.Earliest)), 2)); got != "v next" {
		t.Errorf("delivered: %s", got)
	}
}

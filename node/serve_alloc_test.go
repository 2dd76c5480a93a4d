package node

import (
	"encoding/binary"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/transport/wire"
)

// lone publishes one frame after the other and waits for each answer, without allocating.
type lone struct {
	*rawProducer
	frame  []byte
	answer [wire.HeaderSize + wire.AckEntrySize]byte
	seq    int32
}

func newLone(c *rawClient, value string) *lone {
	p := c.produceRaw(openBody(7))
	payload := p.logFrame(0, 0, value)
	h := wire.Header{Type: wire.Produce, Length: uint32(len(payload))}
	return &lone{rawProducer: p, frame: append(h.Append(nil), payload...)}
}

func (l *lone) publish() {
	binary.LittleEndian.PutUint32(l.frame[wire.HeaderSize+52:], uint32(l.seq))
	if _, err := l.Write(l.frame); err != nil {
		l.t.Fatal(err)
	}
	for {
		if _, err := io.ReadFull(l.Stream, l.answer[:wire.HeaderSize]); err != nil {
			l.t.Fatal(err)
		}
		if wire.ParseHeader(l.answer[:]).Type == wire.Acks {
			break
		}
	}
	if _, err := io.ReadFull(l.Stream, l.answer[wire.HeaderSize:]); err != nil {
		l.t.Fatal(err)
	}
	list, err := wire.DecodeAcks(l.answer[wire.HeaderSize:])
	if err != nil {
		l.t.Fatal(err)
	}
	if e := list.At(0); e.Code != 0 || e.BaseSeq != l.seq {
		l.t.Fatalf("answered with %+v, want sequence %d", e, l.seq)
	}
	l.seq++
}

// TestRemotePublishDoesNotAllocate: neither reader, journal nor answer allocate per frame.
func TestRemotePublishDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, size := range []int{100, 20_000} {
		d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
		l := newLone(d.connect(), string(make([]byte, size)))
		for range 3000 { // buffers, tables and segments
			l.publish()
		}
		runtime.GC()
		allocs := math.Inf(1)
		for range 3 { // what others allocate meanwhile on a busy machine is not in each
			allocs = min(allocs, testing.AllocsPerRun(2000, l.publish))
		}
		if allocs > 0.5 {
			t.Errorf("value of %d bytes: %.2f allocations per publish", size, allocs)
		}
	}
}

func BenchmarkRemotePublish(b *testing.B) {
	d := newDoor(b, leat.TopicConfig{Ack: leat.AckPage})
	l := newLone(d.connect(), string(make([]byte, 100)))
	b.ReportAllocs()
	for b.Loop() {
		l.publish()
	}
}

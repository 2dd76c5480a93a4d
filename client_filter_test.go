package leat

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestFilterOfAnOlderNode: one that would ignore a filter, and send everything, is not asked.
func TestFilterOfAnOlderNode(t *testing.T) {
	f := newFake(t, 1)
	f.features = wire.FeatureQueues
	f.topic("t", core.TopicConfig{Partitions: 1})
	bus, c := f.client()
	for _, options := range [][]SubscribeOption{{From(Earliest)}, {Group("g")}, {Group("q"), Queue()}} {
		_, err := bus.Subscribe("t", append(options, Filter(`key == "a"`))...)
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("Subscribe with a filter: %v, want ErrUnsupported", err)
		}
	}
	if _, err := bus.Peek(t.Context(), "t", PeekQuery{Filter: `key == "a"`}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Peek with a filter: %v, want ErrUnsupported", err)
	}
	if _, err := bus.Peek(t.Context(), "t", PeekQuery{ID: "order-1"}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Peek with an id: %v, want ErrUnsupported", err)
	}
	conn, err := c.anyConnection(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.filters("read", "size > 1"); !errors.Is(err, ErrUnsupported) ||
		!strings.Contains(fmt.Sprint(err), "has no filters") {
		t.Errorf("streams to a node without filters: %v", err)
	}
	if err := conn.filters("read", ""); err != nil {
		t.Errorf("without a filter: %v", err)
	}
}

// TestEmptyFramesPassAcks: what a filter leaves out is done when everything before it is.
func TestEmptyFramesPassAcks(t *testing.T) {
	empty := func(lo, hi int64) []byte {
		b := make([]byte, core.FrameHeaderSize)
		h := core.FrameHeader{Length: core.FrameHeaderSize, BaseOffset: lo, Records: uint16(hi - lo),
			PayloadCRC: core.Checksum(nil), Attrs: uint8(core.FrameEmpty), Version: core.FrameVersion}
		h.Encode(b, 0)
		return b
	}
	c := &remoteCursor{sub: &remoteSubscription{topic: &clientTopic{name: "t"}}}
	c.startLocked(100)
	run := append(empty(100, 103), compactedFrame(t, 103, 1, func(int) bool { return false })...)
	run = append(append(run, empty(104, 120)...), empty(120, 65_000)...)
	c.begin(&chunk{buf: run})
	if found, err := c.fetch(); !found || err != nil || c.next != 103 || c.acked.Load() != 103 {
		t.Fatalf("fetch = %v, %v at %d, done up to %d; want a record at 103", found, err, c.next, c.acked.Load())
	}
	var m Message
	if err := c.take(&m, &core.HeaderDecoder{}); err != nil || m.Offset != 103 {
		t.Fatalf("take = %+v, %v", m, err)
	}
	if found, err := c.fetch(); found || err != nil || c.next != 65_000 || c.acked.Load() != 103 {
		t.Errorf("behind it: %v, %v at %d, done up to %d; want 65000, 103", found, err, c.next, c.acked.Load())
	}
	c.acked.Store(104)
	c.skipped.Settle(&c.acked)
	if c.acked.Load() != 65_000 {
		t.Errorf("after an ack it is done up to %d, want 65000", c.acked.Load())
	}
}

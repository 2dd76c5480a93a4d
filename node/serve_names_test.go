package node

import (
	"errors"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

func namedBody(name string, instance uint64) wire.ProducerOpenBody {
	return wire.ProducerOpenBody{Topic: "t", Name: name, ProducerID: core.NamedProducerID(name),
		Instance: instance}
}

// TestRemoteNames: a newer instance of a name fences the older, which cannot come back.
func TestRemoteNames(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	first := d.connect().produceRaw(namedBody("payer", 11))
	first.produceFrame(0, first.logFrame(first.ok.Epoch, 0, "a"))
	first.wantAck("first", wire.AckEntry{Records: 1, Epoch: first.ok.Epoch})
	resume := d.stall()
	first.produceFrame(0, first.logFrame(first.ok.Epoch, 1, "b"))
	eventually(t, "it is in flight", func() bool { return d.server.inFlight(first.id) == 1 })
	opened := make(chan *rawProducer, 1)
	c := d.connect()
	go func() { opened <- c.produceRaw(namedBody("payer", 22)) }()
	resume()
	second := receive(t, "the second instance", opened)
	first.wantEnd("replaced", core.CodeProducerFenced)
	if !epochAfter(second.ok.Epoch, first.ok.Epoch) {
		t.Errorf("epoch %d after %d", second.ok.Epoch, first.ok.Epoch)
	}
	second.produceFrame(0, second.logFrame(second.ok.Epoch, 0, "c"))
	second.wantAck("second", wire.AckEntry{Records: 1, Epoch: second.ok.Epoch, Offset: 2})
	d.wantLogged(0, "a", "b", "c")

	back := namedBody("payer", 11)
	back.Resume = true
	s := d.connect().open()
	s.json(wire.Header{Type: wire.ProducerOpen}, back)
	s.wantEnd("the first comes back", core.CodeProducerFenced)

	// The same instance on another connection takes over, with the same epoch.
	again := namedBody("payer", 22)
	again.Resume = true
	again.Partitions = []wire.ProducerPartition{{Epoch: second.ok.Epoch, NextSeq: 1}}
	third := d.connect().produceRaw(again)
	second.wantEnd("taken over by itself", core.CodeUnavailable)
	if third.ok.Epoch != second.ok.Epoch || third.ok.Partitions[0].NextSeq != 1 {
		t.Errorf("PRODUCER_OK %+v, want epoch %d and sequence 1", third.ok, second.ok.Epoch)
	}
	third.produceFrame(0, third.logFrame(third.ok.Epoch, 1, "d"))
	third.wantAck("third", wire.AckEntry{Records: 1, Epoch: third.ok.Epoch, BaseSeq: 1, Offset: 3})
}

// TestNamesOfBothKinds: a producer in this process and one behind a connection fence each other.
func TestNamesOfBothKinds(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	local := d.producer("t", leat.WithID("payer"))
	publish(t, local, text("a"))
	c := d.connect()
	remote := c.produceRaw(namedBody("payer", 5))
	if _, err := local.Publish(soon(t), text("late")); !errors.Is(err, core.ErrProducerFenced) {
		t.Errorf("the producer in this process: %v, want %v", err, core.ErrProducerFenced)
	}
	remote.produceFrame(0, remote.logFrame(remote.ok.Epoch, 0, "b"))
	remote.wantAck("remote", wire.AckEntry{Records: 1, Epoch: remote.ok.Epoch, Offset: 1})
	newer := d.producer("t", leat.WithID("payer"))
	remote.wantEnd("replaced", core.CodeProducerFenced)
	publish(t, newer, text("c"))
	d.wantLogged(0, "a", "b", "c")
}

func TestNamesMisused(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	c := d.connect()
	anonymous, none, another := namedBody("payer", 0), namedBody("payer", 1), namedBody("payer", 1)
	none.Ack, none.ProducerID = uint8(core.AckNone), 0
	another.ProducerID++
	bad := namedBody("a/b", 1)
	for _, tt := range []struct {
		name string
		body wire.ProducerOpenBody
		code core.Code
	}{
		{"no instance", anonymous, core.CodeProtocol}, {"level none", none, core.CodeProtocol},
		{"another id", another, core.CodeProtocol}, {"a bad name", bad, core.CodeInvalidName},
	} {
		s := c.open()
		s.json(wire.Header{Type: wire.ProducerOpen}, tt.body)
		s.wantEnd(tt.name, tt.code)
	}
	p := c.produceRaw(namedBody("payer", 2)) // what failed has not kept the name
	p.produceFrame(0, p.logFrame(p.ok.Epoch, 0, "x"))
	p.wantAck("afterwards", wire.AckEntry{Records: 1, Epoch: p.ok.Epoch})
}

// TestLostTailOfAName: sequences that a power cut took are named, in a new epoch that is stored.
func TestLostTailOfAName(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	p := d.connect().produceRaw(namedBody("payer", 3))
	p.produceFrame(0, p.logFrame(p.ok.Epoch, 0, "a"))
	p.ack()
	body := namedBody("payer", 3)
	body.Resume = true
	body.Partitions = []wire.ProducerPartition{{Epoch: p.ok.Epoch, NextSeq: 4}}
	again := d.connect().produceRaw(body)
	got := again.ok.Partitions[0]
	if !epochAfter(got.Epoch, p.ok.Epoch) || got.NextSeq != 0 || got.LostFrom != 1 || got.LostTo != 4 ||
		again.ok.Epoch != got.Epoch {
		t.Errorf("PRODUCER_OK %+v", again.ok)
	}
	again.produceFrame(0, again.logFrame(got.Epoch, 0, "b"))
	again.wantAck("the new epoch", wire.AckEntry{Records: 1, Epoch: got.Epoch, Offset: 1})
}

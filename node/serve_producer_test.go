package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// rawProducer is a producer stream that a test writes frames to.
type rawProducer struct {
	*rawStream
	id     int64
	ok     wire.ProducerOKBody
	credit uint64
	sent   uint64
	acks   []wire.AckEntry // taken, not yet asked for
}

// produceRaw opens a producer stream.
func (c *rawClient) produceRaw(body wire.ProducerOpenBody) *rawProducer {
	c.t.Helper()
	p := &rawProducer{rawStream: c.open(), id: body.ProducerID}
	p.json(wire.Header{Type: wire.ProducerOpen}, body)
	p.credit = p.wantJSON(wire.ProducerOK, &p.ok).Arg
	return p
}

func openBody(id int64) wire.ProducerOpenBody {
	return wire.ProducerOpenBody{Topic: "t", ProducerID: id, Instance: 1}
}

// logFrame makes the payload of a PRODUCE frame.
func (p *rawProducer) logFrame(epoch int16, seq int32, values ...string) []byte {
	p.t.Helper()
	var records []byte
	for _, v := range values {
		records = append(records, recordOf(p.t, "k", v)...)
	}
	h := core.FrameHeader{
		Length: uint32(core.FrameHeaderSize + len(records)), ProducerID: p.id, ProducerEpoch: epoch, BaseSeq: seq,
		Records: uint16(len(values)), PayloadCRC: core.Checksum(records), Version: core.FrameVersion,
	}
	frame := make([]byte, core.Align8(int(h.Length)))
	h.Encode(frame, 0)
	copy(frame[core.FrameHeaderSize:], records)
	return frame
}

// produce sends records of epoch 0.
func (p *rawProducer) produce(partition uint16, seq int32, values ...string) {
	p.t.Helper()
	p.produceFrame(partition, p.logFrame(0, seq, values...))
}

func (p *rawProducer) produceFrame(partition uint16, frame []byte) {
	p.t.Helper()
	p.sent += uint64(wire.HeaderSize + len(frame))
	p.frame(wire.Header{Type: wire.Produce, Aux: partition}, frame...)
}

// ack gives the next answer.
func (p *rawProducer) ack() wire.AckEntry {
	p.t.Helper()
	for len(p.acks) == 0 {
		p.news()
	}
	e := p.acks[0]
	p.acks = p.acks[1:]
	return e
}

// news takes one frame: answers or credit.
func (p *rawProducer) news() {
	p.t.Helper()
	g := p.next()
	switch {
	case g.err != nil:
		p.t.Fatalf("producer stream: %v", g.err)
	case g.Type == wire.Credit:
		if g.Arg < p.credit {
			p.t.Errorf("credit fell from %d to %d", p.credit, g.Arg)
		}
		p.credit = g.Arg
	case g.Type == wire.Acks:
		list, err := wire.DecodeAcks(g.payload)
		if err != nil {
			p.t.Fatal(err)
		}
		for i := range list.Len() {
			p.acks = append(p.acks, list.At(i))
		}
	default:
		p.t.Fatalf("got %v on a producer stream", g.Type)
	}
}

// wantAck checks the next answer but for its time.
func (p *rawProducer) wantAck(what string, want wire.AckEntry) {
	p.t.Helper()
	got := p.ack()
	if want.Code == 0 && got.Time == 0 {
		p.t.Errorf("%s: no time", what)
	}
	got.Time = 0
	if got != want {
		p.t.Errorf("%s: answered with %+v, want %+v", what, got, want)
	}
}

// logged gives the values of a partition of "t".
func (d *door) logged(partition int) []string {
	d.t.Helper()
	var list []string
	if err := d.partition(partition).replay(func(r core.Record) error {
		list = append(list, string(r.Value))
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	return list
}

func (d *door) wantLogged(partition int, want ...string) {
	d.t.Helper()
	if got := d.logged(partition); !slices.Equal(got, want) {
		d.t.Errorf("partition %d has %q, want %q", partition, got, want)
	}
}

func TestRemoteProducer(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			d := newDoor(t, leat.TopicConfig{Partitions: 2, Ack: level})
			p := d.connect().produceRaw(openBody(7))
			if p.ok.MaxRecordBytes != core.DefaultRecordBytes || p.ok.TopicID == 0 || p.credit < 512<<10 {
				t.Errorf("PRODUCER_OK %+v, credit %d", p.ok, p.credit)
			}
			p.produce(1, 0, "a", "b")
			p.wantAck("first", wire.AckEntry{Partition: 1, Records: 2})
			p.produce(1, 2, "c")
			p.wantAck("second", wire.AckEntry{Partition: 1, Records: 1, BaseSeq: 2, Offset: 2})
			p.produce(0, 0, "d")
			p.wantAck("other partition", wire.AckEntry{Records: 1})
			p.produce(1, 0, "a", "b")
			p.wantAck("first again", wire.AckEntry{Partition: 1, Records: 2, Flags: wire.AckDuplicate})
			p.produce(1, 5, "gap")
			p.wantAck("a gap", wire.AckEntry{Partition: 1, Records: 1, BaseSeq: 5, Offset: -1,
				Code: core.CodeOutOfSequence})
			p.produce(1, 3, "e")
			p.wantAck("goes on", wire.AckEntry{Partition: 1, Records: 1, BaseSeq: 3, Offset: 3})
			d.wantLogged(0, "d")
			d.wantLogged(1, "a", "b", "c", "e")
			counted := d.server.stats.topic("t")
			eventually(t, "5 messages, 2 duplicates and 1 error are counted", func() bool { // behind the answers
				n, dup := counted.produced.Load(), counted.duplicates.Load()
				bad := counted.export("t").Refused[core.CodeOutOfSequence]
				return n == 5 && dup == 2 && bad == 1
			})
		})
	}
}

// TestRefusedFrames: what is wrong with a frame is answered, in order, and the stream goes on.
func TestRefusedFrames(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: 1000})
	p := d.connect().produceRaw(openBody(7))
	damaged := p.logFrame(0, 0, "x")
	damaged[core.FrameHeaderSize+30] ^= 1
	p.produceFrame(0, damaged)
	p.wantAck("damaged", wire.AckEntry{Records: 1, Offset: -1, Code: core.CodeCorrupt})
	p.produce(0, 0, string(make([]byte, 2000)))
	p.wantAck("too large", wire.AckEntry{Records: 1, Offset: -1, Code: core.CodeRecordTooLarge})
	p.produce(9, 0, "x")
	p.wantAck("no partition", wire.AckEntry{Partition: 9, Records: 1, Offset: -1,
		Code: core.CodePartitionUnknown})
	p.produce(0, 0, "y")
	p.wantAck("goes on", wire.AckEntry{Records: 1})

	// While earlier frames are in flight, a refused one waits for its turn.
	resume := d.stall()
	p.produce(0, 1, "z")
	p.produceFrame(0, damaged)
	p.produceFrame(0, damaged)
	p.produce(0, 2, "last")
	eventually(t, "all are taken", func() bool { return d.server.inFlight(7) == 4 })
	resume()
	p.wantAck("before", wire.AckEntry{Records: 1, BaseSeq: 1, Offset: 1})
	p.wantAck("damaged", wire.AckEntry{Records: 1, Offset: -1, Code: core.CodeCorrupt})
	p.wantAck("damaged", wire.AckEntry{Records: 1, Offset: -1, Code: core.CodeCorrupt})
	p.wantAck("behind", wire.AckEntry{Records: 1, BaseSeq: 2, Offset: 2})
}

// inFlight is how many frames of a producer wait for their answer.
func (s *Server) inFlight(id int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, p := range s.producers {
		if key.id == id {
			p.book.mu.Lock()
			defer p.book.mu.Unlock()
			return p.book.inFlight
		}
	}
	return -1
}

func TestProducerMisused(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	c := d.connect()
	opens := []struct {
		name string
		body wire.ProducerOpenBody
		code core.Code
	}{
		{"no such topic", wire.ProducerOpenBody{Topic: "nope", ProducerID: 1}, core.CodeTopicNotFound},
		{"an internal topic", wire.ProducerOpenBody{Topic: "__meta", ProducerID: 1}, core.CodeInvalidName},
		{"no id", wire.ProducerOpenBody{Topic: "t"}, core.CodeProtocol},
		{"an id below 0", wire.ProducerOpenBody{Topic: "t", ProducerID: -1}, core.CodeProtocol},
		{"an id at level none", wire.ProducerOpenBody{Topic: "t", ProducerID: 1, Ack: uint8(core.AckNone)},
			core.CodeProtocol},
		{"a level that is none", wire.ProducerOpenBody{Topic: "t", ProducerID: 1, Ack: 99},
			core.CodeLevelUnavailable},
		{"a partition that is none", wire.ProducerOpenBody{Topic: "t", ProducerID: 1,
			Partitions: []wire.ProducerPartition{{Partition: 1}}}, core.CodeProtocol},
		{"a sequence below 0", wire.ProducerOpenBody{Topic: "t", ProducerID: 1,
			Partitions: []wire.ProducerPartition{{NextSeq: -1}}}, core.CodeProtocol},
		{"more partitions than there are", wire.ProducerOpenBody{Topic: "t", ProducerID: 1,
			Partitions: make([]wire.ProducerPartition, 2)}, core.CodeProtocol},
		{"a partition twice", wire.ProducerOpenBody{Topic: "wide", ProducerID: 1,
			Partitions: make([]wire.ProducerPartition, 2)}, core.CodeProtocol},
	}
	if err := d.CreateTopic(soon(t), "wide", leat.TopicConfig{Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range opens {
		s := c.open()
		s.json(wire.Header{Type: wire.ProducerOpen}, tt.body)
		s.wantEnd(tt.name, tt.code)
	}
	frames := map[string]func(p *rawProducer){
		"another frame":    func(p *rawProducer) { p.frame(wire.Header{Type: wire.Add}) },
		"open again":       func(p *rawProducer) { p.json(wire.Header{Type: wire.ProducerOpen}, openBody(1)) },
		"no header":        func(p *rawProducer) { p.produceFrame(0, make([]byte, 63)) },
		"length of 0":      func(p *rawProducer) { p.produceFrame(0, make([]byte, 64)) },
		"another producer": func(p *rawProducer) { p.id++; p.produce(0, 0, "x") },
		"cut": func(p *rawProducer) {
			p.send(append((&wire.Header{Type: wire.Produce, Length: 100}).Append(nil), 1, 2, 3))
			_ = p.Close()
		},
		"too long": func(p *rawProducer) {
			p.send((&wire.Header{Type: wire.Produce, Length: wire.MaxPayload + 1}).Append(nil))
		},
		"shorter than it says": func(p *rawProducer) {
			frame := p.logFrame(0, 0, "x")
			p.produceFrame(0, frame[:len(frame)-8])
		},
		"longer than it says": func(p *rawProducer) {
			p.produceFrame(0, append(p.logFrame(0, 0, "x"), make([]byte, 8)...))
		},
	}
	for name, misuse := range frames {
		p := c.produceRaw(openBody(3))
		misuse(p)
		p.wantEnd(name, core.CodeProtocol)
	}
	d.wantLogged(0)
}

// TestCreditOfProducers: a client that honours its credit is never stopped, one that does not is reset.
func TestCreditOfProducers(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	p := d.connect().produceRaw(openBody(7))
	value := string(make([]byte, 10_000))
	const frames = 1000
	for seq := int32(0); seq < frames; seq++ {
		for p.sent >= p.credit {
			p.news()
		}
		p.produce(0, seq, value)
	}
	for seq := int32(0); seq < frames; seq++ {
		if e := p.ack(); e.BaseSeq != seq || e.Offset != int64(seq) || e.Code != 0 {
			t.Fatalf("answer %d: %+v", seq, e)
		}
	}
	resume := d.stall()
	defer resume()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for seq := int32(frames); ; seq++ {
			frame := p.logFrame(0, seq, value)
			h := wire.Header{Type: wire.Produce, Length: uint32(len(frame))}
			if _, err := p.Write(append(h.Append(nil), frame...)); err != nil {
				return
			}
		}
	}()
	p.wantEnd("over its credit", core.CodeProtocol)
	receive(t, "the end of sending", sent)
}

// TestNoRoomForOneStream: while the journal stands still, frames wait in the memory of their stream, and
// the others of the connection go on.
func TestNoRoomForOneStream(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: 4 << 20})
	c := d.connect()
	p := c.produceRaw(openBody(7))
	resume := d.stall()
	var want []string
	for p.sent < p.credit {
		value := fmt.Sprintf("%04d%s", len(want), make([]byte, 3000))
		p.produce(0, int32(len(want)), value)
		want = append(want, value)
	}
	large := fmt.Sprintf("%02000000d", 1)
	q := c.produceRaw(openBody(8))
	q.produce(0, 0, large)
	eventually(t, "all were read", func() bool {
		return d.server.inFlight(7) == len(want) && d.server.inFlight(8) == 1
	})
	c.control.frame(wire.Header{Type: wire.Ping})
	c.control.want(wire.Pong)
	resume()
	for i := range want {
		if e := p.ack(); e.BaseSeq != int32(i) || e.Code != 0 {
			t.Fatalf("answer %d: %+v", i, e)
		}
	}
	e := q.ack() // before the log is read
	e.Time = 0
	if at := int64(slices.Index(d.logged(0), large)); e != (wire.AckEntry{Records: 1, Offset: at}) {
		t.Errorf("large: answered with %+v, and is at %d", e, at)
	}
	if got := len(d.logged(0)); got != len(want)+1 {
		t.Errorf("%d records, want %d", got, len(want)+1)
	}
}

func TestLevelNone(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	p := d.connect().produceRaw(wire.ProducerOpenBody{Topic: "t", Ack: uint8(core.AckNone)})
	const frames = 500
	value := string(make([]byte, 10_000))
	for range frames {
		for p.sent >= p.credit {
			p.news()
		}
		p.produce(0, 0, value)
	}
	bad := p.logFrame(0, 0, "bad")
	bad[len(bad)-1] ^= 1
	p.produceFrame(0, bad)
	_ = p.Close()
	p.wantEnd("closed", 0)
	if len(p.acks) > 0 {
		t.Errorf("answers at level none: %+v", p.acks)
	}
	eventually(t, "all are stored", func() bool { return d.partition(0).log.End() == frames })
}

// TestTakeOver: a second stream of a producer ends the first and goes on behind it.
func TestTakeOver(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckDisk})
	first := d.connect().produceRaw(openBody(7))
	first.produce(0, 0, "a")
	first.ack()
	resume := d.stall()
	first.produce(0, 1, "b", "c")
	eventually(t, "it is in flight", func() bool { return d.server.inFlight(7) == 1 })
	c := d.connect()
	opened := make(chan *rawProducer, 1)
	go func() {
		body := openBody(7)
		body.Partitions = []wire.ProducerPartition{{Partition: 0, NextSeq: 1}, {Partition: 1, NextSeq: 5, Epoch: 3}}
		opened <- c.produceRaw(body)
	}()
	first.wantEnd("taken over", core.CodeUnavailable)
	resume()
	second := receive(t, "the second stream", opened)
	want := []wire.ProducerPartition{{Partition: 0, NextSeq: 3}, {Partition: 1, NextSeq: 5, Epoch: 3}}
	if !slices.Equal(second.ok.Partitions, want) {
		t.Errorf("goes on at %+v, want %+v", second.ok.Partitions, want)
	}
	second.produce(0, 1, "b", "c")
	second.wantAck("again", wire.AckEntry{Records: 2, BaseSeq: 1, Offset: 1, Flags: wire.AckDuplicate})
	second.produce(0, 3, "d")
	second.wantAck("goes on", wire.AckEntry{Records: 1, BaseSeq: 3, Offset: 3})
	d.wantLogged(0, "a", "b", "c", "d")
}

// TestLostTail: acknowledged sequences that are gone are named, and a new epoch begins at 0.
func TestLostTail(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	p := d.connect().produceRaw(openBody(7))
	p.produce(0, 0, "a", "b")
	p.ack()
	tests := []struct{ asked, want wire.ProducerPartition }{
		{wire.ProducerPartition{NextSeq: 1}, wire.ProducerPartition{NextSeq: 2}},
		{wire.ProducerPartition{NextSeq: 2}, wire.ProducerPartition{NextSeq: 2}},
		{wire.ProducerPartition{NextSeq: 5}, wire.ProducerPartition{Epoch: 1, LostFrom: 2, LostTo: 5}},
		{wire.ProducerPartition{Epoch: 1}, wire.ProducerPartition{Epoch: 1}},
		{wire.ProducerPartition{Epoch: 4, NextSeq: 3}, wire.ProducerPartition{Epoch: 5, LostTo: 3}},
	}
	for _, tt := range tests {
		body := openBody(7)
		body.Partitions = []wire.ProducerPartition{tt.asked}
		p = d.connect().produceRaw(body)
		if got := p.ok.Partitions[0]; got != tt.want {
			t.Errorf("asked %+v, answered %+v, want %+v", tt.asked, got, tt.want)
		}
	}
	p.produceFrame(0, p.logFrame(5, 0, "c"))
	p.wantAck("new epoch", wire.AckEntry{Records: 1, Epoch: 5, Offset: 2})
	s := d.connect().open()
	body := openBody(7)
	body.Partitions = []wire.ProducerPartition{{Epoch: 1, NextSeq: 7}}
	s.json(wire.Header{Type: wire.ProducerOpen}, body)
	s.wantEnd("an older epoch", core.CodeProducerFenced)
}

// TestCutsLoseNothing: a producer that is cut at random and sends again what was not answered stores
// everything once, in order.
func TestCutsLoseNothing(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	const frames = 400
	var c *rawClient
	var p *rawProducer
	next := int32(0) // not answered
	connect := func() {
		c = d.connect()
		body := openBody(7)
		body.Partitions = []wire.ProducerPartition{{NextSeq: next}}
		p = c.produceRaw(body)
	}
	connect()
	for cuts := 0; next < frames; cuts++ {
		for seq := next; seq < min(next+5, frames); seq++ {
			p.produce(0, seq, fmt.Sprint(seq))
		}
		for range min(cuts%6, int(frames-next)) {
			e := p.ack()
			if e.Code != 0 || e.BaseSeq != next || e.Offset != int64(next) {
				t.Fatalf("answered with %+v, want sequence %d", e, next)
			}
			next++
		}
		c.conn.Close(0, "cut")
		connect()
	}
	want := make([]string, frames)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	d.wantLogged(0, want...)
}

// TestCutLeavesNothing: a stream that is cut with frames in flight is gone when they are answered.
func TestCutLeavesNothing(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	before := len(*d.node.producers.Load())
	for round := range 20 {
		c := d.connect()
		p := c.produceRaw(openBody(int64(round + 1)))
		resume := d.stall()
		p.produce(0, 0, "x")
		eventually(t, "it is in flight", func() bool { return d.server.inFlight(int64(round+1)) == 1 })
		c.conn.Close(0, "cut")
		resume()
		eventually(t, "it is gone", func() bool { return d.server.inFlight(int64(round+1)) == -1 })
	}
	if got := len(*d.node.producers.Load()); got > before+1 {
		t.Errorf("%d places of producers, %d before", got, before)
	}
	if got := len(d.logged(0)); got != 20 {
		t.Errorf("%d records, want 20", got)
	}
}

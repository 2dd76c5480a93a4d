package node

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

const plenty = 1 << 40 // of credit

// subscribeRaw opens a subscription stream.
func (c *rawClient) subscribeRaw(credit uint64, body wire.SubscribeBody) (*rawStream, wire.SubscribedBody) {
	c.t.Helper()
	s := c.open()
	s.json(wire.Header{Type: wire.Subscribe, Arg: credit}, body)
	var answer wire.SubscribedBody
	s.wantJSON(wire.Subscribed, &answer)
	return s, answer
}

func from(partition int32, at core.Position) wire.SubscribePartition {
	return wire.SubscribePartition{Partition: partition, Kind: uint8(at.Kind), Value: at.Value}
}

// remoteReader checks what a subscription stream sends.
type remoteReader struct {
	s      *rawStream
	next   map[int32]int64
	values map[int32][]string
	bytes  uint64 // of BATCH frames
	count  int
}

func newRemoteReader(s *rawStream, answer wire.SubscribedBody) *remoteReader {
	r := &remoteReader{s: s, next: map[int32]int64{}, values: map[int32][]string{}}
	for _, p := range answer.Partitions {
		if p.Code == 0 {
			r.next[p.Partition] = p.Offset
		}
	}
	return r
}

// read takes BATCH frames until count messages came.
func (r *remoteReader) read(count int) {
	r.s.t.Helper()
	for r.count < count {
		r.batch(r.s.want(wire.Batch))
	}
}

func (r *remoteReader) batch(g got) {
	r.s.t.Helper()
	t, number := r.s.t, int32(g.Aux)
	r.bytes += uint64(g.Size())
	if int64(g.Arg) != r.next[number] {
		t.Fatalf("partition %d: BATCH from %d, want %d", number, g.Arg, r.next[number])
	}
	for run := g.payload; len(run) > 0; {
		h := core.ParseFrameHeader(run)
		if h.Type() != core.FrameData || h.Size() > int64(len(run)) {
			t.Fatalf("partition %d: frame %+v in a run of %d bytes", number, h, len(run))
		}
		if err := h.CheckPayload(run[core.FrameHeaderSize:h.Length]); err != nil {
			t.Fatal(err)
		}
		offset := h.BaseOffset
		for rest := run[core.FrameHeaderSize:h.Length]; len(rest) > 0; offset++ {
			record, n, err := core.DecodeRecord(rest)
			if err != nil {
				t.Fatal(err)
			}
			if rest = rest[n:]; offset < r.next[number] {
				continue
			}
			if offset != r.next[number] {
				t.Fatalf("partition %d: offset %d, want %d", number, offset, r.next[number])
			}
			r.next[number]++
			r.count++
			r.values[number] = append(r.values[number], string(record.Value))
		}
		run = run[h.Size():]
	}
}

func TestRemoteSubscription(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes})
	p := d.producer("t", leat.WithPartitioner(leat.Manual))
	const each = 400
	value := func(part, i int) string { return fmt.Sprintf("%d/%d/%s", part, i, bytes.Repeat([]byte("."), i*3)) }
	write := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for part := range 3 {
				p.PublishAsync(leat.Message{Partition: int32(part), Value: []byte(value(part, i))}, nil)
			}
		}
		if err := p.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	write(0, each)
	c := d.connect()
	s, answer := c.subscribeRaw(plenty, wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
		from(0, core.Earliest), from(1, core.AtOffset(7)), from(2, core.Latest)}})
	if answer.TopicID == 0 || len(answer.Partitions) != 3 || answer.Partitions[0].Offset != 0 ||
		answer.Partitions[1].Offset != 7 || answer.Partitions[2].Offset != each {
		t.Fatalf("SUBSCRIBED %+v", answer)
	}
	r := newRemoteReader(s, answer)
	r.read(each + each - 7)
	write(each, 2*each)
	r.read(each + each - 7 + 3*each)
	for part, first := range []int{0, 7, each} {
		if got := len(r.values[int32(part)]); got != 2*each-first {
			t.Errorf("partition %d: %d messages, want %d", part, got, 2*each-first)
		}
		for i, got := range r.values[int32(part)] {
			if want := value(part, first+i); got != want {
				t.Fatalf("partition %d, message %d: %.20q, want %.20q", part, first+i, got, want)
			}
		}
	}
	if n := d.server.stats.topic("t").group("").delivered.Load(); n != int64(r.count) {
		t.Errorf("%d messages counted, %d delivered", n, r.count)
	}
	_ = s.Close()
	s.wantEnd("unsubscribed", core.CodeUnavailable) // reset without a code
	eventually(t, "no reader is left", func() bool { return len(d.partition(0).readers.load()) == 0 })
}

// TestCreditIsRespected: a frame begins only while less than the credit was sent.
func TestCreditIsRespected(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 1, Ack: leat.AckPage})
	p := d.producer("t")
	for range 50 {
		publish(t, p, leat.Message{Value: make([]byte, 2000)}) // a frame each
	}
	c := d.connect()
	s, answer := c.subscribeRaw(0, wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
		from(0, core.Earliest)}})
	r := newRemoteReader(s, answer)
	stalls := &d.server.stats.topic("t").stalls
	stalled := func(times int64) {
		t.Helper()
		eventually(t, "it waits for credit", func() bool { return stalls.Load() >= times })
	}
	stalled(1)
	for credit := uint64(1); r.count < 50; credit = r.bytes + 1 {
		s.frame(wire.Header{Type: wire.Credit, Arg: credit})
		before := r.bytes
		r.batch(s.want(wire.Batch))
		seen := stalls.Load()
		if before >= credit {
			t.Fatalf("a frame began at %d with a credit of %d", before, credit)
		}
		s.frame(wire.Header{Type: wire.Credit, Arg: 1})  // late, and lower: says nothing
		s.frame(wire.Header{Type: wire.Remove, Aux: 77}) // wakes it
		stalled(seen + 1)
	}
	if r.next[0] != 50 {
		t.Errorf("read up to %d, want 50", r.next[0])
	}
}

func TestAddAndRemove(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	p := d.producer("t", leat.WithPartitioner(leat.Manual))
	for i := range 10 {
		for part := range int32(3) {
			publish(t, p, leat.Message{Partition: part, Value: fmt.Append(nil, i)})
		}
	}
	c := d.connect()
	s, answer := c.subscribeRaw(plenty, wire.SubscribeBody{Topic: "t"})
	r := newRemoteReader(s, answer)
	s.frame(wire.Header{Type: wire.Add, Aux: 1, Arg: 4})
	r.next[1] = 4
	r.read(6)
	s.frame(wire.Header{Type: wire.Add, Aux: 2, Arg: 11})
	var failed wire.ErrorBody
	g := s.wantJSON(wire.PartitionFailed, &failed)
	if g.Aux != 2 || core.Code(g.Arg) != core.CodeOffsetOutOfRange || failed.Cause == "" {
		t.Errorf("PARTITION_FAILED %d, %d, %+v", g.Aux, g.Arg, failed)
	}
	s.frame(wire.Header{Type: wire.Add, Aux: 3})
	if g := s.want(wire.PartitionFailed); g.Aux != 3 || core.Code(g.Arg) != core.CodePartitionUnknown {
		t.Errorf("PARTITION_FAILED %d, %d", g.Aux, g.Arg)
	}
	s.frame(wire.Header{Type: wire.Add, Aux: 1, Arg: 9}) // again, elsewhere
	r.next[1] = 9
	r.read(7)
	s.frame(wire.Header{Type: wire.Remove, Aux: 1})
	s.frame(wire.Header{Type: wire.Remove, Aux: 0}) // was not there
	eventually(t, "nobody reads it", func() bool { return len(d.partition(1).readers.load()) == 0 })
	publish(t, p, leat.Message{Partition: 1, Value: []byte("unseen")})
	s.frame(wire.Header{Type: wire.Add, Aux: 0, Arg: 10})
	r.next[0] = 10
	eventually(t, "it reads the other", func() bool { return len(d.partition(0).readers.load()) == 1 })
	publish(t, p, leat.Message{Partition: 0, Value: []byte("seen")})
	r.read(8)
	if got := r.values[0]; len(got) != 1 || got[0] != "seen" {
		t.Errorf("partition 0: %q", got)
	}
}

func TestSubscriptionMisused(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2})
	c := d.connect()
	var strays []wire.SubscribePartition
	for i := range int32(1000) {
		strays = append(strays, from(2+i, core.Earliest))
	}
	refused := []struct {
		name string
		body wire.SubscribeBody
		code core.Code
	}{
		{"no such topic", wire.SubscribeBody{Topic: "nope"}, core.CodeTopicNotFound},
		{"an internal topic", wire.SubscribeBody{Topic: "__meta"}, core.CodeInvalidName},
		{"a level that is none", wire.SubscribeBody{Topic: "t", ReadAt: uint8(core.AckRing)},
			core.CodeLevelUnavailable},
		{"a level that never was", wire.SubscribeBody{Topic: "t", ReadAt: 77}, core.CodeLevelUnavailable},
		{"a partition twice", wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
			from(1, core.Earliest), from(1, core.Earliest)}}, core.CodeProtocol},
		{"partitions without end", wire.SubscribeBody{Topic: "t", Partitions: strays}, core.CodeProtocol},
	}
	for _, tt := range refused {
		s := c.open()
		s.json(wire.Header{Type: wire.Subscribe}, tt.body)
		s.wantEnd(tt.name, tt.code)
	}
	_, answer := c.subscribeRaw(0, wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
		from(0, core.AtOffset(5)), from(1, core.Earliest), from(2, core.Earliest), from(-1, core.Earliest)}})
	unknown := core.CodePartitionUnknown
	for i, want := range []core.Code{core.CodeOffsetOutOfRange, 0, unknown, unknown} {
		if got := answer.Partitions[i].Code; got != want {
			t.Errorf("SUBSCRIBED for partition %d: %v, want %v", answer.Partitions[i].Partition, got, want)
		}
	}
	for _, h := range []wire.Header{{Type: wire.Subscribe}, {Type: wire.Batch}, {Type: wire.Produce},
		{Type: wire.Hello}, {Type: wire.Add, Arg: 1 << 63}} {
		s, _ := c.subscribeRaw(0, wire.SubscribeBody{Topic: "t"})
		s.frame(h)
		s.wantEnd(h.Type.String(), core.CodeProtocol)
	}
	s, _ := c.subscribeRaw(0, wire.SubscribeBody{Topic: "t"})
	s.send([]byte{1, 2, 3})
	_ = s.Close()
	s.wantEnd("cut in a header", core.CodeProtocol)
}

// TestChangesAreBounded has a sender that takes no changes, because its client reads nothing.
func TestChangesAreBounded(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2})
	s := &subscriptionStream{topic: d.node.topicNamed("t"), sleeper: newSleeper(), changes: map[int32]int64{}}
	for range 1000 {
		if err := s.change(1, 0); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for aux := int32(0); aux < 1<<16 && err == nil; aux++ {
		err = s.change(aux, 0)
	}
	if core.CodeOf(err) != core.CodeProtocol || len(s.changes) > 100 {
		t.Errorf("%d changes of a topic with 2 partitions, err %v", len(s.changes), err)
	}
}

func TestSubscriptionOfADeletedTopic(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2})
	c := d.connect()
	s, _ := c.subscribeRaw(plenty, wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
		from(0, core.Earliest)}})
	without, _ := c.subscribeRaw(0, wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
		from(1, core.Latest)}})
	if err := d.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	s.wantEnd("deleted", core.CodeTopicNotFound)
	without.wantEnd("deleted", core.CodeTopicNotFound)
}

// TestSlowReader: a client that stops reading costs others nothing, and itself no message.
func TestSlowReader(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	c := d.connect()
	body := wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{from(0, core.Earliest)}}
	slow, slowAnswer := c.subscribeRaw(plenty, body)
	fast, fastAnswer := c.subscribeRaw(plenty, body)
	p := d.producer("t")
	reader := newRemoteReader(fast, fastAnswer)
	const messages = 2000
	for i := range messages {
		p.PublishAsync(leat.Message{Value: bytes.Repeat([]byte{byte(i)}, 4000)}, nil)
		if i%100 == 99 {
			reader.read(i + 1)
		}
	}
	late := newRemoteReader(slow, slowAnswer)
	late.read(messages)
}

// TestManyPartitionsShareAWrite: what is small comes together, and every partition gets its turn.
func TestManyPartitionsShareAWrite(t *testing.T) {
	const parts = 100
	d := newDoor(t, leat.TopicConfig{Partitions: parts, Ack: leat.AckPage})
	p := d.producer("t", leat.WithPartitioner(leat.Manual))
	for part := range int32(parts) {
		for range 40 {
			p.PublishAsync(leat.Message{Partition: part, Value: make([]byte, 3000)}, nil)
		}
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	c := d.connect()
	var at []wire.SubscribePartition
	for part := range int32(parts) {
		at = append(at, from(part, core.Earliest))
	}
	s, answer := c.subscribeRaw(plenty, wire.SubscribeBody{Topic: "t", Partitions: at})
	r := newRemoteReader(s, answer)
	seen := map[uint16]bool{}
	for len(seen) < parts {
		g := s.want(wire.Batch)
		if seen[g.Aux] {
			t.Fatalf("partition %d comes again after %d of %d", g.Aux, len(seen), parts)
		}
		seen[g.Aux] = true
		r.batch(g)
	}
	r.read(parts * 40)
}

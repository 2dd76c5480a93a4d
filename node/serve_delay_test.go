package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
	"github.com/leatbus/leat/transport/wire"
)

// delayBody opens a stream of delayed messages.
func delayBody(id int64) wire.ProducerOpenBody {
	return wire.ProducerOpenBody{Topic: "t", ProducerID: id, Instance: 1, Delayed: true}
}

const delayID = 5 << 14 // of a producer of delayed messages

// recordsFrame makes the payload of a PRODUCE frame of a partition from records.
func recordsFrame(id int64, seq int32, records ...[]byte) []byte {
	var all []byte
	for _, r := range records {
		all = append(all, r...)
	}
	h := core.FrameHeader{Length: uint32(core.FrameHeaderSize + len(all)), ProducerID: id, BaseSeq: seq,
		Records: uint16(len(records)), PayloadCRC: core.Checksum(all), Version: core.FrameVersion}
	frame := make([]byte, core.FrameHeaderSize)
	h.Encode(frame, 0)
	return append(frame, all...)
}

// rawRecord encodes a record.
func rawRecord(t testing.TB, key, value []byte, headers ...leat.Header) []byte {
	t.Helper()
	size, err := core.EncodedRecordSize(key, value, headers)
	if err != nil {
		t.Fatal(err)
	}
	record := make([]byte, size)
	core.PutRecord(record, key, value, headers, routing.Hash(key), 0)
	return record
}

// delayedRecord encodes a message for a partition of a topic, due in an hour.
func (d *door) delayedRecord(number uint64, partition int32, change func(*core.Delayed)) []byte {
	m := core.Delayed{Topic: d.partition(0).topic.id, Partition: partition, Level: core.AckPage, Relative: true,
		Due: int64(time.Hour), Replaces: -1, Record: recordOf(d.t, "k", fmt.Sprint(number))}
	if change != nil {
		change(&m)
	}
	return rawRecord(d.t, core.DelayKey{Random: 1, Number: number}.Encode(nil), m.Encode(nil))
}

// handleOfNone is that of a message for "t" that is not there.
func (d *door) handleOfNone() string {
	return core.DelayHandle{Topic: d.partition(0).topic.id}.String()
}

// TestDelaysFromOutside: a node takes delayed messages of remote producers, once each, and nothing else into
// __delay.
func TestDelaysFromOutside(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	p := d.connect().produceRaw(delayBody(delayID))
	p.produceFrame(0, recordsFrame(delayID, 0, d.delayedRecord(1, 0, nil), d.delayedRecord(2, 0, nil)))
	first := p.ack()
	if first.Code != 0 || first.Records != 2 || first.Partition != 0 || first.Offset < 0 {
		t.Fatalf("two messages: %+v", first)
	}
	p.produceFrame(1, recordsFrame(delayID+1, 0, d.delayedRecord(3, 1, nil)))
	if e := p.ack(); e.Code != 0 || e.Partition != 1 || e.BaseSeq != 0 {
		t.Fatalf("the first of another partition: %+v", e)
	}
	bad := map[string][]byte{
		"another topic":     d.delayedRecord(4, 0, func(m *core.Delayed) { m.Topic++ }),
		"another partition": d.delayedRecord(4, 1, nil),
		"another level":     d.delayedRecord(4, 0, func(m *core.Delayed) { m.Level = core.AckDisk }),
		"replaces":          d.delayedRecord(4, 0, func(m *core.Delayed) { m.Replaces = first.Offset }),
		"too large": d.delayedRecord(4, 0, func(m *core.Delayed) {
			m.Record = recordOf(t, "k", string(make([]byte, core.DefaultRecordBytes-40)))
		}),
		"no message": rawRecord(t, []byte("k"), []byte("v")),
		"an end of another": rawRecord(t, core.DelayKey{Random: 1, Number: 1}.Encode(nil), nil,
			core.DelayedEnd{Offset: first.Offset, Outcome: core.DelayCancelled}.Headers()...),
	}
	for what, record := range bad {
		p.produceFrame(0, recordsFrame(delayID, 2, d.delayedRecord(5, 0, nil), record))
		want := core.CodeInvalidRecord
		if what == "too large" {
			want = core.CodeRecordTooLarge
		}
		if e := p.ack(); e.Code != want || e.BaseSeq != 2 {
			t.Errorf("%s: %+v, want code %d", what, e, want)
		}
	}
	if n := d.waiting(); n != 3 {
		t.Errorf("%d messages wait, want 3", n)
	}
	again := d.connect()
	body := delayBody(delayID)
	body.Resume, body.Partitions = true, []wire.ProducerPartition{{Partition: 0}, {Partition: 1}}
	p = again.produceRaw(body)
	if got := fmt.Sprint(p.ok.Partitions); got != "[{0 0 2 0 0} {1 0 1 0 0}]" {
		t.Errorf("goes on at %s", got)
	}
	p.produceFrame(0, recordsFrame(delayID, 0, d.delayedRecord(1, 0, nil), d.delayedRecord(2, 0, nil)))
	if e := p.ack(); e.Flags != wire.AckDuplicate || e.Offset != first.Offset {
		t.Errorf("again: %+v, want a duplicate of %+v", e, first)
	}
	if n := d.waiting(); n != 3 {
		t.Errorf("%d messages wait after a repeat, want 3", n)
	}
}

// TestDelayStreamsAreChecked: what breaks the protocol ends the stream.
func TestDelayStreamsAreChecked(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	c := d.connect()
	for what, body := range map[string]wire.ProducerOpenBody{
		"an id with low bits": delayBody(delayID + 1),
		"a name":              {Topic: "t", ProducerID: delayID, Instance: 1, Delayed: true, Name: "n"},
	} {
		s := c.open()
		s.json(wire.Header{Type: wire.ProducerOpen}, body)
		s.wantEnd(what, core.CodeProtocol)
	}
	p := d.connect().produceRaw(delayBody(delayID))
	p.produceFrame(1, recordsFrame(delayID, 0, d.delayedRecord(1, 1, nil)))
	p.wantEnd("the producer of another partition", core.CodeProtocol)
	if n := d.waiting(); n != 0 {
		t.Errorf("%d messages wait", n)
	}
}

// TestDelayRequestsAreChecked: bad requests about delayed messages are answered with errors.
func TestDelayRequestsAreChecked(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	c := d.connect()
	for what, tt := range map[string]struct {
		op   wire.Op
		body any
		want core.Code
	}{
		"no limit":       {wire.OpDelayed, wire.DelayedBody{To: 1}, core.CodeInvalidConfig},
		"limit of 1001":  {wire.OpDelayed, wire.DelayedBody{To: 1, Limit: 1001}, core.CodeInvalidConfig},
		"from before 0":  {wire.OpDelayed, wire.DelayedBody{From: -1, Limit: 1}, core.CodeInvalidConfig},
		"a page of none": {wire.OpDelayed, wire.DelayedBody{Limit: 1, After: "x"}, core.CodeInvalidConfig},
		"no topic":       {wire.OpDelayed, wire.DelayedBody{Limit: 1, Topic: "u"}, core.CodeTopicNotFound},
		"no handle":      {wire.OpCancelDelayed, wire.HandleBody{}, core.CodeInvalidRecord},
		"no handle to move": {wire.OpReschedule, wire.RescheduleBody{Due: time.Now().UnixNano()},
			core.CodeInvalidRecord},
		"too late": {wire.OpReschedule, wire.RescheduleBody{Handle: "d1.16.0.0.00000000",
			Due: time.Now().Add(2 * core.MaxDelay).UnixNano()}, core.CodeInvalidRecord},
	} {
		if code, body := c.call(tt.op, tt.body, &wire.Empty{}); code != tt.want {
			t.Errorf("%s: answered with %d %+v, want %d", what, code, body, tt.want)
		}
	}
	var answer wire.DelayOutcomeBody
	handle := wire.HandleBody{Handle: core.DelayHandle{Topic: 99}.String()}
	code, _ := c.call(wire.OpCancelDelayed, handle, &answer)
	if code != 0 || answer != (wire.DelayOutcomeBody{}) {
		t.Errorf("of an unknown topic: %d, %+v", code, answer)
	}
	handle.Handle = d.handleOfNone()
	if code, _ := c.call(wire.OpCancelDelayed, handle, &answer); code != 0 ||
		answer != (wire.DelayOutcomeBody{Mine: true}) {
		t.Errorf("of a topic that is there: %d, %+v", code, answer)
	}
}

// TestDelayPagesAreBounded: keys of a page fit an answer, however many messages are asked for.
func TestDelayPagesAreBounded(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	const n, keyBytes = 80, 30_000
	for range n {
		publish(t, p, leat.Message{Key: make([]byte, keyBytes), Delay: time.Hour})
	}
	total := 0
	for filter := (leat.DelayFilter{Limit: n}); ; {
		page, err := b.Delayed(soon(t), filter)
		if err != nil {
			t.Fatal(err)
		}
		if total += len(page.Messages); len(page.Messages)*keyBytes > wire.MaxDelayedBytes+keyBytes {
			t.Errorf("a page of %d messages", len(page.Messages))
		}
		if filter.After = page.Next; filter.After == "" {
			break
		}
	}
	if total != n {
		t.Errorf("%d messages in all pages, want %d", total, n)
	}
}

// TestScopesOfDelays: who reads a topic may list what waits for it, who publishes to it may change that.
func TestScopesOfDelays(t *testing.T) {
	d := doorOf(one(t, leat.TopicConfig{}), ServeConfig{Advertise: "here:1",
		Tokens: knownTokens(t, tokenLine("none", "read:else publish:else")+tokenLine("reader", "read:t")+
			tokenLine("writer", "publish:t")+tokenLine("root", "admin"))})
	waits := d.handleOfNone()
	for _, tt := range []struct {
		name    string
		op      wire.Op
		body    any
		allowed string
	}{
		{"list", wire.OpDelayed, wire.DelayedBody{Topic: "t", Limit: 1}, "reader root"},
		{"list all", wire.OpDelayed, wire.DelayedBody{Limit: 1}, "root"},
		{"cancel", wire.OpCancelDelayed, wire.HandleBody{Handle: waits}, "writer root"},
		{"reschedule", wire.OpReschedule, wire.RescheduleBody{Handle: waits}, "writer root"},
		{"cancel for no topic", wire.OpCancelDelayed, wire.HandleBody{Handle: "d1.99.0.0.00000000"}, "root"},
	} {
		for _, who := range []string{"none", "reader", "writer", "root"} {
			var answer any
			code, _ := d.greetWith(who+"!").call(tt.op, tt.body, &answer)
			if allowed := strings.Contains(tt.allowed, who); (code == core.CodeDenied) == allowed {
				t.Errorf("%s: %s: code %v; allowed must be %v", who, tt.name, code, allowed)
			}
		}
	}
}

package node

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestRemoteDeadLetters: over QUIC letters are listed, read, redriven and dropped as in the process.
func TestRemoteDeadLetters(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	b := newLetters(t, 9)
	big := leat.Message{Partition: 1, Key: []byte{}, Value: bytes.Repeat([]byte{0xff}, 900_000),
		Headers: []leat.Header{{Key: "n", Value: nil}}}
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for range 3 {
		publish(t, p, big)
	}
	publish(t, p, leat.Message{Partition: 1, Key: []byte("gone")})
	b.mustBury(1, burials(9, 10, 11, 12))
	s, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bus, err := leat.Dial(soon(t), s.Addr().String(), leat.WithUnreachableAfter(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	far := &bed{Bus: bus, t: t, node: b.node}
	far.wantCounts("from far", 13, 0, 0)
	here, there := b.letters(1, leat.DeadLetterFilter{}), far.letters(1, leat.DeadLetterFilter{})
	if got, want := fmt.Sprintf("%#v", there), fmt.Sprintf("%#v", here); got != want {
		t.Errorf("from far %d letters are others than the %d here", len(there), len(here))
	}
	for _, filter := range []leat.DeadLetterFilter{{Key: []byte("k1")}, {Key: []byte{}},
		{Code: core.CodeRejected}, {Since: here[3].Died.UnixNano(), Until: here[3].Died.UnixNano() + 1},
		{Headers: []leat.Header{{Key: "n", Value: []byte("6")}}}} {
		if got, want := letterValues(far.letters(1, filter)), letterValues(b.letters(1, filter)); got != want {
			t.Errorf("%+v gives %d bytes, want %d", filter, len(got), len(want))
		}
	}
	k1 := leat.DeadLetterFilter{Key: []byte("k1")}
	if done := far.redrive(leat.RedriveConfig{Filter: k1}); done.Done != 3 {
		t.Errorf("redrive: %+v", done)
	}
	dropped, err := bus.DropDeadLetters(soon(t), "t.dlq.g", leat.DropConfig{Limit: 2})
	if err != nil || dropped.Done != 2 {
		t.Errorf("drop: %+v, %v", dropped, err)
	}
	far.wantCounts("after some", 8, 3, 2)
	far.redrive(leat.RedriveConfig{})
	b.wantCounts("after all", 0, 11, 2)
	list := b.again(13)
	if len(list) != 11 || values(list[:3]) != "v1 v4 v7" || !bytes.Equal(list[8].Value, big.Value) ||
		list[8].Key == nil || list[10].Value != nil {
		t.Errorf("%d came back", len(list))
	}
	_, err = bus.ReadDeadLetters(soon(t), "t.dlq.g", leat.DeadLetterRead{Partition: 7})
	wantError(t, "no such partition", err, leat.ErrPartitionUnknown)
	_, err = bus.ReadDeadLetters(soon(t), "t.dlq.h", leat.DeadLetterRead{})
	wantError(t, "no such topic", err, leat.ErrTopicNotFound)
	_, err = bus.ReadDeadLetters(soon(t), "t", leat.DeadLetterRead{})
	wantError(t, "no letters", err, leat.ErrTopicNotFound)
	_, err = bus.Redrive(soon(t), "t.dlq.h", leat.RedriveConfig{})
	wantError(t, "no letters to redrive", err, leat.ErrTopicNotFound)
	if _, err := b.Backend().SettleDeadLetters(soon(t), "t.dlq.g", leat.DeadLetterSettle{Job: 5}); err != nil {
		t.Fatal(err)
	}
	publish(t, b.producer("t.dlq.g"), text("stranger")) // in any partition, so the job has both
	if _, err := b.Backend().SettleDeadLetters(soon(t), "t.dlq.g",
		leat.DeadLetterSettle{Partition: 1, Job: 5}); err != nil {
		t.Fatal(err)
	}
	_, err = bus.DropDeadLetters(soon(t), "t.dlq.g", leat.DropConfig{})
	wantError(t, "a second job", err, leat.ErrRedriving)
}

// TestRemoteDeadLetterRefusals: what a client must not ask is refused with its reason.
func TestRemoteDeadLetterRefusals(t *testing.T) {
	d := doorOf(newLetters(t, 1), ServeConfig{Advertise: "here:1"})
	c := d.connect()
	tests := []struct {
		op    wire.Op
		body  any
		code  core.Code
		where string
	}{
		{wire.OpReadDeadLetters, wire.DeadLetterReadBody{Topic: "t.dlq.g"}, core.CodeInvalidConfig, "limit 0"},
		{wire.OpReadDeadLetters, wire.DeadLetterReadBody{Topic: "t.dlq.g", Limit: 4097}, core.CodeInvalidConfig,
			"limit 4097"},
		{wire.OpReadDeadLetters, wire.DeadLetterReadBody{Topic: "t", Limit: 1}, core.CodeTopicNotFound,
			"no topic of"},
		{wire.OpReadDeadLetters, wire.DeadLetterReadBody{Topic: "__meta", Limit: 1}, core.CodeInvalidName,
			"__meta"},
		{wire.OpReadDeadLetters, wire.DeadLetterReadBody{Topic: "t.dlq.g", Partition: -1, Limit: 1},
			core.CodePartitionUnknown, "partition -1"},
		{wire.OpSettleDeadLetters, wire.DeadLetterSettleBody{Topic: "t.dlq.g", Partition: 2},
			core.CodePartitionUnknown, "partition 2"},
		{wire.OpSettleDeadLetters, wire.DeadLetterSettleBody{Topic: "t.dlq.g", Runs: make([][2]int64, 4097)},
			core.CodeInvalidConfig, "4097 runs"},
	}
	for _, tt := range tests {
		code, body := c.call(tt.op, tt.body, &wire.Empty{})
		if code != tt.code || !strings.Contains(body.Op+" "+body.Cause, tt.where) {
			t.Errorf("op %d of %+v: %v %+v, want %v with %q", tt.op, tt.body, code, body, tt.code, tt.where)
		}
	}
	for _, runs := range [][][2]int64{{{-9, -3}}, {{5, 2}}, {{7, 1 << 62}}, {{-1 << 63, -1}}} {
		var answer wire.DeadLetterSettled
		if code, body := c.call(wire.OpSettleDeadLetters, wire.DeadLetterSettleBody{Topic: "t.dlq.g", Partition: 1,
			Runs: runs}, &answer); code != 0 || answer.Settled != 0 {
			t.Errorf("runs %v: %v %+v, settled %d", runs, code, body, answer.Settled)
		}
	}
	d.wantCounts("after refusals", 1, 0, 0)
}

// TestClusterDeadLetters: in a cluster letters lie beside their topic, and a client finds them on all nodes.
func TestClusterDeadLetters(t *testing.T) {
	r := newQUICTrio(t)
	bus := r.dial(1)
	if err := bus.CreateTopic(soon(t), "other", leat.TopicConfig{}); err != nil { // so that turns differ
		t.Fatal(err)
	}
	if err := bus.CreateTopic(soon(t), "t", leat.TopicConfig{Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	p := openProducer(t, bus, "t", leat.WithPartitioner(leat.Manual))
	for i := range int32(3) {
		publish(t, p, leat.Message{Partition: i, Value: fmt.Append(nil, i)})
	}
	meta := r.beds[1]
	for number, part := range meta.node.topicNamed("t").partitions {
		if part.here {
			meta.mustBury(number, burials(0)) // makes the topic, on all nodes
		}
	}
	for _, id := range []uint16{2, 3} {
		for number, part := range r.beds[id].node.topicNamed("t").partitions {
			if part.here {
				r.beds[id].mustBury(number, burials(0))
			}
		}
	}
	far := &bed{Bus: r.dial(2), t: t, node: meta.node}
	far.wantCounts("of three nodes", 3, 0, 0)
	list, err := far.DeadLetters(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range list[0].Partitions {
		if part.Pending != 1 || part.Err != nil || part.Node != meta.node.topicNamed("t").placement.Node(int32(i)) {
			t.Errorf("partition %d: %+v", i, part)
		}
		if got := letterValues(far.letters(int32(i), leat.DeadLetterFilter{})); got != fmt.Sprint(i) {
			t.Errorf("partition %d has %q", i, got)
		}
	}
	far.redrive(leat.RedriveConfig{})
	far.wantCounts("redriven", 0, 3, 0)
}

// TestClusterMakesDeadLetters: a node that does not create topics can bury from when a member was there.
func TestClusterMakesDeadLetters(t *testing.T) {
	r := newQUICTrio(t)
	bus := r.dial(3)
	if err := bus.CreateTopic(soon(t), "t", leat.TopicConfig{Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	p := openProducer(t, bus, "t", leat.WithPartitioner(leat.Manual))
	for i := range int32(3) {
		publish(t, p, leat.Message{Partition: i, Value: fmt.Append(nil, i)})
	}
	if sub, err := bus.Subscribe("t", leat.Group("g"), leat.Queue()); err == nil {
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	} else if !errors.Is(err, leat.ErrUnsupported) {
		t.Fatal(err)
	}
	far := &bed{Bus: bus, t: t, node: r.beds[1].node}
	for _, id := range []uint16{2, 3, 1} {
		for number, part := range r.beds[id].node.topicNamed("t").partitions {
			if part.here {
				r.beds[id].mustBury(number, burials(0))
			}
		}
	}
	far.wantCounts("of three nodes", 3, 0, 0)
	far.redrive(leat.RedriveConfig{})
	far.wantCounts("redriven", 0, 3, 0)
}

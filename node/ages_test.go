package node

import (
	"slices"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

func TestRemoteAges(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	p := d.producer("t")
	var stored []time.Time
	for range 3 {
		stored = append(stored, publish(t, p, text("x")).Time)
	}
	c := d.connect()
	ask := wire.AgesBody{Records: []wire.RecordBody{
		{Topic: "t", Offset: -1}, {Topic: "t"}, {Topic: "t", Offset: 2}, {Topic: "t", Offset: 3},
		{Topic: "t", Offset: 1 << 40}, {Topic: "t", Partition: 1}, {Topic: "t", Partition: -1}, {Topic: "nope"},
		{Topic: "__meta"}, {Topic: "a/b"},
	}}
	before := time.Now()
	var answer wire.AgesAnswer
	if code, body := c.call(wire.OpAges, ask, &answer); code != 0 {
		t.Fatalf("%v %+v", code, body)
	}
	after := time.Now()
	if len(answer.Ages) != len(ask.Records) {
		t.Fatalf("%d ages of %d records", len(answer.Ages), len(ask.Records))
	}
	for i, number := range []int{0, 0, 2} {
		age := time.Duration(answer.Ages[i])
		if low, high := before.Sub(stored[number]), after.Sub(stored[number]); age < low || age > high {
			t.Errorf("%+v is %v old, want %v to %v", ask.Records[i], age, low, high)
		}
	}
	if got, want := answer.Ages[3:], []int64{0, 0, -1, -1, -1, -1, -1}; !slices.Equal(got, want) {
		t.Errorf("ages %v, want %v", got, want)
	}
	code, _ := c.call(wire.OpAges, wire.AgesBody{Records: make([]wire.RecordBody, wire.MaxAges+1)}, &answer)
	if code != core.CodeInvalidConfig {
		t.Errorf("too many records: %v", code)
	}
}

// TestLagTime: a group that stands still is read once, one that goes on again.
func TestLagTime(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	var stored []time.Time
	for range 3 {
		stored = append(stored, publish(t, p, text("x")).Time)
	}
	sub := b.subscribe("t", leat.Group("g"))
	for acked, m := range take(t, sub, 3) {
		for range 2 {
			before := time.Now()
			groups, err := b.Groups(soon(t))
			after := time.Now()
			if err != nil || len(groups) != 1 {
				t.Fatalf("groups %+v, %v", groups, err)
			}
			got := groups[0].Partitions[0].LagTime
			if low, high := before.Sub(stored[acked]), after.Sub(stored[acked]); got < low || got > high {
				t.Errorf("%d acked: the lag is %v old, want %v to %v", acked, got, low, high)
			}
			if reads := len(*b.node.oldest.known.Load()); reads != 1 {
				t.Errorf("%d ages are kept, want 1", reads)
			}
		}
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
		if err := sub.Commit(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := b.Groups(soon(t))
	if err != nil || groups[0].Lag() != (leat.GroupLag{AckRate: groups[0].Lag().AckRate}) {
		t.Errorf("everything acked: %+v, %v", groups, err)
	}
	if kept := len(*b.node.oldest.known.Load()); kept != 0 {
		t.Errorf("%d ages are kept of a group that has none", kept)
	}
}

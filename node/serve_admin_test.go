package node

import (
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

func TestRemoteTopics(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	p := d.producer("t", leat.WithPartitioner(leat.Manual))
	publish(t, p, leat.Message{Partition: 1, Value: []byte("x")})
	c := d.connect()
	create := wire.TopicBody{Name: "u", Partitions: 3, Ack: uint8(leat.AckDisk), RetentionBytes: 5e9}
	if code, e := c.call(wire.OpCreateTopic, create, &wire.Empty{}); code != 0 {
		t.Fatalf("create: %v %+v", code, e)
	}
	var list wire.TopicsAnswer
	c.call(wire.OpTopics, wire.TopicsRequest{}, &list)
	if len(list.Topics) != 2 || list.Topics[0].Name != "t" || list.Topics[1].Name != "u" {
		t.Fatalf("topics %+v, want t and u", list.Topics)
	}
	u := list.Topics[1]
	if u.Partitions != 3 || u.Ack != uint8(leat.AckDisk) || u.RetentionBytes != 5e9 ||
		u.Retention != int64(leat.DefaultRetention) || u.SegmentBytes == 0 ||
		u.MaxRecordBytes != core.DefaultRecordBytes || u.ID == 0 || u.Local != nil {
		t.Errorf("topic u: %+v", u)
	}
	list = wire.TopicsAnswer{}
	c.call(wire.OpTopics, wire.TopicsRequest{Name: "t", Detail: true}, &list)
	if len(list.Topics) != 1 || len(list.Topics[0].Local) != 2 {
		t.Fatalf("topic t: %+v", list.Topics)
	}
	if p := list.Topics[0].Local[1]; p.Partition != 1 || p.End != 1 || p.HighWater != 1 || p.Error != nil {
		t.Errorf("partition 1 of t: %+v", p)
	}
	bytes := int64(6e9)
	alter := wire.AlterBody{Name: "u", RetentionBytes: &bytes, RetentionRecords: new(int64(7)),
		Retention: new(int64(time.Hour))}
	if code, e := c.call(wire.OpAlterTopic, alter, &wire.Empty{}); code != 0 {
		t.Errorf("alter: %v %+v", code, e)
	}
	list = wire.TopicsAnswer{}
	c.call(wire.OpTopics, wire.TopicsRequest{Name: "u"}, &list)
	if u = list.Topics[0]; u.RetentionBytes != bytes || u.RetentionRecords != 7 ||
		u.Retention != int64(time.Hour) {
		t.Errorf("altered: %+v", u)
	}
	if code, e := c.call(wire.OpDeleteTopic, wire.NameBody{Name: "u"}, &wire.Empty{}); code != 0 {
		t.Errorf("delete: %v %+v", code, e)
	}
	if code, _ := c.call(wire.OpTopics, wire.TopicsRequest{Name: "u"}, &list); code != core.CodeTopicNotFound {
		t.Errorf("deleted topic: %v, want %v", code, core.CodeTopicNotFound)
	}
}

// TestRemoteRefusals: an error comes with its code, what was tried, what was found and what to do.
func TestRemoteRefusals(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	c := d.connect()
	tests := []struct {
		op    wire.Op
		body  any
		code  core.Code
		where string // in op or cause
	}{
		{wire.OpCreateTopic, wire.TopicBody{Name: "t", Partitions: 9}, core.CodeTopicExists, `"t"`},
		{wire.OpCreateTopic, wire.TopicBody{Name: "__x"}, core.CodeInvalidName, "__"},
		{wire.OpCreateTopic, wire.TopicBody{Name: "a/b"}, core.CodeInvalidName, "byte 1"},
		{wire.OpCreateTopic, wire.TopicBody{Name: "v", Partitions: -1}, core.CodeInvalidConfig, "Partitions -1"},
		{wire.OpCreateTopic, wire.TopicBody{Name: "v", Ack: uint8(leat.AckQuorum)}, core.CodeLevelUnavailable,
			"quorum"},
		{wire.OpCreateTopic, wire.TopicBody{Name: "v", Ack: 99}, core.CodeLevelUnavailable, "99"},
		{wire.OpCreateTopic, wire.TopicBody{Name: "v", SegmentBytes: 5}, core.CodeInvalidConfig, "SegmentBytes 5"},
		{wire.OpDeleteTopic, wire.NameBody{Name: "nope"}, core.CodeTopicNotFound, `"nope"`},
		{wire.OpDeleteTopic, wire.NameBody{Name: "__meta"}, core.CodeInvalidName, "__meta"},
		{wire.OpTopics, wire.TopicsRequest{Name: "nope"}, core.CodeTopicNotFound, `"nope"`},
		{wire.OpOffsets, wire.OffsetsBody{Topic: "nope"}, core.CodeTopicNotFound, `"nope"`},
		{wire.OpOffsets, wire.OffsetsBody{Topic: "t", Partitions: make([]wire.SubscribePartition, 2)},
			core.CodePartitionUnknown, "2 partitions of 1"},
		{wire.Op(99), wire.Empty{}, core.CodeUnsupported, "99"},
	}
	for _, tt := range tests {
		code, body := c.call(tt.op, tt.body, &wire.Empty{})
		if code != tt.code || !strings.Contains(body.Op+" "+body.Cause, tt.where) {
			t.Errorf("op %d of %+v: %v %+v, want %v with %q", tt.op, tt.body, code, body, tt.code, tt.where)
		}
	}
}

func TestRemoteGroupsAndCluster(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	p := d.producer("t")
	publish(t, p, text("a"))
	sub := d.subscribe("t", leat.Group("g"))
	m := take(t, sub, 1)[0]
	if err := m.Ack(); err != nil {
		t.Fatal(err)
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	c := d.connect()
	var groups wire.GroupsAnswer
	c.call(wire.OpGroups, wire.Empty{}, &groups)
	if len(groups.Groups) != 1 {
		t.Fatalf("groups %+v", groups)
	}
	g := groups.Groups[0]
	if g.Group != "g" || g.Topic != "t" || len(g.Members) != 1 || len(g.Partitions) != 1 ||
		g.Partitions[0].Committed != 1 || g.Partitions[0].Member != g.Members[0] {
		t.Errorf("group %+v", g)
	}
	var cluster wire.ClusterAnswer
	c.call(wire.OpCluster, wire.Empty{}, &cluster)
	if cluster.Node != 0 || len(cluster.Map.Nodes) != 1 || cluster.Map.Nodes[0].Address != "here:1" {
		t.Errorf("cluster %+v", cluster)
	}
}

func TestRemoteOffsets(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	p := d.producer("t")
	var times []int64
	for range 3 {
		times = append(times, publish(t, p, text("x")).Time.UnixNano())
	}
	c := d.connect()
	tests := []struct {
		at     core.Position
		offset int64
		code   core.Code
	}{
		{core.Position{}, 3, 0}, {core.Earliest, 0, 0}, {core.Latest, 3, 0}, {core.AtOffset(2), 2, 0},
		{core.AtOffset(3), 3, 0}, {core.AtOffset(4), -1, core.CodeOffsetOutOfRange},
		{core.AtOffset(-1), -1, core.CodeOffsetOutOfRange},
		{core.Position{Kind: core.PositionTime, Value: times[2] + 1}, 3, 0},
		{core.Position{Kind: core.PositionTime}, 0, 0}, {core.Position{Kind: 99}, -1, core.CodeUnsupported},
	}
	for _, tt := range tests {
		var answer wire.OffsetsAnswer
		c.call(wire.OpOffsets, wire.OffsetsBody{Topic: "t", Partitions: []wire.SubscribePartition{
			{Kind: uint8(tt.at.Kind), Value: tt.at.Value}}}, &answer)
		if got := answer.Partitions; len(got) != 1 || got[0].Offset != tt.offset || got[0].Code != tt.code {
			t.Errorf("offset of %+v: %+v, want %d, %v", tt.at, answer.Partitions, tt.offset, tt.code)
		}
	}
}

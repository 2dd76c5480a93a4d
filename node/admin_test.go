package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

func TestTopics(t *testing.T) {
	b := newBed(t)
	if list, err := b.Topics(soon(t)); err != nil || len(list) != 0 {
		t.Errorf("topics of a new bus: %+v, %v", list, err)
	}
	cfg := leat.TopicConfig{Partitions: 2, Ack: leat.AckPage, Retention: time.Hour, RetentionBytes: 1 << 20,
		RetentionRecords: 1000, SegmentBytes: 1 << 20, MaxRecordBytes: 100}
	for name, cfg := range map[string]leat.TopicConfig{"b": {}, "a": cfg, "c": {Partitions: 3}} {
		if err := b.CreateTopic(soon(t), name, cfg); err != nil {
			t.Fatal(err)
		}
	}
	p := b.producer("a", leat.WithPartitioner(leat.Manual), leat.WithAck(leat.AckDisk))
	for range 5 {
		publish(t, p, leat.Message{Partition: 1})
	}
	check := func(b *bed) {
		t.Helper()
		list, err := b.Topics(soon(t))
		if err != nil || len(list) != 3 {
			t.Fatalf("topics %+v, %v", list, err)
		}
		for i, want := range []leat.TopicConfig{cfg, leat.TopicConfig{}.WithDefaults(),
			leat.TopicConfig{Partitions: 3}.WithDefaults()} {
			info := list[i]
			if info.Name != string(rune('a'+i)) || info.Config != want || len(info.Partitions) != want.Partitions {
				t.Errorf("topic %d: %+v, want config %+v", i, info, want)
			}
			if info.ID < core.FirstTopicID {
				t.Errorf("topic %s has the id %d of an internal topic", info.Name, info.ID)
			}
		}
		want := leat.PartitionInfo{Partition: 1, End: 5, HighWater: 5, DurableEnd: 5}
		got := list[0].Partitions[1]
		if got.Bytes <= 0 {
			t.Errorf("%d bytes on disk", got.Bytes)
		}
		if got.Bytes = 0; got != want || list[0].Partitions[0] != (leat.PartitionInfo{}) {
			t.Errorf("partitions of a: %+v", list[0].Partitions)
		}
	}
	check(b)
	check(b.reopen())
}

// TestAlterTopic: producers and logs that are open follow, and so does the next run.
func TestAlterTopic(t *testing.T) {
	cfg := leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes, MaxRecordBytes: 1 << 10}
	b := one(t, cfg)
	p := b.producer("t")
	large := text(strings.Repeat("x", 40<<10))
	_, err := p.Publish(soon(t), large)
	wantError(t, "a record over the limit", err, leat.ErrRecordTooLarge)
	if err := b.AlterTopic(soon(t), "t", leat.TopicChange{MaxRecordBytes: new(64 << 10)}); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		publish(t, p, large)
	}
	part := b.node.topicNamed("t").partitions[0]
	eventually(t, "everything is synced", func() bool { return part.log.DurableEnd() == 40 })
	if start := part.log.Start(); start != 0 {
		t.Fatalf("the log starts at %d with nothing to enforce", start)
	}
	const retention = 300 << 10
	if err := b.AlterTopic(soon(t), "t", leat.TopicChange{RetentionBytes: new(int64(retention))}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "retention cuts the open log", func() bool { return part.log.Start() > 20 })
	cfg.MaxRecordBytes, cfg.RetentionBytes = 64<<10, retention
	check := func(b *bed) {
		t.Helper()
		list, err := b.Topics(soon(t))
		if err != nil || len(list) != 1 || list[0].Config != cfg.WithDefaults() {
			t.Errorf("topics %+v, %v; want config %+v", list, err, cfg)
		}
	}
	check(b)
	b = b.reopen(WithTopic("t", cfg))
	check(b)
	p = b.producer("t")
	for range 40 {
		publish(t, p, large) // still within the limit
	}
	part = b.node.topicNamed("t").partitions[0]
	eventually(t, "retention holds after a restart", func() bool { return part.log.Start() > 50 })
	if err := b.AlterTopic(soon(t), "t", leat.TopicChange{MaxRecordBytes: new(10)}); err != nil {
		t.Fatal(err)
	}
	refusals(t, p, leat.ErrRecordTooLarge)
	wantError(t, "of no topic", b.AlterTopic(soon(t), "u", leat.TopicChange{}), leat.ErrTopicNotFound)
	wantError(t, "to what cannot be", b.AlterTopic(soon(t), "t", leat.TopicChange{MaxRecordBytes: new(-1)}),
		leat.ErrInvalidConfig)
}

// TestDeleteTopic: the folder and the commits go, the name is free again under a new id, and whoever
// used the topic is told.
func TestDeleteTopic(t *testing.T) {
	cfg := leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}
	b := one(t, cfg, WithTopic("other", cfg))
	p, other := b.producer("t"), b.producer("other")
	p.PublishAsync(text("v"), nil)
	for i := range 10 {
		publish(t, p, keyed(fmt.Sprint(i), "old"))
		publish(t, other, text("v"))
	}
	member := b.subscribe("t", leat.Group("g"))
	for _, m := range take(t, member, 11) {
		ack(t)(m)
	}
	if err := member.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	plain := b.subscribe("t")
	loops := []<-chan error{loop(soon(t), member), loop(soon(t), plain)}
	id := b.node.topicNamed("t").id
	if err := b.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	for _, ended := range loops {
		wantError(t, "a loop over the topic", receive(t, "the loop ends", ended), leat.ErrTopicNotFound)
	}
	refusals(t, p, leat.ErrTopicNotFound)
	for _, sub := range []*leat.Subscription{member, plain} {
		if err := sub.Close(); err != nil {
			t.Errorf("Close of a subscription: %v", err)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close of a producer: %v", err)
	}
	if groups, err := b.Groups(soon(t)); err != nil || len(groups) != 0 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	if _, err := b.fs.ReadDir(fmt.Sprint("data/t/", id)); err == nil {
		t.Error("the folder of the topic is still there")
	}
	wantError(t, "DeleteTopic again", b.DeleteTopic(soon(t), "t"), leat.ErrTopicNotFound)
	if err := b.CreateTopic(soon(t), "t", cfg); err != nil {
		t.Fatal(err)
	}
	if again := b.node.topicNamed("t").id; again == id {
		t.Errorf("the id %d was given twice", id)
	}
	check := func(b *bed) {
		t.Helper()
		sub := b.subscribe("t", leat.Group("g"))
		if got := values(take(t, sub, 1)); got != "new" {
			t.Errorf("the group read %q: a commit or a record of the deleted topic came back", got)
		}
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	}
	if r := publish(t, b.producer("t"), text("new")); r.Offset != 0 {
		t.Errorf("offset %d in a new topic", r.Offset)
	}
	check(b)
	b = b.reopen()
	check(b)
	take(t, b.subscribe("other", leat.From(leat.Earliest)), 10)
}

// TestDeleteWhilePublishing deletes a topic under load: every publish is answered, and the bus lives.
func TestDeleteWhilePublishing(t *testing.T) {
	b := newBed(t)
	for range cut(20, 5) {
		if err := b.CreateTopic(soon(t), "t", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}); err != nil {
			t.Fatal(err)
		}
		var group, busy sync.WaitGroup
		for i := range 3 {
			p := b.producer("t")
			busy.Add(1)
			group.Go(func() {
				var answered sync.WaitGroup
				for n := range 200 {
					if n == 50 {
						busy.Done()
					}
					answered.Add(1)
					p.PublishAsync(keyed(fmt.Sprint(n), "v"), func(leat.Receipt, error) { answered.Done() })
					if n%10 == i {
						_, _ = p.Publish(soon(t), text("v")) // works, or finds no topic
					}
				}
				answered.Wait()
			})
		}
		busy.Wait()
		if err := b.DeleteTopic(soon(t), "t"); err != nil {
			t.Fatal(err)
		}
		group.Wait()
	}
}

func TestGroupsTellLag(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}, WithTopic("u", leat.TopicConfig{}))
	b.fill(10)
	sub := b.subscribe("t", leat.Group("g"))
	for _, m := range take(t, sub, 20) {
		if m.Offset < 4+int64(m.Partition) {
			ack(t)(m)
		}
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	idle := b.subscribe("u", leat.Group("a"))
	defer idle.Close()
	eventually(t, "both groups are listed", func() bool {
		groups, err := b.Groups(soon(t))
		return err == nil && len(groups) == 2 && groups[0].Group == "a" && groups[0].Topic == "u" &&
			groups[0].Partitions[0].Committed == -1 && groups[0].Partitions[0].LagRecords == 0
	})
	info := b.settled(1)
	for _, p := range info.Partitions {
		committed := 4 + int64(p.Partition)
		if p.Committed != committed || p.LagRecords != 10-committed || p.Member != info.Members[0] {
			t.Errorf("partition %+v, want %d committed of 10", p, committed)
		}
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody owns a partition", func() bool {
		info := b.group()
		return len(info.Members) == 0 && info.Partitions[0].Member == "" && info.Partitions[0].Committed == 4
	})
}

// TestManyPartitions: a partition costs no goroutine and no file before its first record.
func TestManyPartitions(t *testing.T) {
	b := newBed(t)
	before := runtime.NumGoroutine()
	if err := b.CreateTopic(soon(t), "t", leat.TopicConfig{Partitions: 1000, Ack: leat.AckPage}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the goroutines of opening end", func() bool { return runtime.NumGoroutine() <= before+5 })
	id := fmt.Sprint(b.node.topicNamed("t").id)
	if names, err := b.fs.ReadDir("data/t"); err != nil || slices.Contains(names, id) {
		t.Errorf("folders %q, %v: none of partitions without records", names, err)
	}
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for number := range int32(1000) {
		p.PublishAsync(leat.Message{Partition: number, Value: fmt.Append(nil, number)}, nil)
		if number == 20 { // the rest would take 256 KiB of memory each
			break
		}
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	got := values(take(t, b.subscribe("t", leat.From(leat.Earliest)), 21))
	for number := range 21 {
		if !strings.Contains(" "+got+" ", fmt.Sprint(" ", number, " ")) {
			t.Errorf("partition %d is missing in %q", number, got)
		}
	}
	sub := b.subscribe("t", leat.Group("g"))
	take(t, sub, 21)
	if n := runtime.NumGoroutine(); n > before+10 {
		t.Errorf("%d goroutines for 1,000 partitions, %d before", n, before)
	}
}

// TestCatalogueLogIsCut creates and deletes topics until __meta has rolled: it stays small and keeps
// what lives.
func TestCatalogueLogIsCut(t *testing.T) {
	b := newBed(t)
	log := b.node.meta.partitions[0].log
	if err := b.CreateTopic(soon(t), "kept", leat.TopicConfig{Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", core.MaxNameBytes-6)
	rounds := 0
	for ; log.Start() == 0 && rounds < 10_000; rounds++ {
		name := fmt.Sprintf("%s%06d", long, rounds)
		if err := b.CreateTopic(soon(t), name, leat.TopicConfig{}); err != nil {
			t.Fatal(err)
		}
		if err := b.DeleteTopic(soon(t), name); err != nil {
			t.Fatal(err)
		}
	}
	if log.Start() == 0 {
		t.Fatalf("the log of the catalogue was not cut in %d rounds", rounds)
	}
	id := b.node.topicNamed("kept").id
	b = b.reopen(WithTopic("kept", leat.TopicConfig{Partitions: 3}))
	list, err := b.Topics(soon(t))
	if err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("after reopening: %+v, %v", list, err)
	}
}

// TestAdminEndsWithItsContext: the error of a call whose context ended says what was tried.
func TestAdminEndsWithItsContext(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, listed := b.Topics(ctx)
	for op, err := range map[string]error{
		`create topic "x"`: b.CreateTopic(ctx, "x", leat.TopicConfig{}),
		`delete topic "t"`: b.DeleteTopic(ctx, "t"),
		`alter topic "t"`:  b.AlterTopic(ctx, "t", leat.TopicChange{MaxRecordBytes: new(1 << 20)}),
		"list topics":      listed,
	} {
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), op) ||
			strings.Contains(err.Error(), "actors:") {
			t.Errorf("%s: %v; want what was tried, and that the context ended", op, err)
		}
	}
}

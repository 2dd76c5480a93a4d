package node

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// TestRetentionByAge: an idle partition becomes empty when all its records are too old, whatever its level,
// and goes on at the offset where it was. Internal topics keep what they have.
func TestRetentionByAge(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			manual := clock.NewManual(1e18)
			b := one(t, leat.TopicConfig{Ack: level, Retention: time.Minute}, withClock(manual))
			p := b.producer("t")
			for range 3 {
				publish(t, p, text("v"))
			}
			log := b.node.topicNamed("t").partitions[0].log
			manual.Advance(30 * time.Second)
			if log.Start() != 0 {
				t.Fatalf("the log starts at %d after half of the time", log.Start())
			}
			eventually(t, "the partition is empty", func() bool {
				manual.Advance(time.Minute / 10)
				return log.Start() == 3
			})
			if r := publish(t, p, text("w")); r.Offset != 3 {
				t.Errorf("the next record has offset %d, want 3", r.Offset)
			}
			if err := b.AlterTopic(soon(t), "t", leat.TopicChange{Retention: new(leat.KeepForever)}); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				manual.Advance(time.Hour)
			}
			if log.Start() != 3 || log.End() != 4 {
				t.Errorf("kept for ever is [%d, %d), want [3, 4)", log.Start(), log.End())
			}
			for _, id := range []uint64{core.MetaTopicID, core.GroupTopicID} {
				if info, _ := core.NewCatalogue().ByID(id); info.Config.Retention != core.KeepForever {
					t.Errorf("%s keeps %v", info.Name, info.Config.Retention)
				}
			}
		})
	}
}

// TestAgeWithoutAWord: WithTopic without an age takes a topic as it is, also one that an older build made.
func TestAgeWithoutAWord(t *testing.T) {
	b := one(t, leat.TopicConfig{Retention: leat.KeepForever})
	b = b.reopen(WithTopic("t", leat.TopicConfig{}))
	list, err := b.Topics(soon(t))
	if err != nil || len(list) != 1 || list[0].Config.Retention != leat.KeepForever {
		t.Errorf("topics %+v, %v; want one that is kept for ever", list, err)
	}
}

// TestCompactedTopic: subscriptions, batches and groups of a compacted topic get the newest message of each
// key, in order and with its offset, and the lag of a group that has read all is none.
func TestCompactedTopic(t *testing.T) {
	manual := clock.NewManual(1e18)
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, Cleanup: leat.CleanupCompact,
		SegmentBytes: core.MinSegmentBytes}, withClock(manual))
	p := b.producer("t")
	const published, keys = 900, 7
	want := map[string]int64{}
	for i := range published {
		key := fmt.Sprint("k", i%keys)
		r := publish(t, p, leat.Message{Key: []byte(key), Value: make([]byte, 1000)})
		want[key] = r.Offset
	}
	log := b.node.topicNamed("t").partitions[0].log
	before := log.Bytes()
	eventually(t, "the log is compacted", func() bool {
		manual.Advance(time.Minute)
		return log.Bytes() < before/2
	})
	check := func(what string, last map[string]int64, delivered int) {
		t.Helper()
		if !maps.Equal(last, want) || delivered > published/2 {
			t.Errorf("%s: %d messages, the last are %v, want %v", what, delivered, last, want)
		}
	}
	last, delivered := map[string]int64{}, 0
	sub := b.subscribe("t", leat.Group("g"), leat.From(leat.Earliest))
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		last[string(m.Key)] = m.Offset
		if delivered++; m.Offset == published-1 {
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	check("messages", last, delivered)
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	groups, err := b.Groups(soon(t))
	if err != nil || len(groups) != 1 || groups[0].Partitions[0].LagRecords != 0 {
		t.Errorf("groups %+v, %v; want no lag", groups, err)
	}
	last, delivered = map[string]int64{}, 0
	for batch, err := range b.subscribe("t", leat.From(leat.Earliest)).Batches(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		for m, err := range batch.Messages() {
			if err != nil {
				t.Fatal(err)
			}
			last[string(m.Key)] = m.Offset
			delivered++
		}
		end := batch.Next == published
		batch.Release()
		if end {
			break
		}
	}
	check("batches", last, delivered)
}

// TestCompactedTombstone: a tombstone is delivered as a message without a value, removes what came before it,
// and goes a day later.
func TestCompactedTombstone(t *testing.T) {
	manual := clock.NewManual(1e18)
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, Cleanup: leat.CleanupCompact,
		SegmentBytes: core.MinSegmentBytes}, withClock(manual))
	p := b.producer("t")
	publish(t, p, keyed("gone", "first"))
	publish(t, p, keyed("kept", "first"))
	publish(t, p, leat.Message{Key: []byte("gone")})
	fill := func() {
		t.Helper()
		for range 2 * core.MinSegmentBytes / 8000 { // more than a segment, so that those before are sealed
			publish(t, p, leat.Message{Key: []byte("filler"), Value: make([]byte, 8000)})
		}
	}
	// read gives the values of gone and kept, in order; a tombstone is an empty pair of brackets.
	read := func() string {
		t.Helper()
		page, err := b.Peek(soon(t), "t", leat.PeekQuery{Filter: `key != "filler"`})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for i := range page.Messages {
			m := &page.Messages[i]
			value := "[]"
			if m.Value != nil {
				value = string(m.Value)
			}
			list = append(list, string(m.Key)+"="+value)
		}
		return strings.Join(list, " ")
	}
	fill()
	if got := read(); !strings.HasPrefix(got, "gone=first") && got != "kept=first gone=[]" {
		t.Errorf("before compaction: %s", got)
	}
	eventually(t, "the first is removed", func() bool {
		manual.Advance(time.Minute)
		return read() == "kept=first gone=[]"
	})
	for _, m := range take(t, b.subscribe("t", leat.From(leat.Earliest), leat.Filter(`key != "filler"`)), 2) {
		if gone := string(m.Key) == "gone"; gone != (m.Value == nil) {
			t.Errorf("key %s has the value %q", m.Key, m.Value)
		}
	}
	manual.Advance(25 * time.Hour)
	fill()
	eventually(t, "the tombstone is removed", func() bool {
		manual.Advance(time.Minute)
		return read() == "kept=first"
	})
}

package node

import (
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

package node

import (
	"testing"

	"github.com/leatbus/leat"
)

// TestPowerCutLeavesAGap: a topic at page goes on behind all offsets that may have been seen; subscriptions,
// groups and look-ups by time step over the gap.
func TestPowerCutLeavesAGap(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	kept := publish(t, b.producer("t", leat.WithAck(leat.AckDisk)), text("kept"))
	group := b.subscribe("t", leat.Group("g"), leat.From(leat.Earliest))
	if m := take(t, group, 1)[0]; m.Ack() != nil || group.Commit(soon(t)) != nil {
		t.Fatal("ack")
	}
	seen := b.subscribe("t", leat.ReadAt(leat.AckPage), leat.From(leat.Earliest))
	lost := publish(t, b.producer("t"), text("seen"))
	if got := values(take(t, seen, 2)); got != "kept seen" {
		t.Fatalf("read %q", got)
	}
	after := b.fs.Crash(4)
	b.close()
	b = openBed(t, after)
	log := b.partition(0).log
	gap := log.Recovery().Gap
	if gap.From <= kept.Offset || gap.To <= lost.Offset || log.End() != gap.To {
		t.Fatalf("gap %+v; kept %d, seen %d, end %d", gap, kept.Offset, lost.Offset, log.End())
	}
	all := b.subscribe("t", leat.From(leat.Earliest))
	group = b.subscribe("t", leat.Group("g"))
	queues := map[string]*leat.Subscription{"queue": b.subscribe("t", leat.Group("q"), leat.Queue()),
		"key-shared": b.subscribe("t", leat.Group("k"), leat.KeyShared())}
	for _, sub := range queues {
		for range gap.From {
			if err := next(t, sub).Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	take(t, all, int(gap.From)) // what survived
	r := publish(t, b.producer("t"), text("next"))
	if r.Offset != gap.To {
		t.Errorf("offset %d behind the gap, want %d", r.Offset, gap.To)
	}
	byTime := b.subscribe("t", leat.From(leat.AtTime(r.Time)))
	inGap := b.subscribe("t", leat.From(leat.AtOffset(gap.From+5)))
	for name, sub := range map[string]*leat.Subscription{"all": all, "by time": byTime, "in the gap": inGap} {
		if m := take(t, sub, 1)[0]; string(m.Value) != "next" || m.Offset != r.Offset {
			t.Errorf("%s: read %q at %d", name, m.Value, m.Offset)
		}
	}
	for {
		m := take(t, group, 1)[0]
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
		if string(m.Value) == "next" {
			break
		}
	}
	if err := group.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	queues["queue behind"] = b.subscribe("t", leat.Group("b"), leat.Queue())
	for name, sub := range queues {
		m := next(t, sub)
		for name == "queue behind" && m.Offset < gap.From {
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
			m = next(t, sub)
		}
		if string(m.Value) != "next" || m.Attempt != 1 || m.Ack() != nil || sub.Commit(soon(t)) != nil {
			t.Errorf("%s: %q at %d, attempt %d", name, m.Value, m.Offset, m.Attempt)
		}
	}
	eventually(t, "no lag of any queue", func() bool { return b.queueLag() == 0 })
}

package leat

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

func TestReplayPace(t *testing.T) {
	const s = int64(time.Second)
	type ask struct{ appended, now, want int64 } // seconds
	for _, tt := range []struct {
		name  string
		speed float64
		gap   int64
		asks  []ask
	}{
		{"as it was", 1, 100, []ask{{1000, 50, 0}, {1010, 50, 10}, {1010, 60, 0}, {1010, 60, 0}, {1030, 61, 19}}},
		{"twice as fast", 2, 100, []ask{{1000, 50, 0}, {1010, 50, 5}, {1010, 55, 0}, {1040, 56, 14}, {1040, 70,
			0}}},
		{"half as fast", 0.5, 100, []ask{{1000, 50, 0}, {1010, 50, 20}, {1010, 70, 0}}},
		{"a slow loop", 1, 100, []ask{{1000, 50, 0}, {1010, 80, 0}, {1020, 80, 0}, {1031, 80, 1}}},
		{"a gap", 1, 10, []ask{{1000, 50, 0}, {2000, 50, 10}, {2000, 55, 5}, {2000, 60, 0}, {2004, 60, 4},
			{2004, 64, 0}, {2014, 64, 10}, {2014, 74, 0}, {2024, 74, 10}}},
		{"one that comes late behind a gap", 1, 10, []ask{{1000, 50, 0}, {2000, 60, 0}, {1500, 60, 0}, {2001, 60,
			1}}},
		{"the first is not the oldest", 1, 100, []ask{{1020, 50, 20}, {1005, 50, 5}, {1005, 55, 0}, {1020, 70, 0}}},
		{"very slow", 1e-6, 1 << 33, []ask{{1000, 50, 0}, {1001, 50, 1_000_000}}},
	} {
		p := replayPace{speed: tt.speed, gap: tt.gap * s}
		p.begin(1000*s, 50*s)
		p.begin(5*s, 99*s) // the second time says nothing
		for i, a := range tt.asks {
			if got := int64(p.wait(a.appended*s, a.now*s)); got != a.want*s {
				t.Errorf("%s, %d: wait(%d, %d) = %v, want %ds", tt.name, i, a.appended, a.now,
					time.Duration(got), a.want)
				break
			}
		}
	}
}

func TestReplayPaceIsLive(t *testing.T) {
	const s = int64(time.Second)
	p := replayPace{speed: 10, gap: s}
	p.begin(1000*s, 50*s)
	// 90 s later in the world: the timeline needs 10 s for what passed within 100.
	for _, tt := range []struct {
		now, wall int64
		want      bool
	}{{50, 1090, false}, {58, 1098, false}, {59, 1099, false}, {60, 1100, true}, {61, 1101, true}, {50, 1000,
		true}} {
		if got := p.live(tt.now*s, tt.wall*s); got != tt.want {
			t.Errorf("live(%d, %d) = %v, want %v", tt.now, tt.wall, got, tt.want)
		}
	}
	far := replayPace{speed: MaxReplaySpeed, gap: s}
	far.begin(0, 0)
	if far.dueAt(1<<62) <= 0 || (&replayPace{speed: 1 / MaxReplaySpeed}).dueAt(1<<62) <= 0 {
		t.Error("a time that is far away is due in the past")
	}
}

// overtaken is a bus of which retention has deleted what is before an offset.
type overtaken struct {
	Backend
	start int64
}

func (o overtaken) Topic(context.Context, string) (TopicInfo, error) {
	return TopicInfo{Partitions: []PartitionInfo{{Start: o.start}, {Partition: 1}}}, nil
}

func (o overtaken) OpenSubscription(_ string, options SubscribeOptions) (SubscriptionBackend, error) {
	if at := options.Each[0]; at.Value < o.start {
		return nil, core.NewError(core.CodeOffsetOutOfRange, "subscribe", nil)
	} else if options.Each[0] != AtOffset(o.start) || options.Each[1] != AtOffset(3) {
		return nil, core.Errorf(core.CodeInvalidConfig, "subscribe", "it begins at %v", options.Each)
	}
	return &snapshotSubscription{}, nil
}

// TestReplayGoesOnBehindRetention: that messages are gone is told once.
func TestReplayGoesOnBehindRetention(t *testing.T) {
	r := &replay{bus: overtaken{start: 7}, heads: []*replayHead{{at: AtOffset(5)}, {partition: 1,
		at: AtOffset(3)}}}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	if err := r.goOn(); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("goOn: %v", err)
	}
	if err := r.goOn(); err != nil || r.plain == nil {
		t.Errorf("goOn again: %v", err)
	}
}

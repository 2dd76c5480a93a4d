package admindoc

import (
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// GroupLag is how far a group is behind. What is not known is absent.
type GroupLag struct {
	Lag         *int64   `json:"lag,omitempty" doc:"Messages that were not acknowledged"`
	LagSeconds  *float64 `json:"lag_seconds,omitempty" doc:"Age of the oldest of them"`
	AckRate     *float64 `json:"acked_per_sec,omitempty" doc:"Since an earlier look of the last minute"`
	ZeroSeconds *float64 `json:"zero_in_seconds,omitempty" doc:"At that pace; absent also where never"`
}

// QueueCounts is where the messages stand that a queue group has not settled. They are absent in a stream
// group, and where a node does not tell.
type QueueCounts struct {
	Ready   *int64 `json:"ready,omitempty" doc:"To be handed out"`
	Leased  *int64 `json:"leased,omitempty" doc:"Members have them"`
	Delayed *int64 `json:"delayed,omitempty" doc:"Failed, and wait"`
}

// Group is a group on a topic.
type Group struct {
	Group       string   `json:"group"`
	Topic       string   `json:"topic"`
	Mode        string   `json:"mode" enum:"stream,queue,key-shared"`
	Generation  int32    `json:"generation"`
	Members     []string `json:"members"`
	GroupLag    `yaml:",inline"`
	QueueCounts `yaml:",inline"`

	PerPartition []GroupPartition `json:"per_partition,omitempty" doc:"By number; absent in lists"`
}

// GroupPartition is one partition of a group.
type GroupPartition struct {
	Partition   int32  `json:"partition"`
	Member      string `json:"member,omitempty" doc:"Who reads it; absent: nobody"`
	Committed   *int64 `json:"committed,omitempty" doc:"First offset not acknowledged; absent: nothing was"`
	GroupLag    `yaml:",inline"`
	QueueCounts `yaml:",inline"`
}

// LagOf describes how far a group is behind.
func LagOf(l leat.GroupLag) GroupLag {
	doc := GroupLag{Lag: Known(l.Records), LagSeconds: knownSeconds(l.Time), AckRate: Known(l.AckRate)}
	if doc.AckRate != nil {
		doc.ZeroSeconds = knownSeconds(l.TimeToZero)
	}
	return doc
}

func countsOf(mode leat.GroupMode, c leat.QueueCounts) QueueCounts {
	if mode == leat.GroupStream {
		return QueueCounts{}
	}
	return QueueCounts{Ready: Known(c.Ready), Leased: Known(c.Leased), Delayed: Known(c.Delayed)}
}

// Known is nil for a figure below 0, which stands for what is not known.
func Known[T int64 | float64](v T) *T {
	if v < 0 {
		return nil
	}
	return &v
}

func knownSeconds(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	return new(d.Seconds())
}

// GroupOf describes a group without its partitions.
func GroupOf(g *leat.GroupInfo) Group {
	return Group{Group: g.Group, Topic: g.Topic, Mode: g.Mode.String(), Generation: g.Generation,
		Members:  append([]string{}, g.Members...), // an empty list, not null
		GroupLag: LagOf(g.Lag()), QueueCounts: countsOf(g.Mode, g.QueueCounts())}
}

// FullGroupOf describes a group and its partitions.
func FullGroupOf(g *leat.GroupInfo) Group {
	doc := GroupOf(g)
	for i := range g.Partitions {
		p := &g.Partitions[i]
		doc.PerPartition = append(doc.PerPartition, GroupPartition{Partition: p.Partition, Member: p.Member,
			Committed: Known(p.Committed), GroupLag: LagOf(leat.GroupLag{Records: p.LagRecords, Time: p.LagTime,
				AckRate: p.AckRate, TimeToZero: p.TimeToZero}), QueueCounts: countsOf(g.Mode, p.Queue)})
	}
	return doc
}

// GroupReset tells where a group was and where it goes on, or would.
type GroupReset struct {
	Group        string           `json:"group"`
	Topic        string           `json:"topic"`
	To           string           `json:"to" doc:"As it was asked for"`
	DryRun       bool             `json:"dry_run"`
	PerPartition []PartitionReset `json:"per_partition"`
}

// PartitionReset is one partition of a GroupReset.
type PartitionReset struct {
	Partition int32  `json:"partition"`
	From      *int64 `json:"from,omitempty" doc:"Absent: nothing was acknowledged"`
	To        *int64 `json:"to,omitempty" doc:"Absent where only the reset itself can tell: at a time"`
}

// Begin fills in where a group is.
func (r *GroupReset) Begin(before *leat.GroupInfo) {
	r.PerPartition = make([]PartitionReset, len(before.Partitions))
	for i := range before.Partitions {
		p := &before.Partitions[i]
		r.PerPartition[i] = PartitionReset{Partition: p.Partition, From: Known(p.Committed)}
	}
}

// Foresee fills in where a reset would lead, as far as the offsets of the partitions tell.
// core.CodeOffsetOutOfRange where it would fail.
func (r *GroupReset) Foresee(info *leat.TopicInfo, to leat.Position) error {
	for i := range r.PerPartition {
		p := info.Partitions[r.PerPartition[i].Partition]
		if p.Err != nil && p.End == 0 {
			continue // it is not reached, so where it ends is not known
		}
		switch to.Kind {
		case core.PositionEarliest:
			r.PerPartition[i].To = &p.Start
		case core.PositionLatest:
			r.PerPartition[i].To = &p.HighWater
		case core.PositionOffset:
			if to.Value < p.Start || to.Value > p.HighWater {
				return core.Errorf(core.CodeOffsetOutOfRange, "reset group "+core.Quote(r.Group),
					"offset %d, partition %d has [%d, %d)", to.Value, p.Partition, p.Start, p.HighWater)
			}
			r.PerPartition[i].To = new(to.Value)
		}
	}
	return nil
}

// End fills in where the group is now.
func (r *GroupReset) End(after *leat.GroupInfo) {
	for i := range after.Partitions {
		p := &after.Partitions[i]
		for j := range r.PerPartition {
			if r.PerPartition[j].Partition == p.Partition {
				r.PerPartition[j].To = Known(p.Committed)
			}
		}
	}
}

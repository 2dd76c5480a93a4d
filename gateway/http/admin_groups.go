package httpdoor

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// Lag is how far a group is behind. What is not known is absent.
type Lag struct {
	Messages    *int64   `json:"lag,omitempty" doc:"Messages that were not acknowledged"`
	Seconds     *float64 `json:"lag_seconds,omitempty" doc:"Age of the oldest of them"`
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
	Group      string   `json:"group"`
	Topic      string   `json:"topic"`
	Mode       string   `json:"mode" enum:"stream,queue,key-shared"`
	Generation int32    `json:"generation"`
	Members    []string `json:"members" doc:"At most 1,000"`
	Lag
	QueueCounts
}

// GroupPartition is one partition of a group.
type GroupPartition struct {
	Partition int32  `json:"partition"`
	Member    string `json:"member,omitempty" doc:"Who reads it; absent: nobody"`
	Committed *int64 `json:"committed,omitempty" doc:"First offset not acknowledged; absent: nothing was"`
	Lag
	QueueCounts
}

// GroupDetail is a group on a topic with its partitions.
type GroupDetail struct {
	Group
	Partitions []GroupPartition `json:"partitions"`
}

func lagOf(l leat.GroupLag) Lag {
	doc := Lag{Messages: known(l.Records), Seconds: knownSeconds(l.Time), AckRate: known(l.AckRate)}
	if doc.AckRate != nil {
		doc.ZeroSeconds = knownSeconds(l.TimeToZero)
	}
	return doc
}

func countsOf(mode leat.GroupMode, c leat.QueueCounts) QueueCounts {
	if mode == leat.GroupStream {
		return QueueCounts{}
	}
	return QueueCounts{Ready: known(c.Ready), Leased: known(c.Leased), Delayed: known(c.Delayed)}
}

func known[T int64 | float64](v T) *T {
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

func groupOf(g *leat.GroupInfo) Group {
	members := g.Members[:min(len(g.Members), pageMost)]
	return Group{Group: g.Group, Topic: g.Topic, Mode: g.Mode.String(), Generation: g.Generation,
		Members: append([]string{}, members...), Lag: lagOf(g.Lag()),
		QueueCounts: countsOf(g.Mode, g.QueueCounts())}
}

func groupDetailOf(g *leat.GroupInfo) GroupDetail {
	doc := GroupDetail{Group: groupOf(g), Partitions: []GroupPartition{}}
	for _, p := range g.Partitions {
		doc.Partitions = append(doc.Partitions, GroupPartition{Partition: p.Partition, Member: p.Member,
			Committed: known(p.Committed), Lag: lagOf(leat.GroupLag{Records: p.LagRecords, Time: p.LagTime,
				AckRate: p.AckRate, TimeToZero: p.TimeToZero}), QueueCounts: countsOf(g.Mode, p.Queue)})
	}
	return doc
}

type adminGroupsQuery struct {
	AdminPage
	Q     string `query:"q" maxLength:"249" doc:"Only groups whose name has this in it"`
	Topic string `query:"topic" maxLength:"249" doc:"Only on this topic"`
}

type adminGroupsAnswer struct {
	Body struct {
		Groups  []Group  `json:"groups" doc:"By name and topic"`
		Next    string   `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
		Missing *Problem `json:"missing,omitempty" doc:"Why groups may be missing: a node that is not reached"`
	}
}

// AdminGroupPath names a group in a path.
type AdminGroupPath struct {
	Group string `path:"group" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the group"`
}

type adminGroupAnswer struct {
	Body struct {
		Topics []GroupDetail `json:"topics" doc:"The group on each topic that it reads"`
	}
}

type adminReset struct {
	AdminGroupPath
	DryRun bool `query:"dry_run" doc:"Only tell where it would lead"`
	Body   struct {
		Topic string `json:"topic" minLength:"1" maxLength:"249"`
		To    string `json:"to" minLength:"1" doc:"earliest, latest, an offset, or @TIME" example:"earliest"`
	}
}

// Reset tells where a group was and where it goes on, or would.
type Reset struct {
	Group      string           `json:"group"`
	Topic      string           `json:"topic"`
	DryRun     bool             `json:"dry_run"`
	Partitions []ResetPartition `json:"partitions"`
}

// ResetPartition is one partition of a Reset.
type ResetPartition struct {
	Partition int32  `json:"partition"`
	From      *int64 `json:"from,omitempty" doc:"Absent: nothing was acknowledged"`
	To        *int64 `json:"to,omitempty" doc:"Absent where only the reset itself can tell: at a time"`
}

type adminForget struct {
	AdminGroupPath
	Topic  string `query:"topic" required:"true" minLength:"1" maxLength:"249" doc:"Where it is forgotten"`
	DryRun bool   `query:"dry_run" doc:"Only tell what would go"`
}

// Forgotten is a group whose place on a topic was forgotten, or would be.
type Forgotten struct {
	DryRun bool `json:"dry_run"`
	GroupDetail
}

func (d *Door) adminGroupRoutes() {
	register(d, admin("admin-list-groups", http.MethodGet, "/groups", "List groups with their lag"),
		d.adminGroups)
	register(d, admin("admin-get-group", http.MethodGet, "/groups/{group}", "Describe a group",
		http.StatusNotFound), d.adminGroup)
	register(d, admin("admin-reset-group", http.MethodPost, "/groups/{group}/reset",
		"Make a group without members go on elsewhere", http.StatusBadRequest, http.StatusNotFound,
		http.StatusConflict, http.StatusRequestedRangeNotSatisfiable), d.adminReset)
	register(d, admin("admin-delete-group", http.MethodDelete, "/groups/{group}",
		"Forget where a group without members is on a topic", http.StatusNotFound, http.StatusConflict),
		d.adminForget)
}

func (d *Door) adminGroups(ctx context.Context, in *adminGroupsQuery) (*adminGroupsAnswer, error) {
	all, err := d.bus.Groups(ctx)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	page, next := cut(&in.AdminPage, all,
		func(g *leat.GroupInfo) string { return g.Group + " " + g.Topic },
		func(g *leat.GroupInfo) bool {
			return strings.Contains(g.Group, in.Q) && (in.Topic == "" || g.Topic == in.Topic)
		})
	out := &adminGroupsAnswer{}
	out.Body.Groups, out.Body.Next = make([]Group, len(page)), next
	for i := range page {
		out.Body.Groups[i] = groupOf(&page[i])
	}
	if err != nil {
		out.Body.Missing = problemOf(err)
	}
	return out, nil
}

// groups gives a group on all topics, or on one.
func (d *Door) groups(ctx context.Context, op, name, topic string) ([]leat.GroupInfo, error) {
	all, err := d.bus.Groups(ctx)
	all = slices.DeleteFunc(all, func(g leat.GroupInfo) bool {
		return g.Group != name || topic != "" && g.Topic != topic
	})
	if len(all) > 0 {
		return all, nil // one node coordinates a group on all topics
	}
	if err == nil {
		err = core.NewError(core.CodeGroupNotFound, op+" "+core.Quote(name), nil)
	}
	return nil, err
}

func (d *Door) adminGroup(ctx context.Context, in *AdminGroupPath) (*adminGroupAnswer, error) {
	groups, err := d.groups(ctx, "describe group", in.Group, "")
	if err != nil {
		return nil, err
	}
	out := &adminGroupAnswer{}
	for i := range groups {
		out.Body.Topics = append(out.Body.Topics, groupDetailOf(&groups[i]))
	}
	return out, nil
}

func (d *Door) adminReset(ctx context.Context, in *adminReset) (*struct{ Body Reset }, error) {
	op := "reset group " + core.Quote(in.Group)
	to, err := peekPosition(in.Body.To)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, op, "to: %v", err)
	}
	info, err := d.bus.Topic(ctx, in.Body.Topic)
	if err != nil {
		return nil, err
	}
	before, err := d.groups(ctx, "reset group", in.Group, in.Body.Topic)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body Reset }{Reset{Group: in.Group, Topic: in.Body.Topic, DryRun: in.DryRun}}
	for _, p := range before[0].Partitions {
		out.Body.Partitions = append(out.Body.Partitions,
			ResetPartition{Partition: p.Partition, From: known(p.Committed)})
	}
	if in.DryRun {
		if members := len(before[0].Members); members > 0 {
			return nil, core.Errorf(core.CodeGroupActive, op, "%d members", members)
		}
		return out, out.Body.foresee(&info, to)
	}
	if err := d.bus.ResetGroup(ctx, in.Group, in.Body.Topic, to); err != nil {
		return nil, err
	}
	after, err := d.groups(ctx, "reset group", in.Group, in.Body.Topic)
	if err != nil {
		return nil, err
	}
	for i := range out.Body.Partitions {
		for _, p := range after[0].Partitions {
			if p.Partition == out.Body.Partitions[i].Partition {
				out.Body.Partitions[i].To = known(p.Committed)
			}
		}
	}
	return out, nil
}

// foresee fills in where a reset would lead, as far as the offsets of the partitions tell.
func (r *Reset) foresee(info *leat.TopicInfo, to leat.Position) error {
	for i := range r.Partitions {
		p := info.Partitions[r.Partitions[i].Partition]
		switch to.Kind {
		case core.PositionEarliest:
			r.Partitions[i].To = &p.Start
		case core.PositionLatest:
			r.Partitions[i].To = &p.HighWater
		case core.PositionOffset:
			if to.Value < p.Start || to.Value > p.HighWater {
				return core.Errorf(core.CodeOffsetOutOfRange, "reset group "+core.Quote(r.Group),
					"offset %d, partition %d has [%d, %d)", to.Value, p.Partition, p.Start, p.HighWater)
			}
			r.Partitions[i].To = new(to.Value)
		}
	}
	return nil
}

func (d *Door) adminForget(ctx context.Context, in *adminForget) (*struct{ Body Forgotten }, error) {
	op := "delete group " + core.Quote(in.Group)
	groups, err := d.groups(ctx, "delete group", in.Group, in.Topic)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body Forgotten }{Forgotten{DryRun: in.DryRun, GroupDetail: groupDetailOf(&groups[0])}}
	if !in.DryRun {
		return out, d.bus.DeleteGroup(ctx, in.Group, in.Topic)
	}
	if members := len(groups[0].Members); members > 0 {
		return nil, core.Errorf(core.CodeGroupActive, op, "%d members", members)
	}
	return out, nil
}

package httpdoor

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

// TopicConfig is what a topic is made with.
type TopicConfig struct {
	Partitions int    `json:"partitions,omitempty" minimum:"1" maximum:"16384" default:"1" doc:"Fixed then"`
	Ack        string `json:"ack,omitempty" enum:"none,page,disk" default:"disk" doc:"Least level of a publish"`
	Cleanup    string `json:"cleanup,omitempty" enum:"delete,compact" default:"delete" doc:"Of old ones"`
	TopicLimits
}

// TopicLimits is what of a topic can be changed. What is absent stays, or gets its default.
type TopicLimits struct {
	RetentionMillis  *int64 `json:"retention_ms,omitempty" minimum:"0" doc:"Age of messages; 0: any"`
	RetentionBytes   *int64 `json:"retention_bytes,omitempty" minimum:"0" doc:"Of each partition; 0: any"`
	RetentionRecords *int64 `json:"retention_records,omitempty" minimum:"0" doc:"Of each partition; 0: any"`
	MaxRecordBytes   *int   `json:"max_record_bytes,omitempty" minimum:"0" doc:"Largest message; 0: 1 MiB"`
	TTLMillis        *int64 `json:"ttl_ms,omitempty" minimum:"0" doc:"Messages are delivered so long; 0: any"`
	DedupMillis      *int64 `json:"dedup_window_ms,omitempty" minimum:"0" doc:"Of ids; 0: 2 minutes"`
}

// topicTag changes with the configuration of a topic, and when another one gets its name.
func topicTag(t *leat.TopicInfo) string { return tagOf(t.ID, t.Config) }

type adminTopicsQuery struct {
	AdminPage
	Q string `query:"q" maxLength:"249" doc:"Only topics whose name has this in it"`
}

type adminTopicsAnswer struct {
	Body struct {
		Topics []admindoc.TopicState `json:"topics" doc:"By name"`
		Next   string                `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
	}
}

type adminTopicAnswer struct {
	Status int
	ETag   string `header:"ETag" doc:"Changes with the configuration"`
	Body   admindoc.TopicState
}

type adminCreate struct {
	AdminTopicPath
	Body *TopicConfig `required:"false"`
}

type adminAlter struct {
	AdminTopicPath
	IfMatch string `header:"If-Match" doc:"ETag that the topic must have"`
	Body    TopicLimits
}

type adminDelete struct {
	AdminTopicPath
	IfMatch string `header:"If-Match" doc:"ETag that the topic must have"`
	DryRun  bool   `query:"dry_run" doc:"Only tell what would go"`
}

type adminPartitionsQuery struct {
	AdminTopicPath
	AdminPage
}

type adminPartitionsAnswer struct {
	Body struct {
		Partitions []admindoc.PartitionState `json:"partitions" doc:"By number"`
		Next       string                    `json:"next,omitempty" doc:"cursor of the next page; absent at end"`
	}
}

func (d *Door) adminTopicRoutes() {
	const path = "/topics/{topic}"
	register(d, admin("admin-list-topics", http.MethodGet, "/topics", "List topics"), d.adminTopics)
	create := admin("admin-create-topic", http.MethodPut, path, "Create a topic", http.StatusBadRequest,
		http.StatusConflict)
	create.DefaultStatus = http.StatusCreated
	register(d, create, d.adminCreate)
	register(d, admin("admin-get-topic", http.MethodGet, path, "Describe a topic", http.StatusNotFound),
		d.adminTopic)
	register(d, admin("admin-alter-topic", http.MethodPatch, path, "Change what a topic keeps",
		http.StatusBadRequest, http.StatusNotFound, http.StatusPreconditionFailed), d.adminAlter)
	register(d, admin("admin-delete-topic", http.MethodDelete, path, "Delete a topic with its messages",
		http.StatusNotFound, http.StatusPreconditionFailed), d.adminDelete)
	register(d, admin("admin-list-partitions", http.MethodGet, path+"/partitions",
		"List the partitions of a topic", http.StatusNotFound), d.adminPartitions)
}

func (d *Door) adminTopics(ctx context.Context, in *adminTopicsQuery) (*adminTopicsAnswer, error) {
	all, err := d.bus.Topics(ctx)
	if err != nil {
		return nil, err
	}
	page, next := cut(&in.AdminPage, all, func(t *leat.TopicInfo) string { return t.Name },
		func(t *leat.TopicInfo) bool { return strings.Contains(t.Name, in.Q) })
	out := &adminTopicsAnswer{}
	out.Body.Topics, out.Body.Next = make([]admindoc.TopicState, len(page)), next
	for i := range page {
		out.Body.Topics[i] = admindoc.TopicOf(&page[i])
	}
	return out, nil
}

func (d *Door) adminTopic(ctx context.Context, in *AdminTopicPath) (*adminTopicAnswer, error) {
	info, err := d.bus.Topic(ctx, in.Topic)
	if err != nil {
		return nil, err
	}
	return &adminTopicAnswer{Status: http.StatusOK, ETag: topicTag(&info),
		Body: admindoc.FullTopicOf(&info)}, nil
}

// adminTopicNow answers a change.
func (d *Door) adminTopicNow(ctx context.Context, name string, status int) (*adminTopicAnswer, error) {
	info, err := d.bus.Topic(ctx, name)
	if err != nil {
		return nil, err
	}
	return &adminTopicAnswer{Status: status, ETag: topicTag(&info), Body: admindoc.TopicOf(&info)}, nil
}

func (d *Door) adminCreate(ctx context.Context, in *adminCreate) (*adminTopicAnswer, error) {
	body := in.Body
	if body == nil {
		body = &TopicConfig{Partitions: 1, Ack: "disk", Cleanup: "delete"}
	}
	cfg := leat.TopicConfig{Partitions: body.Partitions}
	var err error
	if cfg.Ack, err = core.ParseAck(cmp.Or(body.Ack, "disk")); err != nil {
		return nil, err
	}
	if cfg.Cleanup, err = core.ParseCleanup(cmp.Or(body.Cleanup, "delete")); err != nil {
		return nil, err
	}
	change := body.change()
	set(&cfg.Retention, change.Retention)
	set(&cfg.RetentionBytes, change.RetentionBytes)
	set(&cfg.RetentionRecords, change.RetentionRecords)
	set(&cfg.MaxRecordBytes, change.MaxRecordBytes)
	set(&cfg.TTL, change.TTL)
	set(&cfg.DedupWindow, change.DedupWindow)
	if err := d.bus.CreateTopic(ctx, in.Topic, cfg); err != nil {
		return nil, err
	}
	return d.adminTopicNow(ctx, in.Topic, http.StatusCreated)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// change is what the limits change of a topic.
func (l *TopicLimits) change() leat.TopicChange {
	change := leat.TopicChange{RetentionBytes: l.RetentionBytes, RetentionRecords: l.RetentionRecords,
		MaxRecordBytes: l.MaxRecordBytes}
	if l.RetentionMillis != nil {
		keep := leat.KeepForever
		if millis := *l.RetentionMillis; millis > 0 {
			keep = millisToSpan(millis)
		}
		change.Retention = &keep
	}
	if l.TTLMillis != nil {
		change.TTL = new(millisToSpan(*l.TTLMillis))
	}
	if l.DedupMillis != nil {
		change.DedupWindow = new(millisToSpan(*l.DedupMillis))
	}
	return change
}

// millisToSpan gives milliseconds as a time, the longest there is where they are more.
func millisToSpan(millis int64) time.Duration {
	return time.Duration(min(millis, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

func (d *Door) adminAlter(ctx context.Context, in *adminAlter) (*adminTopicAnswer, error) {
	op := "alter topic " + core.Quote(in.Topic)
	change := in.Body.change()
	if change == (leat.TopicChange{}) {
		return nil, refuse(http.StatusBadRequest, op, "nothing to change")
	}
	info, err := d.bus.Topic(ctx, in.Topic)
	if err != nil {
		return nil, err
	}
	if err := matches(in.IfMatch, topicTag(&info), op); err != nil {
		return nil, err
	}
	if err := d.bus.AlterTopic(ctx, in.Topic, change); err != nil {
		return nil, err
	}
	return d.adminTopicNow(ctx, in.Topic, http.StatusOK)
}

func (d *Door) adminDelete(ctx context.Context, in *adminDelete) (*struct{ Body admindoc.Deleted }, error) {
	info, err := d.bus.Topic(ctx, in.Topic)
	if err != nil {
		return nil, err
	}
	if err := matches(in.IfMatch, topicTag(&info), "delete topic "+core.Quote(in.Topic)); err != nil {
		return nil, err
	}
	groups, err := d.bus.Groups(ctx)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body admindoc.Deleted }{admindoc.DeletedOf(&info, groups, in.DryRun)}
	if in.DryRun {
		return out, nil
	}
	return out, d.bus.DeleteTopic(ctx, in.Topic)
}

func (d *Door) adminPartitions(
	ctx context.Context, in *adminPartitionsQuery,
) (*adminPartitionsAnswer, error) {
	info, err := d.bus.Topic(ctx, in.Topic)
	if err != nil {
		return nil, err
	}
	page, next := cut(&in.AdminPage, info.Partitions,
		func(p *leat.PartitionInfo) string { return padded(int64(p.Partition)) },
		func(*leat.PartitionInfo) bool { return true })
	out := &adminPartitionsAnswer{}
	out.Body.Partitions, out.Body.Next = make([]admindoc.PartitionState, len(page)), next
	for i := range page {
		out.Body.Partitions[i] = admindoc.PartitionOf(&page[i])
	}
	return out, nil
}

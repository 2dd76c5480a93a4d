package httpdoor

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// Topic describes a topic.
type Topic struct {
	Name           string      `json:"name"`
	Ack            string      `json:"ack" doc:"Level that a publish gets at least" example:"disk"`
	MaxRecordBytes int         `json:"max_record_bytes" doc:"Largest message, with key, headers and 24 bytes"`
	Partitions     []Partition `json:"partitions"`
}

// Partition describes a partition. What is in [start, high_water) can be read.
type Partition struct {
	Partition int32 `json:"partition"`
	Start     int64 `json:"start" doc:"First offset that is kept"`
	HighWater int64 `json:"high_water" doc:"First offset that cannot be read yet"`
}

func topicOf(info *leat.TopicInfo) Topic {
	t := Topic{Name: info.Name, Ack: info.Config.Ack.String(), MaxRecordBytes: info.Config.MaxRecordBytes}
	for _, p := range info.Partitions {
		t.Partitions = append(t.Partitions, Partition{p.Partition, p.Start, p.HighWater})
	}
	return t
}

type topicPath struct {
	Topic string `path:"topic" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the topic"`
}

type topicsAnswer struct {
	Body struct {
		Topics []Topic `json:"topics" doc:"By name"`
		Next   string  `json:"next,omitempty" doc:"after for the next page; absent at the end"`
	}
}

// topicsMost bounds a page of topics.
const topicsMost = 1000

type topicsQuery struct {
	After string `query:"after" maxLength:"249" doc:"Begin behind the topic of this name"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Topics on the page"`
}

func (d *Door) topicRoutes() {
	register(d, huma.Operation{OperationID: "list-topics", Method: http.MethodGet, Path: "/v1/topics",
		Summary: "List topics", Tags: []string{"topics"}}, d.listTopics)
	register(d, huma.Operation{OperationID: "get-topic", Method: http.MethodGet, Path: "/v1/topics/{topic}",
		Summary: "Describe a topic", Tags: []string{"topics"}, Errors: []int{http.StatusNotFound}}, d.getTopic)
}

func (d *Door) listTopics(ctx context.Context, in *topicsQuery) (*topicsAnswer, error) {
	all, err := d.bus.Topics(ctx)
	if err != nil {
		return nil, err
	}
	out := &topicsAnswer{}
	out.Body.Topics = []Topic{}
	for i := range all {
		if all[i].Name <= in.After || core.Authorize(principalOf(ctx), core.ActionDescribe, all[i].Name) != nil {
			continue
		}
		if len(out.Body.Topics) == min(in.Limit, topicsMost) {
			out.Body.Next = out.Body.Topics[len(out.Body.Topics)-1].Name
			break
		}
		out.Body.Topics = append(out.Body.Topics, topicOf(&all[i]))
	}
	return out, nil
}

func (d *Door) getTopic(ctx context.Context, in *topicPath) (*struct{ Body Topic }, error) {
	info, err := d.topic(ctx, in.Topic)
	if err != nil {
		return nil, err
	}
	return &struct{ Body Topic }{topicOf(info)}, nil
}

// topic finds a topic.
func (d *Door) topic(ctx context.Context, name string) (*leat.TopicInfo, error) {
	all, err := d.bus.Topics(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(t leat.TopicInfo) bool { return t.Name == name })
	if i < 0 {
		return nil, core.NewError(core.CodeTopicNotFound, "topic "+core.Quote(name), nil)
	}
	return &all[i], nil
}

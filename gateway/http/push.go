package httpdoor

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/gateway/push"
)

// pushTag is the tag of the routes below /v1/push.
const pushTag = "push"

// PushConfig is what a push subscription is made with.
type PushConfig struct {
	Name        string `json:"name" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Chosen by the client"`
	Topic       string `json:"topic" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$"`
	Group       string `json:"group,omitempty" maxLength:"249" doc:"Of the topic; absent: push. and the name"`
	URL         string `json:"url" maxLength:"2048" doc:"That is posted to" example:"https://example.com/hook"`
	Ordered     bool   `json:"ordered,omitempty" doc:"Keep the order of each key: its messages one by one"`
	Concurrency int    `json:"concurrency,omitempty" minimum:"0" maximum:"256" doc:"POSTs at once; 0: 10"`
	Rate        int64  `json:"rate,omitempty" minimum:"0" doc:"POSTs a second at most; 0: any"`
	TimeoutMS   int64  `json:"timeout_ms,omitempty" minimum:"0" maximum:"300000" doc:"For a POST; 0: 10 s"`
	MaxAttempts int32  `json:"max_attempts,omitempty" minimum:"-1" maximum:"32767" doc:"0: 16; -1: any number"`
	RetryMinMS  int64  `json:"retry_min_ms,omitempty" minimum:"0" maximum:"86400000" doc:"First pause; 0: 1 s"`
	RetryMaxMS  int64  `json:"retry_max_ms,omitempty" minimum:"0" maximum:"86400000" doc:"Longest; 0: 1 h"`
}

func (c *PushConfig) config() push.Config {
	millis := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return push.Config{Name: c.Name, Topic: c.Topic, Group: c.Group, URL: c.URL, Ordered: c.Ordered,
		Concurrency: c.Concurrency, Rate: c.Rate, Timeout: millis(c.TimeoutMS), MaxAttempts: c.MaxAttempts,
		RetryMin: millis(c.RetryMinMS), RetryMax: millis(c.RetryMaxMS)}
}

func pushConfigOf(c *push.Config) PushConfig {
	return PushConfig{Name: c.Name, Topic: c.Topic, Group: c.Group, URL: c.URL, Ordered: c.Ordered,
		Concurrency: c.Concurrency, Rate: c.Rate, TimeoutMS: c.Timeout.Milliseconds(),
		MaxAttempts: c.MaxAttempts, RetryMinMS: c.RetryMin.Milliseconds(), RetryMaxMS: c.RetryMax.Milliseconds()}
}

// Push is a push subscription. Figures begin anew with the node.
type Push struct {
	PushConfig `yaml:",inline"`

	Created   time.Time  `json:"created"`
	State     string     `json:"state" enum:"running,stalled,paused" doc:"stalled: the topic cannot be read"`
	Reason    string     `json:"reason,omitempty" doc:"Why it is stalled, or paused by the receiver"`
	Secrets   int        `json:"secrets" doc:"That sign: more than one while they are rotated"`
	Delivered int64      `json:"delivered" doc:"POSTs that were answered by 2xx"`
	Failed    int64      `json:"failed" doc:"POSTs that were not"`
	InFlight  int64      `json:"in_flight" doc:"POSTs under way"`
	LastError *PushFault `json:"last_error,omitempty" doc:"The last POST that failed"`
}

// PushFault is a POST that failed.
type PushFault struct {
	Time      time.Time `json:"time"`
	Status    int       `json:"status,omitempty" doc:"Of the answer; absent: there was none"`
	Text      string    `json:"text"`
	Body      string    `json:"body,omitempty" doc:"Begin of the answer, at most 1 KiB"`
	Partition int32     `json:"partition" doc:"Of the message"`
	Offset    int64     `json:"offset"`
	Attempt   int32     `json:"attempt"`
}

// PushSecret is a subscription with its secret, which is told this once.
type PushSecret struct {
	Push   `yaml:",inline"`
	Secret string `json:"secret" doc:"That signatures are made with; it is not told again" example:"whsec_…"`
}

func pushOf(i *push.Info) Push {
	doc := Push{PushConfig: pushConfigOf(&i.Config), Created: i.Created, State: "running", Secrets: i.Secrets,
		Delivered: i.Delivered, Failed: i.Failed, InFlight: i.InFlight}
	switch {
	case i.Paused:
		doc.State, doc.Reason = "paused", i.Reason
	case i.Stalled != "":
		doc.State, doc.Reason = "stalled", i.Stalled
	}
	if f := i.LastFault; f != nil {
		doc.LastError = &PushFault{Time: f.Time, Status: f.Status, Text: f.Text, Body: f.Body,
			Partition: f.Partition, Offset: f.Offset, Attempt: f.Attempt}
	}
	return doc
}

// PushPath names a push subscription in a path.
type PushPath struct {
	Name string `path:"name" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the subscription"`
}

// GivenSecret is a secret that the client chose.
type GivenSecret struct {
	Secret string `json:"secret,omitempty" maxLength:"100" doc:"whsec_ and base64 of 24 to 64 bytes, or made"`
}

type pushAdd struct {
	Body struct {
		PushConfig
		GivenSecret
		Paused bool `json:"paused,omitempty" doc:"Do not begin yet"`
	}
}

type pushRotate struct {
	PushPath
	Body struct {
		GivenSecret
		KeepMS *int64 `json:"keep_ms,omitempty" minimum:"0" maximum:"2592000000" doc:"Those before sign on; 1 day"`
	}
}

// secretKept is how long a secret signs beside the one that follows it, unless somebody says.
const secretKept = 24 * time.Hour

type pushAnswer struct{ Body Push }

type pushSecretAnswer struct{ Body PushSecret }

type pushList struct {
	Body struct {
		Subscriptions []Push `json:"subscriptions" doc:"By name"`
		Next          string `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
	}
}

// pushRoutes registers what makes and shows push subscriptions, if the door has any. They are for
// administrators: a subscription reads a topic and sends it elsewhere.
func (d *Door) pushRoutes() {
	if d.pusher == nil {
		return
	}
	api := d.api.OpenAPI()
	api.Tags = append(api.Tags, &huma.Tag{Name: pushTag,
		Description: "Messages of a topic posted to a URL. The subscriptions are those of the node that answers."})
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/v1/push" + path, Summary: summary,
			Tags: []string{pushTag}, Errors: errors}
	}
	add := op("add-push", http.MethodPost, "", "Make a push subscription", http.StatusBadRequest,
		http.StatusNotFound, http.StatusConflict)
	add.DefaultStatus = http.StatusCreated
	add.Description = "Its group begins with the earliest message that the topic has."
	register(d, add, d.addPush)
	register(d, op("list-push", http.MethodGet, "", "List push subscriptions"), d.listPush)
	register(d, op("get-push", http.MethodGet, "/{name}", "Describe a push subscription", http.StatusNotFound),
		d.getPush)
	register(d, op("remove-push", http.MethodDelete, "/{name}", "Remove a push subscription",
		http.StatusNotFound), d.removePush)
	register(d, op("pause-push", http.MethodPost, "/{name}/pause", "Stop to post", http.StatusNotFound),
		d.pausePush)
	register(d, op("resume-push", http.MethodPost, "/{name}/resume", "Begin to post again",
		http.StatusNotFound), d.resumePush)
	register(d, op("rotate-push", http.MethodPost, "/{name}/secret", "Change the secret", http.StatusBadRequest,
		http.StatusNotFound), d.rotatePush)
}

// pushError gives errors about names a status.
func pushError(err error) error {
	var e *core.Error
	switch {
	case errors.Is(err, push.ErrNotFound) && errors.As(err, &e):
		return &badRequest{http.StatusNotFound, e}
	case errors.Is(err, push.ErrExists) && errors.As(err, &e):
		return &badRequest{http.StatusConflict, e}
	}
	return err
}

func (d *Door) addPush(ctx context.Context, in *pushAdd) (*pushSecretAnswer, error) {
	secret, err := d.pusher.Add(ctx, in.Body.config(), in.Body.Secret, in.Body.Paused)
	if err != nil {
		return nil, pushError(err)
	}
	return d.withSecret(in.Body.Name, secret)
}

func (d *Door) withSecret(name, secret string) (*pushSecretAnswer, error) {
	info, err := d.pusher.Find(name)
	if err != nil {
		return nil, pushError(err)
	}
	return &pushSecretAnswer{PushSecret{pushOf(&info), secret}}, nil
}

func (d *Door) listPush(_ context.Context, in *AdminPage) (*pushList, error) {
	page, next := cut(in, d.pusher.List(), func(i *push.Info) string { return i.Config.Name },
		func(*push.Info) bool { return true })
	out := &pushList{}
	out.Body.Subscriptions, out.Body.Next = make([]Push, len(page)), next
	for i := range page {
		out.Body.Subscriptions[i] = pushOf(&page[i])
	}
	return out, nil
}

func (d *Door) getPush(_ context.Context, in *PushPath) (*pushAnswer, error) {
	info, err := d.pusher.Find(in.Name)
	if err != nil {
		return nil, pushError(err)
	}
	return &pushAnswer{pushOf(&info)}, nil
}

func (d *Door) removePush(ctx context.Context, in *PushPath) (*struct{}, error) {
	if err := d.pusher.Remove(ctx, in.Name); err != nil {
		return nil, pushError(err)
	}
	return &struct{}{}, nil
}

func (d *Door) pausePush(ctx context.Context, in *PushPath) (*pushAnswer, error) {
	if err := d.pusher.Pause(ctx, in.Name); err != nil {
		return nil, pushError(err)
	}
	return d.getPush(ctx, in)
}

func (d *Door) resumePush(ctx context.Context, in *PushPath) (*pushAnswer, error) {
	if err := d.pusher.Resume(ctx, in.Name); err != nil {
		return nil, pushError(err)
	}
	return d.getPush(ctx, in)
}

func (d *Door) rotatePush(ctx context.Context, in *pushRotate) (*pushSecretAnswer, error) {
	keep := secretKept
	if millis := in.Body.KeepMS; millis != nil {
		keep = time.Duration(*millis) * time.Millisecond
	}
	secret, err := d.pusher.Rotate(ctx, in.Name, in.Body.Secret, keep)
	if err != nil {
		return nil, pushError(err)
	}
	return d.withSecret(in.Name, secret)
}

package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/messagedoc"
)

// GroupPath names a group.
type GroupPath struct {
	Topic string `path:"topic" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the topic"`
	Group string `path:"group" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the queue group"`
}

type pullInput struct {
	GroupPath
	Max   int    `query:"max" default:"100" minimum:"1" maximum:"1000" doc:"Messages at most"`
	Wait  int    `query:"wait" default:"0" minimum:"0" maximum:"30" doc:"Seconds to wait for a first message"`
	Lease int    `query:"lease" default:"0" minimum:"0" maximum:"86400" doc:"Seconds; 0: as the group has it"`
	Mode  string `query:"mode" enum:"queue,key-shared" doc:"Of the group; by default its members', or queue"`
	From  string `query:"from" default:"earliest" doc:"Of a new group: earliest, latest, an offset or @TIME"`
}

// PulledMessage is a message that was pulled, with what names this delivery of it.
type PulledMessage struct {
	Token   string `json:"token" doc:"For ack, nack, reject and extend, until the lease is over"`
	Attempt int32  `json:"attempt" doc:"Which delivery of the message this is, from 1 on"`
	Message
}

type pulledAnswer struct {
	Body struct {
		Messages []PulledMessage `json:"messages" doc:"None if nothing came in time"`
	}
}

// Tokens are those of messages that were pulled from this group.
type Tokens struct {
	Tokens []string `json:"tokens" minItems:"1" maxItems:"1000" doc:"As they were given out"`
}

type ackInput struct {
	GroupPath
	Body Tokens
}

type nackInput struct {
	GroupPath
	Body struct {
		Tokens
		DelayMillis *int64 `json:"delay_ms,omitempty" minimum:"0" maximum:"315360000000" doc:"Absent: the group's"`
		Reason      string `json:"reason,omitempty" maxLength:"1024" doc:"Of a last attempt: for the dead letter"`
	}
}

type rejectInput struct {
	GroupPath
	Body struct {
		Tokens
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Kept with the dead letter"`
	}
}

// TokenResult is what became of one token.
type TokenResult struct {
	OK    bool     `json:"ok"`
	Error *Problem `json:"error,omitempty" doc:"STALE_ACK (409): the lease is over, or it was used before"`
}

type answeredAnswer struct {
	Body struct {
		Done    int           `json:"done" doc:"Tokens that did what was asked"`
		Failed  int           `json:"failed" doc:"Tokens that did not"`
		Results []TokenResult `json:"results" doc:"One for each token, in order"`
	}
}

func (d *Door) pullRoutes() {
	route := func(id, verb, summary, about string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost,
			Path: "/v1/topics/{topic}/groups/{group}/" + verb, Summary: summary, Description: about,
			Tags: []string{"queue"}, Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict}}
	}
	register(d, route("pull", "pull", "Borrow messages of a queue group",
		"There is no session: messages are lent for the lease, and each comes with a token that ack, nack, reject "+
			"and extend take, from any client. What nobody answers for is delivered again when its lease is over."),
		d.pull)
	register(d, route("ack", "ack", "Say that messages are done", ""), d.ack)
	register(d, route("nack", "nack", "Say that an attempt failed", "The messages are delivered again."), d.nack)
	register(d, route("reject", "reject", "Say that messages are not worth another attempt",
		"They become dead letters."), d.reject)
	register(d, route("extend", "extend", "Begin leases anew", "Tokens stay the same."), d.extend)
}

// pull lends messages. The bus keeps what is lent, so nothing of it is lost with this request, or the door.
func (d *Door) pull(ctx context.Context, in *pullInput) (*pulledAnswer, error) {
	from, err := parseStart(in.From)
	if err != nil || from.places != nil {
		return nil, refuse(http.StatusBadRequest, "pull", "from: want earliest, latest, an offset or @TIME")
	}
	cfg := leat.PullConfig{Max: in.Max, Wait: time.Duration(in.Wait) * time.Second, From: from.at,
		Queue: leat.QueueConfig{Lease: time.Duration(in.Lease) * time.Second}}
	switch in.Mode {
	case "queue":
		cfg.Mode = leat.GroupQueue
	case "key-shared":
		cfg.Mode = leat.GroupKeyShared
	}
	if in.Wait > 0 {
		leave, err := d.enter()
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	list, err := d.bus.Pull(ctx, in.Topic, in.Group, cfg)
	if err != nil {
		return nil, err
	}
	out := &pulledAnswer{}
	out.Body.Messages = make([]PulledMessage, len(list))
	for i := range list {
		out.Body.Messages[i] = PulledMessage{Token: d.sealer.token(in.Topic, in.Group, list[i].Loan),
			Attempt: list[i].Attempt, Message: messagedoc.Of(&list[i].Message)}
	}
	return out, nil
}

func (d *Door) ack(ctx context.Context, in *ackInput) (*answeredAnswer, error) {
	return d.answer(ctx, &in.GroupPath, leat.Answer{Kind: leat.AnswerAck}, in.Body.Tokens)
}

func (d *Door) nack(ctx context.Context, in *nackInput) (*answeredAnswer, error) {
	a := leat.Answer{Kind: leat.AnswerNack, Delay: -1, Reason: in.Body.Reason}
	if in.Body.DelayMillis != nil {
		a.Delay = time.Duration(*in.Body.DelayMillis) * time.Millisecond
	}
	return d.answer(ctx, &in.GroupPath, a, in.Body.Tokens.Tokens)
}

func (d *Door) reject(ctx context.Context, in *rejectInput) (*answeredAnswer, error) {
	a := leat.Answer{Kind: leat.AnswerReject, Reason: in.Body.Reason}
	return d.answer(ctx, &in.GroupPath, a, in.Body.Tokens.Tokens)
}

func (d *Door) extend(ctx context.Context, in *ackInput) (*answeredAnswer, error) {
	return d.answer(ctx, &in.GroupPath, leat.Answer{Kind: leat.AnswerExtend}, in.Body.Tokens)
}

// answer hands on what is said of messages. A token that is not good spoils no other.
func (d *Door) answer(
	ctx context.Context, at *GroupPath, a leat.Answer, tokens []string,
) (*answeredAnswer, error) {
	out := &answeredAnswer{}
	out.Body.Results = make([]TokenResult, len(tokens))
	loans, which := make([]leat.Loan, 0, len(tokens)), make([]int, 0, len(tokens))
	for i, token := range tokens {
		loan, err := d.sealer.loan(at.Topic, at.Group, token)
		if err != nil {
			out.Body.Results[i].Error = problemOf(refuse(http.StatusBadRequest, a.Kind.String(), "%v", err))
			continue
		}
		loans, which = append(loans, loan), append(which, i)
	}
	results, err := d.bus.Answer(ctx, at.Topic, at.Group, a, loans)
	if err != nil {
		return nil, err
	}
	for i, err := range results {
		if err != nil {
			out.Body.Results[which[i]].Error = problemOf(err)
		}
	}
	for i := range out.Body.Results {
		r := &out.Body.Results[i]
		if r.OK = r.Error == nil; r.OK {
			out.Body.Done++
		} else {
			out.Body.Failed++
		}
	}
	return out, nil
}

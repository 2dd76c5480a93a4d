package leat

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// DeadLetters implements Backend: each node tells about the partitions it has.
func (c *client) DeadLetters(ctx context.Context) ([]DeadLetterTopic, error) {
	answers, err := askAll[wire.DeadLettersAnswer](ctx, c, wire.OpDeadLetters, wire.Empty{})
	if err != nil {
		return nil, err
	}
	found := map[string]*DeadLetterTopic{}
	for i := range answers {
		for j := range answers[i].answer.Topics {
			body := &answers[i].answer.Topics[j]
			info := found[body.Name]
			if info == nil {
				info = letterTopic(body, answers)
				found[body.Name] = info
			}
			addLetters(info, body, answers[i].node)
		}
	}
	list := make([]DeadLetterTopic, 0, len(found))
	for _, info := range found {
		list = append(list, *info)
	}
	slices.SortFunc(list, func(a, b DeadLetterTopic) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// letterTopic describes a topic of whose partitions nothing is known but the node.
func letterTopic(b *wire.DeadLettersBody, answers []nodeAnswer[wire.DeadLettersAnswer]) *DeadLetterTopic {
	info := &DeadLetterTopic{Name: b.Name, Topic: b.Topic, Group: b.Group}
	for number, node := range b.Placement {
		err := core.Errorf(core.CodeUnavailable, "describe the dead letters of "+core.Quote(b.Name),
			"node %d did not say", node)
		for i := range answers {
			if answers[i].node == node && answers[i].err != nil {
				err.Err = answers[i].err
			}
		}
		info.Partitions = append(info.Partitions,
			DeadLetterPartition{Partition: int32(number), Node: node, Err: err})
	}
	return info
}

func addLetters(info *DeadLetterTopic, b *wire.DeadLettersBody, from uint16) {
	for _, p := range b.Local {
		if p.Partition < 0 || int(p.Partition) >= len(info.Partitions) {
			continue // of a topic that was deleted and created again meanwhile
		}
		at := &info.Partitions[p.Partition]
		*at = DeadLetterPartition{Partition: p.Partition, Node: from, Start: p.Start, End: p.End,
			Pending: p.Pending, Redriven: p.Redriven, Dropped: p.Dropped}
		if p.Code != 0 {
			at.Err = bodyError(core.Code(p.Code), p.Error)
		}
	}
}

// letterNode finds the node that has a partition of dead letters.
func (c *client) letterNode(ctx context.Context, op, topic string, partition int32) (*clientNode, error) {
	if err := core.ValidateName("topic", topic); err != nil {
		return nil, err
	}
	t, err := c.topic(ctx, op, topic)
	if err != nil {
		return nil, err
	}
	if partition < 0 || int(partition) >= len(*t.placement.Load()) {
		return nil, core.Errorf(core.CodePartitionUnknown, t.op(op), "partition %d of %d", partition,
			len(*t.placement.Load()))
	}
	return c.node(t.nodeOf(partition)), nil
}

// ReadDeadLetters implements Backend.
func (c *client) ReadDeadLetters(
	ctx context.Context, topic string, r DeadLetterRead,
) (DeadLetterPage, error) {
	node, err := c.letterNode(ctx, "read dead letters of", topic, r.Partition)
	if err != nil {
		return DeadLetterPage{}, err
	}
	body := wire.DeadLetterReadBody{Topic: topic, Partition: r.Partition, From: r.From, To: r.To, Limit: r.Limit,
		Bare: r.Bare, Job: r.Job, Filter: wire.DeadLetterFilterBody{Key: presentBytes(r.Filter.Key),
			Code: uint16(r.Filter.Code), Since: r.Filter.Since, Until: r.Filter.Until}}
	for _, h := range r.Filter.Headers {
		body.Filter.Headers = append(body.Filter.Headers, wire.HeaderBody(h))
	}
	var answer wire.DeadLetterPageBody
	if err := c.ask(ctx, node, true, wire.OpReadDeadLetters, body, &answer); err != nil {
		return DeadLetterPage{}, err
	}
	page := DeadLetterPage{Next: answer.Next, End: answer.End}
	if answer.Next > answer.End || answer.Next <= r.From && answer.Next < answer.End {
		return page, wire.Errorf("dead letters from %d on: the next is %d, the end %d", r.From, answer.Next,
			answer.End)
	}
	for i := range answer.Letters {
		page.Letters = append(page.Letters, letterOf(topic, r.Partition, &answer.Letters[i]))
	}
	return page, nil
}

func letterOf(topic string, partition int32, b *wire.DeadLetterBody) DeadLetter {
	letter := DeadLetter{Topic: topic, Partition: partition, Offset: b.Offset, Died: time.Unix(0, b.Died),
		Size: b.Size, Known: b.Origin != nil}
	if b.Key != nil {
		letter.Key = *b.Key
	}
	if b.Value != nil {
		letter.Value = *b.Value
	}
	for _, h := range b.Headers {
		letter.Headers = append(letter.Headers, Header(h))
	}
	if o := b.Origin; o != nil {
		letter.Origin = DeadLetterOrigin{Topic: o.Topic, Partition: o.Partition, Offset: o.Offset, Time: o.Time,
			Attempts: o.Attempts, Code: Code(o.Code), Reason: string(o.Reason), Group: o.Group}
	}
	return letter
}

// presentBytes is nil for nil, so that nothing and empty differ in a body.
func presentBytes(b []byte) *[]byte {
	if b == nil {
		return nil
	}
	return &b
}

// SettleDeadLetters implements Backend.
func (c *client) SettleDeadLetters(ctx context.Context, topic string, s DeadLetterSettle) (int64, error) {
	node, err := c.letterNode(ctx, "settle dead letters of", topic, s.Partition)
	if err != nil {
		return 0, err
	}
	body := wire.DeadLetterSettleBody{Topic: topic, Partition: s.Partition, Job: s.Job, Runs: s.Runs,
		Dropped: s.Dropped, Done: s.Done}
	var answer wire.DeadLetterSettled
	err = c.ask(ctx, node, true, wire.OpSettleDeadLetters, body, &answer)
	return answer.Settled, err
}

// lettersWait bounds how long a member waits for the topic of its dead letters to be made.
const lettersWait = 2 * time.Second

// prepareLetters makes the topic of a queue group's dead letters where a node has partitions that cannot make
// it by itself, because another one creates topics. Without it letters wait at their group until a member
// comes while that node is there, so it is no error that it cannot be made now. It reports whether it
// is there for sure.
func (c *client) prepareLetters(t *clientTopic, group string) bool {
	name, err := core.DeadLetterName(t.name, group)
	meta := c.metaNode().id
	if err != nil || !slices.ContainsFunc(t.nodesOf(), func(node uint16) bool { return node != meta }) {
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, lettersWait)
	defer cancel()
	_, err = c.topic(ctx, "subscribe to", name)
	if core.CodeOf(err) == core.CodeTopicNotFound {
		err = c.CreateTopic(ctx, name, core.DeadLetterConfig(t.cfg)) // see above; another member may be first
	}
	return err == nil || core.CodeOf(err) == core.CodeTopicExists
}

package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// CreateTopic implements leat.Backend.
func (n *Node) CreateTopic(ctx context.Context, name string, cfg leat.TopicConfig) error {
	if err := core.ValidateName("topic", name); err != nil {
		return err
	}
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(name); err != nil {
		return err
	}
	op := "create topic " + core.Quote(name)
	if err := n.writesCatalogue(op); err != nil {
		return err
	}
	_, err := askNode(ctx, n, op, func(r actors.Reply[struct{}]) any {
		return actors.CreateTopic{Name: name, Config: cfg, Reply: r}
	})
	if err != nil {
		return err
	}
	n.awaitFollowers(ctx)
	return nil
}

// DeleteTopic implements leat.Backend.
func (n *Node) DeleteTopic(ctx context.Context, name string) error {
	if err := core.ValidateName("topic", name); err != nil {
		return err
	}
	op := "delete topic " + core.Quote(name)
	if err := n.writesCatalogue(op); err != nil {
		return err
	}
	id, err := askNode(ctx, n, op, func(r actors.Reply[uint64]) any {
		return actors.DeleteTopicNamed{Name: name, Reply: r}
	})
	if err != nil {
		return err
	}
	n.awaitFollowers(ctx)
	return n.commits.forget(ctx, n.groups, id)
}

// Topics implements leat.Backend.
func (n *Node) Topics(ctx context.Context) ([]leat.TopicInfo, error) {
	return askNode(ctx, n, "list topics", func(r actors.Reply[[]leat.TopicInfo]) any {
		return actors.ListTopics{Reply: r}
	})
}

// AlterTopic implements leat.Backend.
func (n *Node) AlterTopic(ctx context.Context, name string, change leat.TopicChange) error {
	op := "alter topic " + core.Quote(name)
	if err := n.writesCatalogue(op); err != nil {
		return err
	}
	_, err := askNode(ctx, n, op, func(r actors.Reply[struct{}]) any {
		return actors.AlterTopic{Name: name, Change: change, Reply: r}
	})
	if err != nil {
		return err
	}
	n.awaitFollowers(ctx)
	return nil
}

// askNode has the node's actor do what op says. Where ctx ends first, the actor may do it all the same.
func askNode[R any](
	ctx context.Context, n *Node, op string, request func(actors.Reply[R]) any,
) (R, error) {
	answer, err := actors.Call(ctx, n.system, n.self, request)
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		err = fmt.Errorf("leat: %s: %w before there was an answer: look whether it was done, then try again", op,
			cause)
	}
	return answer, err
}

// Cluster implements leat.Backend.
func (n *Node) Cluster(context.Context) (leat.ClusterInfo, error) {
	if n.cluster == nil {
		return leat.ClusterInfo{Nodes: []leat.NodeInfo{{Up: true}}}, nil
	}
	return n.cluster.info(), nil
}

// Describe implements actors.PartitionShell.
func (p *partition) Describe() leat.PartitionInfo {
	if p.log == nil {
		return leat.PartitionInfo{Partition: p.number, Err: p.refusal()}
	}
	return leat.PartitionInfo{
		Partition: p.number, Start: p.log.Start(), End: p.log.End(), HighWater: p.highWater.Load(),
		DurableEnd: p.log.DurableEnd(), Bytes: p.log.Bytes(), Err: p.refusal(),
	}
}

// OpenProducer implements leat.Backend.
func (n *Node) OpenProducer(name string, o leat.ProducerOptions) (leat.ProducerBackend, error) {
	t, err := n.topicFor("open a producer on", name)
	if err != nil {
		return nil, err
	}
	if o.ID != "" {
		return n.openNamed(t, o)
	}
	return n.newProducer(t, o), nil
}

// newProducer registers a producer; its actor and answers are made at its first PublishAsync.
func (n *Node) newProducer(t *topic, o leat.ProducerOptions) *producer {
	id := n.nextID()
	p := &producer{node: n, topic: t, options: o, level: o.Ack.Or(t.cfg.Ack)}
	p.sticky.Store(id * core.MergeFrameBytes) // producers do not walk the partitions in step
	p.answers = answers{
		op: t.op("publish to"), topic: t.name, closing: n.closing, sys: n.system,
		room: make(chan struct{}), start: starter{make: func() error { return p.startAnswers(id) }},
		onPanic: func(cause any) {
			n.logger.Error("publish callback panicked", "topic", t.name, "panic", fmt.Sprint(cause))
		},
	}
	p.index = n.register(p)
	return p
}

// startAnswers makes the lanes and the actor that calls back.
func (p *producer) startAnswers(id uint64) error {
	n, a := p.node, &p.answers
	mailbox, err := actors.NewMailbox[actors.Completion](actors.MailboxOptions{
		DataCapacity: 2 * answerRing, Senders: len(n.shards) + 1, MaxBatch: answerRun, SendBatch: answerRun,
	})
	if err != nil {
		return err
	}
	for range n.shards {
		lane, err := mailbox.Sender()
		if err != nil {
			return err
		}
		a.lanes = append(a.lanes, lane)
	}
	if a.aside.self, err = mailbox.Sender(); err != nil {
		return err
	}
	a.slots = make([]answerSlot, answerRing)
	props := mailbox.Props(func() actors.Actor { return actors.NewProducerActor(a) }, n.system.Goroutines())
	a.pid, err = n.system.Spawn(props, fmt.Sprintf("producer/%d", id))
	return err
}

// closeProducer flushes, stops the actor and frees the producer's index.
func (n *Node) closeProducer(p *producer) error {
	ctx, cancel := n.closeContext()
	defer cancel()
	if err := p.drain(ctx); err != nil {
		return err // what hangs in the journal still answers to this index
	}
	err := p.stopAnswers(ctx)
	n.unregister(p.index)
	return err
}

// OpenSubscription implements leat.Backend.
func (n *Node) OpenSubscription(name string, o leat.SubscribeOptions) (leat.SubscriptionBackend, error) {
	t, err := n.topicFor("subscribe to", name)
	if err != nil {
		return nil, err
	}
	if err := n.subscribable(t, o.Group); err != nil {
		return nil, err
	}
	if o.Mode != leat.GroupStream {
		return n.openQueue(t, o)
	}
	if o.Group != "" {
		if err := n.refuseStream(t, o.Group); err != nil {
			return nil, err
		}
	}
	filter, err := readFilter(o.Filter)
	if err != nil {
		return nil, err
	}
	s := &subscription{node: n, topic: t, options: o, filter: filter, sleeper: newSleeper(), id: n.nextID()}
	s.news = newAssignmentNews(o.OnAssign)
	if o.Group == "" {
		err = s.readAll()
	} else {
		s.byPart = make([]atomic.Pointer[cursor], len(t.partitions))
		s.member, err = n.groups.Join(o.Group, t.id, int32(len(t.partitions)), s)
	}
	if err != nil {
		_ = s.Close() // it was no member: this only gives back the cursors that were placed
		return nil, err
	}
	n.mu.Lock()
	n.subs[s.id] = s
	n.mu.Unlock()
	return s, nil
}

// readAll places a cursor in every partition that is wanted. Latest is the end as of now, so that nothing
// published after Subscribe returned is missed.
func (s *subscription) readAll() error {
	if err := s.options.CheckEach(s.topic.op("subscribe to"), len(s.topic.partitions)); err != nil {
		return err
	}
	for _, p := range s.topic.local {
		at, wanted := s.options.StartOf(p.number)
		if !wanted {
			continue
		}
		if p.log == nil {
			s.change(change{cursor: s.newCursor(p)}) // the loop yields why, and goes on with the others
			continue
		}
		from, err := p.resolve(at)
		if err != nil {
			return err
		}
		c := s.newCursor(p)
		c.start(from)
		s.cursors = append(s.cursors, c)
		p.readers.add(s.sleeper)
	}
	return nil
}

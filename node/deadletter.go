package node

import (
	"context"
	"math"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// letterboxes is what the node knows of the partitions of dead-letter topics that it has. Which letters were
// settled is stored in __groups, beside the commits; the letters themselves are records like others.
//
//	bury ──▶ <topic>.dlq.<group> ──read──▶ a job publishes them ──settle──▶ __groups ──▶ log cut to next
type letterboxes struct {
	mu      sync.Mutex // guards the following
	boxes   map[letterKey]*letterbox
	writers map[uint64]*producer // into dead-letter topics, by id
}

type letterKey struct {
	topic     uint64
	partition int32
}

// letterbox is one partition of a dead-letter topic. The turn belongs to whoever settles, or looks for
// letters that are there already, and is held across the disk.
type letterbox struct {
	turn chan struct{} // capacity 1

	mu     sync.Mutex // guards the following
	state  core.DeadLetterState
	home   *partition // of __groups, where the state is stored; nil until it is needed
	job    int64      // that works on it, 0 for none
	ended  int64      // the last job that said that it was done
	until  int64      // when it has been silent for too long, on the clock's Mono
	recent recentLetters
}

// jobSilence is how long a job may be silent in nanoseconds before another may take its place.
const jobSilence = int64(30e9)

// box gives the letterbox of a partition of a dead-letter topic.
func (l *letterboxes) box(key letterKey) *letterbox {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.boxes[key]
	if b == nil {
		b = &letterbox{turn: make(chan struct{}, 1)}
		if l.boxes == nil {
			l.boxes = make(map[letterKey]*letterbox)
		}
		l.boxes[key] = b
	}
	return b
}

// known gives the letterboxes that there are.
func (l *letterboxes) known() map[letterKey]*letterbox {
	l.mu.Lock()
	defer l.mu.Unlock()
	boxes := make(map[letterKey]*letterbox, len(l.boxes))
	for key, b := range l.boxes {
		boxes[key] = b
	}
	return boxes
}

// forget drops what is known of a deleted topic. Records of it that are left in __groups are of a topic that
// is not there: its id is never given again.
func (l *letterboxes) forget(topic uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.boxes {
		if key.topic == topic {
			delete(l.boxes, key)
		}
	}
	delete(l.writers, topic)
}

// live gives the records that are stored in a partition of __groups, for a snapshot.
func (l *letterboxes) live(p *partition) []core.DeadLetterRecord {
	var list []core.DeadLetterRecord
	for key, b := range l.known() {
		b.mu.Lock()
		if b.home == p {
			list = append(list, addressed(b.state.Snapshot(), key)...)
		}
		b.mu.Unlock()
	}
	return list
}

// addressed names topic and partition in records.
func addressed(records []core.DeadLetterRecord, key letterKey) []core.DeadLetterRecord {
	for i := range records {
		records[i].TopicID, records[i].Partition = key.topic, key.partition
	}
	return records
}

// restoreLetters takes over a record stored in a partition of __groups, if its topic is still there.
func (n *Node) restoreLetters(home *partition, stored *core.Record) error {
	r, err := core.DecodeDeadLetterRecord(stored.Key, stored.Value)
	if err != nil {
		return err
	}
	t := n.topicWithID(r.TopicID)
	if t == nil || int(r.Partition) >= len(t.partitions) {
		return nil
	}
	end := int64(math.MaxInt64)
	if log := t.partitions[r.Partition].log; log != nil {
		end = log.End()
	}
	b := n.letters.box(letterKey{r.TopicID, r.Partition})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.home = home
	b.state.Restore(&r, end)
	return nil
}

// take takes the turn of a letterbox; give it back.
func (b *letterbox) take(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *letterbox) give() { <-b.turn }

// hold makes job the one that works on the letters, if it names one, or says that another one does.
func (b *letterbox) hold(job int64, c clock.Clock, op string) error {
	if job == 0 {
		return nil
	}
	now := c.Mono()
	b.mu.Lock()
	defer b.mu.Unlock()
	if job == b.ended {
		return nil // its end has overtaken one of its requests
	}
	if b.job != 0 && b.job != job && now < b.until {
		return core.NewError(core.CodeRedriving, op, nil)
	}
	b.job, b.until = job, now+jobSilence
	return nil
}

// letterPartition finds a partition of a dead-letter topic that this node has.
func (n *Node) letterPartition(op, name string, number int32) (*partition, error) {
	t, err := n.topicFor(op, name)
	if err != nil {
		return nil, err
	}
	if _, _, ok := core.SplitDeadLetterName(name); !ok {
		err := core.Errorf(core.CodeTopicNotFound, t.op(op), "it is no topic of dead letters")
		err.Hint = "topics of dead letters are named <topic>.dlq.<group>: leat dlq ls lists them"
		return nil, err
	}
	return t.readable(number)
}

// DeadLetters implements leat.Backend.
func (n *Node) DeadLetters(ctx context.Context) ([]leat.DeadLetterTopic, error) {
	var list []leat.DeadLetterTopic
	for _, t := range n.userTopics() {
		topic, group, ok := core.SplitDeadLetterName(t.name)
		if !ok {
			continue
		}
		info := leat.DeadLetterTopic{Name: t.name, Topic: topic, Group: group}
		for _, p := range t.partitions {
			info.Partitions = append(info.Partitions, n.describeLetters(p))
		}
		list = append(list, info)
	}
	return list, ctx.Err()
}

func (n *Node) describeLetters(p *partition) leat.DeadLetterPartition {
	info := leat.DeadLetterPartition{Partition: p.number, Node: p.topic.placement.Node(p.number)}
	if p.log == nil {
		info.Err = p.refusal()
		return info
	}
	b := n.letters.box(letterKey{p.topic.id, p.number})
	b.mu.Lock()
	defer b.mu.Unlock()
	info.Start, info.End = p.log.Start(), p.highWater.Load()
	info.Pending = b.state.Pending(info.Start, info.End)
	info.Redriven, info.Dropped = b.state.Redriven(), b.state.Dropped()
	return info
}

// SettleDeadLetters implements leat.Backend.
func (n *Node) SettleDeadLetters(ctx context.Context, name string, s leat.DeadLetterSettle) (int64, error) {
	const verb = "settle dead letters of"
	p, err := n.letterPartition(verb, name, s.Partition)
	if err != nil {
		return 0, err
	}
	b := n.letters.box(letterKey{p.topic.id, p.number})
	if err := b.hold(s.Job, n.clock, p.op(verb)); err != nil {
		return 0, err
	}
	fresh := int64(0)
	if len(s.Runs) > 0 {
		if fresh, err = n.settleLetters(ctx, p, b, &s); err != nil {
			return 0, err
		}
	}
	if s.Done {
		b.mu.Lock()
		if b.ended = s.Job; b.job == s.Job {
			b.job = 0
		}
		b.mu.Unlock()
	}
	return fresh, nil
}

// settleLetters notes what became of letters, stores it at the level of their topic, and lets the log of the
// letters go up to the first that is pending. The state changes first and is stored then, so that a snapshot
// of __groups that is under way cannot miss it; what could not be stored is stored with the next.
func (n *Node) settleLetters(
	ctx context.Context, p *partition, b *letterbox, s *leat.DeadLetterSettle,
) (fresh int64, err error) {
	key := letterKey{p.topic.id, p.number}
	if err := b.take(ctx); err != nil {
		return 0, err
	}
	defer b.give()
	start, end := p.log.Start(), p.highWater.Load()
	b.mu.Lock()
	if b.home == nil {
		b.home = n.partitionForName(p.topic.name)
	}
	home := b.home
	if home != nil {
		for _, run := range s.Runs {
			fresh += b.state.Settle(run[0], run[1], start, end, s.Dropped)
		}
	}
	dirty := addressed(b.state.Dirty(), key)
	next := b.state.Next()
	b.mu.Unlock()
	if home == nil {
		return 0, core.Errorf(core.CodeUnavailable, p.op("settle dead letters of"),
			"no partition of %s is on this node, where that could be stored", core.GroupsTopic)
	}
	writer := n.commits.writer(p.topic.id)
	for i := range dirty {
		m := leat.Message{Key: dirty[i].EncodeKey(nil), Partition: home.number}
		if !dirty[i].Removed {
			m.Value = dirty[i].EncodeValue(nil)
		}
		if _, err := writer.Publish(ctx, m); err != nil {
			return 0, err
		}
	}
	b.mu.Lock()
	b.state.Stored(dirty)
	b.mu.Unlock()
	n.commits.cutIfRolled(home.number)
	return fresh, p.log.TrimTo(next)
}

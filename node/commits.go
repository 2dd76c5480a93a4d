package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// commitWriter stores commits in __groups. Each goes to the partition of its group, at the level of
// its data topic, so that a commit is as safe as what it says was handled.
type commitWriter struct {
	node   *Node
	topic  *topic
	page   *producer
	disk   *producer
	groups *actors.Coordinator

	// cutting holds a token per partition of __groups while a snapshot of it is under way, or its groups
	// are being deleted: a snapshot from before, written after, would bring them back.
	cutting [core.GroupsPartitions]chan struct{}
	cuts    sync.WaitGroup // snapshots under way
}

var _ actors.CommitLog = (*commitWriter)(nil)

func newCommitWriter(n *Node, groups *topic) *commitWriter {
	manual := leat.ProducerOptions{Partitioner: leat.Manual, Ack: core.AckPage}
	w := &commitWriter{node: n, topic: groups, page: n.newProducer(groups, manual)}
	manual.Ack = core.AckDisk
	w.disk = n.newProducer(groups, manual)
	for i := range w.cutting {
		w.cutting[i] = make(chan struct{}, 1)
	}
	return w
}

// restore replays __groups into the coordinator.
func (w *commitWriter) restore() error {
	for _, p := range w.topic.partitions {
		if err := w.restorePartition(p); err != nil {
			return err
		}
	}
	return w.node.queues.restored(w.node)
}

// restorePartition replays what this node has of __groups, before a group of the partition is joined.
func (w *commitWriter) restorePartition(p *partition) error {
	switch {
	case !p.here:
		return nil
	case p.log == nil:
		w.node.report("commits of some groups cannot be read", p, p.refusal())
		return nil
	}
	return p.replay(func(r core.Record) error {
		if core.IsProducerName(r.Key) {
			return w.node.restoreName(p, &r)
		}
		if core.IsDeadLetterRecord(r.Key) {
			return w.node.restoreLetters(p, &r)
		}
		if core.IsQueueRecord(r.Key) {
			return w.node.restoreQueue(p, &r)
		}
		c, err := core.DecodeCommit(r.Key, r.Value)
		if err == nil && w.known(&c) {
			w.groups.Restore(c)
		}
		return err
	})
}

// known reports whether a stored commit is about something that still exists, and brings it back to
// the end of a log that lost its tail, whose offsets will be given again.
func (w *commitWriter) known(c *core.Commit) bool {
	t := w.node.topicWithID(c.TopicID)
	if t == nil || int(c.Partition) >= len(t.partitions) {
		return false
	}
	if log := t.partitions[c.Partition].log; log != nil {
		c.Offset = min(c.Offset, log.End())
	}
	return true
}

// Append implements actors.CommitLog: done is called once, when all commits are stored or one failed.
func (w *commitWriter) Append(commits []core.Commit, done func(error)) {
	one := afterAll(len(commits), done)
	for i := range commits {
		w.writer(commits[i].TopicID).PublishAsync(commitMessage(&commits[i]), one)
	}
	for i := range commits {
		w.cutIfRolled(core.GroupsPartition(commits[i].Group))
	}
}

// afterAll makes the answer of n publishes: the last one calls done, with the first error of all.
func afterAll(n int, done func(error)) func(leat.Receipt, error) {
	left := new(atomic.Int32)
	left.Store(int32(n))
	first := new(atomic.Pointer[error])
	return func(_ leat.Receipt, err error) {
		if err != nil {
			first.CompareAndSwap(nil, &err)
		}
		if left.Add(-1) > 0 {
			return
		}
		if failed := first.Load(); failed != nil {
			done(*failed)
			return
		}
		done(nil)
	}
}

// storeAll stores records on the disk, with few syncs for many. Where ctx ends before that, some of them may
// be stored later.
func (w *commitWriter) storeAll(ctx context.Context, list []leat.Message) error {
	if len(list) == 0 {
		return nil
	}
	stored := make(chan error, 1)
	one := afterAll(len(list), func(err error) { stored <- err })
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.disk.PublishAsync(list[i], one)
	}
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *commitWriter) writer(topicID uint64) *producer {
	if t := w.node.topicWithID(topicID); t != nil && t.cfg.Ack <= core.AckPage {
		return w.page
	}
	return w.disk
}

func commitMessage(c *core.Commit) leat.Message {
	m := leat.Message{Key: core.EncodeCommitKey(nil, c), Partition: core.GroupsPartition(c.Group)}
	if !c.Removed {
		m.Value = core.EncodeCommitValue(nil, c)
	}
	return m
}

// cutIfRolled writes a snapshot behind a roll of one partition and cuts what it replaces.
func (w *commitWriter) cutIfRolled(partition int32) {
	p := w.topic.partitions[partition]
	if p.log == nil || p.log.Segments() < 2 {
		return
	}
	select {
	case w.cutting[partition] <- struct{}{}:
	default:
		return
	}
	w.cuts.Go(func() {
		defer func() { <-w.cutting[partition] }()
		if err := w.cut(p); err != nil {
			w.node.report("snapshot of commits failed; the log grows until one succeeds", p, err)
		}
	})
}

// whileNoCut waits until no snapshot of a partition is under way, and keeps them away while do runs.
func (w *commitWriter) whileNoCut(ctx context.Context, partition int32, do func() error) error {
	select {
	case w.cutting[partition] <- struct{}{}:
		defer func() { <-w.cutting[partition] }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *commitWriter) cut(p *partition) error {
	from := p.log.End()
	ctx, cancel := w.node.closeContext()
	defer cancel()
	live, err := w.groups.Snapshot(p.number)
	if err != nil {
		return err
	}
	var list []leat.Message
	for i := range live {
		list = append(list, commitMessage(&live[i]))
	}
	for _, r := range w.node.letters.live(p) {
		list = append(list, leat.Message{Key: r.EncodeKey(nil), Value: r.EncodeValue(nil), Partition: p.number})
	}
	if err := w.storeAll(ctx, list); err != nil {
		return err
	}
	for _, stored := range w.node.names.live(p) {
		if err := w.storeName(ctx, p, &stored); err != nil {
			return err
		}
	}
	if err := w.node.queues.snapshot(ctx, p); err != nil {
		return err
	}
	return p.log.TrimTo(from)
}

// storeName stores the record of a producer's name in a partition of __groups, on the disk.
func (w *commitWriter) storeName(ctx context.Context, p *partition, name *core.ProducerName) error {
	m := leat.Message{Key: name.EncodeKey(nil), Value: name.EncodeValue(nil), Partition: p.number}
	_, err := w.disk.Publish(ctx, m)
	return err
}

// forget removes the commits of a deleted topic.
func (w *commitWriter) forget(ctx context.Context, groups *actors.Coordinator, topicID uint64) error {
	var errs []error
	for _, c := range groups.ForgetTopic(topicID) {
		c.Removed = true
		_, err := w.disk.Publish(ctx, commitMessage(&c))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// close waits for snapshots under way.
func (w *commitWriter) close() { w.cuts.Wait() }

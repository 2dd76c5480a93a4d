package node

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// The pause before a failed write is tried again doubles from the one to the other.
const (
	queueRetryMin = 50 * time.Millisecond
	queueRetryMax = 5 * time.Second
)

// queueLog is what of a group goes to __groups: failed records one by one, before they are delivered again,
// and progress. One batch is on its way at a time. It is guarded by the group's lock.
//
// Invariant: what is written about a record, or the progress of a partition, stands in the log in the order
// in which it came to be.
type queueLog struct {
	changes []queueChange
	erased  map[recordRef]bool // attempts that are to be removed, see eraseSettled
	round   uint64             // of the next batch, from 1 on
	storing uint64             // round of the newest attempt that is to be stored
	done    uint64             // rounds up to here are stored
	writing *queueBatch
	held    []heldGrant // handed out, and kept back until their attempts are stored
	waiters []chan error
	full    bool // the next batch says everything: one before it failed
	failed  uint
	retryAt int64
}

// queueChange is a record of kind 4 to be.
type queueChange struct {
	part   *queuePart
	record core.QueueRecord
}

// heldGrant is given to its member when the round is stored.
type heldGrant struct {
	grant *queueGrant
	round uint64
}

// queueBatch is records on their way to __groups.
type queueBatch struct {
	round    uint64
	folds    bool
	messages []leat.Message
	erased   map[recordRef]bool
	waiters  []chan error
	left     atomic.Int32
	err      atomic.Pointer[error]
}

// change notes what is to be stored of a failed record.
func (l *queueLog) change(p *queuePart, e *core.QueueEffect, reason string) {
	ref := recordRef{p, e.Offset}
	if e.Kind == core.QueueErase {
		if l.erased == nil {
			l.erased = map[recordRef]bool{}
		}
		l.erased[ref] = true
		return
	}
	delete(l.erased, ref)
	r := core.QueueRecord{Partition: p.part.number, Offset: e.Offset}
	r.Attempts, r.Due, r.Code, r.Reason = e.Attempt, e.Due, e.Code, reason
	l.storing = l.round
	l.changes = append(l.changes, queueChange{p, r})
}

// eraseSettled takes out what is to be removed: behind the progress that says it is settled, for without its
// attempts an older progress would bring the record back as a new one.
func (g *queueGroup) eraseSettled(b *queueBatch) {
	for ref := range g.log.erased {
		r := core.QueueRecord{Partition: ref.part.part.number, Offset: ref.offset, Removed: true}
		b.messages = append(b.messages, g.message(&r))
	}
	b.erased, g.log.erased = g.log.erased, nil
}

// eraseAgain takes back what a batch that failed was to remove, and nobody stored anew since.
func (l *queueLog) eraseAgain(b *queueBatch) {
	for _, c := range l.changes {
		delete(b.erased, recordRef{c.part, c.record.Offset})
	}
	for ref := range b.erased {
		if l.erased == nil {
			l.erased = map[recordRef]bool{}
		}
		l.erased[ref] = true
	}
}

// holdsBack reports whether a grant has to wait until attempts are stored, and then keeps it.
func (l *queueLog) holdsBack(grant *queueGrant) bool {
	if l.storing <= l.done {
		return false
	}
	l.held = append(l.held, heldGrant{grant, l.storing})
	return true
}

// message encodes a record of the group.
func (g *queueGroup) message(r *core.QueueRecord) leat.Message {
	r.Group, r.TopicID = g.name, g.topic.id
	m := leat.Message{Key: r.EncodeKey(nil), Partition: g.part.number}
	if !r.Removed {
		m.Value = r.EncodeValue(nil)
	}
	return m
}

func (g *queueGroup) progress(p *queuePart) leat.Message {
	r := core.QueueRecord{Partition: p.part.number, Offset: -1, Progress: p.q.EncodeProgress(nil)}
	p.written = true
	return g.message(&r)
}

// everything is all that is to be known of the group after a restart. The lock must be held.
func (g *queueGroup) everything() []leat.Message {
	var list []leat.Message
	for _, p := range g.parts {
		p.q.Failures(func(offset, due int64, attempts int32, code core.Code) {
			r := core.QueueRecord{Partition: p.part.number, Offset: offset, Attempts: attempts, Due: due, Code: code,
				Reason: g.reasonOf(p, offset, code)}
			list = append(list, g.message(&r))
		})
		list = append(list, g.progress(p))
	}
	return list
}

// batch gives what is to be written now, or nil. The lock and the turn must be held.
func (g *queueGroup) batch(fold bool, now int64) *queueBatch {
	l := &g.log
	if l.writing != nil || l.retryAt > now || g.over != nil {
		return nil
	}
	b := &queueBatch{round: l.round, folds: fold || l.full}
	for i := range l.changes {
		c := &l.changes[i]
		b.messages = append(b.messages, g.message(&c.record))
	}
	switch {
	case l.full:
		b.messages = append(b.messages, g.everything()...)
	case fold:
		for _, p := range g.parts {
			if p.q.Dirty() || !p.written {
				b.messages = append(b.messages, g.progress(p))
			}
		}
	}
	l.changes, l.full = nil, false
	if b.folds {
		g.eraseSettled(b)
		g.acks = 0
		b.waiters, l.waiters = l.waiters, nil
	}
	if len(b.messages) == 0 {
		b.answer(nil)
		if b.folds {
			return b
		}
		return nil
	}
	l.round++
	l.writing = b
	return b
}

func (b *queueBatch) answer(err error) {
	for _, w := range b.waiters {
		w <- err // has room
	}
	b.waiters = nil
}

// write hands a batch to __groups. The turn must be held.
func (g *queueGroup) write(b *queueBatch) {
	if b == nil || len(b.messages) == 0 {
		return
	}
	b.left.Store(int32(len(b.messages)))
	writer := g.node.commits.writer(g.topic.id)
	for i := range b.messages {
		writer.PublishAsync(b.messages[i], func(_ leat.Receipt, err error) {
			if err != nil {
				b.err.CompareAndSwap(nil, &err)
			}
			if b.left.Add(-1) == 0 {
				g.wrote(b)
			}
		})
	}
}

// wrote takes over what became of a batch.
func (g *queueGroup) wrote(b *queueBatch) {
	g.mu.Lock()
	defer g.unlock()
	l := &g.log
	l.writing, g.nudge = nil, true
	if failed := b.err.Load(); failed != nil {
		b.answer(*failed)
		pause := min(queueRetryMin<<min(l.failed, 10), queueRetryMax)
		l.failed++
		l.retryAt, l.full = g.now()+int64(pause), true
		l.eraseAgain(b)
		if l.failed == 1 {
			g.node.report("progress of queue group "+core.Quote(g.name)+" could not be stored", g.part, *failed)
		}
		return
	}
	b.answer(nil)
	l.failed, l.retryAt, l.done = 0, 0, b.round
	kept := l.held[:0]
	for _, h := range l.held {
		switch {
		case h.round > l.done:
			kept = append(kept, h)
		case h.grant.left.Load() != 0: // else its lease ended meanwhile
			g.give(h.grant)
		}
	}
	clear(l.held[len(kept):])
	l.held = kept
}

// commit waits until all acks so far are stored.
func (g *queueGroup) commit(ctx context.Context) error {
	done := make(chan error, 1)
	g.mu.Lock()
	if g.over != nil {
		defer g.mu.Unlock()
		return g.over
	}
	g.log.waiters = append(g.log.waiters, done)
	g.nudge = true
	g.unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-g.stop:
		return core.NewError(core.CodeClosed, g.op("commit to"), nil)
	}
}

// snapshot writes everything anew, so that older segments of the partition of __groups may go.
func (g *queueGroup) snapshot(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	var list []leat.Message
	if g.over == nil {
		list = g.everything()
	}
	g.mu.Unlock()
	err := g.node.commits.storeAll(ctx, list)
	if err != nil {
		g.mu.Lock()
		g.log.full = true
		g.mu.Unlock()
	}
	return err
}

// queueStored is what __groups has of a group on one partition.
type queueStored struct {
	progress []byte // nil for none
	failed   map[int64]core.QueueRecord
}

func (s *queueStored) apply(r *core.QueueRecord) {
	switch {
	case r.Offset < 0 && r.Removed:
		s.progress = nil
	case r.Offset < 0:
		s.progress = append([]byte(nil), r.Progress...)
	case r.Removed:
		delete(s.failed, r.Offset)
	default:
		s.failed[r.Offset] = *r
	}
}

// restore makes the queue of what was stored. A log that lost its tail gives those offsets again.
func (s *queueStored) restore(p *partition, cfg core.QueueConfig, now int64) (*core.Queue, error) {
	q := core.NewQueue(cfg, 0, now, seedOf(p, now))
	if s.progress != nil {
		if err := q.RestoreProgress(s.progress); err != nil {
			return nil, err
		}
	}
	for offset, r := range s.failed {
		q.RestoreFailed(offset, r.Due, r.Attempts, r.Code)
	}
	if p.log != nil {
		q.RestoredEnd(p.log.End())
		q.Restored(p.log.Start())
	} else {
		q.Restored(0)
	}
	return q, nil
}

func seedOf(p *partition, now int64) uint64 {
	return bits.RotateLeft64(p.topic.id, 32) ^ uint64(p.number) ^ uint64(now)
}

package actors

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// CommitLog stores commits: the node publishes them into __groups.
type CommitLog interface {
	// Append stores commits, at most one per partition, all of one group and topic, and calls done
	// once, on any goroutine, when all of them are stored, or with the error. It must not block. The
	// slice belongs to the log. After an error a part may be stored: the same commits come again, or
	// newer ones for their partitions.
	Append(commits []core.Commit, done func(error))
}

// commits holds one commit for each partition of one group on one topic.
type commits map[int32]core.Commit

func (c commits) sorted() []core.Commit {
	return slices.SortedFunc(maps.Values(c), byPartition)
}

func byPartition(a, b core.Commit) int { return int(a.Partition - b.Partition) }

// The pause before a failed append is tried again doubles from the one to the other.
const (
	commitRetryMin = 50 * time.Millisecond
	commitRetryMax = 5 * time.Second
)

// commitPipe brings the commits of one group to the log, one append at a time: what is acked while
// an append runs goes with the next, so that a slow log makes appends larger, not queues longer.
// Owned by the group's actor, but for result.
//
// Invariant: per partition one commit is kept, the newest; what is stored is superseded by what is stored
// after it (core.Commit.Supersedes), or removed.
type commitPipe struct {
	system *System
	clock  clock.Clock
	log    CommitLog
	key    groupKey
	self   *PID // the group's actor

	newest  commits            // of each partition, stored or not; removed ones until that is stored
	pending map[int32]struct{} // partitions whose newest commit was not handed to the log
	writing []core.Commit      // handed to the log, not answered; nil while no append runs
	round   uint64             // number of the append that runs or ran last
	waiters []commitWaiter     // bounded: each member has one commit on the way, and one at its end
	result  atomic.Pointer[commitResult]

	lastErr  error // of the last append
	failures uint  // appends that failed in a row
	retry    TimerID
	retryAt  int64 // on the clock's Mono; 0 while no pause runs
}

// commitWaiter is answered when the append of its round, or a later one, succeeded.
type commitWaiter struct {
	round  uint64
	answer func(error)
}

type commitResult struct {
	round uint64
	err   error
}

// newCommitPipe makes a pipe that owns stored, what the log holds already.
func newCommitPipe(s *System, c clock.Clock, log CommitLog, key groupKey, stored commits) *commitPipe {
	if stored == nil {
		stored = commits{}
	}
	return &commitPipe{system: s, clock: c, log: log, key: key, newest: stored, pending: map[int32]struct{}{}}
}

// add takes a commit in. One that moves nothing is stored, or on its way, already.
func (p *commitPipe) add(partition int32, offset int64, generation int32) {
	commit := core.Commit{Group: p.key.group, TopicID: p.key.topicID, Partition: partition,
		Offset: offset, Generation: generation, Time: p.clock.Now()}
	if old, ok := p.newest[partition]; ok && !old.Removed &&
		(offset == old.Offset || !commit.Supersedes(&old)) {
		return
	}
	p.newest[partition] = commit
	p.pending[partition] = struct{}{}
}

// remove forgets the commit of a partition.
func (p *commitPipe) remove(partition int32) {
	p.newest[partition] = core.Commit{Group: p.key.group, TopicID: p.key.topicID, Partition: partition,
		Removed: true}
	p.pending[partition] = struct{}{}
}

// drop lets go of removals that are stored.
func (p *commitPipe) drop(written []core.Commit) {
	for _, commit := range written {
		_, again := p.pending[commit.Partition]
		if commit.Removed && !again && p.newest[commit.Partition].Removed {
			delete(p.newest, commit.Partition)
		}
	}
}

// await calls answer when everything added so far is stored, at once if it is. An error that trying
// again cannot heal is answered too; the commits stay pending all the same.
func (p *commitPipe) await(answer func(error)) {
	switch {
	case len(p.pending) > 0:
		p.waiters = append(p.waiters, commitWaiter{p.round + 1, answer})
	case p.writing != nil:
		p.waiters = append(p.waiters, commitWaiter{p.round, answer})
	default:
		answer(nil)
	}
}

// write hands what is pending to the log, unless an append or the pause after a failed one runs.
func (p *commitPipe) write() {
	if len(p.pending) == 0 || p.writing != nil || p.retryAt != 0 {
		return
	}
	for partition := range p.pending {
		p.writing = append(p.writing, p.newest[partition])
	}
	clear(p.pending)
	slices.SortFunc(p.writing, byPartition)
	p.round++
	p.log.Append(slices.Clone(p.writing), p.receive(p.self, p.round))
}

// receive makes the function that gets the result of one append; any goroutine may call it.
func (p *commitPipe) receive(self *PID, round uint64) func(error) {
	var once sync.Once
	return func(err error) {
		once.Do(func() {
			p.result.Store(&commitResult{round, err})
			// Where the mailbox is too full for a nudge, other messages follow and collect.
			p.system.deliver(self, groupNudge{})
		})
	}
}

// collect takes the result of an append and ends the pause after a failed one, when their time has
// come; it runs after every message.
func (p *commitPipe) collect() {
	if p.retryAt != 0 && p.clock.Mono() >= p.retryAt {
		p.retryAt = 0
		p.write()
	}
	result := p.result.Swap(nil)
	if result == nil || p.writing == nil || result.round != p.round {
		return
	}
	written := p.writing
	p.writing = nil
	p.lastErr = result.err
	if result.err == nil {
		p.failures = 0
		p.drop(written)
		p.answer(result.round, nil)
		p.write()
		return
	}
	p.requeue(written)
	p.system.logger.Warn("commits not stored yet", "group", p.key.group, "topic", p.key.topicID,
		"commits", len(p.pending), "err", result.err)
	if permanent(result.err) {
		p.answer(result.round, result.err)
	}
}

func (p *commitPipe) requeue(written []core.Commit) {
	for _, commit := range written {
		p.pending[commit.Partition] = struct{}{}
	}
	p.pause()
}

// reset hands an append that a panic may have cut short to the log again.
func (p *commitPipe) reset() {
	written := p.writing
	p.writing = nil
	p.requeue(written)
}

// pause lets the log recover; an earlier pause counts.
func (p *commitPipe) pause() {
	if p.retryAt != 0 {
		return
	}
	delay := min(commitRetryMin<<min(p.failures, 16), commitRetryMax)
	p.failures++
	p.retryAt = p.clock.Mono() + int64(delay)
	p.retry = p.system.After(delay, p.self, groupNudge{})
}

func (p *commitPipe) answer(round uint64, err error) {
	rest := p.waiters[:0]
	var ready []commitWaiter
	for _, w := range p.waiters {
		if w.round <= round {
			ready = append(ready, w)
		} else {
			rest = append(rest, w)
		}
	}
	clear(p.waiters[len(rest):])
	p.waiters = rest
	for _, w := range ready {
		w.answer(err)
	}
}

// snapshot gives the newest commit of every partition. One that is still on its way is among them:
// its record may be in a segment that goes as soon as the snapshot is written.
func (p *commitPipe) snapshot() []core.Commit {
	return slices.DeleteFunc(p.newest.sorted(), func(c core.Commit) bool { return c.Removed })
}

// end answers whoever waits and writes no more.
func (p *commitPipe) end(err error) {
	if p.retryAt != 0 {
		p.system.Cancel(p.retry)
		p.retryAt = 0
	}
	p.writing = nil
	clear(p.pending)
	p.answer(p.round+1, err)
}

// permanent reports whether an append that failed so will fail again: errors we know nothing of may
// pass.
func permanent(err error) bool {
	var known *core.Error
	return errors.As(err, &known) && !core.Retryable(err)
}

package node

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/ringbuf"
)

// publishOwn publishes at page and waits for the receipt. If the shard is free the publisher journals what
// lies in the ring before its entry, and then its own entry without handing it over; else the entry is
// committed as any other.
func (p *producer) publishOwn(ctx context.Context, e *entry, m *leat.Message,
	size int) (leat.Receipt, error) {
	n, s := p.node, e.part.shard
	if err := n.admit(ctx, e.part, true); err != nil {
		return leat.Receipt{}, err
	}
	claimed, err := s.claim(ctx, entryHead+size, true)
	if err != nil {
		return leat.Receipt{}, err
	}
	putRecord(claimed.Bytes[entryHead:], m, e.keyHash)
	if offset, at, err, ok := s.journalOwn(e.part, claimed); ok {
		if err != nil {
			return leat.Receipt{}, err
		}
		return leat.Receipt{
			Topic: p.topic.name, Partition: e.part.number, Offset: offset, Time: time.Unix(0, at),
		}, nil
	}
	w := n.waiters.take()
	e.producer, e.ticket = waiterProducer, w.index
	e.encode(claimed.Bytes)
	s.slab.Commit(claimed)
	s.journalSoon(core.AckPage)
	return n.waiters.await(ctx, w)
}

// journalOwn journals an entry that its publisher has claimed and filled but not committed, and what lies
// before it. It reports false if the entry has to be committed: somebody else has the lock, the entry
// follows one that is not committed yet, or the log has no room for it right now.
func (s *shard) journalOwn(p *partition, own ringbuf.Entry) (offset, at int64, err error, ok bool) {
	if !s.tryLock() {
		return 0, 0, nil, false
	}
	j := &s.journal
	size := len(own.Bytes) - entryHead
	if !p.ownFits(size) || !s.slab.TakeOwn(own) {
		j.step()
		if !p.ownFits(size) || !s.slab.TakeOwn(own) {
			s.release()
			return 0, 0, nil, false
		}
	}
	offset, at, err = j.storeOwn(p, own.Bytes[entryHead:])
	// After the record can be read, because nobody waits for the room; and it is the barrier that the look
	// at sleepers needs.
	s.slab.Release()
	p.readers.wake(&j.node.notifier)
	s.release()
	return offset, at, err, true
}

// storeOwn is a batch of one record at page. The caller wakes subscriptions.
func (j *journal) storeOwn(p *partition, record []byte) (offset, at int64, err error) {
	if err := p.refusal(); err != nil {
		return 0, 0, err
	}
	if code := p.state.Refused(); code != 0 {
		return 0, 0, core.NewError(code, p.op("append to"), nil)
	}
	at = j.now()
	before := p.state.LogEnd()
	end, err := p.log.Append(at, record, 1)
	if err != nil {
		j.failBatch(p, before, err)
		return 0, 0, err
	}
	p.highWater.Move(p.state.Stored(end, at))
	if p.log.StateDue() {
		p.saveProducers(at)
	}
	j.setGate(p)
	return end - 1, at, nil
}

// ticketRun is publishes of one producer in the batch under way that have consecutive tickets. Where
// their records went is with the tickets.
type ticketRun struct {
	producer     *producer
	first, count uint32
}

// runner is the producer of the last ticket that went into a run. A batch has few producers, and within it
// an index in the table of producers keeps its meaning.
type runner struct {
	index    uint32
	producer *producer // nil if the index is not that of a producer in this process
}

// producerAt gives the producer of this process that has an index, or nil.
func (j *journal) producerAt(index uint32) *producer {
	if index < firstProducer {
		return nil
	}
	if index != j.runner.index {
		j.runner.index = index
		j.runner.producer, _ = j.node.completerAt(index).(*producer)
	}
	return j.runner.producer
}

// inRun notes what became of the record of a ticket at page, which is cheaper than to keep an outcome. It
// must not be used while outcomes wait for the disk, which answers at page must not overtake.
func (j *journal) inRun(by *producer, ticket uint32, p *partition, offset int64, err error) {
	slot := &by.answers.slots[ticket%answerRing]
	slot.partition, slot.offset = p.number, offset
	if err != nil {
		by.answers.fails.put(ticket, err)
	}
	if n := len(j.runs); n > 0 {
		if r := &j.runs[n-1]; r.producer == by && r.first+r.count == ticket {
			r.count++
			return
		}
	}
	j.runs = append(j.runs, ticketRun{producer: by, first: ticket, count: 1})
}

// failRuns tells the tickets of a batch that could not be written.
func (j *journal) failRuns(p *partition, from int64, err error) {
	for _, r := range j.runs {
		for i := range r.count {
			a, ticket := &r.producer.answers, r.first+i
			slot := &a.slots[ticket%answerRing]
			if r.producer.topic == p.topic && slot.partition == p.number && slot.offset >= from &&
				!a.fails.has(ticket) {
				a.fails.put(ticket, err)
			}
		}
	}
}

// answerRuns sends the runs of the batch to their producers.
func (j *journal) answerRuns() {
	for i := 0; i < len(j.runs); {
		end := i + 1
		for end < len(j.runs) && j.runs[end].producer == j.runs[i].producer && end-i < answerRun {
			end++
		}
		j.runs[i].producer.answers.completeRuns(j.shard.index, j.runs[i:end], j.time)
		i = end
	}
	clear(j.runs)
	j.runs, j.runner = j.runs[:0], runner{}
}

// completeRuns sends at most answerRun runs to the actor. Called under the lock of the lane's shard.
func (a *answers) completeRuns(shard int, runs []ticketRun, time int64) {
	lane := a.lanes[shard]
	claimed, ok := lane.TryClaim(len(runs))
	if !ok {
		a.overflow()
		return
	}
	first, second := claimed.Slots()
	for i := range runs {
		completion := actors.Completion{Ticket: runs[i].first, Count: runs[i].count, Time: time}
		if i < len(first) {
			first[i] = completion
		} else {
			second[i-len(first)] = completion
		}
	}
	lane.Publish(claimed)
}

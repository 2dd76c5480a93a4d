package node

import (
	"context"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/ringbuf"
)

// publishSynced publishes at disk and waits for the receipt. If nobody else is at the shard or waits for the
// partition's disk, the publisher journals its entry, lets go of the shard and syncs the log itself: nobody
// has to be woken for it. Else the entry is committed as any other, and shares a write and a sync with
// others. ctx must be one that never ends: whoever is inside a sync waits for the disk, even for one that
// hangs.
func (p *producer) publishSynced(ctx context.Context, e *entry, m *leat.Message,
	size int) (leat.Receipt, error) {
	n, s, log := p.node, e.part.shard, e.part.log
	if err := n.admit(ctx, e.part, true); err != nil {
		return leat.Receipt{}, err
	}
	claimed, err := s.claim(ctx, entryHead+size, true)
	if err != nil {
		return leat.Receipt{}, err
	}
	w := n.waiters.take()
	e.producer, e.ticket = waiterProducer, w.index
	e.ids = m.ID != ""
	e.encode(claimed.Bytes)
	putRecord(claimed.Bytes[entryHead:], m, e.keyHash)
	if !s.journalAlone(e.part, claimed) {
		s.slab.Commit(claimed)
		s.journalSoon(core.AckDisk)
		return n.waiters.await(ctx, w)
	}
	// The round settles the partition, which answers the waiter, with the fence if it fails.
	if err := log.Sync(ctx); err != nil {
		log.RequestSync()
	}
	return n.waiters.await(ctx, w)
}

// journalAlone journals an entry at disk that its publisher has claimed and filled but not committed, without
// asking for a sync. It reports false, and nothing has changed, unless the entry is all there is to do, the
// log has room for it, and nobody waits for the disk of its partition: who waits for a sync shares it.
func (s *shard) journalAlone(p *partition, own ringbuf.Entry) bool {
	if p.log.Syncing() || !s.tryLock() {
		return false
	}
	if !p.waiting.empty() || s.synced.any() || !p.ownFits(len(own.Bytes)-entryHead) || !s.slab.TakeOwn(own) {
		s.release()
		return false
	}
	j := &s.journal
	j.begin()
	j.append(own.Bytes, j.time)
	p.wantsSync = false
	j.finish()
	s.slab.Release()
	s.release()
	return true
}

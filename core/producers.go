package core

// Bounds of the producer state of one partition (KIP-98).
const (
	ProducerBatchesKept = 5                  // batches per producer that a retry is recognised by
	ProducerIdleNanos   = int64(3_600 * 1e9) // a producer that wrote nothing for so long is forgotten
	MaxProducers        = 100_000            // producers of one partition; the longest idle goes first
)

// expiredPerStep bounds the work of one step. A step adds at most one producer, so that more than
// one keeps up; producers that expired but were not yet dropped are treated as unknown.
const expiredPerStep = 16

type sequenceVerdict uint8

const (
	sequenceNext sequenceVerdict = iota
	sequenceDuplicate
	sequenceGap
	sequenceFenced
)

const sequenceMask = 1<<31 - 1 // producer sequences are 31 bits and wrap to 0

const epochMask = 1<<15 - 1 // producer epochs are 15 bits and wrap to 0

// epochAfter reports whether epoch a is newer than b, by serial arithmetic (RFC 1982 §3.2): it is if
// less than half of all epochs lie between. Neither of two that are exactly half apart is newer.
func epochAfter(a, b int16) bool {
	distance := (a - b) & epochMask
	return distance != 0 && distance < (epochMask+1)/2
}

// NextProducerEpoch is the epoch after e, from 0 to 32767; after the last comes 0.
func NextProducerEpoch(e int16) int16 { return (e + 1) & epochMask }

// producedBatch is one batch a producer wrote: records from sequence baseSeq on, at offset lo on.
type producedBatch struct {
	lo      int64
	time    int64 // append time
	baseSeq int32
	records int32
}

// nextSeq is the sequence after the batch.
func (b producedBatch) nextSeq() int32 {
	return int32((uint32(b.baseSeq) + uint32(b.records)) & sequenceMask)
}

// find gives the part of b that a batch lies within. Being contained is enough, because the journal
// may have merged several batches of one producer into the frame b was restored from.
func (b producedBatch) find(baseSeq, records int32) (producedBatch, bool) {
	skipped := int64((uint32(baseSeq) - uint32(b.baseSeq)) & sequenceMask)
	part := producedBatch{lo: b.lo + skipped, time: b.time, baseSeq: baseSeq, records: records}
	return part, skipped+int64(records) <= int64(b.records)
}

// producer is what a partition remembers of one producer id.
type producer struct {
	id       int64
	lastSeen int64
	newer    int32 // index in the table, in order of lastSeen; noProducer at the ends
	older    int32
	epoch    int16
	kept     uint8 // batches in use
	last     uint8 // the newest of them
	batches  [ProducerBatchesKept]producedBatch
}

// pendingBatch is a batch that is in the log only if the write under way succeeds.
type pendingBatch struct {
	id    int64
	epoch int16
	batch producedBatch
}

const noProducer = int32(-1)

func (p *producer) push(b producedBatch) {
	p.last = (p.last + 1) % ProducerBatchesKept
	p.kept = min(p.kept+1, ProducerBatchesKept)
	p.batches[p.last] = b
}

// producerTable holds producers in the order of their last batch. Its zero value is empty and
// costs nothing, because most partitions never see an identified producer.
//
// Invariant: lastSeen does not fall from oldest to newest; free slots are linked by newer.
type producerTable struct {
	now int64
	// Batches of the write under way, in its order. They are few (a journal step takes 64 KiB), so that
	// looking through them costs less than an index; a failed write forgets them.
	pending []pendingBatch

	index  map[int64]int32 // producer id to slot
	slots  []producer
	oldest int32
	newest int32
	free   int32
}

// advance moves the time, which never goes back, and drops some of the expired.
func (t *producerTable) advance(now int64) {
	t.now = max(t.now, now)
	for range expiredPerStep {
		if len(t.index) == 0 || !t.expired(&t.slots[t.oldest]) {
			return
		}
		t.drop(t.oldest)
	}
}

func (t *producerTable) expired(p *producer) bool { return t.now-p.lastSeen >= ProducerIdleNanos }

// check judges a batch, and gives the stored one that a duplicate repeats. A producer that is not
// known may start at any sequence, because its state may have expired (KIP-360); a known one starts a
// new epoch at 0. What is pending counts like what is remembered.
func (t *producerTable) check(id int64, epoch int16, b producedBatch) (producedBatch, sequenceVerdict) {
	epochNow, nextSeq, known := t.next(id)
	switch {
	case !known:
		return b, sequenceNext
	case epoch != epochNow && !epochAfter(epoch, epochNow):
		return b, sequenceFenced
	case epoch != epochNow && b.baseSeq == 0, epoch == epochNow && b.baseSeq == nextSeq:
		return b, sequenceNext
	case epoch != epochNow:
		return b, sequenceGap
	}
	return t.findStored(id, epoch, b)
}

// next is what the next batch of a producer must be: this epoch and this sequence, or sequence 0 of a
// newer epoch.
func (t *producerTable) next(id int64) (epoch int16, nextSeq int32, known bool) {
	for i := len(t.pending) - 1; i >= 0; i-- {
		if p := &t.pending[i]; p.id == id {
			return p.epoch, p.batch.nextSeq(), true
		}
	}
	slot, known := t.index[id]
	if !known || t.expired(&t.slots[slot]) {
		return 0, 0, false
	}
	p := &t.slots[slot]
	return p.epoch, p.batches[p.last].nextSeq(), true
}

// findStored looks for a batch of the producer's current epoch among the last ones.
func (t *producerTable) findStored(id int64, epoch int16, b producedBatch) (producedBatch, sequenceVerdict) {
	left := ProducerBatchesKept
	for i := len(t.pending) - 1; i >= 0 && left > 0; i-- {
		p := &t.pending[i]
		if p.id != id {
			continue
		}
		if p.epoch != epoch {
			return b, sequenceGap // the epoch began with what is pending
		}
		if part, ok := p.batch.find(b.baseSeq, b.records); ok {
			return part, sequenceDuplicate
		}
		left--
	}
	slot, known := t.index[id]
	if !known || t.expired(&t.slots[slot]) || t.slots[slot].epoch != epoch {
		return b, sequenceGap
	}
	p := &t.slots[slot]
	for i := range min(int(p.kept), left) {
		stored := p.batches[(int(p.last)+ProducerBatchesKept-i)%ProducerBatchesKept]
		if part, ok := stored.find(b.baseSeq, b.records); ok {
			return part, sequenceDuplicate
		}
	}
	return b, sequenceGap
}

// rememberPending notes everything pending: it is in the log now.
func (t *producerTable) rememberPending() {
	for i := range t.pending {
		p := &t.pending[i]
		t.remember(p.id, p.epoch, p.batch)
	}
	t.pending = t.pending[:0]
}

// remember notes a batch that is in the log. The log is right: a batch that does not follow the
// known ones replaces them.
func (t *producerTable) remember(id int64, epoch int16, b producedBatch) {
	slot, known := t.index[id]
	if known && t.expired(&t.slots[slot]) { // dropped now or a step ago must be the same
		t.drop(slot)
		known = false
	}
	if known {
		t.unlink(slot)
	} else {
		slot = t.take(id)
	}
	p := &t.slots[slot]
	if p.epoch != epoch || p.kept > 0 && p.batches[p.last].nextSeq() != b.baseSeq {
		p.epoch, p.kept = epoch, 0
	}
	p.push(b)
	p.lastSeen = t.now
	t.linkNewest(slot)
}

// take gives a slot for a new producer, dropping the longest idle one where the table is full.
func (t *producerTable) take(id int64) int32 {
	if t.index == nil {
		t.index = make(map[int64]int32)
		t.oldest, t.newest, t.free = noProducer, noProducer, noProducer
	}
	if len(t.index) >= MaxProducers {
		t.drop(t.oldest)
	}
	slot := t.free
	if slot == noProducer {
		slot = int32(len(t.slots))
		t.slots = append(t.slots, producer{})
	} else {
		t.free = t.slots[slot].newer
	}
	t.slots[slot] = producer{id: id}
	t.index[id] = slot
	return slot
}

func (t *producerTable) drop(slot int32) {
	t.unlink(slot)
	delete(t.index, t.slots[slot].id)
	t.slots[slot].newer = t.free
	t.free = slot
}

func (t *producerTable) unlink(slot int32) {
	p := &t.slots[slot]
	if p.older == noProducer {
		t.oldest = p.newer
	} else {
		t.slots[p.older].newer = p.newer
	}
	if p.newer == noProducer {
		t.newest = p.older
	} else {
		t.slots[p.newer].older = p.older
	}
}

func (t *producerTable) linkNewest(slot int32) {
	p := &t.slots[slot]
	p.older, p.newer = t.newest, noProducer
	if t.newest == noProducer {
		t.oldest = slot
	} else {
		t.slots[t.newest].newer = slot
	}
	t.newest = slot
}

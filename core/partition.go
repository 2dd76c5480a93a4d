package core

// PartitionInputKind says what happened to a partition.
type PartitionInputKind uint8

// The inputs of Partition.Step.
const (
	InputAppend  PartitionInputKind = iota + 1 // a batch wants to be appended
	InputAdded                                 // the batch of the last append is part of the write under way
	InputWritten                               // the write under way is in the log, and so is the last append
	InputDropped                               // the write under way failed: nothing of it is in the log
	InputSynced                                // the log is on the disk up to Offset
	InputFence                                 // a write or sync failed: no more appends
)

// PartitionInput is one step's input. The producer's fields belong to InputAppend, InputAdded and
// InputWritten and are the same in all that are about one batch.
type PartitionInput struct {
	Kind          PartitionInputKind
	ProducerEpoch int16
	Code          Code  // InputFence: the answer to later appends; 0 means CodeLogFenced
	ProducerID    int64 // 0 is anonymous: never checked, never remembered
	BaseSeq       int32 // sequence of the first record, 0 to 2³¹−1
	Records       int32 // records of the batch, at least 1; of a producer, at most MaxBatchRecords
	Time          int64 // InputAdded, InputWritten: append time of a producer's batch
	Offset        int64 // InputAdded: the end behind it; InputWritten: the new log end; InputSynced: durable
}

// EffectKind says what the shell has to do.
type EffectKind uint8

// The effects of Partition.Step. An append answers exactly one of the first three.
const (
	EffectAppend    EffectKind = iota + 1 // write the batch as [Lo, Hi), then step InputAdded or InputWritten
	EffectDuplicate                       // the batch is in the log already, as [Lo, Hi), since Time
	EffectReject                          // answer Code; the batch must not be written
	EffectHighWater                       // consumers may now read up to Hi, exclusive; Lo was the mark before
)

// Effect is one thing the shell has to do after a step.
type Effect struct {
	Kind   EffectKind
	Code   Code
	Lo, Hi int64
	Time   int64 // EffectDuplicate: when the batch was appended, 0 if unknown
}

// Effects is where steps leave their effects. It is owned by the caller and reused.
type Effects struct {
	List []Effect
}

// Reset forgets the effects and keeps the memory.
func (e *Effects) Reset() { e.List = e.List[:0] }

func (e *Effects) add(effect Effect) { e.List = append(e.List, effect) }

// Partition is the policy of one partition: offsets, idempotence and the high-water mark. It is a
// state machine without I/O or clock, owned by the partition's shard.
//
// An append is planned by InputAppend and counts only from InputWritten on, because the write
// between them may fail; so the shell plans, writes and reports one batch after the other. Several
// batches may share one write: each is planned and reported by InputAdded, from when on later ones are
// judged as if it were stored, until InputWritten makes that true or InputDropped forgets them. Batches
// of anonymous producers need no steps of their own in between: the Offset of a later step tells how
// many there were, and until then Lo of an EffectAppend does not count them.
//
// Invariant: durableEnd <= logEnd; highWater is logEnd or durableEnd, by the topic's level, and
// none of the three ever falls.
type Partition struct {
	level      Ack
	fence      Code // 0 while appends are taken
	logEnd     int64
	durableEnd int64
	highWater  int64
	addedEnd   int64 // end of the write under way, as far as steps told; at least logEnd
	producers  producerTable
	dedup      dedupTable
}

// NewPartition starts from a log that ends at logEnd and is on the disk up to durableEnd. level is
// the topic's; where it is AckDefault or needs a quorum, the durable end bounds visibility.
func NewPartition(level Ack, logEnd, durableEnd int64) *Partition {
	if durableEnd > logEnd {
		panic("core: durable mark beyond the end of the log")
	}
	p := &Partition{level: level.Or(AckDisk), logEnd: logEnd, durableEnd: durableEnd}
	p.highWater = p.visibleEnd()
	p.addedEnd = logEnd
	return p
}

// Restore rebuilds the producer state from a stored frame; recovery calls it for every frame in log
// order, or for those behind what LoadProducers continued from, and then Resume, before the first step.
// Time is that of the frames, so that who was forgotten while the log was written is forgotten again.
func (p *Partition) Restore(h *FrameHeader) {
	stored := h.Type() == FrameData || h.Type() == FrameKafka
	if !stored {
		return
	}
	p.producers.advance(h.Time)
	if h.ProducerID <= 0 || h.Records == 0 {
		return
	}
	p.producers.remember(h.ProducerID, h.ProducerEpoch,
		producedBatch{baseSeq: h.BaseSeq, records: int32(h.Records), lo: h.BaseOffset, time: h.Time})
}

// Resume ends what Restore began: time goes on at now as if none had passed since the last frame, so
// that an outage is not taken for an idle producer.
func (p *Partition) Resume(now int64) { p.producers.resume(now) }

// ForgetProducers makes every producer and every id unknown, for a log whose frames cannot all be read.
func (p *Partition) ForgetProducers() {
	p.producers, p.dedup = producerTable{}, dedupTable{window: p.dedup.window}
}

// LogEnd is the next offset to be written.
func (p *Partition) LogEnd() int64 { return p.logEnd }

// DurableEnd is the first offset not yet synced on this node.
func (p *Partition) DurableEnd() int64 { return p.durableEnd }

// HighWater is the first offset consumers may not see.
func (p *Partition) HighWater() int64 { return p.highWater }

// Producer tells what the next batch of a producer must be: epoch and sequence, or sequence 0 of a
// newer epoch. One that is not known, new or forgotten, may go on with any.
func (p *Partition) Producer(id int64) (epoch int16, nextSeq int32, known bool) {
	return p.producers.next(id)
}

// Step takes one input at time now, in nanoseconds, and appends the effects to out, which it does
// not reset. A clock that goes back is taken to stand still. It does not allocate unless a producer
// is new. It panics where the shell breaks an invariant, never because of what a producer sent.
func (p *Partition) Step(in *PartitionInput, now int64, out *Effects) {
	p.producers.advance(now)
	switch in.Kind {
	case InputAppend:
		out.add(p.plan(in))
	case InputAdded:
		p.added(in)
	case InputWritten:
		p.written(in, out)
	case InputDropped:
		p.drop()
	case InputSynced:
		p.synced(in, out)
	case InputFence:
		p.fenceWith(in.Code)
	default:
		panic("core: unknown partition input")
	}
}

// Refused is the code that appends are refused with, 0 if they are taken.
func (p *Partition) Refused() Code { return p.fence }

// Stored is the steps InputAppend and InputWritten of one anonymous batch, without effects, for a shell that
// has asked Refused and written the batch in between: the log ends at end now. It gives the high-water
// mark. No write may be under way. It does not allocate.
func (p *Partition) Stored(end, now int64) (highWater int64) {
	p.producers.advance(now)
	if p.fence != 0 || end < p.addedEnd || p.addedEnd != p.logEnd {
		panic("core: batch stored beside the steps")
	}
	p.logEnd, p.addedEnd = end, end
	visible := p.visibleEnd()
	if visible < p.highWater {
		panic("core: high-water mark went back")
	}
	p.highWater = visible
	return visible
}

func (p *Partition) plan(in *PartitionInput) Effect {
	if p.fence != 0 {
		return Effect{Kind: EffectReject, Code: p.fence}
	}
	if in.Records < 1 || in.ProducerID < 0 || in.ProducerEpoch < 0 || in.BaseSeq < 0 {
		return Effect{Kind: EffectReject, Code: CodeInvalidRecord}
	}
	if in.ProducerID != 0 {
		if in.Records > MaxBatchRecords {
			return Effect{Kind: EffectReject, Code: CodeInvalidRecord}
		}
		b, verdict := p.producers.check(in.ProducerID, in.ProducerEpoch,
			producedBatch{baseSeq: in.BaseSeq, records: in.Records})
		switch verdict {
		case sequenceDuplicate:
			return Effect{Kind: EffectDuplicate, Lo: b.lo, Hi: b.lo + int64(in.Records), Time: b.time}
		case sequenceGap:
			return Effect{Kind: EffectReject, Code: CodeOutOfSequence}
		case sequenceFenced:
			return Effect{Kind: EffectReject, Code: CodeProducerFenced}
		}
	}
	return Effect{Kind: EffectAppend, Lo: p.addedEnd, Hi: p.addedEnd + int64(in.Records)}
}

// added notes a batch of the write under way.
func (p *Partition) added(in *PartitionInput) {
	lo := in.Offset - int64(in.Records)
	if lo < p.addedEnd {
		panic("core: added batch overlaps the one before")
	}
	if p.fence != 0 {
		return // the write will not be reported as written
	}
	p.addedEnd = in.Offset
	if in.ProducerID != 0 {
		p.producers.pending = append(p.producers.pending, pendingBatch{in.ProducerID, in.ProducerEpoch,
			producedBatch{lo: lo, time: in.Time, baseSeq: in.BaseSeq, records: in.Records}})
	}
}

// drop forgets the write under way.
func (p *Partition) drop() {
	p.producers.pending = p.producers.pending[:0]
	p.dedup.unwind()
	p.addedEnd = p.logEnd
}

// written also takes batches of several anonymous appends at once: only Offset counts for them.
func (p *Partition) written(in *PartitionInput, out *Effects) {
	if p.fence != 0 {
		p.drop()
		out.add(Effect{Kind: EffectReject, Code: p.fence})
		return
	}
	if in.Offset < p.addedEnd {
		panic("core: log end went back")
	}
	if in.ProducerID != 0 {
		if in.Offset-int64(in.Records) != p.addedEnd {
			panic("core: written batch is not the planned one")
		}
		p.added(in)
	}
	p.producers.rememberPending()
	p.dedup.settle()
	p.logEnd, p.addedEnd = in.Offset, in.Offset
	p.moveHighWater(out)
}

// synced ignores a mark behind the known one, because syncs may be reported out of order, and
// every mark after a fence, because a sync after a failed one may succeed and lie.
func (p *Partition) synced(in *PartitionInput, out *Effects) {
	if in.Offset > p.logEnd {
		panic("core: durable mark beyond the end of the log")
	}
	if p.fence != 0 || in.Offset <= p.durableEnd {
		return
	}
	p.durableEnd = in.Offset
	p.moveHighWater(out)
}

// fenceWith keeps the first reason: what follows a failure is a consequence of it.
func (p *Partition) fenceWith(code Code) {
	if p.fence != 0 {
		return
	}
	p.fence = code
	if code == 0 {
		p.fence = CodeLogFenced
	}
}

// visibleEnd is where the topic's level lets consumers read to.
func (p *Partition) visibleEnd() int64 {
	if p.level <= AckPage {
		return p.logEnd
	}
	return p.durableEnd
}

func (p *Partition) moveHighWater(out *Effects) {
	end := p.visibleEnd()
	if end == p.highWater {
		return
	}
	if end < p.highWater {
		panic("core: high-water mark went back")
	}
	out.add(Effect{Kind: EffectHighWater, Lo: p.highWater, Hi: end})
	p.highWater = end
}

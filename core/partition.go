package core

// PartitionInputKind says what happened to a partition.
type PartitionInputKind uint8

// The inputs of Partition.Step.
const (
	InputAppend  PartitionInputKind = iota + 1 // a batch wants to be appended
	InputWritten                               // the batch of the last append is in the log
	InputSynced                                // the log is on the disk up to Offset
	InputFence                                 // a write or sync failed: no more appends
)

// PartitionInput is one step's input. The producer's fields belong to InputAppend and InputWritten
// and are the same in both.
type PartitionInput struct {
	Kind          PartitionInputKind
	ProducerEpoch int16
	Code          Code  // InputFence: the answer to later appends; 0 means CodeLogFenced
	ProducerID    int64 // 0 is anonymous: never checked, never remembered
	BaseSeq       int32 // sequence of the first record, 0 to 2³¹−1
	Records       int32 // records of the batch, at least 1; of a producer, at most MaxBatchRecords
	Offset        int64 // InputWritten: the new log end; InputSynced: the new durable end
}

// EffectKind says what the shell has to do.
type EffectKind uint8

// The effects of Partition.Step. An append answers exactly one of the first three.
const (
	EffectAppend    EffectKind = iota + 1 // write the batch as [Lo, Hi), then step InputWritten
	EffectDuplicate                       // the batch is in the log already, as [Lo, Hi)
	EffectReject                          // answer Code; the batch must not be written
	EffectHighWater                       // consumers may now read up to Hi, exclusive; Lo was the mark before
)

// Effect is one thing the shell has to do after a step.
type Effect struct {
	Kind   EffectKind
	Code   Code
	Lo, Hi int64
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
// between them may fail; so the shell plans, writes and reports one batch after the other.
//
// Invariant: durableEnd <= logEnd; highWater is logEnd or durableEnd, by the topic's level, and
// none of the three ever falls.
type Partition struct {
	level      Ack
	fence      Code // 0 while appends are taken
	logEnd     int64
	durableEnd int64
	highWater  int64
	producers  producerTable
}

// NewPartition starts from a log that ends at logEnd and is on the disk up to durableEnd. level is
// the topic's; where it is AckDefault or needs a quorum, the durable end bounds visibility.
func NewPartition(level Ack, logEnd, durableEnd int64) *Partition {
	if durableEnd > logEnd {
		panic("core: durable mark beyond the end of the log")
	}
	p := &Partition{level: level.Or(AckDisk), logEnd: logEnd, durableEnd: durableEnd}
	p.highWater = p.visibleEnd()
	return p
}

// Restore rebuilds the producer state from a stored frame; recovery calls it for every frame in log
// order, before the first step. now counts as the time of the producer's last batch, so that an
// outage is not taken for an idle producer.
func (p *Partition) Restore(h *FrameHeader, now int64) {
	stored := h.Type() == FrameData || h.Type() == FrameKafka
	if h.ProducerID <= 0 || h.Records == 0 || !stored {
		return
	}
	p.producers.advance(now)
	p.producers.remember(h.ProducerID, h.ProducerEpoch,
		producedBatch{baseSeq: h.BaseSeq, records: int32(h.Records), lo: h.BaseOffset})
}

// LogEnd is the next offset to be written.
func (p *Partition) LogEnd() int64 { return p.logEnd }

// DurableEnd is the first offset not yet synced on this node.
func (p *Partition) DurableEnd() int64 { return p.durableEnd }

// HighWater is the first offset consumers may not see.
func (p *Partition) HighWater() int64 { return p.highWater }

// Step takes one input at time now, in nanoseconds, and appends the effects to out, which it does
// not reset. A clock that goes back is taken to stand still. It does not allocate unless a producer
// is new. It panics where the shell breaks an invariant, never because of what a producer sent.
func (p *Partition) Step(in *PartitionInput, now int64, out *Effects) {
	p.producers.advance(now)
	switch in.Kind {
	case InputAppend:
		out.add(p.plan(in))
	case InputWritten:
		p.written(in, out)
	case InputSynced:
		p.synced(in, out)
	case InputFence:
		p.fenceWith(in.Code)
	default:
		panic("core: unknown partition input")
	}
}

func (p *Partition) plan(in *PartitionInput) Effect {
	if p.fence != 0 {
		return Effect{Kind: EffectReject, Code: p.fence}
	}
	if in.Records < 1 || in.ProducerID < 0 || in.BaseSeq < 0 {
		return Effect{Kind: EffectReject, Code: CodeInvalidRecord}
	}
	if in.ProducerID != 0 {
		if in.Records > MaxBatchRecords {
			return Effect{Kind: EffectReject, Code: CodeInvalidRecord}
		}
		lo, verdict := p.producers.check(in.ProducerID, in.ProducerEpoch, in.BaseSeq, in.Records)
		switch verdict {
		case sequenceDuplicate:
			return Effect{Kind: EffectDuplicate, Lo: lo, Hi: lo + int64(in.Records)}
		case sequenceGap:
			return Effect{Kind: EffectReject, Code: CodeOutOfSequence}
		case sequenceFenced:
			return Effect{Kind: EffectReject, Code: CodeProducerFenced}
		}
	}
	return Effect{Kind: EffectAppend, Lo: p.logEnd, Hi: p.logEnd + int64(in.Records)}
}

// written also takes batches of several anonymous appends at once: only Offset counts for them.
func (p *Partition) written(in *PartitionInput, out *Effects) {
	if p.fence != 0 {
		out.add(Effect{Kind: EffectReject, Code: p.fence})
		return
	}
	if in.Offset < p.logEnd {
		panic("core: log end went back")
	}
	if in.ProducerID != 0 {
		if in.Offset-int64(in.Records) != p.logEnd {
			panic("core: written batch is not the planned one")
		}
		p.producers.remember(in.ProducerID, in.ProducerEpoch,
			producedBatch{baseSeq: in.BaseSeq, records: in.Records, lo: p.logEnd})
	}
	p.logEnd = in.Offset
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

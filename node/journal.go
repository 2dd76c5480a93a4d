package node

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// journal is the single writer of a shard's partitions. A step takes what is committed in the slab,
// appends it to the logs, publishes it, and answers the publishers. It runs under the shard's lock.
type journal struct {
	node    *Node
	shard   *shard
	touched []*partition
	syncs   []*mmaplog.Log // of the partitions of this batch in which somebody waits for the disk
	done    []outcome      // of this step, in publish order
	runs    []ticketRun    // of this batch
	open    bool           // a batch is under way
	time    int64          // append time of the batch
	runner  runner
	barrier atomic.Int64 // added to where a full barrier is needed; its value means nothing
	input   core.PartitionInput
	effects core.Effects
	frame   core.FrameHeader // of the remote producer's frame being added

	wallOffset int64 // wall time minus monotonic time, as of lookedAt
	lookedAt   int64 // monotonic
}

// wallEvery is how often the journal looks at the wall clock. In between it adds the monotonic time,
// which takes half as long to read, and there is one reading per step.
const wallEvery = int64(10 * time.Millisecond)

// now is the wall time in nanoseconds since 1970; a step of the clock shows wallEvery later.
func (j *journal) now() int64 {
	mono := j.shard.clock.Mono()
	if j.lookedAt == 0 || mono-j.lookedAt > wallEvery {
		j.wallOffset, j.lookedAt = j.shard.clock.Now()-mono, mono
	}
	return mono + j.wallOffset
}

// outcome is what became of one entry, and whom to tell.
type outcome struct {
	part     *partition
	producer uint32 // 0 nobody, 1 a waiter, else a producer's index
	ticket   uint32
	offset   int64 // of the first record
	records  int32
	disk     bool // answered only when synced
	// duplicate: the records were in the log already; offset and time are those of the original.
	duplicate bool
	after     int64 // of a duplicate: what else of the log it waits for ends here
	time      int64
	err       error
}

// step journals at most stepBytes and reports whether it did anything.
func (j *journal) step() bool {
	news := j.shard.synced.take()
	for _, p := range news {
		j.settle(p)
	}
	if len(news) > 0 {
		j.wake(news)
	}
	for _, p := range news { // after all are settled, because it begins a batch
		j.unpark(p)
	}
	taken := 0
	for taken < stepBytes {
		entry, ok := j.shard.slab.Next()
		if !ok {
			break
		}
		j.begin()
		taken += j.append(entry, j.time)
	}
	finished := j.finish()
	if taken > 0 {
		j.shard.slab.Release() // after the records were copied
	}
	return finished || len(news) > 0
}

// begin makes sure that a batch is under way. All its records have one append time.
func (j *journal) begin() {
	if !j.open {
		j.open, j.time = true, j.now()
	}
}

// finish publishes the batch under way and answers; it reports whether there was one.
func (j *journal) finish() bool {
	if !j.open {
		return false
	}
	for _, p := range j.touched {
		j.publish(p, j.time)
	}
	j.requestSyncs()
	j.wake(j.touched)
	clear(j.touched)
	j.touched = j.touched[:0]
	j.answer()
	j.answerRuns()
	j.open = false
	return true
}

// requestSyncs asks for the syncs of the batch at once, so that many partitions share one.
func (j *journal) requestSyncs() {
	switch len(j.syncs) {
	case 0:
		return
	case 1:
		j.syncs[0].RequestSync()
	default:
		j.node.store.RequestSyncs(j.syncs)
	}
	clear(j.syncs)
	j.syncs = j.syncs[:0]
}

// wake wakes the subscriptions of partitions whose marks have moved.
func (j *journal) wake(list []*partition) {
	j.barrier.Add(1) // the marks must be out before it is looked who sleeps
	for _, p := range list {
		if p.moved {
			p.moved = false
			p.readers.wake(&j.node.notifier)
		}
	}
}

// appendPlain is append for the usual entry, one that asks for page and whose records are in it. It
// reports false if the entry is another, or has to be kept until the disk has it.
func (j *journal) appendPlain(raw []byte) bool {
	le := binary.LittleEndian
	who, what := le.Uint64(raw[0:]), le.Uint64(raw[8:])
	p := j.node.partitionAt(uint32(who))
	const one = uint64(core.AckPage)<<16 | 1 // record, at page, in the entry
	if what>>32 != one || !p.waiting.empty() || !p.parked.empty() {
		return false
	}
	producer := uint32(who >> 32)
	by := j.producerAt(producer)
	if producer != nobody && (by == nil || by.topic != p.topic) {
		return false // a delayed message goes to __delay, whatever the topic of its producer
	}
	if !p.touched {
		j.touch(p, j.time)
	}
	err := p.failed
	if err == nil {
		err = p.full
	}
	if err == nil && !j.fits(p, len(raw)-entryHead) {
		return false
	}
	if err == nil {
		p.queue = append(p.queue, raw[entryHead:])
		p.next++
	}
	if by != nil {
		j.inRun(by, uint32(what), p, p.next-1, err)
	}
	return true
}

// addQueue gives the records of a partition's queue to the log. What it does not take fails, and so
// does what follows in the batch.
func (j *journal) addQueue(p *partition) {
	if len(p.queue) == 0 {
		return
	}
	base, added, err := p.log.AddEach(p.queue)
	if err != nil {
		p.full, p.next = err, base+int64(added)
		j.failRuns(p, p.next, err)
	}
	clear(p.queue)
	p.queue = p.queue[:0]
}

// append adds one entry's records to its partition's open frame and gives its size.
func (j *journal) append(raw []byte, now int64) int {
	if j.appendPlain(raw) {
		return len(raw)
	}
	e, records := j.node.decodeEntry(raw)
	now = j.fresh(&e, now)
	p := e.part
	if !p.touched {
		j.touch(p, now)
	}
	o := outcome{part: p, producer: e.producer, ticket: e.ticket, records: int32(e.records), time: now,
		disk: e.level == core.AckDisk, err: p.failed}
	if o.err == nil && (!p.parked.empty() || !j.fits(p, len(records))) {
		if o.err = j.park(p, raw, len(records)); o.err == nil {
			return len(raw)
		}
	}
	if o.err == nil {
		j.addQueue(p)
		if e.ids {
			j.appendIDs(&o, &e, raw[entryHead:], records)
		} else if e.frame {
			j.addFrame(&o, raw[entryHead:], records)
		} else {
			o.offset, o.err = p.log.Add(records, e.records)
		}
		if o.err == nil && !o.duplicate {
			p.next = o.offset + int64(o.records)
		}
	}
	j.node.bodies.free(e.body)
	if o.producer >= firstProducer && !o.disk && p.waiting.empty() {
		if by := j.producerAt(o.producer); by != nil && by.topic == p.topic {
			j.inRun(by, o.ticket, p, o.offset, o.cause())
			return len(raw) + bodyBytes(&e, records)
		}
	}
	if o.producer != nobody || o.err != nil {
		j.done = append(j.done, o)
	}
	p.wantsSync = p.wantsSync || o.disk && o.err == nil
	return len(raw) + bodyBytes(&e, records)
}

// fresh begins another batch for a delayed message that was not due when the one under way began, so that its
// record has no time before. It gives the time of the batch.
func (j *journal) fresh(e *entry, now int64) int64 {
	if e.producer < firstProducer {
		return now
	}
	if d, ok := j.node.completerAt(e.producer).(*delays); ok && now < d.firedAt.Load() {
		j.finish()
		j.begin()
		return j.time
	}
	return now
}

// bodyBytes is what an entry brings beside its own bytes.
func bodyBytes(e *entry, records []byte) int {
	if e.body != 0 {
		return len(records)
	}
	return 0
}

// touch begins a partition's batch: policy first, which refuses what a fenced partition gets.
func (j *journal) touch(p *partition, now int64) {
	p.touched = true
	p.failed = p.refusal()
	j.touched = append(j.touched, p)
	if p.failed != nil {
		return
	}
	j.input = core.PartitionInput{Kind: core.InputAppend, Records: 1}
	j.effects.Reset()
	p.state.Step(&j.input, now, &j.effects)
	if e := j.effects.List[0]; e.Kind == core.EffectReject {
		p.failed = core.NewError(e.Code, p.op("append to"), nil)
		return
	}
	p.next, p.full = p.state.LogEnd(), nil
	p.granted = p.log.Room()
	p.log.Begin(now)
}

// publish makes a partition's batch visible. If the write fails, nothing of the batch is there.
func (j *journal) publish(p *partition, now int64) {
	p.touched = false
	if p.failed != nil {
		return
	}
	before := p.state.LogEnd()
	j.addQueue(p)
	end, err := p.log.Publish()
	switch {
	case err != nil:
		j.failBatch(p, before, err)
	case end != before:
		j.input = core.PartitionInput{Kind: core.InputWritten, Offset: end}
		j.apply(p, now)
	}
	if p.wantsSync {
		p.wantsSync = false
		j.syncs = append(j.syncs, p.log)
	}
	if end == before {
		return // every record of the batch was refused, or is a duplicate
	}
	if p.log.StateDue() {
		p.saveProducers(now)
	}
	j.setGate(p)
	p.moved = true
}

// failBatch turns the outcomes of a batch that could not be written into errors.
func (j *journal) failBatch(p *partition, from int64, err error) {
	for i := range j.done {
		if o := &j.done[i]; o.part == p && o.err == nil && (o.offset >= from || o.after > from) {
			o.err = err
		}
	}
	j.failRuns(p, from, err)
	j.input = core.PartitionInput{Kind: core.InputDropped}
	j.apply(p, 0)
	if p.log.Fenced() != nil {
		j.fence(p, err)
	}
}

func (j *journal) fence(p *partition, err error) {
	p.setFault(err)
	j.input = core.PartitionInput{Kind: core.InputFence, Code: core.CodeOf(err)}
	j.apply(p, 0)
	j.node.report("partition fenced", p, err)
}

// apply runs one step of the partition's policy and carries out its effects.
func (j *journal) apply(p *partition, now int64) {
	j.effects.Reset()
	p.state.Step(&j.input, now, &j.effects)
	for i := range j.effects.List {
		if e := &j.effects.List[i]; e.Kind == core.EffectHighWater {
			p.highWater.Move(e.Hi)
		}
	}
}

// settle takes over what the Syncer found: a new durable end, or the error that fenced the log. Whose records
// lie behind the end that it read waits for the next one: nobody has a receipt for what cannot be read.
func (j *journal) settle(p *partition) {
	p.inSynced.Store(false) // before reading, so that later news queues again
	durable := p.log.DurableEnd()
	if err := p.log.Fenced(); err != nil {
		if p.refusal() == nil {
			j.fence(p, err)
		}
		p.gate.set(false) // publishers must learn of the fence
	} else {
		j.input = core.PartitionInput{Kind: core.InputSynced, Offset: durable}
		j.apply(p, 0)
		j.setGate(p)
		p.moved = true
	}
	j.answerWaiting(p, durable)
}

// answer tells the publishers of this step, those that wait for the disk excepted.
func (j *journal) answer() {
	for i := range j.done {
		o := &j.done[i]
		if o.waits() || o.ordered() && !o.part.waiting.empty() {
			o.part.waiting.push(*o)
			o.producer = nobody
		}
	}
	j.tell(j.done)
	clear(j.done)
	j.done = j.done[:0]
}

// ordered: callbacks of a producer come in publish order per partition, so an answer must not
// overtake one that waits for the disk.
func (o *outcome) ordered() bool { return o.producer > waiterProducer }

// waits reports whether the outcome waits for the disk. What was written just now always does; an original
// that the disk has, but that cannot be read yet, is told with the next settle, which is due.
func (o *outcome) waits() bool {
	return o.disk && o.err == nil &&
		(!o.duplicate || !o.settled(min(o.part.log.DurableEnd(), o.part.highWater.Load())))
}

// settled reports whether the outcome can be told: it waits for nothing, or the disk has it.
func (o *outcome) settled(durableEnd int64) bool {
	return o.err != nil || !o.disk || max(o.after, o.offset+int64(o.records)) <= durableEnd
}

// cause is what is kept of the outcome among the causes of failures.
func (o *outcome) cause() error {
	if o.err == nil && o.duplicate {
		return &duplicateAt{time.Unix(0, o.time)}
	}
	return o.err
}

// answerWaiting tells those whose records lie before the durable end, or never will be on the disk.
func (j *journal) answerWaiting(p *partition, durable int64) {
	fault := p.refusal()
	answered := j.done[:0]
	for !p.waiting.empty() {
		o := p.waiting.front()
		if !o.settled(durable) {
			if fault == nil {
				break
			}
			o.err = fault
		}
		answered = append(answered, *o)
		p.waiting.pop()
	}
	j.tell(answered)
	clear(answered)
	j.done = answered[:0]
}

// tell hands outcomes to producers in runs, so that a run costs one claim of the producer's ring.
func (j *journal) tell(list []outcome) {
	for i := 0; i < len(list); {
		o := &list[i]
		switch o.producer {
		case nobody:
			i++
		case waiterProducer:
			j.node.waiters.complete(o)
			i++
		default:
			end := i + 1
			for end < len(list) && list[end].producer == o.producer {
				end++
			}
			j.node.completerAt(o.producer).complete(j.shard, list[i:end])
			i = end
		}
	}
}

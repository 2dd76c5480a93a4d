package node

import (
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// partition is the data plane of one partition. It costs no ring, no goroutine and no file before
// its first record.
type partition struct {
	// Set once, or rarely, and read by everybody.
	topic   *topic
	number  int32
	id      uint32 // its place in Node.partitions
	shard   *shard
	store   *mmaplog.Store
	here    bool                       // this node leads it; else it has neither log nor file
	log     *mmaplog.Log               // set by Open, before anybody reads or publishes
	fault   atomic.Pointer[core.Error] // why it takes no records
	gate    gate                       // closed while too much is not yet on the disk
	readers readerList

	// The mark has lines of its own: subscriptions poll it while the journal works on what follows.
	_         [128]byte
	highWater mmaplog.Mark
	_         [120]byte

	// The following is guarded by the shard's lock.
	state     *core.Partition
	touched   bool        // has records in the batch under way
	wantsSync bool        // and some of them wait for the disk
	moved     bool        // a mark has moved, and its subscriptions are to be woken
	queue     [][]byte    // records of the batch under way, in the ring, that go to the log together
	next      int64       // offset that the next record of the batch gets
	full      error       // why the log took no more of the batch
	failed    error       // why the records of the batch under way were refused
	granted   int64       // bytes the log takes in this batch without waiting for a file
	parked    parking     // entries that wait for one
	waiting   outcomeFIFO // published records that wait for the disk
	stateAt   int64       // when the state of producers was saved last

	inSynced atomic.Bool  // queued in shard.synced
	rolling  atomic.Bool  // roll is queued in shard.tasks
	rounds   atomic.Int64 // syncs that moved the durable end
}

// Open implements actors.PartitionShell: it recovers the log.
func (p *partition) Open() error {
	defer p.topic.opening.Add(-1)
	if !p.here {
		return nil
	}
	ended := false
	defer func() {
		if !ended { // by a panic: what it left half done must take no records
			p.setFault(core.Errorf(core.CodeHandlerFailed, p.op("open"), "opening its log failed half way"))
		}
	}()
	err := p.open()
	ended = true
	return err
}

func (p *partition) open() error {
	cfg := p.topic.cfg
	keep := p.topic.retention()
	log, err := p.store.OpenLog(p.topic.id, p.number, mmaplog.LogOptions{
		Level:            cfg.Ack,
		SegmentBytes:     cfg.SegmentBytes,
		RetentionBytes:   keep.Bytes,
		RetentionAge:     keep.Age,
		RetentionRecords: keep.Records,
		Compact:          cfg.Cleanup == core.CleanupCompact,
		RollDue:          p.onRollDue,
		Reserve:          p.reserve(),
		OnDamage:         p.onDamage(),
		Durable:          p.onDurable,
		Ready:            p.onReady,
	})
	if err != nil {
		p.fault.Store(core.NewError(core.CodeOf(err), p.op("use"), err))
		return err
	}
	p.log = log
	p.state = core.NewPartition(cfg.Ack, log.End(), log.DurableEnd())
	p.highWater.Move(p.state.HighWater())
	if err := p.restoreProducers(); err != nil {
		p.setFault(err)
		return err
	}
	return nil
}

// reserveStep is how many offsets a topic at page reserves in advance: at ten million messages a second its
// state is written every few seconds.
const reserveStep = 1 << 26

// reserve is the step of the partition's offset ceiling. Nobody but this node sees the offsets of an internal
// topic.
func (p *partition) reserve() int64 {
	if p.topic.id < core.FirstTopicID {
		return 0
	}
	return reserveStep
}

// onDamage is what becomes of the log if durable records of it cannot be read. A catalogue or commits with
// holes would make topics look deleted, so that they would go.
func (p *partition) onDamage() mmaplog.OnDamage {
	if p.topic.id < core.FirstTopicID {
		return mmaplog.Fail
	}
	return p.shard.journal.node.onDamage
}

// Close implements actors.PartitionShell: publishes are refused from now on.
func (p *partition) Close() error {
	p.setFault(core.NewError(core.CodeTopicNotFound, p.op("publish to"), nil))
	return nil
}

// onDurable is called by the Syncer when the durable end moved or the log was fenced.
func (p *partition) onDurable(_ int64, err error) {
	if err == nil {
		p.rounds.Add(1)
	}
	if p.inSynced.CompareAndSwap(false, true) {
		p.shard.synced.push(p)
	}
	p.shard.help() // a holder of the lock looks for news after freeing it
}

// onRollDue is called by the log's store when all records of the partition are older than its topic
// keeps them. The executor is the log's writer; it has opened the log before it gets here.
func (p *partition) onRollDue() {
	if p.rolling.CompareAndSwap(false, true) {
		p.shard.Schedule(p.roll)
	}
}

// roll starts a segment, on the executor. What it cannot do now it is asked again in a while; an error
// that fences the log comes by onDurable.
func (p *partition) roll() {
	p.rolling.Store(false)
	_ = p.log.Roll()
}

// visible is the first offset a subscription at level may not see.
func (p *partition) visible(level core.Ack) int64 {
	switch level {
	case core.AckPage:
		return p.log.End()
	case core.AckDisk:
		return p.log.DurableEnd()
	}
	return p.highWater.Load()
}

func (p *partition) setFault(err error) {
	fault := core.NewError(core.CodeOf(err), p.op("use"), err)
	p.fault.CompareAndSwap(nil, fault)
}

// refusal is why the partition takes no records, nil if it does.
func (p *partition) refusal() error {
	if fault := p.fault.Load(); fault != nil {
		return fault
	}
	return nil
}

// level is what a publish that asked for asked gets: at least the topic's.
func (p *partition) level(asked core.Ack) core.Ack { return max(asked, p.topic.cfg.Ack) }

// outcomeFIFO keeps outcomes in order. It is bounded by what producers may have in flight.
type outcomeFIFO struct {
	list []outcome
	head int
}

func (f *outcomeFIFO) push(o outcome) { f.list = append(f.list, o) }

func (f *outcomeFIFO) empty() bool { return f.head == len(f.list) }

func (f *outcomeFIFO) front() *outcome { return &f.list[f.head] }

func (f *outcomeFIFO) pop() {
	f.list[f.head] = outcome{}
	f.head++
	if f.head == len(f.list) {
		f.list, f.head = f.list[:0], 0
	} else if f.head > 4096 && f.head > len(f.list)/2 {
		n := copy(f.list, f.list[f.head:])
		clear(f.list[n:])
		f.list, f.head = f.list[:n], 0
	}
}

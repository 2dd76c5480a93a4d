package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/histogram"
	"github.com/leatbus/leat/mmaplog"
)

// delays has the messages that wait for the partitions of this node, and delivers them when they are due.
//
//	publish ──▶ __delay ──tail──▶ core.Delay ──due──▶ target's ring ──stored──▶ end (tombstone) ──▶ __delay
//
// What waits is what __delay says: the loop reads its log, from the start when the node is opened and then
// what comes, and nothing else changes the state but what it hands out itself. So a restart finds what was
// there, whoever wrote it.
//
// Invariant: nothing is delivered twice. A record in the target that has no end in __delay, because of a
// crash between the two, has its handle in a header. Each target has a mark in __delay: all that was
// delivered below it has its end in the log before the mark. So when the node is opened, before anything is
// delivered, each target is read from its mark on, and the ends that are missing are written. A mark that a
// power cut takes leaves an older one, from which more is read.
type delays struct {
	node   *Node
	topic  *topic
	part   *partition
	page   *producer // writes ends and marks
	disk   *producer
	random uint64        // in the keys of this run
	number atomic.Uint64 // the last key
	index  uint32        // in Node.producers

	sleeper *sleeper
	calls   chan func() // to be run by the loop
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	changes sync.WaitGroup // calls that cancel or reschedule
	// stopping: the node closes, so that nothing more is delivered.
	stopping atomic.Bool
	firedAt  atomic.Int64 // the time by which what was handed out last was due
	stats    delayStats

	mu    sync.Mutex // guards the following, news for the loop
	done  []delayDone
	gone  []uint64 // topics that were deleted
	fault error    // why the loop has ended

	loop delayLoop // belongs to the loop
}

// delayStats counts what the loop does.
type delayStats struct {
	waiting atomic.Int64
	fired   atomic.Int64
	dropped atomic.Int64
	late    *histogram.Histogram // from due to stored in the target
}

func (s *delayStats) export() DelayStats {
	return DelayStats{Waiting: s.waiting.Load(), Fired: s.fired.Load(), Dropped: s.dropped.Load(),
		Late: s.late.Snapshot()}
}

// delayDone is what became of a delivery.
type delayDone struct {
	ticket uint32
	offset int64 // in the target
	time   int64
	err    error
}

// openDelays opens __delay. What is in it is read by the loop, which startDelays starts.
func (n *Node) openDelays() error {
	info, _ := core.NewCatalogue().ByID(core.DelayTopicID) // every catalogue has it
	d := &delays{node: n, sleeper: newSleeper(), calls: make(chan func())}
	d.topic = n.AddTopic(info).(*topic)
	d.part = d.topic.partitions[0]
	manual := leat.ProducerOptions{Partitioner: leat.Manual, Ack: core.AckPage}
	d.page = n.newProducer(d.topic, manual)
	manual.Ack = core.AckDisk
	d.disk = n.newProducer(d.topic, manual)
	d.index = n.register(d)
	d.stats.late = histogram.Durations()
	d.ctx, d.cancel = context.WithCancel(context.Background())
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return core.NewError(core.CodeInternal, "open __delay", err)
	}
	d.random = binary.LittleEndian.Uint64(seed[:])
	n.delays = d
	if err := n.openTopic(d.topic); err != nil {
		n.report("delayed messages cannot be read", d.part, err)
	}
	return nil
}

// start reads what waits and delivers it, in the background. The topics are open.
func (d *delays) start() {
	d.loop = delayLoop{delays: d, state: core.NewDelay(), targets: map[delayTarget]*delayLane{},
		gone: map[uint64]bool{}, shards: map[*shard]core.Ack{}, plans: newSchedules()}
	if d.part.log == nil {
		d.fail(d.part.refusal())
		return
	}
	d.part.readers.add(d.sleeper)
	d.running.Go(d.loop.run)
}

// stop ends the loop: nothing is delivered any more, and what is in the hands of its target gets its end,
// until ctx ends. What got none is found when the node is opened again.
func (d *delays) stop(ctx context.Context) {
	if d.stopping.Swap(true) || d.loop.delays == nil {
		return
	}
	end := context.AfterFunc(ctx, d.cancel)
	defer end()
	d.sleeper.force()
	d.running.Wait()
	d.cancel()
	d.part.readers.remove(d.sleeper)
}

// fail notes why there is no loop any more.
func (d *delays) fail(err error) {
	d.mu.Lock()
	d.fault = err
	d.mu.Unlock()
	d.cancel()
}

// ended is why the loop has ended, for op.
func (d *delays) ended(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault != nil {
		return core.NewError(core.CodeOf(d.fault), op, d.fault)
	}
	return core.NewError(core.CodeClosed, op, nil)
}

// complete implements completer, for messages that were handed to their targets.
func (d *delays) complete(_ *shard, run []outcome) {
	d.mu.Lock()
	for i := range run {
		o := &run[i]
		d.done = append(d.done, delayDone{ticket: o.ticket, offset: o.offset, time: o.time, err: o.err})
	}
	d.mu.Unlock()
	d.sleeper.rouse()
}

// forget has what waits for a deleted topic removed. It does not wait.
func (d *delays) forget(topic uint64) {
	d.mu.Lock()
	d.gone = append(d.gone, topic)
	d.mu.Unlock()
	d.sleeper.force()
}

// news reports whether the loop has something to take.
func (d *delays) news() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.done) > 0 || len(d.gone) > 0
}

// do runs f in the loop, once everything that was stored so far is known, and waits for it.
func (d *delays) do(ctx context.Context, op string, f func(*delayLoop)) error {
	done := make(chan struct{})
	select {
	case d.calls <- func() { defer close(done); f(&d.loop) }:
		<-done // the loop runs it at once, and it does not block
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.ctx.Done():
		return d.ended(op)
	}
}

// nextKey gives the key of a new message.
func (d *delays) nextKey() core.DelayKey {
	return core.DelayKey{Random: d.random, Number: d.number.Add(1)}
}

// recordAt reads the record at an offset of __delay, and when it was stored. What it gives points into the
// memory of the reader. It is false if compaction has removed it.
func recordAt(reader *mmaplog.Reader, offset int64) (r core.Record, stored int64, found bool, err error) {
	reader.Seek(offset)
	run, err := reader.Next(1<<63 - 1)
	if err != nil {
		return r, 0, false, err
	}
	for len(run) >= core.FrameHeaderSize {
		h := core.ParseFrameHeader(run)
		if h.NextOffset() <= offset {
			run = run[h.Size():]
			continue
		}
		records := run[core.FrameHeaderSize:h.Length]
		for at := h.BaseOffset; len(records) > 0; at++ {
			r, n, err := core.DecodeRecord(records)
			if err != nil {
				return r, 0, false, err
			}
			if at == offset {
				return r, h.Time, !r.Removed(), nil
			}
			records = records[n:]
		}
		break
	}
	return r, 0, false, nil
}

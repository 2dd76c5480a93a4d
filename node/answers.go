package node

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

const (
	answerRing   = core.MaxInFlightRecords // slots of a producer's mailbox: it never overflows
	answerRun    = 512                     // completions per claim of the mailbox
	quietRecords = 32                      // in flight up to which a publisher journals at once
	roomYields   = 50                      // how often a publisher lets others run before it sleeps
)

// answers is the asynchronous half of a producer: what is in flight, and the callbacks. A ticket
// numbers the publishes, modulo 2³²; slot ticket mod 65,536 keeps the callback until it is answered.
//
//	reserve ──▶ slab ──▶ journal ──▶ lane of the producer's actor ──▶ callback
//
// issued and done pack bytes/8 in the high and records in the low half, so that one add moves both;
// their difference modulo 2⁶⁴ is what is in flight, carries included.
//
// Invariant: done moves in ticket order, so a ticket below done + 65,536 finds its slot free.
type answers struct {
	issued  atomic.Uint64 // written by publishers
	_       [120]byte
	done    atomic.Uint64 // written by the producer's actor
	_       [120]byte
	blocked atomic.Int32 // publishers waiting for room
	op      string
	closing <-chan struct{}

	start starter
	slots []answerSlot
	fails failures
	pid   *actors.PID
	sys   *actors.System
	lanes []*actors.Sender[actors.Completion] // one per shard, used under the shard's lock

	aside aside

	roomMu sync.Mutex // guards the following
	room   chan struct{}

	// The following belongs to the producer's actor.
	head    uint32 // lowest ticket not answered
	batch   []called
	topic   string
	onPanic func(any)
}

// answerSlot is one publish in flight. It is small, because a publisher that is far ahead of the answers
// walks through all of them, out of its caches.
type answerSlot struct {
	call      func(leat.Receipt, error)
	offset    int64 // with partition, of a publish that is answered in a run
	partition int32
	words     uint32 // of 8 bytes
	answered  bool   // owned by the actor, which may look at a slot that is being filled
}

// failures holds why publishes failed, until their tickets are answered.
type failures struct {
	count  atomic.Int32
	mu     sync.Mutex // guards the following
	causes map[uint32]error
}

func (f *failures) put(ticket uint32, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.causes == nil {
		f.causes = make(map[uint32]error)
	}
	f.causes[ticket] = cause
	f.count.Store(int32(len(f.causes)))
}

// take gives the cause of a ticket and forgets it; nil if the ticket did not fail.
func (f *failures) take(ticket uint32) error {
	if f.count.Load() == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	cause := f.causes[ticket]
	delete(f.causes, ticket)
	f.count.Store(int32(len(f.causes)))
	return cause
}

// has reports whether a ticket failed. One that was stored before may still, with what it repeats.
func (f *failures) has(ticket uint32) bool {
	if f.count.Load() == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	cause := f.causes[ticket]
	_, repeated := cause.(*duplicateAt)
	return cause != nil && !repeated
}

// called is a callback that is due, and what it is to be told.
type called struct {
	call      func(leat.Receipt, error)
	err       error
	offset    int64
	time      int64
	partition int32
}

// answered is an answer ready to be given.
type answered struct {
	call    func(leat.Receipt, error)
	err     error
	receipt leat.Receipt
}

func inFlight(issued, done uint64) (records uint32, bytes uint64) {
	d := issued - done
	return uint32(d), d >> 32 * 8
}

func full(issued, done uint64) bool {
	records, bytes := inFlight(issued, done)
	return records >= core.MaxInFlightRecords || bytes >= core.MaxInFlightBytes
}

// quiet reports whether so little is in flight that latency counts more than batches.
func (a *answers) quiet() bool {
	records, _ := inFlight(a.issued.Load(), a.done.Load())
	return records <= quietRecords
}

// reserve takes a ticket, waiting for room if the policy says so.
func (a *answers) reserve(call func(leat.Receipt, error), size int, policy leat.FullPolicy) (uint32, error) {
	if err := a.start.ensure(); err != nil {
		return 0, err
	}
	for {
		issued := a.issued.Load()
		if full(issued, a.done.Load()) {
			if policy != leat.Block {
				return 0, core.NewError(core.CodeFull, a.op, nil)
			}
			if err := a.awaitRoom(a.inFlightFull); err != nil {
				return 0, err
			}
			continue
		}
		if a.issued.CompareAndSwap(issued, issued+uint64(size/8)<<32+1) {
			ticket := uint32(issued)
			slot := &a.slots[ticket%answerRing]
			slot.call, slot.words = call, uint32(size/8)
			return ticket, nil
		}
	}
}

func (a *answers) inFlightFull() bool { return full(a.issued.Load(), a.done.Load()) }

// awaitRoom returns when isFull may have ended.
func (a *answers) awaitRoom(isFull func() bool) error {
	for range roomYields {
		runtime.Gosched()
		if !isFull() {
			return nil
		}
	}
	a.roomMu.Lock()
	room := a.room
	a.roomMu.Unlock()
	a.blocked.Add(1)
	defer a.blocked.Add(-1)
	// The actor makes room and then looks at blocked, so one of the two sees the other.
	if !isFull() {
		return nil
	}
	select {
	case <-room:
		return nil
	case <-a.closing:
		return core.NewError(core.CodeClosed, a.op, nil)
	}
}

// makeRoom wakes the publishers that wait for room.
func (a *answers) makeRoom() {
	if a.blocked.Load() == 0 {
		return
	}
	a.roomMu.Lock()
	defer a.roomMu.Unlock()
	close(a.room)
	a.room = make(chan struct{})
}

// complete sends a run of outcomes to the actor. Called under the lock of the lane's shard.
func (a *answers) complete(shard int, run []outcome) {
	lane := a.lanes[shard]
	for len(run) > 0 {
		n := min(len(run), answerRun)
		claimed, ok := lane.TryClaim(n)
		if !ok {
			a.overflow()
			return
		}
		first, second := claimed.Slots()
		a.fill(first, run)
		a.fill(second, run[len(first):])
		lane.Publish(claimed)
		run = run[n:]
	}
}

func (a *answers) fill(slots []actors.Completion, run []outcome) {
	for i := range slots {
		o := &run[i]
		slots[i] = actors.Completion{
			Ticket: o.ticket, Partition: o.part.number, Offset: o.offset, Time: o.time, Failed: o.err != nil,
		}
		if cause := o.cause(); cause != nil {
			a.fails.put(o.ticket, cause)
		}
	}
}

// overflow is reached only while the bus closes: before, there is room for all that is in flight.
func (a *answers) overflow() {
	select {
	case <-a.closing:
	default:
		panic("node: more completions than publishes in flight")
	}
}

// refuse calls back with an error about the message itself.
func (a *answers) refuse(call func(leat.Receipt, error), err error) {
	a.answerNow(call, leat.Receipt{}, err)
}

// Answer implements actors.ProducerShell: it frees the room of the run, then calls back.
func (a *answers) Answer(run *actors.Batch[actors.Completion]) {
	for i := range run.Len() {
		switch c := run.At(i); {
		case c.Partition == asideMark:
		case c.Count > 0:
			a.collectRun(c)
		default:
			a.collect(c)
		}
	}
	done := a.done.Load()
	for slot := &a.slots[a.head%answerRing]; slot.answered; slot = &a.slots[a.head%answerRing] {
		slot.answered = false
		done += uint64(slot.words)<<32 + 1
		a.head++
	}
	a.done.Store(done)
	a.makeRoom()
	for next := 0; next < len(a.batch); {
		next = a.callFrom(next)
	}
	clear(a.batch)
	a.batch = a.batch[:0]
	a.takeAside()
}

// collect takes the outcome of one publish.
func (a *answers) collect(c *actors.Completion) {
	slot := &a.slots[c.Ticket%answerRing]
	cause := a.fails.take(c.Ticket)
	if slot.call != nil {
		a.batch = append(a.batch, called{slot.call, cause, c.Offset, c.Time, c.Partition})
	}
	slot.call = nil
	slot.answered = true
}

// collectRun takes the outcomes of publishes that were appended by their publisher.
func (a *answers) collectRun(c *actors.Completion) {
	for i := range c.Count {
		slot := &a.slots[(c.Ticket+i)%answerRing]
		cause := a.fails.take(c.Ticket + i)
		if slot.call != nil {
			a.batch = append(a.batch, called{slot.call, cause, slot.offset, c.Time, slot.partition})
		}
		slot.call = nil
		slot.answered = true
	}
}

// callFrom runs callbacks of the batch from one on and gives the next to run: a panic in a callback is
// the user's; it is reported and costs no other answer.
func (a *answers) callFrom(first int) (next int) {
	defer func() {
		if p := recover(); p != nil {
			a.onPanic(p)
		}
	}()
	var at int64
	var wall time.Time // of at
	for next = first; next < len(a.batch); {
		c := &a.batch[next]
		next++
		if before, ok := c.err.(*duplicateAt); ok {
			c.call(leat.Receipt{Topic: a.topic, Partition: c.partition, Offset: c.offset, Time: before.time,
				Duplicate: true}, nil)
			continue
		}
		if c.err != nil {
			c.call(leat.Receipt{}, c.err)
			continue
		}
		if c.time != at {
			at, wall = c.time, time.Unix(0, c.time)
		}
		c.call(leat.Receipt{Topic: a.topic, Partition: c.partition, Offset: c.offset, Time: wall}, nil)
	}
	return next
}

// callBack runs one callback. A panic in it is the user's; it is reported and costs no other answer.
func (a *answers) callBack(r *answered) {
	defer func() {
		if p := recover(); p != nil {
			a.onPanic(p)
		}
	}()
	r.call(r.receipt, r.err)
}

// Answered implements actors.ProducerShell. A flush comes by another lane than the mark of what was
// put aside, which counts as issued too.
func (a *answers) Answered() uint32 {
	a.takeAside()
	return a.head
}

// flush waits until everything issued so far has been answered.
func (a *answers) flush(ctx context.Context) error {
	if !a.start.running() {
		return nil // nothing was ever issued
	}
	issued := a.issued.Load()
	_, err := actors.Call(ctx, a.sys, a.pid, func(r actors.Reply[struct{}]) any {
		return actors.FlushProducer{Until: uint32(issued), Reply: r}
	})
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		left, _ := inFlight(issued, a.done.Load())
		return leat.FlushEnded(a.topic, int64(max(int32(left), 0)), cause) // done may have passed issued
	}
	return err
}

// receipt is the outcome as its publisher sees it.
func (o *outcome) receipt() leat.Receipt {
	if o.err != nil {
		return leat.Receipt{}
	}
	return leat.Receipt{
		Topic: o.part.topic.name, Partition: o.part.number, Offset: o.offset, Time: time.Unix(0, o.time),
		Duplicate: o.duplicate,
	}
}

package ringbuf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The schedule driver runs small random plans: a ring of random shape, producers that claim, send, abort and
// give up at random, a random graph of consumers, some of which come or go meanwhile, readers that nobody
// waits for, and an end at a random moment. Everything that a slot promises is stamped into it, so that
// whoever meets a slot can tell whether the promise was kept.

const (
	scheduleProducers = 4
	scheduleStages    = 5
)

// scheduleEvent is a slot. The sum tells a slot that was written by two, or read while it was written.
type scheduleEvent struct {
	sequence         int64 // of the slot, or -1 where the ring chose it
	producer, number uint64
	sum              uint64
	stamps           [scheduleStages]uint64 // of the consumers of the plan that have released the slot
}

func (e *scheduleEvent) seal() { e.sum = e.expected() }

func (e *scheduleEvent) intact() bool { return e.sum == e.expected() }

func (e *scheduleEvent) expected() uint64 {
	return mixed(mixed(mixed(0x5bd1e995, uint64(e.sequence)), e.producer), e.number)
}

func mixed(a, b uint64) uint64 {
	z := (a ^ b) * 0x9e3779b97f4a7c15
	return z ^ z>>29
}

// stampOf is what stage number k leaves in the slot with this sequence.
func stampOf(k int, sequence int64) uint64 { return mixed(uint64(k)+1, uint64(sequence)) }

// schedulePlan is all that a seed decides about one run, but for the moments.
type schedulePlan struct {
	procs    int // GOMAXPROCS
	capacity int
	options  Options
	start    int64
	stages   []stagePlan // consumers from the beginning on
	comers   int         // goroutines that add consumers and close them
	readers  int
	each     uint64 // events per producer
	end      scheduleEnd
	endAfter int64 // events of all, after which the end comes
}

type stagePlan struct {
	after  []int // stages
	leaves int   // events after which it closes; 0: never
}

type scheduleEnd string

const (
	endSeal     scheduleEnd = "Seal"
	endClose    scheduleEnd = "Close"
	endCloseNow scheduleEnd = "CloseNow"
	endCancel   scheduleEnd = "cancel" // of the producers' context, then Seal
)

func newSchedulePlan(random *rand.Rand) *schedulePlan {
	p := &schedulePlan{
		procs: []int{1, 2, 2, 4}[random.IntN(4)], capacity: 1 << random.IntN(7),
		comers: random.IntN(3), each: uint64(1 + random.IntN(80)),
		end: []scheduleEnd{endSeal, endSeal, endClose, endClose, endCloseNow, endCancel}[random.IntN(6)],
	}
	p.options = Options{
		Producers: min(1+random.IntN(scheduleProducers), p.capacity),
		Wait:      []WaitStrategy{Park, Park, Block, Block, Block, Spin}[random.IntN(6)],
		Full:      []FullPolicy{WaitForRoom, WaitForRoom, Fail, DropNewest}[random.IntN(4)],
		Floor:     []time.Duration{0, -1}[random.IntN(2)],
		Fenced:    random.IntN(4) == 0,
		Lossy:     random.IntN(2) == 0 && copiesInOrder,
	}
	if random.IntN(3) > 0 {
		p.options.MaxBatch = 1 + random.IntN(p.capacity/p.options.Producers)
	}
	if p.options.Lossy {
		p.readers = random.IntN(3)
	}
	total := int64(p.each) * int64(p.options.Producers)
	p.endAfter = total
	if random.IntN(3) > 0 {
		p.endAfter = random.Int64N(total + 1)
	}
	edges := []int64{0, 1 << 31, 1 << 32, 1 << 53, int64(p.capacity) << 20}
	if p.start = edges[random.IntN(len(edges))]; p.start > 0 {
		p.start -= random.Int64N(total + 2)
	}
	p.stages = newStagePlans(random)
	return p
}

// newStagePlans draws nothing, some in parallel, a pipeline, a diamond, or any graph.
func newStagePlans(random *rand.Rand) []stagePlan {
	var stages []stagePlan
	shape := random.IntN(5)
	for k := range random.IntN(scheduleStages + 1) {
		var s stagePlan
		switch {
		case k == 0 || shape == 0:
		case shape == 1, shape == 2 && k > 3:
			s.after = []int{k - 1}
		case shape == 2 && k == 3:
			s.after = []int{1, 2}
		case shape == 2:
			s.after = []int{0}
		default:
			for other := range k {
				if random.IntN(2) == 0 {
					s.after = append(s.after, other)
				}
			}
		}
		if random.IntN(5) == 0 {
			s.leaves = 1 + random.IntN(60)
		}
		stages = append(stages, s)
	}
	return stages
}

// schedule is one run of a plan.
type schedule struct {
	t         *testing.T
	plan      *schedulePlan
	ring      *Ring[scheduleEvent]
	stages    []*scheduleStage
	producers [scheduleProducers]scheduleProducer
	published atomic.Int64
	ticks     atomic.Int64 // a clock that orders what happens in different goroutines
	halting   atomic.Bool  // CloseNow is called, or was

	ctx     context.Context // of the producers
	cancel  context.CancelFunc
	endOnce sync.Once
	endNow  chan struct{}
	mu      sync.Mutex // guards the following
	ended   []*follower
	failure string
}

// scheduleStage is a consumer of the plan, as others see it.
type scheduleStage struct {
	number  int
	c       *Consumer[scheduleEvent]
	after   []*scheduleStage
	first   int64        // sequence it began at
	stopped atomic.Int64 // first sequence it did not release, once leaving
	leaving atomic.Bool  // Close is called, or was
}

// scheduleProducer is what a producer has published.
type scheduleProducer struct {
	ticks [81]atomic.Int64 // by number: when it began to be published
	count uint64           // numbers published; for others once it has ended
}

func (x *schedule) fail(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failure == "" {
		x.failure = fmt.Sprintf(format, args...)
		x.halting.Store(true)
		go x.ring.CloseNow() // nobody is to wait for who has given up
	}
}

// shake lets others run, or lets a little time pass, now and then.
func shake(random *rand.Rand) {
	switch random.IntN(10) {
	case 0:
		runtime.Gosched()
	case 1:
		burn(random.IntN(400))
	}
}

// produce publishes the events of one producer in any way there is.
func (x *schedule) produce(id int, p *Producer[scheduleEvent], random *rand.Rand) {
	own := &x.producers[id]
	for own.count < x.plan.each {
		shake(random)
		n, err := x.produceSome(id, p, random, min(x.plan.each-own.count, uint64(x.ring.maxBatch)))
		if own.count += n; x.published.Add(int64(n)) >= x.plan.endAfter {
			x.endOnce.Do(func() { close(x.endNow) })
		}
		switch {
		case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
			return
		case errors.Is(err, ErrFull) && x.plan.options.Full != WaitForRoom:
			runtime.Gosched()
		case err != nil:
			x.fail("producer %d: %v", id, err)
			return
		}
	}
}

func (x *schedule) produceSome(
	id int, p *Producer[scheduleEvent], random *rand.Rand, most uint64,
) (published uint64, err error) {
	own := &x.producers[id]
	n := 1 + random.IntN(int(most))
	for i := range n {
		own.ticks[own.count+uint64(i)].Store(x.ticks.Add(1))
	}
	var b Batch[scheduleEvent]
	ok := true
	switch random.IntN(6) {
	case 0:
		return x.send(id, p)
	case 1:
		e := x.event(id, own.count, -1)
		if !p.TrySend(&e) {
			runtime.Gosched()
			return 0, x.closedError()
		}
		return 1, nil
	case 2:
		b, ok = p.TryClaim(n)
	case 3:
		b, ok = p.ClaimUpTo(n)
	default:
		b, err = p.Claim(x.ctx, n)
	}
	if err != nil || !ok {
		runtime.Gosched()
		return 0, cmpError(err, x.closedError())
	}
	shake(random)
	abort := random.IntN(8) == 0
	x.fill(id, b, abort)
	shake(random)
	if abort {
		p.Abort(b)
		return 0, nil
	}
	p.Publish(b)
	return uint64(b.Len()), nil
}

func cmpError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// closedError is why a Try would never succeed any more.
func (x *schedule) closedError() error {
	if x.ring.closed() {
		return ErrClosed
	}
	return x.ctx.Err()
}

// send publishes one event, and finds out whether it was dropped.
func (x *schedule) send(id int, p *Producer[scheduleEvent]) (published uint64, err error) {
	e := x.event(id, x.producers[id].count, -1)
	before := p.dropped.Load()
	if err := p.Send(x.ctx, &e); err != nil {
		return 0, err
	}
	if p.dropped.Load() != before {
		return 0, ErrFull
	}
	return 1, nil
}

func (x *schedule) event(id int, number uint64, sequence int64) scheduleEvent {
	e := scheduleEvent{sequence: sequence, producer: uint64(id), number: number}
	e.seal()
	return e
}

// fill writes events into a batch, after a look at whether its slots were really free.
func (x *schedule) fill(id int, b Batch[scheduleEvent], abort bool) {
	first, second := b.Slots()
	sequence, number := b.from, x.producers[id].count
	for _, run := range [2][]scheduleEvent{first, second} {
		for i := range run {
			x.checkFree(&run[i], sequence)
			run[i] = x.event(id, number, sequence)
			if abort {
				run[i].sum++ // nobody may see it
			}
			sequence++
			number++
		}
	}
	if got := len(first) + len(second); got != b.Len() || got < 1 {
		x.fail("a batch of %d has %d slots", b.Len(), got)
	}
}

// checkFree looks at what a slot held a lap ago: every consumer must have released it.
func (x *schedule) checkFree(e *scheduleEvent, sequence int64) {
	before := sequence - x.ring.size
	if !e.intact() || e.sequence != before && e.sequence != -1 {
		return // it was aborted, or nothing was there yet
	}
	for _, s := range x.stages {
		if before >= s.first && !s.passed(e, before) {
			x.fail("sequence %d is claimed over %+v, which stage %d has not released", sequence, *e, s.number)
		}
	}
}

// passed tells whether a stage has released a slot, or had left before it.
func (s *scheduleStage) passed(e *scheduleEvent, sequence int64) bool {
	return e.stamps[s.number] == stampOf(s.number, sequence) || s.leaving.Load() && sequence >= s.stopped.Load()
}

// ready tells whether consumers after this stage may see a slot: once it has left they follow what it did.
func (s *scheduleStage) ready(e *scheduleEvent, sequence int64) bool {
	if sequence < s.first || e.stamps[s.number] == stampOf(s.number, sequence) {
		return true
	}
	if !s.leaving.Load() || sequence < s.stopped.Load() {
		return false
	}
	return !slices.ContainsFunc(s.after, func(a *scheduleStage) bool { return !a.ready(e, sequence) })
}

// follower is the consumer's side of the checks.
type follower struct {
	x      *schedule
	c      *Consumer[scheduleEvent]
	stage  *scheduleStage   // nil for one that came later
	after  []*scheduleStage // what it follows
	joined int64            // tick, for one that came later

	held     []heldEvent               // handed out and not released
	released [scheduleProducers]uint64 // next number of each producer, plus 1; 0: not known
	handed   [scheduleProducers]uint64 // the same with what is held
	last     int64                     // last sequence handed out
	upTo     int64                     // first sequence not released
}

type heldEvent struct {
	*scheduleEvent
	sequence int64
}

func (x *schedule) newFollower(
	c *Consumer[scheduleEvent], stage *scheduleStage, after []*scheduleStage,
) *follower {
	f := &follower{x: x, c: c, stage: stage, after: after, last: c.next - 1, upTo: c.next}
	if stage != nil { // it was there before the first event
		for i := range f.released {
			f.released[i] = 1
		}
	} else {
		f.joined = x.ticks.Add(1)
	}
	f.handed = f.released
	return f
}

// follow consumes until it has released so many events, or to the end if 0, and then leaves.
func (f *follower) follow(limit int, random *rand.Rand) {
	for count := 0; limit == 0 || count < limit; {
		shake(random)
		first, second, err := f.get(random)
		if err != nil {
			count += f.release(len(f.held))
			if !errors.Is(err, ErrClosed) {
				f.x.fail("Next = %v", err)
			}
			f.x.mu.Lock()
			f.x.ended = append(f.x.ended, f)
			f.x.mu.Unlock()
			return
		}
		run := len(first) + len(second)
		if !f.take(first, second) {
			return
		}
		switch random.IntN(8) {
		case 0: // hold it
		case 1:
			f.c.Rewind()
			f.held, f.handed, f.last = f.held[:0], f.released, f.upTo-1
		case 2, 3:
			n := random.IntN(run + 1)
			if n > 0 { // 0 would release what was handed out before, which is another case
				count += f.release(len(f.held) - run + n)
				f.c.ReleaseTo(n)
			}
			shake(random)
		default:
			count += f.release(len(f.held))
			f.c.Release()
		}
	}
	f.leave()
}

// get waits only when it holds nothing: else the ring may be full of what it holds.
func (f *follower) get(random *rand.Rand) (first, second []scheduleEvent, err error) {
	if len(f.held) == 0 && random.IntN(4) > 0 {
		return f.c.Next(f.x.t.Context())
	}
	first, second = f.c.Poll()
	if len(first) == 0 {
		f.release(len(f.held))
		f.c.Release()
		first, second, err = f.c.Next(f.x.t.Context())
	}
	return first, second, err
}

// take checks what was handed out.
func (f *follower) take(first, second []scheduleEvent) bool {
	sequence := f.c.last
	if len(first) == 0 || sequence <= f.last {
		f.x.fail("a run of %d and %d at sequence %d, after %d", len(first), len(second), sequence, f.last)
		return false
	}
	for _, run := range [2][]scheduleEvent{first, second} {
		for i := range run {
			if problem := f.check(&run[i], sequence); problem != "" {
				f.x.fail("%s: sequence %d is %+v: %s", f.name(), sequence, run[i], problem)
				return false
			}
			f.held = append(f.held, heldEvent{&run[i], sequence})
			f.last = sequence
			sequence++
		}
	}
	return true
}

func (f *follower) name() string {
	if f.stage == nil {
		return "a consumer that came later"
	}
	return fmt.Sprint("stage ", f.stage.number)
}

func (f *follower) check(e *scheduleEvent, sequence int64) (problem string) {
	if !e.intact() || e.sequence != sequence && e.sequence != -1 || e.producer >= scheduleProducers {
		return "not what was published there"
	}
	own := &f.x.producers[e.producer]
	switch want := f.handed[e.producer]; {
	case want > 0 && e.number != want-1:
		return fmt.Sprintf("want number %d of producer %d", want-1, e.producer)
	case want == 0 && e.number > 0 && own.ticks[e.number-1].Load() > f.joined:
		return "the number before was published after this consumer was there"
	}
	f.handed[e.producer] = e.number + 2
	for _, s := range f.after {
		if !s.ready(e, sequence) {
			return fmt.Sprintf("stage %d has not released it", s.number)
		}
	}
	return ""
}

// release checks the first n of the held events once more, stamps them and forgets them. The ring is told
// afterwards.
func (f *follower) release(n int) int {
	for _, h := range f.held[:n] {
		if !h.intact() || h.scheduleEvent.sequence != h.sequence && h.scheduleEvent.sequence != -1 {
			f.x.fail("%s: sequence %d changed while it was held: %+v", f.name(), h.sequence, *h.scheduleEvent)
			break
		}
		if f.stage != nil {
			h.stamps[f.stage.number] = stampOf(f.stage.number, h.sequence)
		}
		f.released[h.producer] = h.number + 2
		f.upTo = h.sequence + 1
	}
	f.held = slices.Delete(f.held, 0, n)
	return n
}

// leave closes the consumer.
func (f *follower) leave() {
	if f.stage != nil {
		f.stage.stopped.Store(f.upTo)
		f.stage.leaving.Store(true)
	}
	f.c.Close()
	if first, _ := f.c.Poll(); len(first) > 0 {
		f.x.fail("%s got %d slots after Close", f.name(), len(first))
	}
	if _, _, err := f.c.Next(f.x.t.Context()); !errors.Is(err, ErrClosed) {
		f.x.fail("Next after Close = %v", err)
	}
}

// complete checks, when all is over, that a follower which got to the end has seen everything.
func (f *follower) complete() {
	for id := range f.x.producers {
		own := &f.x.producers[id]
		seen := f.released[id]
		if seen > 0 && seen-1 != own.count {
			f.x.fail("%s saw %d events of producer %d, which published %d", f.name(), seen-1, id, own.count)
		}
		if seen == 0 && own.count > 0 && own.ticks[own.count-1].Load() > f.joined {
			f.x.fail("%s saw nothing of producer %d, which has published after it was there", f.name(), id)
		}
	}
}

// comeAndGo adds consumers, also after others, and closes them again, until the ring is sealed.
func (x *schedule) comeAndGo(random *rand.Rand) {
	for range 1 + random.IntN(6) {
		var after []*scheduleStage
		var consumers []*Consumer[scheduleEvent]
		for _, s := range x.stages {
			if random.IntN(3) == 0 {
				after, consumers = append(after, s), append(consumers, s.c)
			}
		}
		c, err := x.ring.Consumer(After(consumers...), Named("late"))
		if errors.Is(err, ErrClosed) {
			return
		}
		if err != nil {
			if !slices.ContainsFunc(after, func(s *scheduleStage) bool { return s.leaving.Load() }) {
				x.fail("Consumer = %v", err)
			}
			continue
		}
		f := x.newFollower(c, nil, after)
		f.follow(1+random.IntN(40), random)
		if n := x.ring.Len(); n < 0 || n > x.ring.Cap() {
			x.fail("Len() = %d of %d", n, x.ring.Cap())
		}
		if s := x.ring.Stats(); s.Claimed < 0 || s.Capacity != x.plan.capacity {
			x.fail("Stats() = %+v", s)
		}
	}
}

// readLossy reads without holding anybody up. What it got and what it skipped is all there was.
func (x *schedule) readLossy(d *Reader[scheduleEvent], random *rand.Rand) {
	buf := make([]scheduleEvent, 1+random.IntN(20))
	sequence := d.at
	var last [scheduleProducers]uint64 // number plus 1
	for {
		shake(random)
		n, skipped, err := d.Next(x.t.Context(), buf)
		sequence += skipped
		if err != nil {
			if end := x.ring.end.Load(); !x.halting.Load() && sequence != end {
				x.fail("a reader ended at sequence %d of %d: %v", sequence, end, err)
			}
			return
		}
		for i := range buf[:n] {
			e := &buf[i]
			if !e.intact() || e.sequence != sequence && e.sequence != -1 || e.number < last[e.producer] {
				x.fail("a reader got %+v at sequence %d, after numbers %v", *e, sequence, last)
				return
			}
			last[e.producer] = e.number + 1
			sequence++
		}
	}
}

// finish ends the ring as the plan says, when it is time.
func (x *schedule) finish() {
	<-x.endNow
	switch x.plan.end {
	case endClose:
		if err := x.ring.Close(x.t.Context()); err != nil {
			x.fail("Close = %v", err)
		}
		stays := slices.ContainsFunc(x.stages, func(s *scheduleStage) bool { return !s.leaving.Load() })
		if n := x.ring.Len(); n != 0 && stays && !x.halting.Load() {
			x.fail("%d slots in use after Close", n)
		}
	case endCloseNow:
		x.halting.Store(true)
		x.ring.CloseNow()
	case endCancel:
		x.cancel()
	}
	x.ring.Seal() // once more is fine
}

// start makes the ring and everybody on it.
func (x *schedule) start(random *rand.Rand, running *sync.WaitGroup) error {
	var err error
	if x.ring, err = newRingAt[scheduleEvent](x.plan.capacity, x.plan.options, x.plan.start); err != nil {
		return err
	}
	own := func() *rand.Rand { return rand.New(rand.NewPCG(random.Uint64(), 0)) }
	for k, plan := range x.plan.stages {
		s := &scheduleStage{number: k, first: x.plan.start}
		var consumers []*Consumer[scheduleEvent]
		for _, other := range plan.after {
			s.after = append(s.after, x.stages[other])
			consumers = append(consumers, x.stages[other].c)
		}
		if s.c, err = x.ring.Consumer(After(consumers...), Named(fmt.Sprint(k))); err != nil {
			return err
		}
		x.stages = append(x.stages, s)
	}
	var jobs []func()
	for k, s := range x.stages {
		f, random := x.newFollower(s.c, s, s.after), own()
		jobs = append(jobs, func() { f.follow(x.plan.stages[k].leaves, random) })
	}
	for range x.plan.comers {
		random := own()
		jobs = append(jobs, func() { x.comeAndGo(random) })
	}
	for range x.plan.readers {
		d, err := x.ring.Reader()
		if err != nil {
			return err
		}
		random := own()
		jobs = append(jobs, func() { x.readLossy(d, random) })
	}
	var producing sync.WaitGroup
	for id := range x.ring.producers {
		p, err := x.ring.Producer()
		if err != nil {
			return err
		}
		random := own()
		producing.Add(1)
		jobs = append(jobs, func() { defer producing.Done(); x.produce(id, p, random) })
	}
	jobs = append(jobs, x.finish, func() {
		producing.Wait()
		x.endOnce.Do(func() { close(x.endNow) })
	})
	random.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	for _, job := range jobs {
		running.Go(job)
	}
	return nil
}

// run runs the plan to its end.
func (x *schedule) run(random *rand.Rand) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(x.plan.procs))
	x.endNow = make(chan struct{})
	x.ctx, x.cancel = context.WithCancel(x.t.Context())
	defer x.cancel()
	var running sync.WaitGroup
	if err := x.start(random, &running); err != nil {
		x.t.Fatalf("%+v: %v", *x.plan, err)
	}
	over := make(chan struct{})
	go func() { running.Wait(); close(over) }()
	hangs := time.NewTimer(30 * time.Second)
	defer hangs.Stop()
	select {
	case <-over:
	case <-hangs.C:
		buf := make([]byte, 1<<16)
		x.t.Errorf("%+v hangs, %q:\n%s", *x.plan, x.failure, buf[:runtime.Stack(buf, true)])
		return
	}
	if !x.halting.Load() {
		for _, f := range x.ended {
			f.complete()
		}
		if s := x.ring.Stats(); s.Claimed < x.published.Load() {
			x.fail("%d claimed, %d published", s.Claimed, x.published.Load())
		}
	}
	if x.ring.readers.head != nil || x.ring.writers.head != nil {
		x.fail("somebody is listed as waiting after all returned")
	}
	if x.failure != "" {
		x.t.Errorf("%+v: %s", *x.plan, x.failure)
	}
}

// TestSchedules runs as many plans as a few seconds have room for; LEAT_SEED repeats one.
func TestSchedules(t *testing.T) {
	lasts := 6 * time.Second
	if testing.Short() {
		lasts = 2 * time.Second
	}
	over, plans := time.Now().Add(lasts), 0
	forSeeds(t, 20_000, func(t *testing.T, random *rand.Rand) {
		if time.Now().Before(over) {
			x := &schedule{t: t, plan: newSchedulePlan(random)}
			x.run(random)
			plans++
		}
	})
	t.Logf("%d plans", plans)
}

package ringbuf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// historyRun is one small ring, a few clients that call it at the same time, and what they saw. Calls
// and returns are numbered by one counter, so an earlier number happened before; a clock would not do:
// without a fence a store may be visible only after the call that made it has returned.
type historyRun struct {
	rules  logRules
	ring   *Ring[int]
	clock  atomic.Int64
	ids    atomic.Int64 // of claims
	ctx    context.Context
	cancel context.CancelFunc // when the first client is through: whoever waits by then may wait in vain

	mu      sync.Mutex
	history []porcupine.Operation // guarded by mu
}

// historyClient is one goroutine with its handles.
type historyClient struct {
	run      *historyRun
	id       int
	random   *rand.Rand
	history  []porcupine.Operation
	producer *Producer[int]
	batch    Batch[int]
	open     int // id of the open batch, 0 if none
	consumer *Consumer[int]
	who      int // number of the consumer
	got      int // length of its last run
	first    *historyClient
}

func newHistoryRun(t *testing.T, random *rand.Rand) *historyRun {
	o := Options{Producers: 1 + random.IntN(3), Wait: WaitStrategy(random.IntN(2))}
	capacity := 4 << random.IntN(2)
	if o.Producers > 1 {
		o.MaxBatch = 1 + random.IntN(min(3, capacity/o.Producers))
	}
	near := []int64{0, 1 << 31, 1 << 32, 1 << 53, 1 << 61}[random.IntN(5)]
	run := &historyRun{ring: mustRing[int](t, capacity, o, max(0, near-random.Int64N(20)))}
	run.rules = logRules{capacity: capacity, headroom: int(run.ring.headroom), shared: o.Producers > 1}
	run.ctx, run.cancel = context.WithCancel(t.Context())
	return run
}

// record makes a call and keeps what it answered.
func (h *historyClient) record(in historyInput, call func() historyOutput) historyOutput {
	op := porcupine.Operation{ClientId: h.id, Input: in, Call: h.run.clock.Add(1)}
	out := call()
	op.Return, op.Output = h.run.clock.Add(1), out
	h.history = append(h.history, op)
	return out
}

// claim claims in one of the ways there are.
func (h *historyClient) claim() {
	p, n := h.producer, 1+h.random.IntN(min(3, int(h.run.ring.maxBatch)))
	id := int(h.run.ids.Add(1))
	in := historyInput{call: callClaim, n: n, id: id}
	way := h.random.IntN(5)
	switch {
	case way == 0:
		in.call = callUpTo
	case way == 1 && !h.run.rules.shared:
		in.call, in.n = callSend, 1
		h.record(in, func() historyOutput {
			at, v := p.next, id*idStep
			return historyOutput{ok: p.TrySend(&v), from: int(at - h.run.ring.start), n: 1}
		})
		return
	}
	ended := false
	out := h.record(in, func() (out historyOutput) {
		var b Batch[int]
		var err error
		switch {
		case way == 0:
			b, out.ok = p.ClaimUpTo(n)
		case way == 2:
			b, err = p.Claim(h.run.ctx, n)
			out.ok, out.closed, ended = err == nil, errors.Is(err, ErrClosed), errors.Is(err, context.Canceled)
		default:
			b, out.ok = p.TryClaim(n)
		}
		if out.ok {
			h.batch, h.open = b, id
			out.from, out.n = int(b.from-h.run.ring.start), int(b.n)
		}
		return out
	})
	if ended { // it waited and was told to stop: nothing happened
		h.history = h.history[:len(h.history)-1]
	}
	if out.ok {
		first, second := h.batch.Slots()
		for k := range first {
			first[k] = id*idStep + k
		}
		for k := range second {
			second[k] = id*idStep + len(first) + k
		}
	}
}

// finish publishes or aborts what is open.
func (h *historyClient) finish() {
	in := historyInput{call: callPublish, id: h.open, n: int(h.batch.n)}
	if h.random.IntN(4) == 0 {
		in.call = callAbort
	}
	h.record(in, func() historyOutput {
		if in.call == callAbort {
			h.producer.Abort(h.batch)
		} else {
			h.producer.Publish(h.batch)
		}
		return historyOutput{ok: true}
	})
	h.open = 0
}

// add adds a consumer, now and then after the first one.
func (h *historyClient) add(who int) {
	in := historyInput{call: callAdd, who: who}
	var options []ConsumerOption
	if h.first != nil && h.random.IntN(2) == 0 {
		in.deps = 1
		options = append(options, After(h.first.consumer))
	}
	h.record(in, func() historyOutput {
		c, err := h.run.ring.Consumer(options...)
		if err != nil {
			return historyOutput{closed: errors.Is(err, ErrClosed)}
		}
		h.consumer, h.who, h.got = c, who, 0
		return historyOutput{ok: true, from: int(c.next - h.run.ring.start)}
	})
}

// take looks for a run; ctx is nil for Poll.
func (h *historyClient) take(ctx context.Context) historyOutput {
	out := h.record(historyInput{call: callTake, who: h.who}, func() historyOutput {
		var first, second []int
		var err error
		if ctx == nil {
			first, second = h.consumer.Poll()
		} else {
			first, second, err = h.consumer.Next(ctx)
		}
		return historyOutput{values: slices.Concat(first, second), closed: errors.Is(err, ErrClosed)}
	})
	if ctx != nil && len(out.values) == 0 && !out.closed { // it waited and was told to stop
		h.history = h.history[:len(h.history)-1]
	}
	if len(out.values) > 0 {
		h.got = len(out.values)
	}
	return out
}

func (h *historyClient) consume() {
	in := historyInput{call: callRelease, who: h.who}
	call := h.consumer.Release
	switch h.random.IntN(9) {
	case 0, 1, 2:
		h.take(nil)
		return
	case 3:
		h.record(in, func() historyOutput { call(); return historyOutput{} }) // else it may wait for ever
		h.take(h.run.ctx)
		return
	case 4:
		in.call, in.n = callTo, h.random.IntN(h.got+1)
		call = func() { h.consumer.ReleaseTo(in.n) }
	case 5:
		in.call, call, h.got = callRewind, h.consumer.Rewind, 0
	}
	h.record(in, func() historyOutput { call(); return historyOutput{} })
}

func (h *historyClient) closeConsumer() {
	h.record(historyInput{call: callClose, who: h.who}, func() historyOutput {
		h.consumer.Close()
		return historyOutput{}
	})
	h.consumer = nil
}

func (h *historyClient) seal() {
	h.record(historyInput{call: callSeal}, func() historyOutput {
		h.run.ring.Seal()
		return historyOutput{}
	})
}

// produceAll, consumeAll and joinAll are what a client does all the time.
func (h *historyClient) produceAll(steps int) {
	for range steps {
		if h.open != 0 && h.random.IntN(4) != 0 {
			h.finish()
		} else if h.open == 0 {
			h.claim()
		}
		h.pass()
	}
	if h.random.IntN(4) == 0 {
		h.seal()
	}
}

func (h *historyClient) consumeAll(steps int) {
	for range steps {
		h.consume()
		h.pass()
	}
}

// joinAll adds consumers one after the other, uses each for a while and closes it.
func (h *historyClient) joinAll(steps int) {
	for who := 3; who < logConsumers; who++ {
		h.add(who)
		if h.consumer == nil {
			return
		}
		h.consumeAll(steps / 4)
		if h.random.IntN(4) == 0 {
			return
		}
		h.closeConsumer()
	}
}

// pass lets others come in between: it waits for some of their calls, but not for ever. Without it a client
// would be through before the next one runs.
func (h *historyClient) pass() {
	until := h.run.clock.Load() + h.random.Int64N(6)
	for spins := 0; h.run.clock.Load() < until && spins < 300; spins++ {
		if spins > 100 {
			runtime.Gosched()
		}
	}
	burn(h.random.IntN(8))
}

// start runs clients at the same time, at most four, and returns when all are through.
func (run *historyRun) start(t *testing.T, random *rand.Rand) []*historyClient {
	newClient := func() *historyClient {
		return &historyClient{run: run, random: rand.New(rand.NewPCG(random.Uint64(), 1))}
	}
	var clients []*historyClient
	var work []func(int)
	for range run.ring.producers {
		h := newClient()
		h.producer = mustProducer(t, run.ring)
		clients, work = append(clients, h), append(work, h.produceAll)
	}
	var first *historyClient
	for who := range random.IntN(4 - run.ring.producers) {
		h := newClient()
		h.add(who)
		if first == nil {
			first = h
		}
		clients, work = append(clients, h), append(work, h.consumeAll)
	}
	joiner := newClient()
	joiner.first = first
	clients, work = append(clients, joiner), append(work, joiner.joinAll)

	var ready, done sync.WaitGroup
	ready.Add(len(clients))
	for i, h := range clients {
		h.id = i
		done.Go(func() {
			ready.Done()
			ready.Wait()
			h.pass()
			work[i](12)
			run.cancel()
		})
	}
	done.Wait()
	return clients
}

// drain ends the run: everything that was published arrives, and then the end.
func (run *historyRun) drain(t *testing.T, clients []*historyClient) {
	for _, h := range clients {
		if h.open != 0 {
			h.finish()
		}
	}
	clients[0].seal()
	// Followers come after what they follow: the joiner is the last client.
	for _, h := range clients {
		for closed := h.consumer == nil; !closed; closed = h.take(t.Context()).closed {
			h.record(historyInput{call: callRelease, who: h.who}, func() historyOutput {
				h.consumer.Release()
				return historyOutput{}
			})
		}
	}
}

// collect brings the histories together, and marks the calls during which consumers came or went.
func (run *historyRun) collect(clients []*historyClient) []porcupine.Operation {
	var history, changes []porcupine.Operation
	for _, h := range clients {
		history = append(history, h.history...)
	}
	for _, op := range history {
		if call := op.Input.(historyInput).call; call == callAdd || call == callClose {
			changes = append(changes, op)
		}
	}
	for i, op := range history {
		in := op.Input.(historyInput)
		in.unsettled = slices.ContainsFunc(changes, func(change porcupine.Operation) bool {
			return change.Call < op.Return && op.Call < change.Return
		})
		history[i].Input = in
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	return history
}

// newHistory runs clients on a ring and returns what they saw.
func newHistory(t *testing.T, random *rand.Rand) (*historyRun, []porcupine.Operation) {
	run := newHistoryRun(t, random)
	clients := run.start(t, random)
	run.drain(t, clients)
	return run, run.collect(clients)
}

const historyTimeMax = 20 * time.Second

func describeHistory(history []porcupine.Operation) string {
	var text strings.Builder
	for _, op := range history {
		fmt.Fprintf(&text, "%4d–%-4d client %d: %s\n", op.Call, op.Return, op.ClientId,
			describeCall(op.Input, op.Output))
	}
	return text.String()
}

// TestRingHistories: whatever concurrent clients see of a small ring, there is an order of their calls
// in which a plain log of claims gives the same answers.
func TestRingHistories(t *testing.T) {
	calls, overlaps := 0, 0
	forSeeds(t, cut(3000, 300), func(t *testing.T, random *rand.Rand) {
		run, history := newHistory(t, random)
		calls += len(history)
		for i, op := range history[1:] {
			if op.Call < history[i].Return {
				overlaps++
			}
		}
		got := porcupine.CheckOperationsTimeout(run.rules.model(), history, historyTimeMax)
		if got != porcupine.Ok {
			t.Errorf("%+v, start %d: %s:\n%s", run.rules, run.ring.start, got, describeHistory(history))
		}
	})
	t.Logf("%d calls, %d began before another one had returned", calls, overlaps)
}

// historyFaults are what a broken ring might answer. Each changes one answer of a history, if it can.
var historyFaults = []struct {
	name   string
	change func(in *historyInput, out *historyOutput) bool
	always bool // no order of the calls could explain it
}{
	{"a value is lost", func(in *historyInput, out *historyOutput) bool {
		if len(out.values) < 2 {
			return false
		}
		out.values = out.values[1:]
		return true
	}, true},
	{"two values are swapped", func(in *historyInput, out *historyOutput) bool {
		if len(out.values) < 2 {
			return false
		}
		out.values = slices.Clone(out.values)
		out.values[0], out.values[1] = out.values[1], out.values[0]
		return true
	}, true},
	{"a value is not the one that was sent", func(in *historyInput, out *historyOutput) bool {
		if len(out.values) == 0 {
			return false
		}
		out.values = append([]int{out.values[0] + idStep}, out.values[1:]...)
		return true
	}, true},
	{"a run is lost", func(in *historyInput, out *historyOutput) bool {
		if len(out.values) == 0 {
			return false
		}
		out.values = nil
		return true
	}, false},
	{"the end comes too early", func(in *historyInput, out *historyOutput) bool {
		if len(out.values) == 0 {
			return false
		}
		out.values, out.closed = nil, true
		return true
	}, true},
	{"an aborted batch arrives", func(in *historyInput, out *historyOutput) bool {
		if in.call != callPublish {
			return false
		}
		in.call = callAbort
		return true
	}, false},
	{"two claims overlap", func(in *historyInput, out *historyOutput) bool {
		if in.call != callClaim || !out.ok || out.from == 0 {
			return false
		}
		out.from--
		return true
	}, true},
	{"a claim that is refused takes slots", func(in *historyInput, out *historyOutput) bool {
		if in.call != callClaim || !out.ok {
			return false
		}
		out.ok = false
		return true
	}, false},
	{"a consumer begins too late", func(in *historyInput, out *historyOutput) bool {
		if in.call != callAdd || !out.ok {
			return false
		}
		out.from++
		return true
	}, false},
	{"a claim succeeds after Seal", func(in *historyInput, out *historyOutput) bool {
		if in.call != callTo || in.n != 0 {
			return false
		}
		in.call = callSeal // in the place of a call that does nothing; another claim follows, or none
		return true
	}, false},
}

// TestRingHistoriesTakeOrRefuse: a ring that took one slot more than it has, or one less, is found out.
func TestRingHistoriesTakeOrRefuse(t *testing.T) {
	runs, more, less := cut(300, 100), 0, 0
	forSeeds(t, runs, func(t *testing.T, random *rand.Rand) {
		run, history := newHistory(t, random)
		for _, by := range []int{-1, 1} {
			rules := run.rules
			rules.capacity += by
			switch got := porcupine.CheckOperationsTimeout(rules.model(), history, historyTimeMax); {
			case got == porcupine.Illegal && by < 0:
				more++
			case got == porcupine.Illegal:
				less++
			}
		}
	})
	if more < runs/10 || less < runs/10 {
		t.Errorf("of %d histories %d of one slot more and %d of one slot less were refused", runs, more, less)
	}
	t.Logf("of %d histories %d of one slot more and %d of one slot less were refused", runs, more, less)
}

// TestRingHistoriesBite: the checker refuses histories of rings that do something wrong.
func TestRingHistoriesBite(t *testing.T) {
	applied, refused := make([]int, len(historyFaults)), make([]int, len(historyFaults))
	forSeeds(t, cut(300, 100), func(t *testing.T, random *rand.Rand) {
		run, history := newHistory(t, random)
		for i, fault := range historyFaults {
			changed := slices.Clone(history)
			for _, j := range random.Perm(len(changed)) {
				in, out := changed[j].Input.(historyInput), changed[j].Output.(historyOutput)
				if fault.change(&in, &out) {
					changed[j].Input, changed[j].Output = in, out
					applied[i]++
					break
				}
			}
			got := porcupine.CheckOperationsTimeout(run.rules.model(), changed, historyTimeMax)
			if got == porcupine.Illegal {
				refused[i]++
			}
		}
	})
	for i, fault := range historyFaults {
		t.Logf("%s: %d of %d refused", fault.name, refused[i], applied[i])
		if refused[i] == 0 || fault.always && refused[i] != applied[i] {
			t.Errorf("%s: %d of %d refused", fault.name, refused[i], applied[i])
		}
	}
}

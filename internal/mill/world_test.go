package mill

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/leatbus/leat/core"
)

// world is one run of a plan.
type world struct {
	plan
	dice    *rand.Rand // of what happens
	quiet   func()     // returns when the goroutines of the logs have nothing to do
	verbose func(format string, args ...any)

	mono      int64 // virtual time
	wall      int64 // minus mono
	stepped   int64 // all steps of the wall clock together
	steppedAt int64 // when the last one was
	events    eventQueue
	done      int // events
	err       error
	digest    uint64 // of all that happened

	life    int  // of the node
	running bool // the node is up
	healed  bool // the trouble has ended
	cured   bool // and nothing fails any more
	disk    *disk
	shells  []*shell
	delays  *delayShell
	topic   *topicOracle
	numbers int // of records and members
	counts  counts
}

// counts says what a run was made of.
type counts struct {
	records, deliveries, again, acks, stale, dead, cuts, kills, trims, snapshots, steps, lives, pulled, left int

	delayed, fired, cancelled, moved, refused, found int // of messages that wait
}

func (c *counts) add(o *counts) {
	c.records += o.records
	c.deliveries += o.deliveries
	c.again += o.again
	c.acks += o.acks
	c.stale += o.stale
	c.dead += o.dead
	c.cuts += o.cuts
	c.kills += o.kills
	c.trims += o.trims
	c.snapshots += o.snapshots
	c.steps += o.steps
	c.lives += o.lives
	c.pulled += o.pulled
	c.left += o.left
	c.delayed += o.delayed
	c.fired += o.fired
	c.cancelled += o.cancelled
	c.moved += o.moved
	c.refused += o.refused
	c.found += o.found
}

func newWorld(p plan, quiet func(), verbose func(string, ...any)) *world {
	w := &world{plan: p, dice: rand.New(rand.NewPCG(p.seed, 2)), quiet: quiet, verbose: verbose,
		wall: 1_800_000_000 * second}
	w.topic = &topicOracle{}
	w.disk = newDisk(w)
	if p.delays != nil {
		w.delays = newDelayShell(w, p.delays)
	}
	for i := range w.groups {
		w.shells = append(w.shells, newShell(w, &w.groups[i], int32(i)))
	}
	return w
}

// finding is a rule that was broken.
type finding struct{ kind, text string }

func (f *finding) Error() string { return f.kind + ": " + f.text }

// broken notes the first rule that was broken.
func (w *world) broken(kind, format string, args ...any) {
	if w.err == nil {
		w.err = &finding{kind, fmt.Sprintf(format, args...)}
		w.say("BROKEN %v", w.err)
	}
}

// say tells what happens to whoever reads along, and to the digest.
func (w *world) say(format string, args ...any) {
	if w.verbose != nil {
		w.verbose("%6d %12.6fs "+format, append([]any{w.done, float64(w.mono) / 1e9}, args...)...)
	}
}

// mix adds to the digest.
func (w *world) mix(values ...int64) {
	w.mixOne(w.mono)
	for _, v := range values {
		w.mixOne(v)
	}
}

func (w *world) mixOne(v int64) {
	w.digest = (bits.RotateLeft64(w.digest, 5) ^ uint64(v)) * 0x9e3779b97f4a7c15
}

func (w *world) chance(in int) bool { return w.dice.IntN(in) == 0 }

// until is a random time up to most.
func (w *world) until(most int64) int64 { return w.dice.Int64N(most + 1) }

// after has something happen in a while, whatever happens to the node.
func (w *world) after(delay int64, run func()) {
	w.events.push(event{at: w.mono + delay, life: -1, run: run})
}

// inLife is after, unless the node ends before.
func (w *world) inLife(delay int64, run func()) {
	w.events.push(event{at: w.mono + delay, life: w.life, run: run})
}

// run lets everything happen and gives the first rule that was broken.
func (w *world) run() error {
	defer w.disk.close()
	w.start()
	w.planTrouble()
	w.advance(func() bool { return w.mono >= w.duration || w.done >= w.steps })
	w.heal()
	limit := w.mono + w.patience(w.stepped)
	w.advance(func() bool { return w.mono > limit || w.settled(false) })
	if w.err == nil && !w.settled(false) {
		w.broken("starved", "%s", w.unsettled(false))
	}
	w.cured = true
	limit = w.mono + w.patience(w.stepped)
	w.advance(func() bool { return w.mono > limit || w.settled(true) })
	if w.err == nil && !w.settled(true) {
		w.broken("lost", "%s", w.unsettled(true))
	}
	if w.err == nil && w.delays != nil {
		w.delays.onceMore()
	}
	if w.err == nil {
		for _, s := range w.shells {
			s.oracle.finish()
		}
	}
	w.say("%+v", w.counts)
	return w.err
}

// mostEvents is more than any run should take: most take some thousands.
const mostEvents = 150_000

// advance lets events happen until it is enough.
func (w *world) advance(enough func() bool) {
	for w.err == nil && !enough() {
		e, ok := w.events.pop()
		if !ok {
			return // nothing is going to happen
		}
		w.mono = max(w.mono, e.at)
		if e.life >= 0 && (e.life != w.life || !w.running) {
			continue
		}
		if w.done++; w.done > mostEvents {
			w.broken("endless", "more than %d events; %s", mostEvents, w.unsettled(true))
			return
		}
		e.run()
	}
}

// start opens the node.
func (w *world) start() {
	w.running = true
	w.counts.lives++
	w.disk.open()
	if w.delays != nil {
		w.delays.open()
		return
	}
	w.topic.opened(w)
	for _, s := range w.shells {
		s.open()
	}
	w.published()
	w.inLife(w.until(w.spacing), w.publish)
	for _, s := range w.shells {
		if w.life == 0 {
			s.lend()
		}
		for range s.plan.members - len(s.members) {
			s.invite()
		}
		s.reconnect()
	}
}

// planTrouble decides what goes wrong and when.
func (w *world) planTrouble() {
	at := func(what trouble, most int, do func()) {
		n := w.dice.IntN(most + 1)
		for range n {
			delay := w.until(w.duration)
			if w.has(what) {
				w.after(delay, func() {
					if !w.healed {
						do()
					}
				})
			}
		}
	}
	at(powerCuts, 4, func() { w.crash(true) })
	at(kills, 4, func() { w.crash(false) })
	at(clockSteps, 6, w.stepClock)
	at(retention, 3, w.disk.trim)
	at(snapshots, 3, w.disk.snapshot)
	at(badMembers, 8, w.changeMembers)
	at(slowDisk, 3, w.disk.slowDown)
	if w.delays != nil {
		at(refusals, 4, w.delays.fill)
	}
}

// heal ends the trouble.
func (w *world) heal() {
	w.healed = true
	w.say("healed")
	w.disk.slowTill = 0
	if !w.running {
		w.start()
	}
}

// crash ends the node: by a power cut, or only the process.
func (w *world) crash(power bool) {
	if !w.running {
		return
	}
	w.say("crash, power cut: %v", power)
	w.mix(int64(w.done))
	w.running = false
	w.disk.crash(power)
	for _, s := range w.shells {
		s.crashed(power)
	}
	if w.delays != nil {
		w.delays.crashed(power)
	}
	w.life++
	w.after(w.until(3*second), func() {
		if !w.running {
			w.start()
		}
	})
}

// stepClock sets the wall clock.
func (w *world) stepClock() {
	step := second * []int64{-300, -60, -1, 1, 60, 3600}[w.dice.IntN(6)]
	step += w.until(second)
	w.wall += step
	w.stepped += max(step, -step)
	w.steppedAt = w.mono
	w.counts.steps++
	w.say("the wall clock goes by %d s", step/second)
}

// changeMembers has somebody come, go or change the number of records it takes.
func (w *world) changeMembers() {
	s := w.shells[w.dice.IntN(len(w.shells))]
	if !w.running {
		return
	}
	m := s.someMember()
	switch n := w.dice.IntN(5); {
	case n == 0 || m == nil:
		s.plan.members++
		s.invite()
	case n == 1:
		m.leave()
	case n == 2:
		m.crash()
	default:
		m.max = 1 + w.dice.Int32N(2*s.plan.held)
		s.join(m)
	}
}

// publish appends records, now and then several.
func (w *world) publish() {
	if w.healed || w.numbers >= w.records*10 {
		return
	}
	n := 1
	if w.chance(4) {
		n += w.dice.IntN(8)
	}
	if w.chance(40) {
		n += w.dice.IntN(largestBatch - 10)
	}
	var list [][]byte
	for range n {
		w.numbers++
		list = append(list, w.newRecord())
	}
	base := w.disk.topic.append(list)
	w.topic.appended(w, base, list)
	w.disk.topic.whenStored(w.published)
	if w.plant == readableEarly {
		w.published()
	}
	w.inLife(w.until(2*int64(n)*w.spacing), w.publish)
}

// newRecord encodes a record that differs from all others.
func (w *world) newRecord() []byte {
	var key []byte
	if k := w.dice.IntN(w.keys + 1); k > 0 {
		key = fmt.Appendf(nil, "k%d", k)
	}
	bad := w.chance(3)
	if w.has(poison) && (string(key) == "k1" || key == nil && bad && !w.forever()) {
		return encodeRecord(key, fmt.Appendf(nil, "%d bad", w.numbers))
	}
	return encodeRecord(key, fmt.Appendf(nil, "%d", w.numbers))
}

// published tells the groups what may be read now.
func (w *world) published() {
	end := w.disk.topic.visible()
	w.topic.end = max(w.topic.end, end)
	if w.plant == readableEarly {
		end = w.disk.topic.log.End()
	}
	for _, s := range w.shells {
		s.step(core.QueueInput{Kind: core.QueueReadable, Offset: end})
	}
}

// settled reports whether every record is, of those that do not always fail or of all.
func (w *world) settled(all bool) bool {
	for _, s := range w.shells {
		if !w.running || s.oracle.open[0] > 0 || all && s.oracle.open[1] > 0 {
			return false
		}
	}
	return w.running && (w.delays == nil || w.delays.settled())
}

func (w *world) unsettled(all bool) string {
	for _, s := range w.shells {
		if text := s.oracle.firstOpen(all); text != "" {
			return text
		}
	}
	if w.delays != nil {
		return w.delays.unsettled()
	}
	return "nothing; but the node is down"
}

// event is something that happens at a time.
type event struct {
	at    int64
	order int
	life  int // of the node in which it happens; −1 for any
	run   func()
}

// eventQueue is a heap of events by time, and in the order in which they came.
type eventQueue struct {
	list  []event
	order int
}

func (q *eventQueue) less(i, j int) bool {
	a, b := &q.list[i], &q.list[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}

func (q *eventQueue) push(e event) {
	q.order++
	e.order = q.order
	q.list = append(q.list, e)
	for i := len(q.list) - 1; i > 0 && q.less(i, (i-1)/2); i = (i - 1) / 2 {
		q.list[i], q.list[(i-1)/2] = q.list[(i-1)/2], q.list[i]
	}
}

func (q *eventQueue) pop() (event, bool) {
	if len(q.list) == 0 {
		return event{}, false
	}
	top, last := q.list[0], len(q.list)-1
	q.list[0] = q.list[last]
	q.list[last] = event{}
	q.list = q.list[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < last && q.less(child+1, child) {
			child++
		}
		if child >= last || !q.less(child, i) {
			return top, true
		}
		q.list[i], q.list[child] = q.list[child], q.list[i]
		i = child
	}
}

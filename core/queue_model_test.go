package core

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"
)

// queueWorld drives a Queue with random members over a log whose records have few keys, crashes it, and
// checks what it says against what it said before.
type queueWorld struct {
	dice    *rand.Rand
	cfg     QueueConfig
	q       *Queue
	out     QueueEffects
	now     int64
	end     int64 // readable
	start   int64
	low     int64 // all before are done
	keys    []uint64
	members []int64
	ids     int64

	held   map[int64]holding // by offset: who has it
	done   map[int64]bool    // acked or buried
	buried map[int64]bool
	dying  []QueueGrant
	reads  []QueueEffect

	// What is on the disk.
	progress []byte
	failed   map[int64]QueueEffect
	settled  map[int64]bool // as of progress
	acks     int
}

type holding struct {
	member  int64
	grant   QueueGrant
	attempt int32
}

func newQueueWorld(seed uint64, cfg QueueConfig) *queueWorld {
	w := &queueWorld{dice: rand.New(rand.NewPCG(seed, 1)), cfg: cfg, held: map[int64]holding{},
		done: map[int64]bool{}, buried: map[int64]bool{}, failed: map[int64]QueueEffect{},
		settled: map[int64]bool{}}
	w.q = NewQueue(cfg, 0, 1, seed)
	return w
}

func (w *queueWorld) key(offset int64) uint64 {
	for int64(len(w.keys)) <= offset {
		w.keys = append(w.keys, w.dice.Uint64N(6))
	}
	return w.keys[offset]
}

func (w *queueWorld) step(in QueueInput) error {
	w.out.Reset()
	w.q.Step(&in, w.now, &w.out)
	for _, e := range w.out.List {
		if err := w.effect(&e); err != nil {
			return fmt.Errorf("after %+v: %w", in, err)
		}
	}
	return w.check()
}

func (w *queueWorld) effect(e *QueueEffect) error {
	switch e.Kind {
	case QueueDeliver:
		return w.delivered(e)
	case QueueRead:
		w.reads = append(w.reads, *e)
	case QueueBury:
		w.dying = append(w.dying, e.Grant)
	case QueueStore:
		w.failed[e.Offset] = *e
		delete(w.held, e.Offset)
	case QueueErase:
		if _, stored := w.failed[e.Offset]; !stored {
			return fmt.Errorf("offset %d has no stored attempts: %+v", e.Offset, *e)
		}
		delete(w.failed, e.Offset)
	}
	return nil
}

func (w *queueWorld) delivered(e *QueueEffect) error {
	for left := e.Grant.Left; left != 0; left &= left - 1 {
		offset := e.Grant.Lo + int64(bits.TrailingZeros64(left))
		if has, ok := w.held[offset]; ok {
			return fmt.Errorf("offset %d is with %+v and was delivered again: %+v", offset, has, *e)
		}
		if w.done[offset] || offset >= w.end || offset < w.start || w.leavesOut(offset) {
			return fmt.Errorf("offset %d of [%d, %d) is settled or not there: %+v", offset, w.start, w.end, *e)
		}
		if f := w.failed[offset]; f.Attempt+1 != e.Attempt || f.Due > w.now || f.Code != 0 {
			return fmt.Errorf("offset %d failed as %+v, now %+v at %d", offset, f, *e, w.now)
		}
		w.held[offset] = holding{e.Member, e.Grant, e.Attempt}
		if key := w.key(offset); w.cfg.Ordered && key != 0 {
			for before := w.floor(); before < offset; before++ {
				if w.key(before) == key && !w.done[before] {
					return fmt.Errorf("offset %d before %d of the same key %d", offset, before, key)
				}
			}
		}
	}
	return nil
}

func (w *queueWorld) check() error {
	count := map[int64]int64{}
	for offset, h := range w.held {
		e := w.q.entries.at(h.grant.Slot)
		gone := e.state != queueLeased || e.epoch != h.grant.Epoch || e.left>>(offset-e.lo)&1 == 0
		if gone && offset < w.start {
			delete(w.held, offset) // it was trimmed while its member had it
			continue
		}
		count[h.member]++
	}
	for id, m := range w.q.members {
		if int64(m.held) != count[id] || m.held < 0 {
			return fmt.Errorf("member %d has %d records, the queue says %d", id, count[id], m.held)
		}
	}
	records := int64(len(w.q.unread))
	for i := range w.q.entries.slab {
		if e := &w.q.entries.slab[i]; e.state != queueFree {
			records += e.records()
		}
	}
	if records != w.q.Unsettled() {
		return fmt.Errorf("%d records in entries, %d unsettled", records, w.q.Unsettled())
	}
	return w.checkCounts()
}

// checkCounts: what the queue tells of itself agrees with what members were told.
func (w *queueWorld) checkCounts() error {
	c, held := w.q.Counts(), int64(0)
	for _, m := range w.q.members {
		held += int64(m.held)
	}
	if c.Held != held || c.Failed < int64(len(w.dying)) || c.Held+c.Failed > w.q.Unsettled() {
		return fmt.Errorf("%+v of %d unsettled; members have %d, %d are dying", c, w.q.Unsettled(), held,
			len(w.dying))
	}
	if first := min(w.floor(), w.q.Next()); w.start == 0 && c.Oldest != first {
		return fmt.Errorf("%+v; the first that is not settled is %d", c, first)
	}
	return nil
}

// floor is where to look for records that are not settled.
func (w *queueWorld) floor() int64 {
	w.low = max(w.low, w.start)
	for w.low < w.end && w.done[w.low] {
		w.low++
	}
	return w.low
}

// some picks a record that a member has.
func (w *queueWorld) some() (holding, bool) {
	offsets := make([]int64, 0, len(w.held))
	for offset := w.floor(); offset < w.end && len(offsets) < 20; offset++ {
		if _, ok := w.held[offset]; ok {
			offsets = append(offsets, offset)
		}
	}
	if len(offsets) == 0 {
		return holding{}, false
	}
	return w.held[offsets[w.dice.IntN(len(offsets))]], true
}

func (w *queueWorld) settle(g QueueGrant) {
	for left := g.Left; left != 0; left &= left - 1 {
		offset := g.Lo + int64(bits.TrailingZeros64(left))
		delete(w.held, offset)
		w.done[offset] = true
		w.acks++
	}
}

// reply answers with some of the records of a grant that its member still has.
func (w *queueWorld) reply(h holding, kind QueueInputKind) error {
	g := h.grant
	g.Left = 0
	for left := h.grant.Left; left != 0; left &= left - 1 {
		i := bits.TrailingZeros64(left)
		if now, ok := w.held[g.Lo+int64(i)]; ok && now.grant.Epoch == g.Epoch && w.dice.IntN(3) > 0 {
			g.Left |= 1 << i
		}
	}
	if g.Left == 0 {
		return nil
	}
	in := QueueInput{Kind: kind, Member: h.member, Grant: g, Delay: w.dice.Int64N(5) - 1}
	if kind == QueueAck {
		w.settle(g)
	}
	return w.step(in)
}

// stale answers with a grant from before, which must change nothing.
func (w *queueWorld) stale(h holding) error {
	g := h.grant
	g.Epoch -= 1 + w.dice.Int64N(3)
	before := w.q.Unsettled()
	w.out.Reset()
	in := QueueInput{Kind: QueueAck + QueueInputKind(w.dice.IntN(4)), Member: h.member, Grant: g}
	w.q.answer(&in, &w.out)
	if len(w.out.List) != 1 || w.out.List[0].Kind != QueueStale || w.q.Unsettled() != before {
		return fmt.Errorf("stale %+v: %+v", in, w.out.List)
	}
	return nil
}

func (w *queueWorld) someMember() int64 { return w.members[w.dice.IntN(len(w.members))] }

func (w *queueWorld) join() error {
	w.ids++
	w.members = append(w.members, w.ids)
	return w.step(QueueInput{Kind: QueueJoin, Member: w.ids, Max: 1 + w.dice.Int32N(100)})
}

func (w *queueWorld) leave() error {
	i := w.dice.IntN(len(w.members))
	id := w.members[i]
	w.members = append(w.members[:i], w.members[i+1:]...)
	for offset, h := range w.held {
		if h.member == id {
			delete(w.held, offset)
		}
	}
	return w.step(QueueInput{Kind: QueueLeave + QueueInputKind(w.dice.IntN(2)), Member: id})
}

func (w *queueWorld) bury() error {
	if len(w.dying) == 0 {
		return nil
	}
	g := w.dying[0]
	w.dying = w.dying[1:]
	if w.dice.IntN(4) == 0 {
		return w.step(QueueInput{Kind: QueueBuryFailed, Grant: g})
	}
	w.done[g.Lo], w.buried[g.Lo] = true, true
	return w.step(QueueInput{Kind: QueueBuried, Grant: g})
}

func (w *queueWorld) tellKeys() error {
	if len(w.reads) == 0 {
		return nil
	}
	r := w.reads[0]
	w.reads = w.reads[1:]
	n := 1 + w.dice.Int64N(int64(r.Count))
	in := QueueInput{Kind: QueueKeys, Offset: r.Offset, Skip: make([]uint64, (n+63)/64)}
	for offset := r.Offset; offset < r.Offset+n; offset++ {
		in.Keys = append(in.Keys, w.key(offset))
		if w.leavesOut(offset) {
			in.Skip[(offset-r.Offset)/64] |= 1 << uint((offset-r.Offset)%64)
			w.done[offset] = true
		}
	}
	return w.step(in)
}

// leavesOut is what a filter says of a record: at times it leaves out long runs.
func (w *queueWorld) leavesOut(offset int64) bool {
	return w.cfg.Filtered && (offset%3 != 0 || offset/200%2 == 1)
}

func (w *queueWorld) trim() error {
	if w.dice.IntN(20) > 0 {
		return nil
	}
	w.start += w.dice.Int64N(w.end - w.start + 1)
	return w.step(QueueInput{Kind: QueueTrimmed, Offset: w.start})
}

func (w *queueWorld) save() {
	w.progress = w.q.EncodeProgress(nil)
	w.settled = map[int64]bool{}
	for offset := range w.done {
		w.settled[offset] = true
	}
}

// unsettled gives the records that the queue has.
func (w *queueWorld) unsettled() map[int64]bool {
	has := map[int64]bool{}
	for _, r := range w.q.unread {
		has[r.offset] = true
	}
	for i := range w.q.entries.slab {
		for e, left := &w.q.entries.slab[i], w.q.entries.slab[i].left; left != 0; left &= left - 1 {
			has[e.lo+int64(bits.TrailingZeros64(left))] = true
		}
	}
	return has
}

// crash goes on with what is on the disk: what was settled and saved stays so, the rest comes again.
func (w *queueWorld) crash() error {
	q := NewQueue(w.cfg, 0, w.q.epoch+1000, w.dice.Uint64())
	if w.progress != nil {
		if err := q.RestoreProgress(w.progress); err != nil {
			return err
		}
	}
	for offset, f := range w.failed {
		q.RestoreFailed(offset, f.Due, f.Attempt, f.Code)
	}
	q.Restored(w.start)
	w.q, w.members, w.dying, w.reads = q, nil, nil, nil
	w.held, w.low = map[int64]holding{}, 0
	has := w.unsettled()
	for offset := w.start; offset < w.end; offset++ {
		comes := has[offset] || offset >= q.next
		switch {
		case comes && w.settled[offset]:
			return fmt.Errorf("offset %d was settled and saved, and comes again", offset)
		case !comes && !w.done[offset]:
			return fmt.Errorf("offset %d was never settled, and is forgotten", offset)
		case comes:
			delete(w.done, offset)
		}
	}
	if err := w.check(); err != nil {
		return err
	}
	return w.step(QueueInput{Kind: QueueReadable, Offset: w.end})
}

func (w *queueWorld) turn() error {
	w.now += w.dice.Int64N(3)
	if len(w.members) == 0 {
		return w.join()
	}
	switch w.dice.IntN(24) {
	case 0, 1, 2, 3:
		w.end += w.dice.Int64N(60)
		return w.step(QueueInput{Kind: QueueReadable, Offset: w.end})
	case 4:
		return w.join()
	case 5:
		return w.leave()
	case 6, 7:
		return w.bury()
	case 8, 9, 10:
		return w.tellKeys()
	case 11:
		return w.trim()
	case 12:
		w.save()
		return nil
	case 13:
		if w.dice.IntN(10) == 0 {
			return w.crash()
		}
		return nil
	case 14:
		w.now += w.dice.Int64N(30)
		return w.step(QueueInput{Kind: QueueTick})
	}
	h, ok := w.some()
	if !ok {
		return nil
	}
	switch kind := w.dice.IntN(12); kind {
	case 0:
		return w.reply(h, QueueNack)
	case 1:
		return w.reply(h, QueueReject)
	case 2:
		return w.reply(h, QueueExtend)
	case 3:
		return w.stale(h)
	}
	return w.reply(h, QueueAck)
}

// drain goes on without failures until everything is settled.
func (w *queueWorld) drain() error {
	for range 100_000 {
		if w.q.Lag() == 0 {
			break
		}
		w.now++
		if len(w.members) == 0 {
			if err := w.join(); err != nil {
				return err
			}
		}
		if err := w.tellKeys(); err != nil {
			return err
		}
		for len(w.dying) > 0 {
			if err := w.bury(); err != nil {
				return err
			}
		}
		for h, ok := w.some(); ok; h, ok = w.some() {
			if err := w.reply(h, QueueAck); err != nil {
				return err
			}
		}
		if at := w.q.NextDeadline(); at > w.now {
			w.now = at
		}
		if err := w.step(QueueInput{Kind: QueueTick}); err != nil {
			return err
		}
	}
	for offset := w.start; offset < w.end; offset++ {
		if !w.done[offset] {
			return fmt.Errorf("offset %d of [%d, %d) was never settled; %+v", offset, w.start, w.end, w.failed[offset])
		}
	}
	if w.q.Lag() != 0 || w.q.entries.used != 0 || len(w.q.keys) != 0 {
		return fmt.Errorf("lag %d, %d entries, %d keys at the end", w.q.Lag(), w.q.entries.used, len(w.q.keys))
	}
	return nil
}

// TestQueueModel: each record is with one member at a time, in the order of its key, and is settled once;
// nothing that was settled and saved comes again, nothing is forgotten, a late answer changes nothing, and
// what a filter leaves out is settled and was never with anybody.
func TestQueueModel(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 15
	}
	acks, buried := 0, 0
	for seed := range seeds {
		cfg := QueueConfig{Ordered: seed%2 == 0, Filtered: seed%3 == 0, Lease: 40, MaxAttempts: 1 + int32(seed%5),
			MaxUnsettled: 300,
			Retry:        Backoff{Min: 1, Max: 20, Factor: 2, Jitter: 0.5}}
		if seed%7 == 0 {
			cfg.Rate = int64(100 * time.Second)
		}
		w := newQueueWorld(seed, cfg)
		for turn := range 300 {
			if err := w.turn(); err != nil {
				t.Fatalf("LEAT_SEED=%d, turn %d: %v", seed, turn, err)
			}
		}
		if err := w.drain(); err != nil {
			t.Fatalf("LEAT_SEED=%d: %v", seed, err)
		}
		acks += w.acks
		buried += len(w.buried)
	}
	if acks < int(seeds)*100 || buried < int(seeds) {
		t.Errorf("%d acks, %d dead letters: too few to mean anything", acks, buried)
	}
}

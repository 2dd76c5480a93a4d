package mill

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"github.com/leatbus/leat/core"
)

// shell runs the queue of one group: what the node does with a step's effects, without goroutines.
type shell struct {
	w      *world
	number int32
	plan   *groupPlan
	oracle *oracle

	// The following is of one life of the node.
	q       *core.Queue
	box     *outbox
	out     core.QueueEffects
	zero    int64                      // of the queue's clock, which does not go back, on that of the world
	failed  map[int64]core.QueueRecord // stored attempts
	granted map[int64]core.QueueEffect // by offset, what was handed out last
	alarm   int64                      // when a tick comes
	folding bool                       // a fold comes

	members []*member // also those that are not connected
	lender  *lender   // nil if nobody pulls
}

const foldEvery = 10 * ms

func newShell(w *world, p *groupPlan, number int32) *shell {
	s := &shell{w: w, plan: p, number: number}
	s.oracle = newOracle(w, p)
	return s
}

// now is the queue's clock: the wall clock when the node started, and what passed since.
func (s *shell) now() int64 {
	if s.w.plant == wallClock {
		return s.w.wall + s.w.mono
	}
	return s.zero + s.w.mono
}

// open makes the queue from what is stored.
func (s *shell) open() {
	w := s.w
	s.zero = w.wall
	s.alarm, s.folding = 0, false
	s.granted = map[int64]core.QueueEffect{}
	var progress []byte
	progress, s.failed = s.stored()
	cfg := s.plan.cfg
	if w.plant == rateForgotten && w.life > 0 {
		cfg.Rate = 0
	}
	// Grants that were handed out since progress was stored last are not known, but there were fewer than that.
	s.q = core.NewQueue(cfg, 0, max(s.now(), epochOf(progress)+1<<32), w.dice.Uint64())
	if progress != nil {
		if err := s.q.RestoreProgress(progress); err != nil {
			w.broken("stored", "progress: %v", err)
			return
		}
	}
	offsets := make([]int64, 0, len(s.failed))
	for offset := range s.failed {
		offsets = append(offsets, offset)
	}
	slices.Sort(offsets)
	for _, offset := range offsets {
		f := s.failed[offset]
		if w.plant == dueForgotten {
			f.Due = 0
		}
		s.q.RestoreFailed(offset, f.Due, f.Attempts, f.Code)
	}
	start := w.disk.topic.log.Start()
	s.q.Restored(start)
	s.oracle.opened(s, progress, start)
	s.box = newOutbox(s.q, core.QueueRecord{Group: s.plan.name, TopicID: dataTopic})
	s.store()
}

// stored reads what __groups has of the group.
func (s *shell) stored() (progress []byte, failed map[int64]core.QueueRecord) {
	failed = map[int64]core.QueueRecord{}
	log := s.w.disk.groups
	log.read(log.log.Start(), log.log.End(), func(_ int64, r *core.Record) {
		if !core.IsQueueRecord(r.Key) {
			s.w.broken("stored", "a record of __groups is of another kind: %x", r.Key)
			return
		}
		stored, err := core.DecodeQueueRecord(slices.Clone(r.Key), slices.Clone(r.Value))
		switch {
		case err != nil:
			s.w.broken("stored", "%v", err)
		case stored.Group != s.plan.name:
		case stored.Offset < 0:
			progress = stored.Progress
		case stored.Removed:
			delete(failed, stored.Offset)
		default:
			failed[stored.Offset] = stored
		}
	})
	return progress, failed
}

// step has the queue take one input, and does what it asks for.
func (s *shell) step(in core.QueueInput) {
	if s.w.err != nil {
		return
	}
	s.out.Reset()
	now := s.now()
	s.q.Step(&in, now, &s.out)
	s.oracle.stepped(s, &in, s.zero+s.w.mono, s.out.List)
	if s.w.plant == erasedFirst {
		s.eraseNow()
	}
	if s.w.plant == storesNotAwaited {
		s.takeAll()
	} else {
		s.box.take(&s.out)
	}
	s.do(s.out.List)
	s.store()
	s.setAlarm()
	s.planFold()
}

// takeAll is Take without what waits.
func (s *shell) takeAll() {
	var kept core.QueueEffects
	for _, e := range s.out.List {
		one := core.QueueEffects{List: []core.QueueEffect{e}}
		if e.Kind == core.QueueStore || e.Kind == core.QueueErase {
			s.box.take(&one)
			continue
		}
		kept.List = append(kept.List, e)
	}
	s.out = kept
}

func (s *shell) do(list []core.QueueEffect) {
	for i := range list {
		switch e := list[i]; e.Kind {
		case core.QueueDeliver:
			s.deliver(e)
		case core.QueueRead:
			s.w.inLife(s.w.until(ms), func() { s.tellKeys(e) })
		case core.QueueBury:
			s.bury(e)
		}
	}
}

// deliver hands records to a member. Of those that the log does not have nothing can be handed out.
func (s *shell) deliver(e core.QueueEffect) {
	w := s.w
	there := uint64(0)
	hi := e.Grant.Lo + int64(bits.Len64(e.Grant.Left))
	lo := max(e.Grant.Lo, w.disk.topic.log.Start())
	w.disk.topic.read(lo, hi, func(offset int64, r *core.Record) {
		if bit := uint64(1) << (offset - e.Grant.Lo); e.Grant.Left&bit != 0 {
			there |= bit
			s.granted[offset] = e
		}
	})
	if gone := e.Grant.Left &^ there; gone != 0 {
		g := e.Grant
		g.Left = gone
		w.inLife(0, func() { s.step(core.QueueInput{Kind: core.QueueAck, Member: e.Member, Grant: g}) })
		if gone > there {
			s.skip(hi)
		}
	}
	if there == 0 {
		return
	}
	e.Grant.Left = there
	s.oracle.handed(&e)
	if s.lender != nil && e.Member == s.lender.id {
		s.lender.granted(e)
		return
	}
	m := s.member(e.Member)
	if m == nil || !m.connected {
		return
	}
	if w.plant == ackBeforeHandling {
		in := core.QueueInput{Kind: core.QueueAck, Member: m.id, Grant: e.Grant}
		w.inLife(0, func() { s.step(in) })
	}
	w.after(w.until(w.lag), func() { m.receive(e) })
}

// skip goes on behind a gap of the log that reaches from the last record that was handed out to offset, or
// further.
func (s *shell) skip(offset int64) {
	if first := s.w.disk.topic.firstFrom(offset); first > offset {
		s.w.inLife(0, func() { s.step(core.QueueInput{Kind: core.QueueAbsent, Offset: first}) })
	}
}

// tellKeys answers a read of keys.
func (s *shell) tellKeys(e core.QueueEffect) {
	w := s.w
	keys := make([]uint64, e.Count)
	skip := make([]uint64, (e.Count+63)/64)
	last := e.Offset - 1
	log := w.disk.topic
	log.read(max(e.Offset, log.log.Start()), e.Offset+int64(e.Count), func(offset int64, r *core.Record) {
		hash := r.KeyHash
		if w.plant == keysMixed && offset%5 == 0 {
			hash++
		}
		if w.plant == oneLock {
			hash = 1
		}
		keys[offset-e.Offset] = hash
		if s.plan.cfg.Filtered && leftOut(r.Value) {
			i := offset - e.Offset
			if w.plant == filterShifted && i+1 < int64(e.Count) {
				i++
			}
			skip[i/64] |= 1 << (i % 64)
		}
		last = offset
	})
	if end := e.Offset + int64(e.Count); last < end-1 {
		s.skip(end)
	}
	s.step(core.QueueInput{Kind: core.QueueKeys, Offset: e.Offset, Keys: keys, Skip: skip})
}

// bury makes a record a dead letter.
func (s *shell) bury(e core.QueueEffect) {
	w := s.w
	s.oracle.burying(&e)
	if w.has(deadRefused) && !w.healed && w.chance(3) {
		delay := w.until(second)
		w.inLife(w.until(w.lag), func() {
			s.step(core.QueueInput{Kind: core.QueueBuryFailed, Grant: e.Grant, Delay: delay})
		})
		return
	}
	buried := func() {
		s.oracle.buried(e.Offset)
		s.step(core.QueueInput{Kind: core.QueueBuried, Grant: e.Grant})
	}
	var copied []byte
	w.disk.topic.read(max(e.Offset, w.disk.topic.log.Start()), e.Offset+1, func(_ int64, r *core.Record) {
		copied = encodeRecord(r.Key, r.Value,
			core.Header{Key: "leat-dlq-offset", Value: strconv.AppendInt(nil, e.Offset, 10)},
			core.Header{Key: "leat-dlq-attempts", Value: strconv.AppendInt(nil, int64(e.Attempt), 10)})
	})
	if copied == nil { // it was trimmed away meanwhile
		w.inLife(0, buried)
		return
	}
	dead := w.disk.dead[s.number]
	dead.append([][]byte{copied})
	if w.plant == buriedFirst {
		w.inLife(0, buried)
		return
	}
	dead.whenStored(buried)
}

// store appends what is to be stored to __groups.
func (s *shell) store() {
	w := s.w
	list := s.box.appends()
	if len(list) == 0 {
		return
	}
	list = s.spoil(slices.Clone(list))
	n := int64(len(list))
	var records [][]byte
	settled := int64(0)
	for i := range list {
		r := &list[i]
		switch {
		case r.Offset < 0:
			settled = s.oracle.folding()
		case r.Removed:
			delete(s.failed, r.Offset)
		default:
			kept := *r
			kept.TopicID = dataTopic
			s.failed[r.Offset] = kept
		}
		if r.TopicID != 0 {
			records = append(records, encodeQueueRecord(r))
		}
	}
	if len(records) > 0 {
		w.disk.groups.append(records)
	}
	w.disk.groups.whenStored(func() {
		s.oracle.folded(settled)
		s.out.Reset()
		s.box.stored(n, s.oracle.granted, &s.out)
		s.do(s.out.List)
		s.setAlarm()
	})
}

// spoil changes what is stored as a planted defect does. A record that is left out has no topic.
func (s *shell) spoil(list []core.QueueRecord) []core.QueueRecord {
	switch s.w.plant {
	case progressFirst:
		for i := range list {
			if r := list[i]; r.Offset >= 0 && !r.Removed {
				s.w.inLife(100*ms, func() {
					if _, still := s.failed[r.Offset]; still {
						s.w.disk.groups.append([][]byte{encodeQueueRecord(&r)})
					}
				})
				list[i].TopicID = 0
			}
		}
	case progressEmpty, progressSkipped:
		for i := range list {
			if list[i].Offset >= 0 {
				continue
			}
			if s.w.plant == progressEmpty {
				list[i].Progress = append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, list[i].Progress[8:24]...)
			} else if s.w.chance(2) {
				list[i].TopicID = 0
			}
		}
	}
	return list
}

// eraseNow stores erasures before the progress that makes them right.
func (s *shell) eraseNow() {
	for i := range s.out.List {
		if e := &s.out.List[i]; e.Kind == core.QueueErase {
			r := core.QueueRecord{Group: s.plan.name, TopicID: dataTopic, Offset: e.Offset, Removed: true}
			s.w.disk.groups.append([][]byte{encodeQueueRecord(&r)})
		}
	}
}

func encodeQueueRecord(r *core.QueueRecord) []byte {
	if r.Removed {
		return encodeRecord(r.EncodeKey(nil), nil)
	}
	return encodeRecord(r.EncodeKey(nil), r.EncodeValue(nil))
}

// snapshot appends all that counts again.
func (s *shell) snapshot() {
	s.box.Fold(s.q)
	s.store()
	offsets := make([]int64, 0, len(s.failed))
	for offset := range s.failed {
		offsets = append(offsets, offset)
	}
	slices.Sort(offsets)
	var records [][]byte
	for _, offset := range offsets {
		f := s.failed[offset]
		if s.w.plant != failuresNotKept {
			records = append(records, encodeQueueRecord(&f))
		}
	}
	progress := core.QueueRecord{Group: s.plan.name, TopicID: dataTopic, Offset: -1,
		Progress: s.q.EncodeProgress(nil)}
	settled := s.oracle.folding()
	s.w.disk.groups.append(append(records, encodeQueueRecord(&progress)))
	s.w.disk.groups.whenStored(func() { s.oracle.folded(settled) })
}

// setAlarm has a tick come at the next deadline.
func (s *shell) setAlarm() {
	at := s.q.NextDeadline()
	if at == 0 || s.alarm != 0 && s.alarm <= at {
		return
	}
	s.alarm = at
	s.w.inLife(max(at-s.now(), 0), func() {
		if s.alarm == at {
			s.alarm = 0
			s.step(core.QueueInput{Kind: core.QueueTick})
		}
	})
}

// planFold has progress stored in a while.
func (s *shell) planFold() {
	if s.folding || !s.q.Dirty() {
		return
	}
	s.folding = true
	delay := foldEvery
	if s.w.plant == erasedFirst {
		delay = second // more often seen
	}
	s.w.inLife(delay, func() {
		s.folding = false
		s.box.Fold(s.q)
		s.store()
	})
}

func (s *shell) trimmed(start int64) {
	s.oracle.trimmed(start)
	s.step(core.QueueInput{Kind: core.QueueTrimmed, Offset: start})
}

// answer is what a member said, when it arrives.
func (s *shell) answer(m *member, kind core.QueueInputKind, g core.QueueGrant, delay int64) {
	if !s.w.running || s.w.err != nil {
		return
	}
	in := core.QueueInput{Kind: kind, Member: m.id, Grant: g, Delay: delay}
	if now, ok := s.granted[g.Lo]; ok && s.w.plant == epochIgnored && now.Grant.Lo == g.Lo {
		in.Member, in.Grant.Slot, in.Grant.Epoch = now.Member, now.Grant.Slot, now.Grant.Epoch
	}
	if s.w.plant == delaysShort && delay > 0 {
		in.Delay /= 1000
	}
	s.oracle.said = core.QueueInput{Kind: kind, Member: m.id, Grant: g, Delay: delay}
	s.step(in)
	s.oracle.said = core.QueueInput{}
}

// crashed forgets what a process has in memory.
func (s *shell) crashed(power bool) {
	s.q, s.box = nil, nil
	s.oracle.crashed(power)
	for _, m := range s.members {
		m.connected = false
	}
	if s.lender != nil {
		s.lender.crashed()
	}
}

func (s *shell) String() string { return fmt.Sprintf("group %s", s.plan.name) }

package node

import (
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

const (
	foldEvery = 10 * time.Millisecond // how long an ack waits until it is stored; what a crash may deliver again
	foldAcks  = 1024                  // acks after which that is not waited for, where storing is cheap
	keysRetry = time.Second           // after records that were to be looked at ahead could not be read
)

// queueOwner is the goroutine of a group. It looks at the group when time has come, when a member or a mark
// asks for it, and does what may wait for the disk.
type queueOwner struct {
	group   *queueGroup
	foldAt  int64 // 0 while nobody acked
	due     bool  // progress is to be written as soon as nothing else is on its way
	renewAt int64 // when leases of what waits for a loop are renewed
	keysAt  int64 // when keys that could not be read are to be read again
	timer   clock.Timer
}

// ownerJob is what a look has found for the owner to do without the lock.
type ownerJob struct {
	batch *queueBatch
	keys  []*queuePart
	dying []dyingRecord
	at    int64 // when to look again; 0 for never
	watch bool  // a member waits for records that are not there yet
}

// dyingRecord is a record that is to become a dead letter.
type dyingRecord struct {
	part *queuePart
	of   *core.Queue
	core.QueueEffect
	round uint64 // when this is stored, that it failed for good is
}

type buriedRecord struct {
	dyingRecord
	err error
}

// start has the group run. Its lock must be held.
func (g *queueGroup) start() {
	if g.running {
		return
	}
	g.running = true
	for _, p := range g.parts {
		p.part.readers.add(g.sleeper)
	}
	o := &queueOwner{group: g, timer: g.node.clock.NewTimer(time.Hour)}
	g.ended.Go(o.run)
}

func (o *queueOwner) run() {
	g := o.group
	defer o.end()
	for {
		select {
		case g.turn <- struct{}{}:
		case <-g.stop:
			return
		}
		job := o.look()
		g.write(job.batch)
		<-g.turn
		if job.batch != nil {
			g.node.commits.cutIfRolled(g.part.number)
		}
		for _, p := range job.keys {
			o.readKeys(p)
		}
		g.buryAll(job.dying)
		if len(job.keys) == 0 && !o.wait(&job) {
			return
		}
	}
}

func (o *queueOwner) end() {
	o.timer.Stop()
	for _, p := range o.group.parts {
		p.part.readers.remove(o.group.sleeper)
		p.keys.close()
	}
}

// wait sleeps until there may be something to do, and reports false if the group has ended.
func (o *queueOwner) wait(job *ownerJob) bool {
	g := o.group
	g.sleeper.parked.Store(job.watch)
	defer g.sleeper.parked.Store(false)
	if job.watch && g.pending() {
		return true
	}
	var due <-chan time.Time
	if job.at != 0 {
		o.timer.Reset(time.Duration(max(job.at-g.now(), 0)))
		due = o.timer.C()
	}
	select {
	case <-g.sleeper.wake:
	case <-due:
	case <-g.stop:
		return false
	}
	return true
}

// look brings the group up to date. The turn must be held.
func (o *queueOwner) look() ownerJob {
	g := o.group
	g.mu.Lock()
	defer g.unlock()
	now := g.now()
	o.fold(now)
	o.renew(now)
	if o.due || len(g.waiting) > 0 {
		for _, m := range g.members {
			g.harvest(m)
		}
	}
	g.takeBuried(now)
	g.retireLender(now)
	g.feedAll(now)
	job := ownerJob{batch: g.batch(o.due, now), dying: g.doomed()}
	if job.batch != nil && job.batch.folds {
		o.due = false
	}
	for _, p := range g.parts {
		if p.want.Kind != 0 && now >= o.keysAt {
			job.keys = append(job.keys, p)
		}
	}
	for _, m := range g.waiting {
		job.watch = job.watch || m.room() > 0
	}
	job.at = o.next(now)
	g.nudge = false // what was found is in the job
	return job
}

// fold notes whether progress is to be written.
func (o *queueOwner) fold(now int64) {
	g := o.group
	if g.folding.Load() && o.foldAt == 0 {
		o.foldAt = now + int64(foldEvery)
	}
	switch {
	case o.foldAt != 0 && o.foldAt <= now, len(g.log.waiters) > 0,
		g.acks >= foldAcks && g.topic.cfg.Ack <= core.AckPage:
	default:
		return
	}
	o.foldAt, o.due = 0, true
	g.folding.Store(false) // before looking at what members acked: one that acks now is seen, or asks again
}

// next is when to look again. Leases and delays do not matter while nobody is there.
func (o *queueOwner) next(now int64) int64 {
	g, at := o.group, o.foldAt
	earlier := func(t int64) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	if len(g.members) > 0 {
		for _, p := range g.parts {
			earlier(p.deadline)
		}
	}
	earlier(g.lenderDue())
	if g.log.retryAt > now {
		earlier(g.log.retryAt)
	}
	if o.keysAt > now {
		earlier(o.keysAt)
	}
	if g.looping() {
		earlier(o.renewAt)
	}
	return at
}

// doomed gives the records whose dead letters may be made: those of which it is stored that they failed for
// good, so that none is delivered again after a crash.
func (g *queueGroup) doomed() []dyingRecord {
	n := 0
	for n < len(g.dying) && g.dying[n].round <= g.log.done {
		n++
	}
	list := g.dying[:n:n]
	g.dying = g.dying[n:]
	return list
}

// takeBuried takes over what became of dead letters. The lock must be held.
func (g *queueGroup) takeBuried(now int64) {
	for _, b := range g.buried {
		if b.part.q != b.of {
			continue // the group began anew: it will be buried again
		}
		in := core.QueueInput{Kind: core.QueueBuried, Grant: b.Grant}
		if b.err != nil && core.CodeOf(b.err) != core.CodeOffsetOutOfRange {
			retry := g.cfg.WithDefaults().Retry
			in.Kind, in.Delay = core.QueueBuryFailed, int64(retry.Max)
		}
		g.feed(b.part, &in, now)
	}
	g.buried = nil
}

// buryAll asks for dead letters, a goroutine for each partition: copying them may take long.
func (g *queueGroup) buryAll(dying []dyingRecord) {
	byPart := map[*queuePart][]dyingRecord{}
	for _, d := range dying {
		byPart[d.part] = append(byPart[d.part], d)
	}
	for p, records := range byPart {
		list := make([]burial, len(records))
		g.mu.Lock()
		for i := range records {
			d := &records[i]
			list[i] = burial{d.Offset, d.Attempt, d.Code, g.reasonOf(p, d.Offset, d.Code)}
		}
		g.mu.Unlock()
		g.ended.Go(func() {
			g.node.bury(g.ctx, g.name, p.part, list, func(i int, err error) {
				g.mu.Lock()
				defer g.unlock()
				g.buried = append(g.buried, buriedRecord{records[i], err})
				g.nudge = true
			})
		})
	}
}

// readKeys finds the keys of records that a group asked for, and which of them its filter leaves out.
func (o *queueOwner) readKeys(p *queuePart) {
	g := o.group
	g.mu.Lock()
	want, q, f := p.want, p.q, g.filter
	p.want = core.QueueEffect{}
	g.mu.Unlock()
	err := p.keys.read(p.part, want.Offset, int(want.Count), f)
	g.mu.Lock()
	defer g.unlock()
	if p.q != q {
		return // the group began anew, and asks again
	}
	now := g.now()
	if err != nil {
		p.want, o.keysAt = want, now+int64(keysRetry)
		return
	}
	p.finding = false
	g.feed(p, &core.QueueInput{Kind: core.QueueKeys, Offset: want.Offset, Keys: p.keys.hashes,
		Skip: p.keys.skip}, now)
	if f != nil {
		g.foldSoon() // what is left out is progress that nobody acks
	}
}

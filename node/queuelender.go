package node

import (
	"context"
	"math/bits"
	"slices"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

const (
	lenderIdle    = time.Minute // how long a group keeps its lender while nobody pulls
	lenderReaders = 4           // that are kept for the next pulls
	pullBytes     = 1 << 20     // of the records of one pull, but for the last
)

// queueLender is the member of a queue group for all who pull from this node. They have no session: what they
// are lent stays out under this member until somebody answers with the numbers of the loan, or the lease is
// over. So it leaves only when nothing is out, and nobody has pulled for a while.
//
//	group ──grants──▶ lender.granted ──when the lock is given──▶ the pull that waits longest
//	  ◀── Answer(loans), from anywhere
//
// It is guarded by the group's lock.
type queueLender struct {
	member  *queueMember
	pulls   []*queuePull  // that wait, the longest first
	loose   []lentRun     // handed out, and no pull has them
	coming  []*queueGrant // handed out, and kept back until their attempts are stored
	used    int64         // when somebody pulled last
	readers []*queueSubscription
}

// lentRun is records of a grant: those of the bits.
type lentRun struct {
	grant *queueGrant
	bits  uint64
}

// alive is what of it is still out.
func (r *lentRun) alive() uint64 { return r.bits & r.grant.left.Load() }

// queuePull is one call that waits for records.
type queuePull struct {
	want  int
	brief bool // it waits only for what is under way
	runs  []lentRun
	err   error
	done  chan struct{} // capacity 1: runs or err are there, or a brief one waits for nothing
}

// room is how many records more the pulls want than are handed out already.
func (l *queueLender) room() int32 {
	n := 0
	for _, p := range l.pulls {
		n += p.want
	}
	for i := range l.loose {
		n -= bits.OnesCount64(l.loose[i].alive())
	}
	for _, g := range l.member.granted {
		n -= bits.OnesCount64(g.left.Load())
	}
	for _, g := range l.coming {
		n -= bits.OnesCount64(g.left.Load())
	}
	return int32(n)
}

// comes notes that a grant will be given.
func (l *queueLender) comes(g *queueGrant) {
	l.coming = slices.DeleteFunc(l.coming, func(other *queueGrant) bool { return other.left.Load() == 0 })
	l.coming = append(l.coming, g)
}

// gave notes that a grant is among those of the member.
func (l *queueLender) gave(g *queueGrant) {
	if i := slices.Index(l.coming, g); i >= 0 {
		l.coming = slices.Delete(l.coming, i, i+1)
	}
}

// serve hands what there is to the pulls that wait.
func (l *queueLender) serve() {
	m := l.member
	for _, g := range m.granted {
		l.loose = append(l.loose, lentRun{g, g.left.Load()})
	}
	clear(m.granted)
	m.granted = m.granted[:0]
	m.fed.Store(false)
	if m.closed.Load() {
		l.fail()
		return
	}
	for i := 0; i < len(l.pulls); {
		p := l.pulls[i]
		if l.fill(p); len(p.runs) > 0 || p.brief && !m.group.busy() {
			l.end(p)
			continue
		}
		i++
	}
	if len(l.pulls) == 0 {
		m.group.unwait(m)
	}
}

// end has a pull return.
func (l *queueLender) end(p *queuePull) {
	l.pulls = slices.DeleteFunc(l.pulls, func(other *queuePull) bool { return other == p })
	select {
	case p.done <- struct{}{}:
	default:
	}
}

// fail ends all pulls of a group that is over.
func (l *queueLender) fail() {
	err := l.member.err
	if err == nil {
		err = core.NewError(core.CodeClosed, l.member.group.op("pull from"), nil)
	}
	for len(l.pulls) > 0 {
		l.pulls[0].err = err
		l.end(l.pulls[0])
	}
	l.loose, l.coming = nil, nil
}

// fill gives a pull what is loose. What lay there for a while has a whole lease again.
func (l *queueLender) fill(p *queuePull) {
	for len(l.loose) > 0 && p.want > 0 {
		r := &l.loose[0]
		left := r.alive()
		taken := left
		for n := bits.OnesCount64(taken); n > p.want; n-- {
			taken &^= 1 << (63 - bits.LeadingZeros64(taken))
		}
		if taken != 0 {
			p.want -= bits.OnesCount64(taken)
			p.runs = append(p.runs, lentRun{r.grant, taken})
		}
		if r.bits = left &^ taken; r.bits == 0 {
			l.loose = slices.Delete(l.loose, 0, 1)
		}
	}
}

// busy reports whether records are on their way to members without anything new happening: their keys are
// being found, or their attempts stored. The lock must be held.
func (g *queueGroup) busy() bool {
	for _, p := range g.parts {
		if p.finding {
			return true
		}
	}
	return g.lender != nil && slices.ContainsFunc(g.lender.coming, func(c *queueGrant) bool {
		return c.left.Load() != 0
	})
}

// pull waits for records until ctx ends, or only for those that are there. None is no error. A lender that
// has retired lends nothing: there is, or will be, another one.
func (l *queueLender) pull(ctx context.Context, want int, brief bool) (_ []lentRun, retired bool, _ error) {
	g, p := l.member.group, &queuePull{want: want, brief: brief, done: make(chan struct{}, 1)}
	g.mu.Lock()
	if g.lender != l {
		g.mu.Unlock()
		return nil, true, nil
	}
	l.used = g.now()
	l.pulls = append(l.pulls, p)
	g.renew(l)
	g.ask(l.member)
	g.unlock() // serves
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.unlock()
	l.used = g.now()
	l.end(p)
	return p.runs, false, p.err
}

// renew begins the leases of what lies loose anew, for whoever gets it now.
func (g *queueGroup) renew(l *queueLender) {
	if len(l.loose) == 0 {
		return
	}
	now := g.now()
	for i := range l.loose {
		r := &l.loose[i]
		g.revoke(r.grant.part, now)
		if left := r.alive(); left != 0 {
			in := core.QueueInput{Kind: core.QueueExtend, Member: l.member.id, Grant: r.grant.core(left)}
			g.step(r.grant.part, &in, now)
			g.feed(r.grant.part, nil, now)
		}
	}
}

// putBack leaves records that were not delivered after all to the next pull.
func (l *queueLender) putBack(runs []lentRun) {
	if len(runs) == 0 {
		return
	}
	g := l.member.group
	g.mu.Lock()
	defer g.unlock()
	if !l.member.closed.Load() {
		l.loose = append(l.loose, runs...)
	}
}

// reader gives a reader that nobody uses.
func (l *queueLender) reader() *queueSubscription {
	m := l.member
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	if n := len(l.readers); n > 0 {
		r := l.readers[n-1]
		l.readers = l.readers[:n-1]
		return r
	}
	t := m.group.topic
	return &queueSubscription{node: m.group.node, topic: t, member: m,
		cursors: make([]*cursor, len(t.partitions))}
}

// giveReader takes a reader back.
func (l *queueLender) giveReader(r *queueSubscription) {
	r.rest()
	g := l.member.group
	g.mu.Lock()
	keep := !l.member.closed.Load() && len(l.readers) < lenderReaders
	if keep {
		l.readers = append(l.readers, r)
	}
	g.mu.Unlock()
	if !keep {
		r.closeCursors()
	}
}

// read gives the messages of runs. What is too much for one answer is left to the next pull.
func (l *queueLender) read(runs []lentRun) (list []leat.Lent, err error) {
	r := l.reader()
	defer l.giveReader(r)
	size := 0
	for i := range runs {
		r.current, r.todo = runs[i].grant, runs[i].bits
		for r.todo != 0 && size < pullBytes && core.CodeOf(err) != core.CodeClosed {
			var m leat.Message
			found, failed := r.deliver(&m)
			if failed != nil { // the record was refused; others can perhaps be read
				err = failed
				continue
			}
			if found {
				list = append(list, lentOf(&m, r.current))
				size += core.RecordHeaderSize + len(m.Key) + len(m.Value) + core.EncodedHeadersSize(m.Headers)
			}
		}
		runs[i].bits = r.todo
	}
	r.current = nil
	l.putBack(slices.DeleteFunc(runs, func(run lentRun) bool { return run.bits == 0 }))
	if len(list) > 0 {
		err = nil // it fails again for the next pull
	}
	return list, err
}

// lentOf copies a message that was delivered. It is answered by its loan.
func lentOf(m *leat.Message, g *queueGrant) leat.Lent {
	leat.SetDelivery(m, g.attempt, nil)
	return leat.Lent{Message: *m.Clone(), Loan: leat.Loan{Partition: m.Partition, Offset: m.Offset, Slot: g.slot,
		Epoch: g.epoch}}
}

// spend ends the lending of a member that is one of the group no more. The lock must be held.
func (g *queueGroup) spend(m *queueMember) {
	if l := m.lender; l != nil && g.lender == l {
		l.fail()
		g.lender = nil
		g.spent = append(g.spent, l)
	}
}

// closeReaders gives back what the readers hold that no pull uses.
func (l *queueLender) closeReaders() {
	g := l.member.group
	g.mu.Lock()
	readers := l.readers
	l.readers = nil
	g.mu.Unlock()
	for _, r := range readers {
		r.closeCursors()
	}
}

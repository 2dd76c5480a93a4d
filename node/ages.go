package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// oldestStats remembers when the oldest messages that groups have not acked were stored, so that a group
// that stands still costs one read.
type oldestStats struct {
	known atomic.Pointer[map[unackedKey]unacked]
}

type unackedKey struct {
	group string
	part  *partition
}

type unacked struct{ offset, stored int64 }

// maxOldestReads bounds what one call reads. What is left out keeps the time it had, which is earlier.
const maxOldestReads = 200

// fill fills in how old the oldest message is that each group has not acked, in partitions of this node.
func (o *oldestStats) fill(n *Node, groups []leat.GroupInfo) {
	f := ageFiller{now: n.clock.Now(), known: make(map[unackedKey]unacked)}
	if before := o.known.Load(); before != nil {
		f.before = *before
	}
	for i := range groups {
		g := &groups[i]
		t, err := n.topicFor("tell ages in", g.Topic)
		for j := range g.Partitions {
			gp := &g.Partitions[j]
			switch {
			case gp.LagRecords == 0:
				gp.LagTime = 0
			case gp.LagRecords > 0 && err == nil && int(gp.Partition) < len(t.partitions):
				f.fill(g.Group, t.partitions[gp.Partition], gp)
			}
		}
	}
	o.known.Store(&f.known)
}

// ageFiller is one call of oldestStats.fill.
type ageFiller struct {
	now           int64
	reads         int
	before, known map[unackedKey]unacked
}

// fill fills in the age for one partition with a lag. Where it cannot be told it stays as it is.
func (f *ageFiller) fill(group string, p *partition, gp *leat.GroupPartition) {
	if p.log == nil { // of another topic that has the name by now
		return
	}
	key := unackedKey{group, p}
	was, found := f.before[key]
	if at := max(gp.Oldest, p.log.Start()); (!found || was.offset != at) && f.reads < maxOldestReads {
		f.reads++
		stored, err := p.storedAt(at)
		if err == nil && stored == 0 {
			gp.LagTime = 0
		}
		was, found = unacked{at, stored}, err == nil && stored != 0
	}
	if found {
		f.known[key] = was
		gp.LagTime = time.Duration(max(0, f.now-was.stored))
	}
}

// behind is the age of the oldest message that a group has not acked, as far as this node knows.
func behind(g *leat.GroupInfo) time.Duration {
	var oldest time.Duration
	for i := range g.Partitions {
		oldest = max(oldest, g.Partitions[i].LagTime)
	}
	return oldest
}

// storedAt is when the first record at or behind an offset was stored, in nanoseconds since 1970; 0 where
// there is none up to the high-water mark.
func (p *partition) storedAt(offset int64) (int64, error) {
	reader := p.log.Reader(offset)
	defer reader.Close()
	run, err := reader.Next(p.highWater.Load())
	if err != nil || len(run) < core.FrameHeaderSize {
		return 0, err
	}
	h := core.ParseFrameHeader(run)
	return h.Time, nil
}

// answerAges tells how old records are. What cannot be told costs the others nothing.
func (n *Node) answerAges(ctx context.Context, q *wire.AgesBody) (wire.AgesAnswer, error) {
	if len(q.Records) > wire.MaxAges {
		return wire.AgesAnswer{}, core.Errorf(core.CodeInvalidConfig, "tell ages", "of %d records: at most %d",
			len(q.Records), wire.MaxAges)
	}
	now := n.clock.Now()
	answer := wire.AgesAnswer{Ages: make([]int64, len(q.Records))}
	for i, record := range q.Records {
		if err := ctx.Err(); err != nil {
			return wire.AgesAnswer{}, err
		}
		answer.Ages[i] = n.ageOf(&record, now)
	}
	return answer, nil
}

// ageOf is the age of a record in nanoseconds, 0 where there is none, -1 where that is not known.
func (n *Node) ageOf(record *wire.RecordBody, now int64) int64 {
	t, err := n.topicFor("tell ages in", record.Topic)
	if err != nil {
		return -1
	}
	p, err := t.readable(record.Partition)
	if err != nil {
		return -1
	}
	stored, err := p.storedAt(max(record.Offset, p.log.Start()))
	switch {
	case err != nil:
		return -1
	case stored == 0:
		return 0
	}
	return max(0, now-stored)
}

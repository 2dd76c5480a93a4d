package leat

import (
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// maxLagTrends bounds for how many partitions of groups trends are kept. What is more has none.
const maxLagTrends = 1 << 16

// lagTrends remembers what calls of Bus.Groups have seen.
type lagTrends struct {
	clock clock.Clock

	mu    sync.Mutex // guards the following
	known map[lagKey]*core.LagWindow
}

type lagKey struct {
	group, topic string
	partition    int32
}

// observe fills in rates and times to zero. Groups that are not in a complete list are forgotten.
func (l *lagTrends) observe(groups []GroupInfo, complete bool) {
	now := l.clock.Mono()
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.known
	if complete || before == nil {
		l.known = make(map[lagKey]*core.LagWindow, len(before))
	}
	for i := range groups {
		g := &groups[i]
		for j := range g.Partitions {
			p := &g.Partitions[j]
			key := lagKey{g.Group, g.Topic, p.Partition}
			w := before[key]
			if w == nil {
				w = &core.LagWindow{}
			}
			if l.known[key] == nil && len(l.known) >= maxLagTrends {
				w = &core.LagWindow{}
			} else {
				l.known[key] = w
			}
			p.setTrend(w.Observe(core.LagObservation{At: now, Committed: p.Committed, Lag: p.LagRecords}))
		}
	}
}

// setTrend fills in what a trend tells.
func (p *GroupPartition) setTrend(trend core.LagTrend, known bool) {
	p.AckRate, p.TimeToZero = -1, -1
	if p.LagRecords == 0 {
		p.TimeToZero = 0
	}
	if !known {
		return
	}
	p.AckRate = trend.AckRate
	if left, ends := trend.TimeToZero(p.LagRecords); ends {
		p.TimeToZero = left
	}
}

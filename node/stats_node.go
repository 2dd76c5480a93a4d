package node

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/histogram"
)

// syncStats counts syncs.
type syncStats struct{ took, records *histogram.Histogram }

func newSyncStats() syncStats {
	return syncStats{took: histogram.Durations(), records: histogram.Counts()}
}

// synced is called by the Syncer.
func (s *syncStats) synced(took, records int64) {
	s.took.Add(took)
	s.records.Add(records)
}

// recoveryStats is what opening the node has found.
type recoveryStats struct {
	took time.Duration
	cut  int64 // bytes
}

// noteRecovery sums up what opening the logs has found.
func (n *Node) noteRecovery(began int64) {
	n.recovery.took = time.Duration(n.clock.Mono() - began)
	for _, p := range *n.partitions.Load() {
		if p.log != nil {
			n.recovery.cut += p.log.Recovery().CutBytes
		}
	}
}

// openTopics gives the topics whose logs are open, by name.
func (n *Node) openTopics() []*topic {
	n.mu.Lock()
	list := make([]*topic, 0, len(n.topics))
	for _, t := range n.topics {
		if t.opening.Load() == 0 {
			list = append(list, t)
		}
	}
	n.mu.Unlock()
	slices.SortFunc(list, func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
	return list
}

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

// of gives how long each group is behind.
func (o *oldestStats) of(n *Node, groups []leat.GroupInfo) []time.Duration {
	before := o.known.Load()
	if before == nil {
		before = new(map[unackedKey]unacked)
	}
	now, reads := n.clock.Now(), 0
	known := make(map[unackedKey]unacked)
	behind := make([]time.Duration, len(groups))
	for i := range groups {
		t := n.topicNamed(groups[i].Topic)
		if t == nil {
			continue
		}
		for _, g := range groups[i].Partitions {
			if g.LagRecords <= 0 || int(g.Partition) >= len(t.partitions) {
				continue
			}
			p := t.partitions[g.Partition]
			key := unackedKey{groups[i].Group, p}
			was, found := (*before)[key]
			if at := max(g.Committed, p.log.Start()); (!found || was.offset != at) && reads < maxOldestReads {
				reads++
				was, found = unacked{at, p.storedAt(at)}, true
			}
			if !found || was.stored == 0 {
				continue
			}
			known[key] = was
			behind[i] = max(behind[i], time.Duration(now-was.stored))
		}
	}
	o.known.Store(&known)
	return behind
}

// storedAt is when the record at an offset was stored, in nanoseconds since 1970; 0 if it cannot be read.
func (p *partition) storedAt(offset int64) int64 {
	reader := p.log.Reader(offset)
	defer reader.Close()
	run, err := reader.Next(p.log.End())
	if err != nil || len(run) < core.FrameHeaderSize {
		return 0
	}
	h := core.ParseFrameHeader(run)
	return h.Time
}

// export gives the figures of the server.
func (s *Server) export() *ServerStats {
	out := s.stats.export()
	out.Draining = s.draining()
	out.Expiry, out.PeerExpiry = expiry(s.shown), expiry(s.shownPeers)
	return out
}

// expiry is when the certificate ends that cfg shows; zero if there is none.
func expiry(cfg *tls.Config) time.Time {
	if cfg == nil {
		return time.Time{}
	}
	var shown *tls.Certificate
	switch {
	case cfg.GetCertificate != nil:
		shown, _ = cfg.GetCertificate(&tls.ClientHelloInfo{}) // without one there is no end
	case len(cfg.Certificates) > 0:
		shown = &cfg.Certificates[0]
	}
	if shown == nil || len(shown.Certificate) == 0 {
		return time.Time{}
	}
	leaf := shown.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(shown.Certificate[0]); err != nil {
			return time.Time{}
		}
	}
	return leaf.NotAfter
}

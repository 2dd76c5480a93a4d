package node

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

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

package node

import (
	"sync"

	"github.com/leatbus/leat/internal/histogram"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// connStats knows the open QUIC connections and what those that have ended have carried.
type connStats struct {
	mu     sync.Mutex // guards the following
	client carried
	peer   carried
}

// carried is what connections of one kind have carried.
type carried struct {
	open  map[transport.Conn]struct{}
	ended transport.Stats
	// By whether the TLS session was resumed. Dialed connections are not in it.
	handshakes [2]*histogram.Histogram
}

func newCarried() carried {
	return carried{open: make(map[transport.Conn]struct{}),
		handshakes: [2]*histogram.Histogram{histogram.Durations(), histogram.Durations()}}
}

// of gives what counts connections of the same kind.
func (s *connStats) of(conn transport.Conn) *carried {
	if conn.Protocol() == wire.ALPNPeer {
		return &s.peer
	}
	return &s.client
}

// begin counts a connection until end.
func (s *connStats) begin(conn transport.Conn) {
	stats := conn.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of(conn)
	c.open[conn] = struct{}{}
	if stats.Handshake > 0 {
		c.handshakes[boolIndex(stats.Resumed)].Add(int64(stats.Handshake))
	}
}

// end keeps what a connection has carried.
func (s *connStats) end(conn transport.Conn) {
	stats := conn.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of(conn)
	delete(c.open, conn)
	c.ended = plus(c.ended, stats)
}

func plus(a, b transport.Stats) transport.Stats {
	a.SentBytes += b.SentBytes
	a.RecvBytes += b.RecvBytes
	a.LostPackets += b.LostPackets
	return a
}

func boolIndex(b bool) int {
	if b {
		return 1
	}
	return 0
}

// export gives the figures of both kinds. It asks every open connection.
func (s *connStats) export() []QuicStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []QuicStats
	for _, kind := range []struct {
		name string
		*carried
	}{{"client", &s.client}, {"peer", &s.peer}} {
		total := kind.ended
		for conn := range kind.open {
			total = plus(total, conn.Stats())
		}
		list = append(list, QuicStats{Kind: kind.name, Connections: len(kind.open), Sent: total.SentBytes,
			Received: total.RecvBytes, Lost: total.LostPackets,
			Handshakes: kind.handshakes[0].Snapshot(), Resumed: kind.handshakes[1].Snapshot()})
	}
	return list
}

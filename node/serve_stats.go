package node

import (
	"maps"
	"sync"
	"sync/atomic"
)

// serverStats counts what a server does. Everything is added per batch or rarer, so that counting costs
// a message nothing.
type serverStats struct {
	connections  atomic.Int64 // open now, HELLO accepted
	handshakes   atomic.Int64 // HELLO accepted since the start
	refused      atomic.Int64 // connections that broke the protocol before HELLO, or over a limit
	requests     atomic.Int64
	producers    atomic.Int64 // streams open now
	consumers    atomic.Int64
	members      atomic.Int64
	protocolErrs atomic.Int64 // streams and connections ended with PROTOCOL
	memberAcks   atomic.Int64

	mu     sync.Mutex // guards the following
	topics map[string]*topicStats
}

// topicStats counts what passes the server for one topic since its start.
type topicStats struct {
	produced       atomic.Int64 // messages stored
	producedBytes  atomic.Int64 // of their frames
	duplicates     atomic.Int64 // messages answered that were stored before
	produceErrors  atomic.Int64 // frames refused
	acks           atomic.Int64 // frames answered
	delivered      atomic.Int64 // messages, with those of a frame that a reader begins within
	deliveredBytes atomic.Int64
	stalls         atomic.Int64 // times a subscription had to wait for credit
}

// topic gives the counters of a topic. Streams keep them.
func (s *serverStats) topic(name string) *topicStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topics == nil {
		s.topics = make(map[string]*topicStats)
	}
	if s.topics[name] == nil {
		s.topics[name] = &topicStats{}
	}
	return s.topics[name]
}

// all gives the counters of every topic that was used, for export.
func (s *serverStats) all() map[string]*topicStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.topics)
}

// addSome leaves the line of a counter alone where there is nothing to add.
func addSome(counter *atomic.Int64, n int64) {
	if n != 0 {
		counter.Add(n)
	}
}

// forget drops the counters of a deleted topic.
func (s *serverStats) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.topics, name)
}

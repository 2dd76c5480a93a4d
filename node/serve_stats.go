package node

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/histogram"
	"github.com/leatbus/leat/transport/wire"
)

// serverStats counts what a server does. Everything is added per batch or rarer, so that counting costs
// a message nothing.
type serverStats struct {
	connections  atomic.Int64 // open now, HELLO accepted
	handshakes   atomic.Int64 // HELLO accepted since the start
	refused      atomic.Int64 // connections that broke the protocol before HELLO, or over a limit
	producers    atomic.Int64 // streams open now
	consumers    atomic.Int64
	members      atomic.Int64
	protocolErrs atomic.Int64 // streams and connections ended with PROTOCOL

	ackPage, ackDisk *histogram.Histogram // from a PRODUCE frame to its answer, of one frame in ackSample
	conns            connStats

	mu       sync.Mutex // guards the following
	topics   map[string]*topicStats
	requests map[requestKey]int64
	untrust  map[core.Code]int64 // clients whose TLS was refused
}

type requestKey struct {
	op   wire.Op
	code core.Code // 0: done
}

// topicStats counts what passes the server for one topic since its start.
type topicStats struct {
	produced      atomic.Int64 // messages stored
	producedBytes atomic.Int64 // of their frames
	duplicates    atomic.Int64 // messages answered that were stored before
	acks          atomic.Int64 // frames answered
	stalls        atomic.Int64 // times a subscription had to wait for credit

	mu      sync.Mutex // guards the following
	refused map[core.Code]int64
	groups  map[string]*groupStats
}

// groupStats counts what a group gets of a topic; that of the name "" is of all who read without one.
type groupStats struct {
	delivered      atomic.Int64 // messages, with those of a frame that a reader begins within
	deliveredBytes atomic.Int64
	acked          atomic.Int64 // messages
}

// maxGroupStats bounds the groups of a topic that are counted by name, because clients name them.
const maxGroupStats = 10_000

// otherGroups is what the others are counted as.
const otherGroups = "other"

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

// group gives the counters of a group. Streams keep them.
func (s *topicStats) group(name string) *groupStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups == nil {
		s.groups = make(map[string]*groupStats)
	}
	if s.groups[name] == nil && len(s.groups) >= maxGroupStats {
		name = otherGroups
	}
	if s.groups[name] == nil {
		s.groups[name] = &groupStats{}
	}
	return s.groups[name]
}

// refuse counts refused frames.
func (s *topicStats) refuse(codes ...core.Code) {
	if len(codes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = make(map[core.Code]int64)
	}
	for _, code := range codes {
		s.refused[code]++
	}
}

// all gives the counters of every topic that was used, for export.
func (s *serverStats) all() map[string]*topicStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.topics)
}

// request counts a request that was answered.
func (s *serverStats) request(op wire.Op, err error) {
	key := requestKey{op: op}
	if err != nil {
		key.code = core.CodeOf(outward(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests == nil {
		s.requests = make(map[requestKey]int64)
	}
	s.requests[key]++
}

// distrust counts a client whose TLS was refused.
func (s *serverStats) distrust(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.untrust == nil {
		s.untrust = make(map[core.Code]int64)
	}
	s.untrust[core.CodeOf(err)]++
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

// export gives the counters of the server, sorted.
func (s *serverStats) export() *ServerStats {
	out := &ServerStats{
		Clients: s.connections.Load(), AckPage: s.ackPage.Snapshot(), AckDisk: s.ackDisk.Snapshot(),
		Quic: s.conns.export(),
	}
	all := s.all()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.Topics = append(out.Topics, all[name].export(name))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, count := range s.requests {
		out.Requests = append(out.Requests, RequestStats{opNames[key.op], key.code, count})
	}
	slices.SortFunc(out.Requests, func(a, b RequestStats) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Code, b.Code))
	})
	out.NoCertificate, out.BadCertificate = s.untrust[core.CodeDenied], s.untrust[core.CodeUntrusted]
	return out
}

func (s *topicStats) export(name string) ServedTopic {
	t := ServedTopic{
		Name: name, Produced: s.produced.Load(), ProducedBytes: s.producedBytes.Load(),
		Duplicates: s.duplicates.Load(), Refused: make(map[core.Code]int64),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(t.Refused, s.refused)
	for _, group := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[group]
		t.Groups = append(t.Groups, ServedGroup{Name: group, Delivered: g.delivered.Load(),
			DeliveredBytes: g.deliveredBytes.Load(), Acked: g.acked.Load()})
	}
	return t
}

// opNames are the operations as metrics name them. One that is unknown is named "".
var opNames = map[wire.Op]string{
	wire.OpTopics: "topics", wire.OpCreateTopic: "create_topic", wire.OpDeleteTopic: "delete_topic",
	wire.OpAlterTopic: "alter_topic", wire.OpGroups: "groups", wire.OpResetGroup: "reset_group",
	wire.OpDeleteGroup: "delete_group", wire.OpCluster: "cluster", wire.OpOffsets: "offsets",
	wire.OpAges:        "ages",
	wire.OpDeadLetters: "dead_letters", wire.OpReadDeadLetters: "read_dead_letters",
	wire.OpSettleDeadLetters: "settle_dead_letters",
	wire.OpPeek:              "peek",
	wire.OpCheckFilter:       "check_filter",
	wire.OpPull:              "pull", wire.OpAnswerLoans: "answer_loans",
	wire.OpDelayed:       "delayed",
	wire.OpCancelDelayed: "cancel_delayed",
	wire.OpReschedule:    "reschedule",
	wire.OpPutSchedule:   "put_schedule", wire.OpDeleteSchedule: "delete_schedule",
	wire.OpSchedules: "schedules",
}

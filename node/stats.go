package node

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/histogram"
	"github.com/leatbus/leat/mmaplog"
)

// Stats are figures of a node at one moment. Counters begin with 0 when the node is opened.
type Stats struct {
	Topics      []TopicStats // those of this node, internal ones too, by name
	Failed      []error      // why partitions of users' topics, of this node, take no records
	Unavailable int          // partitions of users' topics that take no records, of all nodes
	Groups      []GroupStats // those this node coordinates
	Rebalances  []actors.RebalanceCount
	Actors      map[string]int // live ones, by kind
	Peers       []leat.NodeInfo
	// Adrift: the node is part of a cluster whose catalogue it has not got yet.
	Adrift bool

	Recovery     time.Duration // how long opening took
	RecoveryCut  int64         // bytes of torn tails that it cut
	Syncs        histogram.Snapshot
	SyncRecords  histogram.Snapshot // records that each sync made durable
	UnsyncedByte int64              // bytes written that no sync covers yet
	Scrub        mmaplog.ScrubStats
	LowOnSpace   bool // no new segment is made, because too little of the file system is free
	Calls        CallStats
	Delays       DelayStats

	Server *ServerStats // nil while the node is not served
}

// DelayStats are figures of the delayed messages of a node.
type DelayStats struct {
	Waiting int64 // messages that wait now
	Fired   int64 // delivered since the node was opened
	Dropped int64 // of topics that were deleted
	Late    histogram.Snapshot
}

// TopicStats are the partitions of a topic that a node has.
type TopicStats struct {
	Name       string
	Partitions []PartitionStats
	Expired    int64 // messages that readers were not given, because their time to live was over
}

// PartitionStats are figures of the log of a partition.
type PartitionStats struct {
	Partition  int32
	Start, End int64 // offsets
	Appended   int64 // bytes since the node was opened
	Bytes      int64 // on disk
	Segments   int
}

// CallStats are the requests that passed a node, over its door or in the process.
type CallStats struct {
	Responders int64
	Pending    int64               // requests that responders have, or that wait for one
	Ends       map[core.Code]int64 // what came of requests; 0 is a reply
	Cancelled  int64               // nobody waited for the reply any more
	Late       int64               // replies to those
}

// GroupStats is a group and how far it is behind.
type GroupStats struct {
	leat.GroupInfo
	// Behind is the age of the oldest message that is not acked, over the partitions that this node has; 0
	// where there is none.
	Behind time.Duration
}

// ServerStats are figures of the door of a node since it was opened.
type ServerStats struct {
	Draining         bool
	Clients          int64              // connected, HELLO accepted
	AckPage, AckDisk histogram.Snapshot // from a PRODUCE frame to its answer, of one frame in 16
	Topics           []ServedTopic
	Requests         []RequestStats
	Quic             []QuicStats
	NoCertificate    int64 // clients refused because they showed none
	BadCertificate   int64 // clients refused because theirs did not verify

	// When the certificates that clients and other nodes are shown end; zero where there is none.
	Expiry, PeerExpiry time.Time
}

// ServedTopic is what has passed the door for one topic.
type ServedTopic struct {
	Name                                string
	Produced, ProducedBytes, Duplicates int64
	Refused                             map[core.Code]int64 // PRODUCE frames
	Groups                              []ServedGroup
}

// ServedGroup is what a group has got of a topic; the one without a name is of all readers without a group.
type ServedGroup struct {
	Name                             string
	Delivered, DeliveredBytes, Acked int64
}

// RequestStats counts requests of one operation with one end; Code 0 is success.
type RequestStats struct {
	Op    string
	Code  core.Code
	Count int64
}

// QuicStats are figures of the connections of one kind, client or peer.
type QuicStats struct {
	Kind                 string
	Connections          int
	Sent, Received, Lost uint64 // bytes, bytes, packets
	Handshakes, Resumed  histogram.Snapshot
}

// StatsOf gives the figures of a bus that Open returned; ErrNotEmbedded for any other. It costs some
// microseconds per partition and nothing between calls; ctx bounds it.
func StatsOf(ctx context.Context, bus *leat.Bus) (*Stats, error) {
	n, ok := bus.Backend().(*Node)
	if !ok {
		return nil, core.NewError(core.CodeNotEmbedded, "read statistics", nil)
	}
	return n.stats(ctx)
}

func (n *Node) stats(ctx context.Context) (*Stats, error) {
	select {
	case <-n.closing:
		return nil, core.NewError(core.CodeClosed, "read statistics", nil)
	default:
	}
	s := &Stats{
		Actors: n.system.Kinds(), Rebalances: n.groups.Rebalances(),
		Recovery: n.recovery.took, RecoveryCut: n.recovery.cut,
		Scrub: n.store.ScrubStats(), LowOnSpace: n.store.LowOnSpace(), Delays: n.delays.stats.export(),
		Syncs: n.syncs.took.Snapshot(), SyncRecords: n.syncs.records.Snapshot(), Calls: n.calls.export(),
	}
	info, err := n.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	down := make(map[uint16]bool)
	if n.cluster != nil {
		s.Peers, s.Adrift = info.Nodes, n.cluster.version.Load() == 0
		for i := range info.Nodes {
			down[info.Nodes[i].ID] = !info.Nodes[i].Up
		}
	}
	for _, t := range n.openTopics() {
		s.addTopic(t, down)
	}
	groups, err := n.Groups(ctx)
	if err != nil {
		return nil, err
	}
	for i := range groups {
		s.Groups = append(s.Groups, GroupStats{groups[i], behind(&groups[i])})
	}
	if server := n.serverNow(); server != nil {
		s.Server = server.export()
	}
	return s, nil
}

// addTopic adds the partitions of a topic that the node has.
func (s *Stats) addTopic(t *topic, down map[uint16]bool) {
	topic := TopicStats{Name: t.name, Expired: t.expired.Load()}
	for _, p := range t.partitions {
		if t.id >= core.FirstTopicID {
			s.judge(p, down)
		}
		if p.log == nil {
			continue
		}
		s.UnsyncedByte += p.log.UnsyncedBytes()
		topic.Partitions = append(topic.Partitions, PartitionStats{
			Partition: p.number, Start: p.log.Start(), End: p.log.End(), Appended: p.log.AppendedBytes(),
			Bytes: p.log.Bytes(), Segments: p.log.Segments(),
		})
	}
	s.Topics = append(s.Topics, topic)
}

// judge notes a partition that nobody can publish to: it has failed, or the node that has it is down.
func (s *Stats) judge(p *partition, down map[uint16]bool) {
	switch {
	case !p.here:
		if down[p.topic.placement.Node(p.number)] {
			s.Unavailable++
		}
	case p.refusal() != nil:
		s.Unavailable++
		s.Failed = append(s.Failed, p.refusal())
	}
}

package leat

import "time"

// TopicInfo describes a topic at one moment.
type TopicInfo struct {
	Name       string
	ID         uint64
	Config     TopicConfig
	Partitions []PartitionInfo
}

// PartitionInfo describes one partition. Records in [Start, HighWater) can be read.
type PartitionInfo struct {
	Partition  int32
	Node       uint16 // that has it; 0 for a bus of one node
	Start      int64  // first record kept
	End        int64  // next offset to be written
	HighWater  int64  // first offset consumers may not see
	DurableEnd int64  // first offset not known to be synced
	Bytes      int64  // on disk, records only
	Err        error  // why it takes no records, nil if it does
}

// GroupInfo describes a consumer group on one topic at one moment.
type GroupInfo struct {
	Group      string
	Topic      string
	Generation int32
	Members    []string
	Partitions []GroupPartition
}

// GroupPartition is one partition of a group.
type GroupPartition struct {
	Partition int32
	Member    string // empty if nobody owns it now
	Committed int64  // -1 where nothing was committed
	// LagRecords is high-water mark − committed offset, -1 where the partition's node cannot be asked. Offsets
	// without a record between the two count: those of compacted records, and those a log skips after a crash.
	LagRecords int64
}

// ClusterInfo describes the nodes of a bus at one moment, as one of them sees it.
type ClusterInfo struct {
	Name   string // of the cluster; empty for a node that is alone
	Answer uint16 // the node that answered
	Meta   uint16 // the node that creates topics
	Nodes  []NodeInfo
}

// NodeInfo describes one node.
type NodeInfo struct {
	ID      uint16
	Address string
	Up      bool
	Since   time.Time // of this state; zero if unknown
	RTT     time.Duration
	Err     error // why it is down
}

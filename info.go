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
	Mode       GroupMode
	Generation int32 // 0 in a queue group
	Members    []string
	Partitions []GroupPartition
}

// QueueCounts is where the records stand that a queue group has not settled; together they are its lag. What
// is not known is -1.
type QueueCounts struct {
	Ready  int64 // to be handed out, in a key-shared group as soon as their keys are free
	Leased int64 // members have them
	// Delayed failed, and wait for their next delivery or to be a dead letter. While the group has no members
	// nobody looks whether their time has come.
	Delayed int64
}

// GroupPartition is one partition of a group.
type GroupPartition struct {
	Partition int32
	Member    string // empty if nobody owns it now
	// Committed is -1 where nothing was committed. In a queue group it is the first offset that was never
	// handed out: records before it may be unsettled.
	Committed int64
	// Oldest is the first offset that is not acked: Committed, but in a queue group that may have acked others
	// behind it.
	Oldest int64
	// LagRecords is high-water mark − committed offset, -1 where the partition's node cannot be asked. Offsets
	// without a record between the two count: those of compacted records, and those a log skips after a crash.
	// In a queue group it is the number of records that are not settled.
	LagRecords int64
	// Queue is what LagRecords is made of, in a queue group; zero in a stream group.
	Queue QueueCounts
	// LagTime is the age of the oldest record that is not acked, by the clock of the node that has it; 0 where
	// there is none, -1 where the node cannot be asked or does not know.
	LagTime time.Duration
	// AckRate is how many records a second the group has acked between this call of Bus.Groups and an earlier
	// one, of the last minute; -1 where there was none, or the group was reset since.
	AckRate float64
	// TimeToZero is when the lag is used up if it goes on to shrink as it did in that time; 0 where there is
	// none, -1 where that is not known or never happens.
	TimeToZero time.Duration
}

// GroupLag is how far a group is behind in all partitions of a topic. A figure that one of them lacks is -1.
type GroupLag struct {
	Records    int64         // sum
	Time       time.Duration // of the partition that is farthest behind
	AckRate    float64       // sum, records per second
	TimeToZero time.Duration // of the partition that takes longest
}

// Lag sums up the partitions.
func (g *GroupInfo) Lag() GroupLag {
	var sum GroupLag
	for i := range g.Partitions {
		p := &g.Partitions[i]
		sum.Records = both(sum.Records, p.LagRecords, sum.Records+p.LagRecords)
		sum.Time = both(sum.Time, p.LagTime, max(sum.Time, p.LagTime))
		sum.AckRate = both(sum.AckRate, p.AckRate, sum.AckRate+p.AckRate)
		sum.TimeToZero = both(sum.TimeToZero, p.TimeToZero, max(sum.TimeToZero, p.TimeToZero))
	}
	return sum
}

// QueueCounts sums up the partitions of a queue group.
func (g *GroupInfo) QueueCounts() QueueCounts {
	var sum QueueCounts
	for i := range g.Partitions {
		c := &g.Partitions[i].Queue
		sum.Ready = both(sum.Ready, c.Ready, sum.Ready+c.Ready)
		sum.Leased = both(sum.Leased, c.Leased, sum.Leased+c.Leased)
		sum.Delayed = both(sum.Delayed, c.Delayed, sum.Delayed+c.Delayed)
	}
	return sum
}

// both gives together where a and b are known, else -1.
func both[T int64 | float64 | time.Duration](a, b, together T) T {
	if a < 0 || b < 0 {
		return -1
	}
	return together
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

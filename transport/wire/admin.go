package wire

// Op is what a REQUEST asks for. Its numbers are on the wire. A node answers an op it does not know with
// core.CodeUnsupported.
type Op uint16

// The requests of the control stream, with the type of their body and answer.
const (
	OpTopics      Op = 1  // TopicsRequest → TopicsAnswer
	OpCreateTopic Op = 2  // TopicBody → Empty; the meta node only
	OpDeleteTopic Op = 3  // NameBody → Empty; the meta node only
	OpAlterTopic  Op = 4  // AlterBody → Empty; the meta node only
	OpGroups      Op = 5  // Empty → GroupsAnswer: the groups this node coordinates
	OpResetGroup  Op = 6  // ResetBody → Empty; the node that coordinates the group
	OpDeleteGroup Op = 7  // GroupBody → Empty; the node that coordinates the group
	OpCluster     Op = 8  // Empty → ClusterAnswer
	OpOffsets     Op = 9  // OffsetsBody → OffsetsAnswer: positions as offsets, for partitions this node has
	OpAges        Op = 10 // AgesBody → AgesAnswer: how old records are, in partitions this node has

	OpDeadLetters       Op = 11 // Empty → DeadLettersAnswer: with the partitions this node has
	OpReadDeadLetters   Op = 12 // DeadLetterReadBody → DeadLetterPageBody; the node that has the partition
	OpSettleDeadLetters Op = 13 // DeadLetterSettleBody → DeadLetterSettled; the node that has the partition

	OpPeek Op = 14 // PeekBody → PeekAnswer: records of a partition this node has

	OpPull        Op = 32 // PullBody → PulledAnswer: messages of the partitions this node has are lent
	OpAnswerLoans Op = 33 // LoansBody → LoansAnswer; the node that has the partitions
)

// Empty is the body of requests and answers that say nothing.
type Empty struct{}

// NameBody names a topic.
type NameBody struct {
	Name string `json:"name"`
}

// TopicBody describes a topic.
type TopicBody struct {
	Name       string `json:"name"`
	ID         uint64 `json:"id,omitempty"`
	Partitions int    `json:"partitions"`
	Ack        uint8  `json:"ack"` // a core.Ack
	// Retention is in nanoseconds, -1 for ever. 0 is the default where a topic is created; in an answer it
	// is that of a node which knows no ages, and keeps for ever.
	Retention        int64 `json:"retention,omitempty"`
	RetentionBytes   int64 `json:"retentionBytes,omitempty"`
	RetentionRecords int64 `json:"retentionRecords,omitempty"`
	SegmentBytes     int64 `json:"segmentBytes,omitempty"`
	MaxRecordBytes   int   `json:"maxRecordBytes,omitempty"`
	Cleanup          uint8 `json:"cleanup,omitempty"`     // a core.Cleanup
	TTL              int64 `json:"ttl,omitempty"`         // nanoseconds; only with FeatureTTL
	DedupWindow      int64 `json:"dedupWindow,omitempty"` // nanoseconds; only with FeatureIDs
	// Placement has the node of each partition; empty: all are on the answering node.
	Placement []uint16 `json:"placement,omitempty"`
	// Local has the partitions of the answering node, if asked for.
	Local []PartitionBody `json:"local,omitempty"`
}

// PartitionBody is leat.PartitionInfo.
type PartitionBody struct {
	Partition  int32      `json:"p"`
	Start      int64      `json:"start"`
	End        int64      `json:"end"`
	HighWater  int64      `json:"highWater"`
	DurableEnd int64      `json:"durableEnd"`
	Bytes      int64      `json:"bytes"`
	Code       uint16     `json:"code,omitempty"` // why it takes no records
	Error      *ErrorBody `json:"error,omitempty"`
}

// TopicsRequest asks for one topic, or for all where Name is empty.
type TopicsRequest struct {
	Name   string `json:"name,omitempty"`
	Detail bool   `json:"detail,omitempty"` // with Local
}

// TopicsAnswer lists topics by name. A name that was asked for and is not there is
// core.CodeTopicNotFound.
type TopicsAnswer struct {
	Topics []TopicBody `json:"topics,omitempty"`
}

// AlterBody changes what of a topic can change; a nil field stays.
type AlterBody struct {
	Name             string `json:"name"`
	Retention        *int64 `json:"retention,omitempty"`
	RetentionBytes   *int64 `json:"retentionBytes,omitempty"`
	RetentionRecords *int64 `json:"retentionRecords,omitempty"`
	MaxRecordBytes   *int   `json:"maxRecordBytes,omitempty"`
	TTL              *int64 `json:"ttl,omitempty"`         // only with FeatureTTL
	DedupWindow      *int64 `json:"dedupWindow,omitempty"` // only with FeatureIDs
}

// GroupBody names a group on a topic.
type GroupBody struct {
	Group string `json:"group"`
	Topic string `json:"topic"`
}

// GroupsAnswer lists groups.
type GroupsAnswer struct {
	Groups []GroupInfoBody `json:"groups,omitempty"`
}

// GroupInfoBody is leat.GroupInfo without the lag, which needs the marks of other nodes. A queue group is
// told by each node that hands records of it out, with the partitions of that node.
type GroupInfoBody struct {
	Group      string               `json:"group"`
	Topic      string               `json:"topic"`
	Mode       uint8                `json:"mode,omitempty"` // a core.GroupMode
	Generation int32                `json:"generation"`
	Members    []string             `json:"members,omitempty"`
	Partitions []GroupPartitionBody `json:"partitions,omitempty"`
}

// GroupPartitionBody is one partition of a group.
type GroupPartitionBody struct {
	Partition int32  `json:"p"`
	Member    string `json:"member,omitempty"`
	Committed int64  `json:"committed"`
	Lag       int64  `json:"lag,omitempty"` // in a queue group: records that are not settled
	// Of these, those that members have, those that failed and wait, and the offset of the first; absent from
	// nodes that do not tell.
	Leased  *int64 `json:"leased,omitempty"`
	Delayed *int64 `json:"delayed,omitempty"`
	Oldest  *int64 `json:"oldest,omitempty"`
}

// ResetBody sets the committed offsets of a group that has no members.
type ResetBody struct {
	Group   string           `json:"group"`
	Topic   string           `json:"topic"`
	Offsets []ResetPartition `json:"offsets"`
}

// ResetPartition is one partition of a ResetBody.
type ResetPartition struct {
	Partition int32 `json:"p"`
	Offset    int64 `json:"o"`
}

// OffsetsBody asks where positions are.
type OffsetsBody struct {
	Topic      string               `json:"topic"`
	Partitions []SubscribePartition `json:"partitions"`
}

// OffsetsAnswer has an entry for each.
type OffsetsAnswer struct {
	Partitions []SubscribedPartition `json:"partitions,omitempty"`
}

// MaxAges is how many records one AgesBody may name.
const MaxAges = 1000

// AgesBody asks how old records are.
type AgesBody struct {
	Records []RecordBody `json:"records"`
}

// RecordBody names a record, or the next one behind it where a log has none with its offset.
type RecordBody struct {
	Topic     string `json:"t"`
	Partition int32  `json:"p"`
	Offset    int64  `json:"o"`
}

// AgesAnswer has an entry for each: nanoseconds since the record was stored, 0 where there is none up to the
// high-water mark, −1 where this node does not have the partition or cannot read it.
type AgesAnswer struct {
	Ages []int64 `json:"ages,omitempty"`
}

// ClusterAnswer is how one node sees the cluster.
type ClusterAnswer struct {
	Map   MapBody `json:"map"`
	Node  uint16  `json:"node"`  // the one that answers
	Peers []Peer  `json:"peers"` // the others
}

// Peer is one node as another sees it.
type Peer struct {
	ID      uint16 `json:"id"`
	Address string `json:"address"`
	Up      bool   `json:"up"`
	Since   int64  `json:"since"`           // of this state, nanoseconds since 1970
	RTT     int64  `json:"rtt,omitempty"`   // smoothed, nanoseconds
	Catalog uint64 `json:"catalog"`         // version of the catalogue it has stored
	Error   string `json:"error,omitempty"` // why it is down
}

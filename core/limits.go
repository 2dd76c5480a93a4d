package core

// Limits that bound memory and formats. They are part of the contract (docs/format.md).
const (
	MaxPartitions       = 16384    // partitions of one topic; one per routing slot
	MaxNameBytes        = 249      // a topic or group name
	MaxKeyBytes         = 32 << 10 // a record's key
	MaxHeaders          = 64       // headers of one record
	MaxHeaderBytes      = 16 << 10 // all headers of one record, encoded
	MaxRecordBytes      = 16 << 20 // one encoded record, the most a topic may allow
	DefaultRecordBytes  = 1 << 20  // one encoded record, unless the topic says otherwise
	MaxBatchRecords     = 4096     // records of one frame, and of one atomic batch
	MaxBatchBytes       = 16 << 20 // encoded records of one atomic batch
	MergeFrameBytes     = 64 << 10 // payload up to which the journal merges records into one frame
	MinSegmentBytes     = 256 << 10
	MaxSegmentBytes     = 64 << 20
	MaxGroups           = 100_000 // groups, each on one topic, that one node coordinates
	MaxInFlightRecords  = 65536   // unanswered asynchronous publishes of one producer
	MaxInFlightBytes    = 8 << 20 // and their encoded bytes
	GroupsPartitions    = 16      // partitions of the internal topic __groups
	SessionTimeoutNanos = int64(10e9)
	CommitFoldNanos     = int64(50e6) // acks are folded into one commit per partition this often
)

// Names and numeric ids of the internal topics; ids below FirstTopicID are never given to users.
const (
	MetaTopic    = "__meta"
	GroupsTopic  = "__groups"
	DelayTopic   = "__delay"
	MetaTopicID  = uint64(1)
	GroupTopicID = uint64(2)
	DelayTopicID = uint64(3)
	FirstTopicID = uint64(16)
)

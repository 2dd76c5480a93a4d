package admindoc

import "github.com/leatbus/leat"

// TopicState describes a topic.
type TopicState struct {
	Name             string `json:"name"`
	Partitions       int    `json:"partitions"`
	Ack              string `json:"ack"`
	Cleanup          string `json:"cleanup"`
	RetentionMillis  int64  `json:"retention_ms" doc:"0: for ever"`
	RetentionBytes   int64  `json:"retention_bytes" doc:"Of each partition; 0: any"`
	RetentionRecords int64  `json:"retention_records" doc:"Of each partition; 0: any"`
	MaxRecordBytes   int    `json:"max_record_bytes"`
	SegmentBytes     int64  `json:"segment_bytes"`
	TTLMillis        int64  `json:"ttl_ms,omitempty" doc:"Messages are delivered so long; absent: any"`
	DedupMillis      int64  `json:"dedup_window_ms,omitempty" doc:"Ids are remembered so long; absent: 2 min"`
	Messages         int64  `json:"messages" doc:"Offsets that can be read, of nodes that are reached"`
	Bytes            int64  `json:"bytes" doc:"On disk, of nodes that are reached"`
	Unavailable      int    `json:"unavailable" doc:"Partitions that take no records or are not reached"`

	PerPartition []PartitionState `json:"per_partition,omitempty" doc:"By number; absent in lists"`
}

// PartitionState describes a partition.
type PartitionState struct {
	Partition  int32  `json:"partition"`
	Node       uint16 `json:"node"`
	Start      int64  `json:"start" doc:"First offset that is kept"`
	HighWater  int64  `json:"high_water" doc:"First offset that cannot be read yet"`
	End        int64  `json:"end" doc:"Next offset to be written"`
	DurableEnd int64  `json:"durable_end" doc:"First offset that is not known to be synced"`
	Bytes      int64  `json:"bytes"`
	Error      string `json:"error,omitempty" doc:"Why it takes no records"`
}

// TopicOf describes a topic without its partitions.
func TopicOf(t *leat.TopicInfo) TopicState {
	c := t.Config
	doc := TopicState{Name: t.Name, Partitions: c.Partitions, Ack: c.Ack.String(), Cleanup: c.Cleanup.String(),
		RetentionMillis: max(c.Retention, 0).Milliseconds(), RetentionBytes: c.RetentionBytes,
		RetentionRecords: c.RetentionRecords, MaxRecordBytes: c.MaxRecordBytes, SegmentBytes: c.SegmentBytes,
		TTLMillis: c.TTL.Milliseconds(), DedupMillis: c.DedupWindow.Milliseconds()}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		doc.Messages += p.HighWater - p.Start
		doc.Bytes += p.Bytes
		if p.Err != nil {
			doc.Unavailable++
		}
	}
	return doc
}

// FullTopicOf describes a topic and its partitions.
func FullTopicOf(t *leat.TopicInfo) TopicState {
	doc := TopicOf(t)
	for i := range t.Partitions {
		doc.PerPartition = append(doc.PerPartition, PartitionOf(&t.Partitions[i]))
	}
	return doc
}

// PartitionOf describes a partition.
func PartitionOf(p *leat.PartitionInfo) PartitionState {
	return PartitionState{Partition: p.Partition, Node: p.Node, Start: p.Start, HighWater: p.HighWater,
		End: p.End, DurableEnd: p.DurableEnd, Bytes: p.Bytes, Error: errorText(p.Err)}
}

// errorText is what an error says, empty for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

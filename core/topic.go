package core

import (
	"fmt"
	"time"
)

// DefaultRetention is how long a topic keeps its records unless it says otherwise.
const DefaultRetention = 7 * 24 * time.Hour

// KeepForever as TopicConfig.Retention keeps records whatever their age.
const KeepForever = time.Duration(-1)

// MinRetention is the shortest TopicConfig.Retention: ages are looked at every tenth of it.
const MinRetention = time.Second

// Cleanup is what happens to records that are not needed any more.
type Cleanup uint8

// The kinds of cleanup. Their numbers are stored.
const (
	// CleanupDelete deletes what retention does not keep, and nothing else.
	CleanupDelete Cleanup = iota
	// CleanupCompact also removes records that a younger one with the same key supersedes, in the background.
	// A tombstone, a record with a key and without a value, removes those before it, and goes a day later.
	CleanupCompact
	cleanupEnd
)

var cleanupNames = [...]string{"delete", "compact"}

// String gives the name that ParseCleanup reads.
func (c Cleanup) String() string {
	if c < cleanupEnd {
		return cleanupNames[c]
	}
	return fmt.Sprintf("cleanup(%d)", uint8(c))
}

// ParseCleanup reads delete or compact: CodeInvalidConfig if it is something else.
func ParseCleanup(name string) (Cleanup, error) {
	for i, known := range cleanupNames {
		if name == known {
			return Cleanup(i), nil
		}
	}
	return 0, Errorf(CodeInvalidConfig, "cleanup "+Quote(name), "want delete or compact")
}

// TopicConfig is what a topic is created with. The zero value is valid: one partition, level disk, seven days
// kept, or for ever if the topic is compacted. Retention deletes whole segments, the oldest first; the limits
// are those of each partition, and a segment goes as soon as one of them lets it.
type TopicConfig struct {
	Partitions       int           // 1 to 16,384; 0 means 1. Fixed at creation
	Ack              Ack           // the least a publish gets, and what makes a record visible; default disk
	Cleanup          Cleanup       // fixed at creation
	Retention        time.Duration // older records go; 1 s or more, or KeepForever; 0 means 7 days, see Cleanup
	RetentionBytes   int64         // bytes on disk that are kept; 0 sets no limit
	RetentionRecords int64         // youngest records that are kept; 0 sets no limit
	SegmentBytes     int64         // of a full segment, a power of two from 256 KiB to 64 MiB; 0 means 64 MiB
	MaxRecordBytes   int           // largest encoded record, at most 16 MiB; 0 means 1 MiB
	TTL              time.Duration // records without a TTL of their own are delivered so long; 0 sets no limit
	DedupWindow      time.Duration // how long the id of a message is remembered, 1 s to 24 h; 0 means 2 min
}

// WithDefaults fills what is zero.
func (c TopicConfig) WithDefaults() TopicConfig {
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	c.Ack = c.Ack.Or(AckDisk)
	if c.Retention == 0 {
		c.Retention = DefaultRetention
		if c.Cleanup == CleanupCompact {
			c.Retention = KeepForever
		}
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = MaxSegmentBytes
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = DefaultRecordBytes
	}
	return c
}

// Validate checks every field of a configuration without defaults; the error names field and bound.
func (c TopicConfig) Validate(name string) error {
	op := "topic " + Quote(name)
	switch {
	case c.Partitions < 1 || c.Partitions > MaxPartitions:
		return Errorf(CodeInvalidConfig, op, "Partitions %d: want 1 to %d", c.Partitions, MaxPartitions)
	case c.Cleanup >= cleanupEnd:
		return Errorf(CodeInvalidConfig, op, "Cleanup %d: want %d or %d", c.Cleanup, CleanupDelete, CleanupCompact)
	case c.Retention < MinRetention && c.Retention != KeepForever:
		return Errorf(CodeInvalidConfig, op, "Retention %v: want %v or more, or KeepForever",
			c.Retention, MinRetention)
	case c.RetentionBytes < 0:
		return Errorf(CodeInvalidConfig, op, "RetentionBytes %d: want 0 or more", c.RetentionBytes)
	case c.RetentionRecords < 0:
		return Errorf(CodeInvalidConfig, op, "RetentionRecords %d: want 0 or more", c.RetentionRecords)
	case c.SegmentBytes < MinSegmentBytes || c.SegmentBytes > MaxSegmentBytes ||
		c.SegmentBytes&(c.SegmentBytes-1) != 0:
		return Errorf(CodeInvalidConfig, op, "SegmentBytes %d: want a power of two from %d to %d",
			c.SegmentBytes, MinSegmentBytes, MaxSegmentBytes)
	case c.MaxRecordBytes < 1 || c.MaxRecordBytes > MaxRecordBytes:
		return Errorf(CodeInvalidConfig, op, "MaxRecordBytes %d: want 1 to %d", c.MaxRecordBytes, MaxRecordBytes)
	case c.TTL != 0 && (c.TTL < MinTTL || c.TTL > MaxTTL):
		return Errorf(CodeInvalidConfig, op, "TTL %v: want 0, or %v to %v", c.TTL, MinTTL, MaxTTL)
	}
	if w := c.DedupWindow; w != 0 && (w < MinDedupWindow || w > MaxDedupWindow) {
		return Errorf(CodeInvalidConfig, op, "DedupWindow %v: want 0, or %v to %v", w, MinDedupWindow,
			MaxDedupWindow)
	}
	return c.Ack.Available()
}

// TopicChange is what of a topic can change; what is nil stays.
type TopicChange struct {
	Retention        *time.Duration // as in TopicConfig
	RetentionBytes   *int64         // as in TopicConfig
	RetentionRecords *int64         // as in TopicConfig
	MaxRecordBytes   *int           // as in TopicConfig
	TTL              *time.Duration // as in TopicConfig; it counts for records that are stored, too
	DedupWindow      *time.Duration // as in TopicConfig
}

// Changed gives the configuration with a change made; what the change sets to 0 gets its default.
func (c TopicConfig) Changed(change TopicChange) TopicConfig {
	if change.Retention != nil {
		c.Retention = *change.Retention
	}
	if change.RetentionBytes != nil {
		c.RetentionBytes = *change.RetentionBytes
	}
	if change.RetentionRecords != nil {
		c.RetentionRecords = *change.RetentionRecords
	}
	if change.MaxRecordBytes != nil {
		c.MaxRecordBytes = *change.MaxRecordBytes
	}
	if change.TTL != nil {
		c.TTL = *change.TTL
	}
	if change.DedupWindow != nil {
		c.DedupWindow = *change.DedupWindow
	}
	return c.WithDefaults()
}

// withChangeable is c with those fields of other that can change.
func (c TopicConfig) withChangeable(other TopicConfig) TopicConfig {
	c.Retention, c.RetentionBytes = other.Retention, other.RetentionBytes
	c.RetentionRecords, c.MaxRecordBytes = other.RetentionRecords, other.MaxRecordBytes
	c.TTL, c.DedupWindow = other.TTL, other.DedupWindow
	return c
}

// Differs names the first field in which want differs from what is stored, or is empty.
func (c TopicConfig) Differs(want TopicConfig) string {
	switch {
	case c.Partitions != want.Partitions:
		return fmt.Sprintf("Partitions: stored %d, asked %d", c.Partitions, want.Partitions)
	case c.Ack != want.Ack:
		return fmt.Sprintf("Ack: stored %v, asked %v", c.Ack, want.Ack)
	case c.Cleanup != want.Cleanup:
		return fmt.Sprintf("Cleanup: stored %v, asked %v", c.Cleanup, want.Cleanup)
	case c.Retention != want.Retention:
		return fmt.Sprintf("Retention: stored %v, asked %v", retention(c.Retention), retention(want.Retention))
	case c.RetentionBytes != want.RetentionBytes:
		return fmt.Sprintf("RetentionBytes: stored %d, asked %d", c.RetentionBytes, want.RetentionBytes)
	case c.RetentionRecords != want.RetentionRecords:
		return fmt.Sprintf("RetentionRecords: stored %d, asked %d", c.RetentionRecords, want.RetentionRecords)
	case c.SegmentBytes != want.SegmentBytes:
		return fmt.Sprintf("SegmentBytes: stored %d, asked %d", c.SegmentBytes, want.SegmentBytes)
	case c.MaxRecordBytes != want.MaxRecordBytes:
		return fmt.Sprintf("MaxRecordBytes: stored %d, asked %d", c.MaxRecordBytes, want.MaxRecordBytes)
	case c.TTL != want.TTL:
		return fmt.Sprintf("TTL: stored %v, asked %v", c.TTL, want.TTL)
	case c.DedupWindow != want.DedupWindow:
		return fmt.Sprintf("DedupWindow: stored %v, asked %v", c.DedupWindow, want.DedupWindow)
	}
	return ""
}

// retention says an age that is kept in words.
func retention(age time.Duration) string {
	if age == KeepForever {
		return "KeepForever"
	}
	return age.String()
}

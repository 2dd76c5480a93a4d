package core

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

const (
	queueProgressKind   = 3 // kinds of keys in __groups
	queueFailedKind     = 4
	queueRecordKeyFixed = 24
	queueFailedBytes    = 24
	queueReasonVersion  = 2 // of what is stored of a failed record with a reason
)

// QueueRecord is what is stored of a queue group on one partition, a record of __groups: its progress, or
// the attempts of one record that failed. The layout is in docs/format.md.
type QueueRecord struct {
	Group     string
	TopicID   uint64
	Partition int32
	Removed   bool // the value was null: nothing is stored any more, the fields from Progress on are 0

	Offset   int64  // of the record that failed; −1 for progress
	Progress []byte // see Queue.EncodeProgress
	Attempts int32
	Code     Code  // why it is to become a dead letter, 0 if it is not
	Due      int64 // nanoseconds since 1970
	// Reason is why in words, of a record that is to become a dead letter: at most MaxDeadLetterReason bytes.
	Reason string
}

// IsQueueRecord reports whether the key of a record of __groups is that of a QueueRecord.
func IsQueueRecord(key []byte) bool {
	return len(key) > 1 && (key[1] == queueProgressKind || key[1] == queueFailedKind)
}

// KeyHash is the hash of a record's key that its order in a key-shared group goes by: 0 for no key, and
// never 0 for one.
func KeyHash(key []byte) uint64 {
	if key == nil {
		return 0
	}
	return max(xxhash.Sum64(key), 1)
}

// EncodeKey appends the key of r's record to dst.
func (r *QueueRecord) EncodeKey(dst []byte) []byte {
	le := binary.LittleEndian
	kind, offset := byte(queueFailedKind), r.Offset
	if offset < 0 {
		kind, offset = queueProgressKind, 0
	}
	dst = append(dst, CommitVersion, kind)
	dst = le.AppendUint16(dst, uint16(len(r.Group)))
	dst = le.AppendUint32(dst, uint32(r.Partition))
	dst = le.AppendUint64(dst, r.TopicID)
	dst = le.AppendUint64(dst, uint64(offset))
	return append(dst, r.Group...)
}

// EncodeValue appends the value of r's record to dst. One that is removed has a null value instead.
func (r *QueueRecord) EncodeValue(dst []byte) []byte {
	if r.Offset < 0 {
		return append(dst, r.Progress...)
	}
	le := binary.LittleEndian
	version := byte(CommitVersion)
	if r.Reason != "" {
		version = queueReasonVersion
	}
	dst = append(dst, version, 0)
	dst = le.AppendUint16(dst, uint16(r.Code))
	dst = le.AppendUint32(dst, uint32(r.Attempts))
	dst = le.AppendUint64(dst, uint64(r.Due))
	dst = le.AppendUint64(dst, uint64(len(r.Reason)))
	return append(dst, r.Reason...)
}

// DecodeQueueRecord reads a record of __groups that IsQueueRecord; a nil value removes it. A newer version is
// CodeVersionTooNew, everything else wrong is CodeCorrupt; progress is read by Queue.RestoreProgress. It
// keeps value as Progress.
func DecodeQueueRecord(key, value []byte) (QueueRecord, error) {
	if err := checkCommitVersion(key, queueRecordKeyFixed); err != nil {
		return QueueRecord{}, err
	}
	le := binary.LittleEndian
	group, partition := key[queueRecordKeyFixed:], le.Uint32(key[4:])
	r := QueueRecord{TopicID: le.Uint64(key[8:]), Partition: int32(partition),
		Offset: int64(le.Uint64(key[16:]))}
	progress := key[1] == queueProgressKind
	if !IsQueueRecord(key) || int(le.Uint16(key[2:])) != len(group) || partition >= MaxPartitions ||
		r.TopicID == 0 || r.Offset < 0 || progress && r.Offset != 0 {
		return QueueRecord{}, corruptCommit("queue key of kind %d: group of %d bytes, %d left, topic id %d, "+
			"partition %d, offset %d", key[1], le.Uint16(key[2:]), len(group), r.TopicID, partition, r.Offset)
	}
	r.Group = string(group)
	if err := ValidateStoredName("group", r.Group); err != nil {
		return QueueRecord{}, NewError(CodeCorrupt, "read queue record", err)
	}
	if progress {
		r.Offset = -1
	}
	switch {
	case value == nil:
		r.Removed = true
	case progress:
		r.Progress = value
	default:
		return r, r.decodeFailed(value)
	}
	return r, nil
}

func (r *QueueRecord) decodeFailed(value []byte) error {
	switch {
	case len(value) > 0 && value[0] > queueReasonVersion:
		return Errorf(CodeVersionTooNew, "read queue record", "version %d, this build reads up to %d", value[0],
			queueReasonVersion)
	case len(value) < queueFailedBytes || value[0] == 0:
		return corruptCommit("queue value of %d bytes, at least %d", len(value), queueFailedBytes)
	}
	le := binary.LittleEndian
	r.Code, r.Attempts = Code(le.Uint16(value[2:])), int32(le.Uint32(value[4:]))
	r.Due = int64(le.Uint64(value[8:]))
	reason := le.Uint64(value[16:])
	if value[1] != 0 || r.Attempts < 1 || reason > MaxDeadLetterReason ||
		(reason > 0) != (value[0] == queueReasonVersion) || uint64(len(value)) != queueFailedBytes+reason {
		return corruptCommit("queue value of %d bytes, version %d, %d attempts, reason of %d bytes", len(value),
			value[0], r.Attempts, reason)
	}
	r.Reason = string(value[queueFailedBytes:])
	return nil
}

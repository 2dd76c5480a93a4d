package leat

import (
	"time"

	"github.com/leatbus/leat/core"
)

// These names live in core, so that every layer shares them; programs use them from here.
type (
	// Ack is a durability level.
	Ack = core.Ack
	// TopicConfig is what a topic is created with.
	TopicConfig = core.TopicConfig
	// TopicChange is what Bus.AlterTopic can change; what is nil stays.
	TopicChange = core.TopicChange
	// Cleanup is what happens to records of a topic that are not needed any more.
	Cleanup = core.Cleanup
	// Position says where a subscription starts.
	Position = core.Position
	// Error is every error of this API; errors.Is compares its Code.
	Error = core.Error
	// Code numbers an error for ever.
	Code = core.Code
	// Header is one header of a message.
	Header = core.Header
)

// The levels this build can give. A level that needs replicas answers ErrLevelUnavailable.
const (
	AckDefault    = core.AckDefault
	AckNone       = core.AckNone
	AckRing       = core.AckRing
	AckPage       = core.AckPage
	AckDisk       = core.AckDisk
	AckQuorumPage = core.AckQuorumPage
	AckQuorum     = core.AckQuorum
)

// How long a topic keeps its records, see TopicConfig.
const (
	DefaultRetention = core.DefaultRetention
	MinRetention     = core.MinRetention
	KeepForever      = core.KeepForever
)

// What happens to records that are not needed any more, see TopicConfig.
const (
	CleanupDelete  = core.CleanupDelete
	CleanupCompact = core.CleanupCompact
)

// Where a subscription may start.
var (
	Earliest = core.Earliest
	Latest   = core.Latest
)

// AtOffset starts at offset n of every partition.
func AtOffset(n int64) Position { return core.AtOffset(n) }

// AtTime starts at the first record appended at or after t.
func AtTime(t time.Time) Position { return core.AtTime(t) }

// Why a message is a dead letter, for DeadLetterOrigin.Code and DeadLetterFilter.Code.
const (
	CodeRejected          = core.CodeRejected          // a member rejected it
	CodeAttemptsExhausted = core.CodeAttemptsExhausted // it was delivered too often
)

// Errors for errors.Is. docs/errors.md has a section for each.
var (
	ErrConfigMismatch   = core.ErrConfigMismatch
	ErrInvalidName      = core.ErrInvalidName
	ErrTopicExists      = core.ErrTopicExists
	ErrTopicNotFound    = core.ErrTopicNotFound
	ErrRecordTooLarge   = core.ErrRecordTooLarge
	ErrInvalidRecord    = core.ErrInvalidRecord
	ErrMixedPartitions  = core.ErrMixedPartitions
	ErrFull             = core.ErrFull
	ErrClosed           = core.ErrClosed
	ErrLevelUnavailable = core.ErrLevelUnavailable
	ErrStorageFull      = core.ErrStorageFull
	ErrLogFenced        = core.ErrLogFenced
	ErrCorrupt          = core.ErrCorrupt
	ErrLocked           = core.ErrLocked
	ErrVersionTooNew    = core.ErrVersionTooNew
	ErrFenced           = core.ErrFenced
	ErrOffsetOutOfRange = core.ErrOffsetOutOfRange
	ErrPartitionUnknown = core.ErrPartitionUnknown
	ErrProducerFenced   = core.ErrProducerFenced
	ErrTailLost         = core.ErrTailLost
	ErrCodec            = core.ErrCodec
	ErrUnavailable      = core.ErrUnavailable
	ErrNotLeader        = core.ErrNotLeader
	ErrProtocol         = core.ErrProtocol
	ErrUnsupported      = core.ErrUnsupported
	ErrDraining         = core.ErrDraining
	ErrLimited          = core.ErrLimited
	ErrNotEmbedded      = core.ErrNotEmbedded
	ErrWrongNode        = core.ErrWrongNode
	ErrInvalidRequest   = core.ErrInvalidRequest
	ErrUntrusted        = core.ErrUntrusted
	ErrDenied           = core.ErrDenied
	ErrInsecure         = core.ErrInsecure
	ErrUnauthenticated  = core.ErrUnauthenticated
	ErrGroupNotFound    = core.ErrGroupNotFound
	ErrGroupActive      = core.ErrGroupActive
	ErrStaleAck         = core.ErrStaleAck
	ErrRedriving        = core.ErrRedriving
	ErrHandlerFailed    = core.ErrHandlerFailed
	ErrNoResponders     = core.ErrNoResponders
	ErrResponderLost    = core.ErrResponderLost
	ErrRequestFailed    = core.ErrRequestFailed
	ErrInvalidConfig    = core.ErrInvalidConfig
)

// Retryable reports whether the same call may succeed later without a change by the caller.
func Retryable(err error) bool { return core.Retryable(err) }

// HintFor gives what to do about an error of this API, or an empty string.
func HintFor(err error) string { return core.HintFor(err) }

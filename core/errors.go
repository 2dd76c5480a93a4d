package core

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Code numbers an error for ever: it is never reused and never changes its meaning. The thousands
// give the class: 1 configuration, 2 topics and producing, 3 storage, 4 network and cluster, 5 access,
// 6 groups, 7 actors, 9 bugs.
type Code uint16

// Every error a user can meet.
const (
	CodeInvalidConfig     Code = 1001
	CodeConfigMismatch    Code = 1002
	CodeInvalidName       Code = 2001
	CodeTopicExists       Code = 2002
	CodeTopicNotFound     Code = 2003
	CodeRecordTooLarge    Code = 2004
	CodeInvalidRecord     Code = 2005
	CodeMixedPartitions   Code = 2006
	CodeFull              Code = 2007
	CodeClosed            Code = 2008
	CodeLevelUnavailable  Code = 2009
	CodeOutOfSequence     Code = 2010
	CodeProducerFenced    Code = 2011
	CodePartitionUnknown  Code = 2012
	CodeTailLost          Code = 2013
	CodeCodec             Code = 2014
	CodeStorageFull       Code = 3001
	CodeLogFenced         Code = 3002
	CodeCorrupt           Code = 3003
	CodeLocked            Code = 3004
	CodeVersionTooNew     Code = 3005
	CodePermission        Code = 3006
	CodeIO                Code = 3007
	CodeOffsetOutOfRange  Code = 3008
	CodeUnavailable       Code = 4001
	CodeNotLeader         Code = 4002
	CodeProtocol          Code = 4003
	CodeUnsupported       Code = 4004
	CodeDraining          Code = 4005
	CodeLimited           Code = 4006
	CodeNotEmbedded       Code = 4007
	CodeWrongNode         Code = 4008
	CodeInvalidRequest    Code = 4011
	CodeUntrusted         Code = 5001
	CodeDenied            Code = 5002
	CodeInsecure          Code = 5003
	CodeUnauthenticated   Code = 5004
	CodeFenced            Code = 6001
	CodeGroupNotFound     Code = 6002
	CodeUnknownMember     Code = 6003
	CodeGroupActive       Code = 6004
	CodeStaleAck          Code = 6005
	CodeRedriving         Code = 6006
	CodeHandlerFailed     Code = 7001
	CodeRejected          Code = 7002
	CodeAttemptsExhausted Code = 7003
	CodeNoResponders      Code = 7004
	CodeResponderLost     Code = 7005
	CodeRequestFailed     Code = 7006
	CodeInternal          Code = 9001
)

// CodeInfo is one row of the error table: what a code means, whether trying again can help, and
// the way out that is printed with it.
type CodeInfo struct {
	Code      Code
	Name      string // SCREAMING_CASE, as logs and other languages spell it
	Text      string // one clause in lower case
	Hint      string // what to do, for the person who reads it
	Retryable bool   // the same call may succeed later without a change by the caller
	Exit      int    // exit code of the command: 1 failed, 2 usage, 3 not found, 4 unreachable, 5 denied
}

// Codes is the one table of errors. docs/errors.md is checked against it by a test.
var Codes = []CodeInfo{
	{CodeInvalidConfig, "INVALID_CONFIG", "invalid configuration",
		"change the named field to a value within the named bound", false, 2},
	{CodeConfigMismatch, "CONFIG_MISMATCH", "the topic exists with another configuration",
		"open it with the stored value, or create a topic under another name", false, 2},
	{CodeInvalidName, "INVALID_NAME", "invalid name",
		"use 1 to 249 of a-z A-Z 0-9 . _ - and do not start with __", false, 2},
	{CodeTopicExists, "TOPIC_EXISTS", "the topic exists already",
		"pick another name, or delete the topic first", false, 1},
	{CodeTopicNotFound, "TOPIC_NOT_FOUND", "the topic does not exist",
		"topics are never created implicitly: create it with node.WithTopic or bus.CreateTopic", false, 3},
	{CodeRecordTooLarge, "RECORD_TOO_LARGE", "the record is over the topic's limit",
		"split the value, store it elsewhere and publish a reference, or raise MaxRecordBytes (16 MiB at most)",
		false, 1},
	{CodeInvalidRecord, "INVALID_RECORD", "the record breaks a limit",
		"keep keys within 32 KiB and headers within 64 in number and 16 KiB in all", false, 1},
	{CodeMixedPartitions, "MIXED_PARTITIONS", "the batch spans several partitions",
		"give all messages of a batch the same key, or publish them singly", false, 1},
	{CodeFull, "FULL", "no room in flight",
		"wait for callbacks and try again, or use PublishAsync, which waits", true, 1},
	{CodeClosed, "CLOSED", "closed",
		"open the bus, producer or subscription again", false, 1},
	{CodeLevelUnavailable, "LEVEL_UNAVAILABLE", "this build cannot give the durability level",
		"use none, page or disk: a single node has no quorum, and a weaker level is never given silently",
		false, 2},
	{CodeOutOfSequence, "OUT_OF_SEQUENCE", "a producer sequence is missing before this one",
		"a record was lost between producer and bus: open a new producer and publish again from the last receipt",
		false, 1},
	{CodeProducerFenced, "PRODUCER_FENCED", "a newer producer with the same id took over",
		"stop this instance: another one runs with its id", false, 1},
	{CodePartitionUnknown, "PARTITION_UNKNOWN", "the topic has no such partition",
		"use a partition from 0 to the topic's partitions minus one", false, 3},
	{CodeTailLost, "TAIL_LOST", "a power cut took acknowledged records of this producer",
		"publish again what the message names, or use level disk, which a power cut does not touch", false, 1},
	{CodeCodec, "CODEC", "the codec refused the value",
		"publisher and reader need the same type and codec; ack the message to go on behind it", false, 1},
	{CodeStorageFull, "STORAGE_FULL", "the disk is full",
		"free space or lower RetentionBytes; reading goes on, and publishing resumes when there is room", true, 1},
	{CodeLogFenced, "LOG_FENCED", "a write or sync failed, so the partition takes no more appends",
		"check the disk (dmesg), then open the bus again: what was acknowledged is re-read from the disk",
		false, 1},
	{CodeCorrupt, "CORRUPT", "stored data is damaged",
		"nothing was cut: restore the named segment from a copy; other partitions and topics go on", false, 1},
	{CodeLocked, "LOCKED", "another process has the data folder open",
		"stop that process, or use another folder", false, 1},
	{CodeVersionTooNew, "VERSION_TOO_NEW", "the data was written by a newer version",
		"open it with that version or a later one; nothing was changed", false, 1},
	{CodePermission, "PERMISSION", "permission denied by the file system",
		"make the folder readable, writable and searchable for this user (chmod u+rwx)", false, 5},
	{CodeIO, "IO", "the disk answered with an error",
		"check the disk (dmesg); reads of other partitions go on", false, 1},
	{CodeOffsetOutOfRange, "OFFSET_OUT_OF_RANGE", "the offset is not in the log",
		"read from leat.Earliest, or from an offset within the range the message names", false, 3},
	{CodeUnavailable, "UNAVAILABLE", "the node cannot be reached",
		"check the address and that leat serve runs there; the client goes on trying by itself", true, 4},
	{CodeNotLeader, "NOT_LEADER", "another node has the partition",
		"ask the node that the message names; clients of leat.Dial do so by themselves", true, 4},
	{CodeProtocol, "PROTOCOL", "the other side broke the protocol",
		"check that both sides are Leat and of matching versions (leat version)", false, 1},
	{CodeUnsupported, "UNSUPPORTED", "the other side does not support this",
		"update the older side (leat version tells which)", false, 1},
	{CodeDraining, "DRAINING", "the node is shutting down",
		"wait for its restart; the client goes on by itself", true, 4},
	{CodeLimited, "LIMITED", "a limit of the server is reached",
		"close what is not needed, or raise the limit that the message names", true, 1},
	{CodeNotEmbedded, "NOT_EMBEDDED", "the bus does not live in this process",
		"serve the bus that node.Open returned", false, 2},
	{CodeWrongNode, "WRONG_NODE", "the folder or peer belongs to another node",
		"check --node, --peers and --data: a folder keeps the id it was first opened with", false, 2},
	{CodeInvalidRequest, "INVALID_REQUEST", "the request over HTTP is not what the door takes",
		"correct what the message names; /openapi.json describes every request", false, 2},
	{CodeUntrusted, "UNTRUSTED", "the certificate of the other side is not trusted",
		"give the CA with --tls-ca, or on this machine use the same user (or LEAT_CONFIG_DIR) on both sides",
		false, 5},
	{CodeDenied, "DENIED", "access denied",
		"give a client certificate that the server's --tls-client-ca signed (--tls-cert, --tls-key)", false, 5},
	{CodeInsecure, "INSECURE", "refused to serve beyond this machine without access control",
		"give --tls-cert, --tls-key and --tls-client-ca (leat cert makes them), or listen on 127.0.0.1", false, 2},
	{CodeUnauthenticated, "UNAUTHENTICATED", "there is no valid token with the request",
		"send the secret of a token: Authorization: Bearer SECRET (leat token create makes one)", false, 5},
	{CodeFenced, "FENCED", "this member was replaced in its group",
		"its partitions belong to another member: subscribe again to rejoin", false, 1},
	{CodeGroupNotFound, "GROUP_NOT_FOUND", "the group does not exist",
		"a group exists from its first subscription on; list them with bus.Groups", false, 3},
	{CodeUnknownMember, "UNKNOWN_MEMBER", "the group does not know this member",
		"subscribe again to rejoin", false, 1},
	{CodeGroupActive, "GROUP_ACTIVE", "the group has members",
		"stop its members first: what they read and ack would undo the change", true, 1},
	{CodeStaleAck, "STALE_ACK", "the lease of this delivery is over",
		"the message is or was delivered again: drop the result, or extend the lease of work that takes long",
		false, 1},
	{CodeRedriving, "REDRIVING", "another job works on these dead letters",
		"wait for it to end; one that was cut off gives way after 30 s", true, 1},
	{CodeHandlerFailed, "HANDLER_FAILED", "a handler failed on a message",
		"the message is tried again with a growing pause; fix the handler or skip the message", true, 1},
	{CodeRejected, "REJECTED", "a consumer rejected the message",
		"it is in the dead-letter topic of its group, with the reason in its headers", false, 1},
	{CodeAttemptsExhausted, "ATTEMPTS_EXHAUSTED", "the message was delivered too often without success",
		"it is in the dead-letter topic of its group: mend the consumer, then redrive it", false, 1},
	{CodeNoResponders, "NO_RESPONDERS", "nobody answers requests on the topic",
		"start a responder (bus.Respond, leat reply), or check the name of the topic", true, 4},
	{CodeResponderLost, "RESPONDER_LOST", "the responder was gone before it replied",
		"it may have done what was asked: ask again only if doing it twice is harmless", false, 1},
	{CodeRequestFailed, "REQUEST_FAILED", "the responder answered with an error",
		"the message has the error of the responder: correct the request, or the responder", false, 1},
	{CodeInternal, "INTERNAL", "a broken invariant in Leat",
		"this is a bug: please report it with the text of this error", false, 1},
}

// Info gives a code's row of the table; an unknown code answers that of CodeInternal.
func (c Code) Info() CodeInfo {
	for _, row := range Codes {
		if row.Code == c {
			return row
		}
	}
	return CodeInternal.Info()
}

// QUIC is the application error code of a stream or connection that ends because of the error: the
// number of the code. 0, which is no code, means a normal end (RFC 9000 §20.2).
func (c Code) QUIC() uint64 { return uint64(c) }

// String gives the form logs and pages use, as in LEAT-2003.
func (c Code) String() string { return "LEAT-" + strconv.Itoa(int(c)) }

// Error is every error of the public API. Errors with the same Code are equal to errors.Is.
type Error struct {
	Code      Code
	Op        string // what was tried and on what, as in `create topic "trades"`
	Hint      string // what to do; empty means the table's
	Retryable bool   // set from the table by NewError; the same call may succeed later
	Node      uint16 // with CodeNotLeader: the node to ask, 0 if unknown
	Err       error  // the cause, if any
}

// NewError fills hint and retryability from the table.
func NewError(code Code, op string, cause error) *Error {
	row := code.Info()
	return &Error{Code: code, Op: op, Hint: row.Hint, Retryable: row.Retryable, Err: cause}
}

// Errorf is NewError with a formatted cause.
func Errorf(code Code, op, format string, args ...any) *Error {
	return NewError(code, op, fmt.Errorf(format, args...))
}

// Error is one line without the hint: code, what was tried, what was found.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("leat: ")
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	b.WriteString(e.Code.Info().Text)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	b.WriteString(" (")
	b.WriteString(e.Code.String())
	b.WriteString(")")
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is compare codes, so that sentinels match whatever Op and cause say.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// HintFor gives the way out for err: its own hint, or the table's; empty if err is not ours.
func HintFor(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	if e.Hint != "" {
		return e.Hint
	}
	return e.Code.Info().Hint
}

// Retryable answers the one question of every retry loop: may the same call succeed later?
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Retryable || e.Code.Info().Retryable)
}

// CodeOf gives the code of err, or CodeInternal where err is not ours.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// Sentinels for errors.Is, one per code.
var (
	ErrInvalidConfig     = NewError(CodeInvalidConfig, "", nil)
	ErrConfigMismatch    = NewError(CodeConfigMismatch, "", nil)
	ErrInvalidName       = NewError(CodeInvalidName, "", nil)
	ErrTopicExists       = NewError(CodeTopicExists, "", nil)
	ErrTopicNotFound     = NewError(CodeTopicNotFound, "", nil)
	ErrRecordTooLarge    = NewError(CodeRecordTooLarge, "", nil)
	ErrInvalidRecord     = NewError(CodeInvalidRecord, "", nil)
	ErrMixedPartitions   = NewError(CodeMixedPartitions, "", nil)
	ErrFull              = NewError(CodeFull, "", nil)
	ErrClosed            = NewError(CodeClosed, "", nil)
	ErrLevelUnavailable  = NewError(CodeLevelUnavailable, "", nil)
	ErrOutOfSequence     = NewError(CodeOutOfSequence, "", nil)
	ErrProducerFenced    = NewError(CodeProducerFenced, "", nil)
	ErrPartitionUnknown  = NewError(CodePartitionUnknown, "", nil)
	ErrTailLost          = NewError(CodeTailLost, "", nil)
	ErrCodec             = NewError(CodeCodec, "", nil)
	ErrStorageFull       = NewError(CodeStorageFull, "", nil)
	ErrLogFenced         = NewError(CodeLogFenced, "", nil)
	ErrCorrupt           = NewError(CodeCorrupt, "", nil)
	ErrLocked            = NewError(CodeLocked, "", nil)
	ErrVersionTooNew     = NewError(CodeVersionTooNew, "", nil)
	ErrPermission        = NewError(CodePermission, "", nil)
	ErrIO                = NewError(CodeIO, "", nil)
	ErrOffsetOutOfRange  = NewError(CodeOffsetOutOfRange, "", nil)
	ErrUnavailable       = NewError(CodeUnavailable, "", nil)
	ErrNotLeader         = NewError(CodeNotLeader, "", nil)
	ErrProtocol          = NewError(CodeProtocol, "", nil)
	ErrUnsupported       = NewError(CodeUnsupported, "", nil)
	ErrDraining          = NewError(CodeDraining, "", nil)
	ErrLimited           = NewError(CodeLimited, "", nil)
	ErrNotEmbedded       = NewError(CodeNotEmbedded, "", nil)
	ErrWrongNode         = NewError(CodeWrongNode, "", nil)
	ErrInvalidRequest    = NewError(CodeInvalidRequest, "", nil)
	ErrUntrusted         = NewError(CodeUntrusted, "", nil)
	ErrDenied            = NewError(CodeDenied, "", nil)
	ErrInsecure          = NewError(CodeInsecure, "", nil)
	ErrUnauthenticated   = NewError(CodeUnauthenticated, "", nil)
	ErrFenced            = NewError(CodeFenced, "", nil)
	ErrGroupNotFound     = NewError(CodeGroupNotFound, "", nil)
	ErrUnknownMember     = NewError(CodeUnknownMember, "", nil)
	ErrGroupActive       = NewError(CodeGroupActive, "", nil)
	ErrStaleAck          = NewError(CodeStaleAck, "", nil)
	ErrRedriving         = NewError(CodeRedriving, "", nil)
	ErrHandlerFailed     = NewError(CodeHandlerFailed, "", nil)
	ErrRejected          = NewError(CodeRejected, "", nil)
	ErrAttemptsExhausted = NewError(CodeAttemptsExhausted, "", nil)
	ErrNoResponders      = NewError(CodeNoResponders, "", nil)
	ErrResponderLost     = NewError(CodeResponderLost, "", nil)
	ErrRequestFailed     = NewError(CodeRequestFailed, "", nil)
	ErrInternal          = NewError(CodeInternal, "", nil)
)

package wire

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/leatbus/leat/core"
)

// FeatureQueues is the bit of a side that knows queue streams. A client opens none to a node without it.
const FeatureQueues uint64 = 1

// FeatureReasons is the bit of a side that takes the reason of a nack, in SETTLE and in OpAnswerLoans.
const FeatureReasons uint64 = 1 << 14

// The frames of a queue stream, which goes to each node that has partitions of the topic. CREDIT, COMMIT,
// COMMITTED, REVOKE, LEAVE, LEFT and PARTITION_FAILED are on it, too.
const (
	QueueOpen   Type = 72 // → arg: credit; JSON QueueOpenBody; first frame
	QueueOpened Type = 73 // ← JSON QueueOpenedBody
	Grant       Type = 74 // ← aux: partition, arg: offset of the grant; GrantHead, then GrantRun, repeated
	Settle      Type = 75 // → aux: SettleKind, arg: by kind; QueueEntry, repeated; then a reason
	Stale       Type = 76 // ← QueueEntry, repeated: answers that came too late
)

// SettleKind is what a member says about records it was handed. Its numbers are on the wire.
type SettleKind uint16

// What a SETTLE may say.
const (
	SettleAck    SettleKind = 1 // done
	SettleNack   SettleKind = 2 // failed; arg: nanoseconds until another try, −1 for those of the policy
	SettleReject SettleKind = 3 // failed for good; arg: bytes of the reason, which ends the payload
	SettleExtend SettleKind = 4 // the lease begins anew
	// SettleNackBecause is SettleNack with a reason, which ends the payload, and behind it its length u16; only
	// with FeatureReasons.
	SettleNackBecause SettleKind = 5
)

// MaxReasonBytes is the longest reason of a SETTLE.
const MaxReasonBytes = 1024

// reasonLength is the size of what ends a payload behind a reason.
const reasonLength = 2

// Sizes on a queue stream.
const (
	QueueEntrySize = 32
	GrantHeadSize  = 32
	GrantRunSize   = 16
)

// QueueOpenBody makes the stream a member of a queue group on the partitions that the node has.
type QueueOpenBody struct {
	Group   string `json:"group"`
	Topic   string `json:"topic"`
	Mode    uint8  `json:"mode"`    // a core.GroupMode, but for GroupStream
	MaxHeld int32  `json:"maxHeld"` // records that the member may have of this node at a time
	// Kind and Value say where a group begins that is new: a core.Position.
	Kind   uint8           `json:"k"`
	Value  int64           `json:"v,omitempty"`
	Config QueueConfigBody `json:"config"`
	Filter string          `json:"filter,omitempty"` // only with FeatureFilters
}

// QueueConfigBody is a core.QueueConfig; times are in nanoseconds. What is zero says nothing.
type QueueConfigBody struct {
	Lease        int64   `json:"lease,omitempty"`
	MaxUnsettled int64   `json:"maxUnsettled,omitempty"`
	MaxAttempts  int32   `json:"maxAttempts,omitempty"`
	Rate         int64   `json:"rate,omitempty"`
	RetryMin     int64   `json:"retryMin,omitempty"`
	RetryMax     int64   `json:"retryMax,omitempty"`
	RetryFactor  float64 `json:"retryFactor,omitempty"`
	RetryJitter  float64 `json:"retryJitter,omitempty"`
}

// QueueOpenedBody answers QueueOpenBody.
type QueueOpenedBody struct {
	Member  string `json:"member"`
	TopicID uint64 `json:"topicId"`
	Lease   int64  `json:"lease"` // of the group, nanoseconds
	// MaxUnsettled is that of the group; 0 where the node does not say.
	MaxUnsettled int64 `json:"maxUnsettled,omitempty"`
}

// QueueEntry names records of one grant. The layout is
//
//	0 partition u32 │ 4 slot u32 │ 8 lo i64 │ 16 left u64 │ 24 epoch i64
type QueueEntry struct {
	Partition int32
	Grant     core.QueueGrant
}

// Append appends the entry to dst.
func (e *QueueEntry) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(uint32(e.Partition))|uint64(uint32(e.Grant.Slot))<<32)
	dst = le.AppendUint64(dst, uint64(e.Grant.Lo))
	dst = le.AppendUint64(dst, e.Grant.Left)
	return le.AppendUint64(dst, uint64(e.Grant.Epoch))
}

// checkGrant says whether bits could name records that were handed out.
func checkGrant(partition int32, g *core.QueueGrant) error {
	if partition < 0 || partition >= core.MaxPartitions || g.Slot < 0 || g.Epoch < 0 || g.Left == 0 ||
		g.Lo < 0 || g.Lo > math.MaxInt64-int64(bits.Len64(g.Left)) {
		return Errorf("grant of partition %d: offset %d, records %#x, slot %d, epoch %d", partition, g.Lo, g.Left,
			g.Slot, g.Epoch)
	}
	return nil
}

// DecodeQueueEntries reads a payload of QueueEntry, appending to into. An empty payload is wrong.
func DecodeQueueEntries(payload []byte, into []QueueEntry) ([]QueueEntry, error) {
	if len(payload) == 0 || len(payload)%QueueEntrySize != 0 {
		return into, Errorf("queue entries of %d bytes, want a multiple of %d", len(payload), QueueEntrySize)
	}
	le := binary.LittleEndian
	for ; len(payload) > 0; payload = payload[QueueEntrySize:] {
		first := le.Uint64(payload)
		e := QueueEntry{Partition: int32(uint32(first)), Grant: core.QueueGrant{
			Slot: int32(uint32(first >> 32)), Lo: int64(le.Uint64(payload[8:])), Left: le.Uint64(payload[16:]),
			Epoch: int64(le.Uint64(payload[24:]))}}
		if err := checkGrant(e.Partition, &e.Grant); err != nil {
			return into, err
		}
		into = append(into, e)
	}
	return into, nil
}

// Settlement is a SETTLE frame.
type Settlement struct {
	Kind    SettleKind
	Delay   int64  // of SettleNack and SettleNackBecause: nanoseconds, −1 for that of the policy
	Reason  string // of SettleReject; of SettleNackBecause, not empty
	Entries []QueueEntry
}

// AppendSettle appends a SETTLE frame to dst. Entries must not be empty, and the reason at most
// MaxReasonBytes.
func AppendSettle(dst []byte, s *Settlement) []byte {
	h := Header{Type: Settle, Aux: uint16(s.Kind), Length: uint32(len(s.Entries)*QueueEntrySize + len(s.Reason))}
	switch s.Kind {
	case SettleNack:
		h.Arg = uint64(s.Delay)
	case SettleReject:
		h.Arg = uint64(len(s.Reason))
	case SettleNackBecause:
		h.Arg = uint64(s.Delay)
		h.Length += reasonLength
	}
	dst = h.Append(dst)
	for i := range s.Entries {
		dst = s.Entries[i].Append(dst)
	}
	dst = append(dst, s.Reason...)
	if s.Kind == SettleNackBecause {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s.Reason)))
	}
	return dst
}

// DecodeSettle reads a SETTLE frame into s, whose Entries it reuses.
func DecodeSettle(h *Header, payload []byte, s *Settlement) (err error) {
	*s = Settlement{Kind: SettleKind(h.Aux), Entries: s.Entries[:0]}
	switch s.Kind {
	case SettleAck, SettleExtend:
	case SettleNack:
		if s.Delay = int64(h.Arg); s.Delay < -1 {
			return Errorf("SETTLE with a delay of %d", s.Delay)
		}
	case SettleReject:
		if h.Arg > MaxReasonBytes || h.Arg > uint64(len(payload)) {
			return Errorf("SETTLE with a reason of %d bytes", h.Arg)
		}
		at := len(payload) - int(h.Arg)
		s.Reason, payload = string(payload[at:]), payload[:at]
	case SettleNackBecause:
		if s.Delay = int64(h.Arg); s.Delay < -1 {
			return Errorf("SETTLE with a delay of %d", s.Delay)
		}
		if s.Reason, payload, err = splitReason(payload); err != nil {
			return err
		}
	default:
		return Errorf("SETTLE of kind %d", h.Aux)
	}
	s.Entries, err = DecodeQueueEntries(payload, s.Entries)
	return err
}

// splitReason takes the reason and its length off the end of a payload.
func splitReason(payload []byte) (reason string, entries []byte, err error) {
	end := len(payload) - reasonLength
	if end < 0 {
		return "", nil, Errorf("SETTLE of %d bytes, which has no reason", len(payload))
	}
	n := int(binary.LittleEndian.Uint16(payload[end:]))
	if n == 0 || n > MaxReasonBytes || n > end {
		return "", nil, Errorf("SETTLE with a reason of %d bytes", n)
	}
	return string(payload[end-n : end]), payload[:end-n], nil
}

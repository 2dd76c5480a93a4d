package wire

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/leatbus/leat/core"
)

// FeatureCalls is the bit of a side that knows call and responder streams. A client opens none to a node
// without it.
const FeatureCalls uint64 = 1 << 12

// The frames of request-reply. A client has one call stream per connection, for requests on any topic, and a
// responder stream per responder and node.
const (
	CallOpen   Type = 80 // → first frame of a call stream; no payload
	Call       Type = 81 // → on a call stream, ← on a responder stream; arg: id; CallHead, then a record
	CallCancel Type = 82 // as Call; arg: id; nobody waits for the reply any more
	Reply      Type = 83 // ← on a call stream, → on a responder stream; arg: id, aux: 0 or a core.Code; a record
	Gathered   Type = 84 // ← arg: id, aux: 0 or a core.Code; every responder that was asked has answered
	Respond    Type = 85 // → JSON RespondBody; first frame of a responder stream
	Responding Type = 86 // ← JSON RespondingBody
	Resign     Type = 87 // → the responder takes no more; it answers what it has
)

// CallHeadSize is the fixed part of a CallHead.
const CallHeadSize = 24

// AnyPartition, in a CallHead, is that of a request without a key.
const AnyPartition = math.MaxUint16

// MaxCallTimeout is the longest time that a request may take.
const MaxCallTimeout = 24 * time.Hour

// RespondBody makes the stream that of a responder.
type RespondBody struct {
	Topic  string `json:"topic"`
	Window int32  `json:"window"` // requests that the responder may have of this node at a time
}

// RespondingBody answers it.
type RespondingBody struct {
	TopicID        uint64 `json:"topicId"`
	MaxRecordBytes int    `json:"maxRecordBytes"` // of a reply
}

// CallHead begins the payload of a CALL. The layout is
//
//	0 timeout i64 │ 8 gather u64 │ 16 partition u16 │ 18 topic length u16 │ 20 zero u32 │ topic, padded to 8
//
// and the rest is one record in payload format N, without extensions.
type CallHead struct {
	Timeout   time.Duration // what is left until the requester gives up
	Gather    uint64        // 0: for one responder; else names what every responder gets, on all nodes the same
	Partition uint16        // whose node is asked, or AnyPartition
	Topic     string        // empty on a responder stream
}

// AppendCall appends a CALL frame to dst. The record is padded to 8.
func AppendCall(dst []byte, id uint64, c *CallHead, record []byte) []byte {
	topic := core.Align8(len(c.Topic))
	h := Header{Type: Call, Arg: id, Length: uint32(CallHeadSize + topic + len(record))}
	dst = h.Append(dst)
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(c.Timeout))
	dst = le.AppendUint64(dst, c.Gather)
	dst = le.AppendUint64(dst, uint64(c.Partition)|uint64(len(c.Topic))<<16)
	dst = append(dst, c.Topic...)
	dst = append(dst, make([]byte, topic-len(c.Topic))...)
	return append(dst, record...)
}

// DecodeCall reads the payload of a CALL. The record points into it, and was looked at as a whole.
func DecodeCall(payload []byte) (c CallHead, record []byte, err error) {
	if len(payload) < CallHeadSize {
		return c, nil, Errorf("CALL of %d bytes", len(payload))
	}
	le := binary.LittleEndian
	c = CallHead{Timeout: time.Duration(le.Uint64(payload)), Gather: le.Uint64(payload[8:]),
		Partition: le.Uint16(payload[16:])}
	length := int(le.Uint16(payload[18:]))
	if c.Timeout <= 0 || c.Timeout > MaxCallTimeout || le.Uint32(payload[20:]) != 0 ||
		c.Partition != AnyPartition && c.Partition >= core.MaxPartitions {
		return c, nil, Errorf("CALL with a timeout of %d, partition %d, flags %#x", int64(c.Timeout), c.Partition,
			le.Uint32(payload[20:]))
	}
	rest := payload[CallHeadSize:]
	if length > core.MaxNameBytes || core.Align8(length) > len(rest) {
		return c, nil, Errorf("CALL with a topic of %d bytes, %d left", length, len(rest))
	}
	c.Topic = string(rest[:length])
	for _, b := range rest[length:core.Align8(length)] {
		if b != 0 {
			return c, nil, Errorf("CALL with a topic that is not padded with zeros")
		}
	}
	record = rest[core.Align8(length):]
	return c, record, CheckCallRecord(record)
}

// CheckCallRecord looks at the record of a CALL or REPLY: there is one, and nothing behind it.
func CheckCallRecord(record []byte) error {
	r, n, err := core.DecodeRecord(record)
	switch {
	case err != nil:
		return Errorf("request or reply: %w", err)
	case n != len(record):
		return Errorf("request or reply with %d bytes behind it", len(record)-n)
	case r.Flags&^(core.FlagNullKey|core.FlagNullValue) != 0:
		return Errorf("request or reply with flags %#x", r.Flags)
	}
	if len(r.RawHeaders) > 0 {
		var names core.HeaderDecoder
		if _, err := names.Decode(r.RawHeaders, nil); err != nil {
			return Errorf("request or reply: %w", err)
		}
	}
	return nil
}

// AppendReply appends a REPLY with a record.
func AppendReply(dst []byte, id uint64, record []byte) []byte {
	h := Header{Type: Reply, Arg: id, Length: uint32(len(record))}
	return append(h.Append(dst), record...)
}

// What a client may have asked of a node on one call stream and got no answer to. More is answered with
// core.CodeLimited.
const (
	MaxCalls     = 1024
	MaxCallBytes = 8 << 20 // of records, but for the first
)

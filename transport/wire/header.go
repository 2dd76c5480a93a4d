package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/leatbus/leat/core"
)

// HeaderSize is the length of a frame's header.
const HeaderSize = 16

// Limits of payloads, in bytes.
const (
	// MaxHelloPayload holds until HELLO was accepted.
	MaxHelloPayload = 4 << 10
	// MaxOpenPayload is for JSON bodies from a client.
	MaxOpenPayload = 1 << 20
	// MaxPayload is for everything else.
	MaxPayload = core.FrameHeaderSize + core.MaxBatchBytes + core.MaxRecordBytes
)

// Type is the kind of a frame. Its numbers are on the wire.
type Type uint8

// The frames of a control stream, which a client opens first.
const (
	Hello    Type = 1 // → JSON HelloBody; must be the first frame of a connection
	Welcome  Type = 2 // ← JSON WelcomeBody
	GoAway   Type = 3 // ← the node drains; arg: milliseconds until it closes the connection
	Ping     Type = 4 // ↔ arg: returned by the Pong
	Pong     Type = 5 // ↔ arg: that of the Ping
	Request  Type = 6 // → arg: correlation id, aux: Op; JSON
	Response Type = 7 // ← arg: correlation id, aux: 0 or a core.Code; JSON of the answer or an ErrorBody
	Map      Type = 8 // ← JSON MapBody; the map has changed
)

// The frames of a producer stream.
const (
	ProducerOpen Type = 16 // → JSON ProducerOpenBody; first frame
	ProducerOK   Type = 17 // ← arg: credit; JSON ProducerOKBody
	Produce      Type = 18 // → aux: partition; one log frame
	Acks         Type = 19 // ← AckEntry, repeated
	Credit       Type = 20 // ↔ arg: absolute bytes of frames, headers included, that may be sent
)

// The frames of a subscription stream.
const (
	Subscribe       Type = 32 // → arg: credit; JSON SubscribeBody; first frame
	Subscribed      Type = 33 // ← JSON SubscribedBody
	Batch           Type = 34 // ← aux: partition, arg: the offset wanted; whole log frames, without fillers
	PartitionFailed Type = 35 // ← aux: partition, arg: a core.Code; JSON ErrorBody; the partition is removed
	Add             Type = 36 // → aux: partition, arg: offset to read from
	Remove          Type = 37 // → aux: partition; the server answers nothing
)

// The frames of a member stream, which goes to the node that coordinates the group.
const (
	Join      Type = 48 // → JSON JoinBody; first frame
	Joined    Type = 49 // ← JSON JoinedBody
	Assign    Type = 50 // ← aux: partition, arg: committed offset or −1; payload: generation u32, zero u32
	Revoke    Type = 51 // ← aux: partition, arg: generation; give it back when nothing is in flight
	Drained   Type = 52 // → aux: partition, arg: generation; its last acks were sent before
	MemberAck Type = 53 // → AckedEntry, repeated
	Commit    Type = 54 // → arg: sequence; AckedEntry, repeated
	Committed Type = 55 // ← arg: sequence, aux: 0 or a core.Code; an ErrorBody with the code
	Fenced    Type = 56 // ← aux: a core.Code; JSON ErrorBody; the last frame
	Leave     Type = 57 // → commit what was acked and leave; the server answers Left
	Left      Type = 58 // ← aux: 0 or a core.Code; the last frame
)

// The frames of a peer stream, between nodes (ALPN leat-peer/1).
const (
	PeerHello   Type = 64 // → JSON PeerHelloBody; first frame
	PeerWelcome Type = 65 // ← JSON PeerHelloBody of the other side
	Catalogue   Type = 66 // ← arg: version; u32 length and record, repeated; aux 1: a snapshot begins
	CatalogueOK Type = 67 // → arg: version up to which the peer has stored the catalogue
)

// FlagMustUnderstand on a frame of unknown type ends the stream with core.CodeUnsupported; without it
// the frame is skipped.
const FlagMustUnderstand uint8 = 1

// Header is a frame's header.
type Header struct {
	Length uint32 // of the payload
	Type   Type
	Flags  uint8
	Aux    uint16
	Arg    uint64
}

// Size is the frame's length on the wire.
func (h *Header) Size() int { return HeaderSize + int(h.Length) }

// Put writes the header into dst, at least 16 bytes.
func (h *Header) Put(dst []byte) {
	_ = dst[HeaderSize-1]
	le := binary.LittleEndian
	le.PutUint64(dst[0:], uint64(h.Length)|uint64(h.Type)<<32|uint64(h.Flags)<<40|uint64(h.Aux)<<48)
	le.PutUint64(dst[8:], h.Arg)
}

// Append appends the header to dst.
func (h *Header) Append(dst []byte) []byte {
	var b [HeaderSize]byte
	h.Put(b[:])
	return append(dst, b[:]...)
}

// ParseHeader reads a header from at least 16 bytes. Every bit pattern is a header: whether its length
// and type are allowed here is for the reader to say.
func ParseHeader(src []byte) Header {
	_ = src[HeaderSize-1]
	word := binary.LittleEndian.Uint64(src)
	return Header{
		Length: uint32(word), Type: Type(word >> 32), Flags: uint8(word >> 40), Aux: uint16(word >> 48),
		Arg: binary.LittleEndian.Uint64(src[8:]),
	}
}

var typeNames = map[Type]string{
	Hello: "HELLO", Welcome: "WELCOME", GoAway: "GOAWAY", Ping: "PING", Pong: "PONG",
	Request: "REQUEST", Response: "RESPONSE", Map: "MAP",
	ProducerOpen: "PRODUCER_OPEN", ProducerOK: "PRODUCER_OK", Produce: "PRODUCE", Acks: "ACKS", Credit: "CREDIT",
	Subscribe: "SUBSCRIBE", Subscribed: "SUBSCRIBED", Batch: "BATCH", PartitionFailed: "PARTITION_FAILED",
	Add: "ADD", Remove: "REMOVE",
	Join: "JOIN", Joined: "JOINED", Assign: "ASSIGN", Revoke: "REVOKE", Drained: "DRAINED",
	MemberAck: "MEMBER_ACK", Commit: "COMMIT", Committed: "COMMITTED", Fenced: "FENCED",
	Leave: "LEAVE", Left: "LEFT",
	PeerHello: "PEER_HELLO", PeerWelcome: "PEER_WELCOME", Catalogue: "CATALOGUE", CatalogueOK: "CATALOGUE_OK",
	QueueOpen: "QUEUE_OPEN", QueueOpened: "QUEUE_OPENED", Grant: "GRANT", Settle: "SETTLE", Stale: "STALE",
	CallOpen: "CALL_OPEN", Call: "CALL", CallCancel: "CALL_CANCEL", Reply: "REPLY", Gathered: "GATHERED",
	Respond: "RESPOND", Responding: "RESPONDING", Resign: "RESIGN",
}

// Known reports whether this build knows the type.
func (t Type) Known() bool {
	_, ok := typeNames[t]
	return ok
}

// String gives the type's name in docs/protocol.md.
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Errorf is a protocol error: core.CodeProtocol with what was found.
func Errorf(format string, args ...any) error {
	return core.NewError(core.CodeProtocol, "read frame", fmt.Errorf(format, args...))
}

package wire

import (
	"encoding/json"
	"errors"

	"github.com/leatbus/leat/core"
)

// Version is the protocol version of this build; ALPN leat/1 stands for its major part.
const Version = 1

// The ALPN names.
const (
	ALPNClient = "leat/1"
	ALPNPeer   = "leat-peer/1"
)

// Features are bits of HELLO and WELCOME; both sides use what both have. Unknown bits are ignored.
const Features = FeatureQueues | FeatureTTL | FeatureIDs | FeatureDelays | FeatureFilters | FeatureCalls |
	FeaturePeekID | FeatureReasons | FeatureSchedules

// FeatureTTL says that topics and messages may have a time to live.
const FeatureTTL uint64 = 1 << 8

// FeatureIDs says that messages may have ids, and topics a window in which they are remembered.
const FeatureIDs uint64 = 1 << 9

// HelloBody begins a connection.
type HelloBody struct {
	Version  int    `json:"version"`
	Features uint64 `json:"features,omitempty"`
	Client   string `json:"client,omitempty"` // name and version, for logs; at most 128 bytes are kept
	Token    string `json:"token,omitempty"`  // the secret of a token, where the node asks for one
}

// WelcomeBody answers it.
type WelcomeBody struct {
	Version  int     `json:"version"`
	Features uint64  `json:"features,omitempty"`
	Server   string  `json:"server,omitempty"` // version of the build
	Node     uint16  `json:"node"`             // 0 for a node that is alone
	Start    string  `json:"start"`            // names the run of the node: changes with every start
	Map      MapBody `json:"map"`
}

// MapBody is what a client has to know of the nodes.
type MapBody struct {
	Epoch   uint64     `json:"epoch"` // rises with every change, within a run of the node
	Cluster string     `json:"cluster,omitempty"`
	Meta    uint16     `json:"meta"` // the node that creates topics
	Nodes   []NodeBody `json:"nodes,omitempty"`
	// GroupNodes has, for each partition of __groups, the node that coordinates its groups; empty for a
	// node that is alone.
	GroupNodes []uint16 `json:"groupNodes,omitempty"`
}

// NodeBody is one node of the map.
type NodeBody struct {
	ID      uint16 `json:"id"`
	Address string `json:"address"`
	Up      bool   `json:"up"` // as the answering node sees it
}

// ErrorBody carries an error. Its code is in the frame.
type ErrorBody struct {
	Op    string `json:"op,omitempty"`
	Cause string `json:"cause,omitempty"`
	Hint  string `json:"hint,omitempty"` // empty: the hint of the reader's table
	Node  uint16 `json:"node,omitempty"` // with core.CodeNotLeader: who to ask, 0 if unknown
}

// ErrorOf makes the body of an error and gives its code.
func ErrorOf(err error) (core.Code, ErrorBody) {
	var e *core.Error
	if !errors.As(err, &e) {
		return core.CodeInternal, ErrorBody{Cause: err.Error()}
	}
	body := ErrorBody{Op: e.Op, Node: e.Node}
	if e.Err != nil {
		body.Cause = e.Err.Error()
	}
	if e.Hint != e.Code.Info().Hint {
		body.Hint = e.Hint
	}
	return e.Code, body
}

// Error makes the error of a code and its body. A code this build does not know keeps its number.
func (b *ErrorBody) Error(code core.Code) *core.Error {
	e := core.NewError(code, b.Op, nil)
	if b.Cause != "" {
		e.Err = errors.New(b.Cause)
	}
	if b.Hint != "" {
		e.Hint = b.Hint
	}
	e.Node = b.Node
	return e
}

// ProducerOpenBody opens a producer stream for the partitions that one node has of a topic.
type ProducerOpenBody struct {
	Topic string `json:"topic"`
	Ack   uint8  `json:"ack"` // a core.Ack; weaker than the topic's is raised to it, but for none
	// ProducerID is 0 for level none, where nothing is answered or recognised; else above 0.
	ProducerID int64  `json:"producerId"`
	Name       string `json:"name,omitempty"`   // of WithID: the server gives the epoch and fences older ones
	Instance   uint64 `json:"instance"`         // random, the same at every reconnect of one producer
	Resume     bool   `json:"resume,omitempty"` // the node has answered this instance before
	// Delayed says that the records of the stream are messages to be delivered later; only with FeatureDelays.
	// The low 14 bits of ProducerID are 0, and the producer of a partition's frames is ProducerID plus its
	// number.
	Delayed bool `json:"delayed,omitempty"`
	// Partitions that the client has sent to on an earlier stream.
	Partitions []ProducerPartition `json:"partitions,omitempty"`
}

// ProducerPartition is what one side knows of a producer in a partition.
type ProducerPartition struct {
	Partition int32 `json:"p"`
	Epoch     int16 `json:"e"`
	NextSeq   int32 `json:"s"` // client: first not answered; server: next it expects
	// LostFrom and LostTo, in the answer: acknowledged sequences [LostFrom, LostTo) that are gone. NextSeq
	// is 0 in the new Epoch then.
	LostFrom int32 `json:"lf,omitempty"`
	LostTo   int32 `json:"lt,omitempty"`
}

// ProducerOKBody answers it.
type ProducerOKBody struct {
	TopicID        uint64 `json:"topicId"`
	Epoch          int16  `json:"epoch"` // for partitions that the client has not sent to
	MaxRecordBytes int    `json:"maxRecordBytes"`
	// Partitions has an answer to each of the request that the node has.
	Partitions []ProducerPartition `json:"partitions,omitempty"`
}

// SubscribeBody opens a subscription stream for partitions that one node has of a topic.
type SubscribeBody struct {
	Topic      string               `json:"topic"`
	ReadAt     uint8                `json:"readAt,omitempty"` // a core.Ack; 0: the topic's high-water mark
	Partitions []SubscribePartition `json:"partitions,omitempty"`
	Group      string               `json:"group,omitempty"`  // of the member that reads; counted, not judged
	Filter     string               `json:"filter,omitempty"` // only with FeatureFilters
}

// SubscribePartition says where to start in one partition.
type SubscribePartition struct {
	Partition int32 `json:"p"`
	Kind      uint8 `json:"k"`           // a core.PositionKind
	Value     int64 `json:"v,omitempty"` // of the position
}

// SubscribedBody answers it with the offset each partition starts at, or why it does not.
type SubscribedBody struct {
	TopicID    uint64                `json:"topicId"`
	Partitions []SubscribedPartition `json:"partitions,omitempty"`
}

// SubscribedPartition is one of them.
type SubscribedPartition struct {
	Partition int32      `json:"p"`
	Offset    int64      `json:"o"`
	Code      core.Code  `json:"c,omitempty"`
	Error     *ErrorBody `json:"err,omitempty"`
}

// JoinBody makes the stream a member of a group.
type JoinBody struct {
	Group string `json:"group"`
	Topic string `json:"topic"`
}

// JoinedBody answers it.
type JoinedBody struct {
	Member  string `json:"member"`
	TopicID uint64 `json:"topicId"`
}

// PeerHelloBody begins a connection of two nodes, and answers.
type PeerHelloBody struct {
	Version   int    `json:"version"`
	Features  uint64 `json:"features,omitempty"`
	Cluster   string `json:"cluster"`
	Node      uint16 `json:"node"`
	Advertise string `json:"advertise"` // the address that clients are told
	Start     string `json:"start"`     // names the run of the node
	Catalogue uint64 `json:"catalogue"` // version it has stored
}

// Marshal appends a frame with a JSON body to dst.
func Marshal(dst []byte, h Header, body any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic("wire: a body that JSON cannot hold: " + err.Error())
	}
	h.Length = uint32(len(text))
	return append(h.Append(dst), text...)
}

// Unmarshal reads a JSON body. Unknown fields are ignored, so that a newer side may add some.
func Unmarshal(t Type, payload []byte, body any) error {
	if err := json.Unmarshal(payload, body); err != nil {
		return Errorf("%v: %w", t, err)
	}
	return nil
}

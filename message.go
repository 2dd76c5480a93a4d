package leat

import (
	"slices"
	"time"

	"github.com/leatbus/leat/core"
)

// Message is what is published and what is delivered. A publisher sets Key, Value, Headers, TTL and ID,
// Partition under the Manual partitioner, and DeliverAt or Delay; the other fields are set on delivery.
//
// A nil Key is a null key and a nil Value a tombstone; both differ from empty ones and keep that
// difference on disk.
type Message struct {
	Key     []byte
	Value   []byte
	Headers []Header

	Topic     string
	Partition int32
	Attempt   int32     // which delivery this is, from 1 on, in a queue group; 0 elsewhere
	Offset    int64     // record number within the partition, from 0
	Time      time.Time // when the bus appended it, never falling within a partition

	// TTL is how long after Time the message is delivered: 1 ms to 10 years, or 0 for as long as its topic says.
	// One that nobody was given until then is passed over, and counts as done.
	TTL time.Duration

	// ID, of at most 128 bytes, is what a message that is published twice is recognised by: within the
	// DedupWindow of its topic a partition stores an ID once, and the receipt of another publish of it is
	// that of the first, with Duplicate set. Of a batch all IDs are known, or none.
	ID string

	// DeliverAt has the message delivered at a time, at most ten years ahead; one that has passed is now. Zero
	// is at once. It is stored before it is acknowledged, and gets its place in the partition when it is due,
	// never before. Batches cannot be delayed.
	DeliverAt time.Time
	// Delay is DeliverAt counted from the time at which the bus has stored the message, from 1 ms to ten years.
	Delay time.Duration

	// Snapshot says that the message is of the snapshot that LastPerKey begins with.
	Snapshot bool

	sub      *Subscription
	delivery Delivery // of a queue group; nil elsewhere
}

// Ack acknowledges this message and all before it in its partition. It does not block: acks are
// folded into a commit every 50 ms, and Subscription.Commit waits for them. ErrFenced says that the
// partition belongs to another member by now, ErrClosed that the subscription was closed meanwhile.
// Without a group it does nothing.
//
// In a queue group it acknowledges this message only. ErrStaleAck says that its lease is over, so that it is
// or was delivered again, or that it was answered before.
func (m *Message) Ack() error {
	if m.delivery != nil {
		return m.delivery.Ack(m.Offset)
	}
	if m.sub == nil {
		return core.Errorf(core.CodeInvalidRecord, "ack", "this message was not delivered by a subscription")
	}
	return m.sub.backend.Ack(m.Partition, m.Offset)
}

// extras are what the record of the message has beside key, value and headers.
func (m *Message) extras() core.Extras { return core.Extras{TTL: m.TTL, ID: m.ID} }

// Clone copies the message and everything it points to, so that it may be kept.
func (m *Message) Clone() *Message {
	c := *m
	c.Key = cloneBytes(m.Key)
	c.Value = cloneBytes(m.Value)
	c.Headers = slices.Clone(m.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = cloneBytes(c.Headers[i].Value)
	}
	return &c
}

// cloneBytes keeps nil nil and empty empty: the difference is data.
func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// Receipt tells where a published message is.
type Receipt struct {
	Topic     string
	Partition int32
	Offset    int64     // -1 at level none
	Time      time.Time // the append time; zero at level none
	Duplicate bool      // the bus had it already; Offset is the original
	// Handle names a delayed message, for Bus.CancelDelayed and Bus.Reschedule; Offset is -1 then, and Time is
	// when it was stored. It is empty for others, and at level none.
	Handle string
}

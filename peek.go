package leat

import (
	"context"

	"github.com/leatbus/leat/core"
)

// Bounds of PeekQuery.
const (
	PeekMessages    = 100        // Limit that 0 stands for
	MaxPeekMessages = 1_000      // largest Limit
	PeekScanned     = 100_000    // Scan that 0 stands for
	MaxPeekScanned  = 10_000_000 // largest Scan
)

// PeekQuery chooses messages of a topic. The zero value is the oldest hundred of it.
type PeekQuery struct {
	Partitions []int32 // in which order they are looked at; nil: all
	// From and To bound what is looked at in each partition to [From, To). The defaults are the first record
	// that is kept and the high-water mark. An offset that the log does not have is moved to its end that is
	// nearer.
	From, To Position
	Key      []byte // only messages with this key, if not nil
	Filter   string // only messages that pass, as in Filter; empty: any
	Limit    int    // messages at most; 0: PeekMessages
	Scan     int64  // records looked at, at most; 0: PeekScanned
	// ValueBytes is how much of a key and of a value is given at most; 0: all of it.
	ValueBytes int
	After      *PeekPoint // Next of the page before
}

// PeekPoint is where the next page begins.
type PeekPoint struct {
	Partition int32
	Offset    int64 // -1: at From, nothing of the partition was looked at
}

// PeekPage is what Bus.Peek has found.
type PeekPage struct {
	Messages []Peeked   // partition after partition, each by offset
	Scanned  int64      // records looked at
	Next     *PeekPoint // nil where everything was looked at
}

// Peeked is a message that was looked at. It belongs to the caller and cannot be acked.
type Peeked struct {
	Message
	KeyBytes, ValueBytes int // lengths, of what ValueBytes may have cut off, too
}

// PeekSlice is what a Backend is asked: a PeekQuery for one partition.
type PeekSlice struct {
	Partition  int32
	From, To   Position
	Key        []byte
	Filter     string
	Limit      int // of this call, above 0, as the next
	Scan       int64
	ValueBytes int
}

// PeekRun is what a Backend answers. It may stop short of every limit.
type PeekRun struct {
	Messages []Peeked
	Scanned  int64
	Next     int64 // offset of the first record not looked at
	Done     bool  // there is none up to To
}

// Peek looks at messages of a topic without a subscription: nothing is joined, acked or remembered, and no
// other reader notices. A page is full where Limit or Scan is reached; Next goes on there. ErrTopicNotFound,
// ErrPartitionUnknown, ErrUnavailable where the node of a partition cannot be asked, ErrInvalidConfig for a
// bound that is out of range or a filter that is none, ErrUnsupported from a node of an older version.
func (b *Bus) Peek(ctx context.Context, topic string, q PeekQuery) (*PeekPage, error) {
	partitions, err := b.peekPartitions(ctx, topic, &q)
	if err != nil {
		return nil, err
	}
	page := &PeekPage{}
	for _, number := range partitions {
		slice := PeekSlice{Partition: number, From: q.From, To: q.To, Key: q.Key, Filter: q.Filter,
			ValueBytes: q.ValueBytes}
		at := int64(-1)
		if q.After != nil && q.After.Partition == number {
			at = q.After.Offset
		}
		for done := false; !done; {
			if at >= 0 {
				slice.From = AtOffset(at)
			}
			slice.Limit, slice.Scan = q.Limit-len(page.Messages), q.Scan-page.Scanned
			if slice.Limit <= 0 || slice.Scan <= 0 {
				page.Next = &PeekPoint{Partition: number, Offset: at}
				return page, nil
			}
			run, err := b.backend.Peek(ctx, topic, slice)
			if err != nil {
				return nil, err
			}
			page.Messages = append(page.Messages, run.Messages...)
			page.Scanned += run.Scanned
			at, done = run.Next, run.Done
		}
	}
	return page, nil
}

// peekPartitions checks a query, fills in defaults, and gives the partitions to look at.
func (b *Bus) peekPartitions(ctx context.Context, topic string, q *PeekQuery) ([]int32, error) {
	op := "peek into topic " + core.Quote(topic)
	if q.Limit == 0 {
		q.Limit = PeekMessages
	}
	if q.Scan == 0 {
		q.Scan = PeekScanned
	}
	switch {
	case q.Limit < 0 || q.Limit > MaxPeekMessages:
		return nil, core.Errorf(core.CodeInvalidConfig, op, "Limit %d: want 1 to %d", q.Limit, MaxPeekMessages)
	case q.Scan < 0 || q.Scan > MaxPeekScanned:
		return nil, core.Errorf(core.CodeInvalidConfig, op, "Scan %d: want 1 to %d", q.Scan, MaxPeekScanned)
	case q.ValueBytes < 0:
		return nil, core.Errorf(core.CodeInvalidConfig, op, "ValueBytes %d: want 0 or more", q.ValueBytes)
	case len(q.Partitions) > core.MaxPartitions:
		return nil, core.Errorf(core.CodePartitionUnknown, op, "%d partitions", len(q.Partitions))
	}
	list := q.Partitions
	if list == nil {
		info, err := b.Topic(ctx, topic)
		if err != nil {
			return nil, err
		}
		for i := range info.Partitions {
			list = append(list, int32(i))
		}
	}
	if q.After == nil {
		return list, nil
	}
	for i, number := range list {
		if number == q.After.Partition {
			return list[i:], nil
		}
	}
	return nil, core.Errorf(core.CodePartitionUnknown, op, "After names partition %d, which is not asked for",
		q.After.Partition)
}

// Topic describes one topic: ErrTopicNotFound if there is none of this name.
func (b *Bus) Topic(ctx context.Context, name string) (TopicInfo, error) {
	return b.backend.Topic(ctx, name)
}

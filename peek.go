package leat

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
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
	// ID chooses messages with this Message.ID, if not empty. First every partition is asked whether it
	// remembers it, as it does within the window of its topic: if one does, what it remembers is the page, and
	// nothing else is looked at. If none does, partitions are looked through, that of Key first.
	ID    string
	Limit int   // messages at most; 0: PeekMessages
	Scan  int64 // records looked at, at most; 0: PeekScanned
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
	ID         string
	Remembered bool // with ID: only what the partition remembers, without a look at other records
	Limit      int  // of this call, above 0, as the next
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
	if q.ID != "" && q.After == nil {
		if page, err := b.peekRemembered(ctx, topic, &q, partitions); err != nil || len(page.Messages) > 0 {
			return page, err
		}
	}
	page := &PeekPage{}
	for _, number := range partitions {
		slice := q.slice(number)
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

// slice is what one partition is asked.
func (q *PeekQuery) slice(partition int32) PeekSlice {
	return PeekSlice{Partition: partition, From: q.From, To: q.To, Key: q.Key, Filter: q.Filter, ID: q.ID,
		ValueBytes: q.ValueBytes}
}

// peekAtOnce is how many partitions are asked at the same time whether they remember an id.
const peekAtOnce = 32

// peekRemembered gives the messages with an id that partitions remember.
func (b *Bus) peekRemembered(
	ctx context.Context, topic string, q *PeekQuery, partitions []int32,
) (*PeekPage, error) {
	runs, errs := make([]PeekRun, len(partitions)), make([]error, len(partitions))
	var asking sync.WaitGroup
	var next atomic.Int64
	for range min(peekAtOnce, len(partitions)) {
		asking.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(partitions)); i = next.Add(1) - 1 {
				slice := q.slice(partitions[i])
				slice.Remembered, slice.Limit, slice.Scan = true, 1, 1
				if runs[i], errs[i] = b.backend.Peek(ctx, topic, slice); errs[i] != nil {
					next.Store(int64(len(partitions))) // those that are under way are the last
				}
			}
		})
	}
	asking.Wait()
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	page := &PeekPage{}
	for i := range runs {
		page.Messages = append(page.Messages, runs[i].Messages...)
		page.Scanned += runs[i].Scanned
	}
	page.Messages = page.Messages[:min(len(page.Messages), q.Limit)]
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
	case len(q.ID) > core.MaxIDBytes:
		return nil, core.Errorf(core.CodeInvalidConfig, op, "ID of %d bytes: want at most %d", len(q.ID),
			core.MaxIDBytes)
	case len(q.Partitions) > core.MaxPartitions:
		return nil, core.Errorf(core.CodePartitionUnknown, op, "%d partitions", len(q.Partitions))
	}
	list := q.Partitions
	if list == nil {
		info, err := b.Topic(ctx, topic)
		if err != nil {
			return nil, err
		}
		if list, err = peekOrder(q, len(info.Partitions)); err != nil {
			return nil, err
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

// peekOrder gives all partitions; where a message is looked for by id and key, that of the key is the first.
func peekOrder(q *PeekQuery, partitions int) ([]int32, error) {
	list := make([]int32, partitions)
	for i := range list {
		list[i] = int32(i)
	}
	if q.ID == "" || q.Key == nil {
		return list, nil
	}
	table, err := routing.NewTable(int32(partitions))
	if err != nil {
		return nil, err
	}
	first := table.Partition(routing.Slot(routing.Hash(q.Key)))
	copy(list[1:], list[:first])
	list[0] = first
	return list, nil
}

// Topic describes one topic: ErrTopicNotFound if there is none of this name.
func (b *Bus) Topic(ctx context.Context, name string) (TopicInfo, error) {
	return b.backend.Topic(ctx, name)
}

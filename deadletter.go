package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
)

// DeadLetterOrigin tells where a dead letter comes from and why it is one.
type DeadLetterOrigin = core.DeadLetterOrigin

// DeadLetterFilter chooses dead letters; the zero value chooses all.
type DeadLetterFilter = core.DeadLetterFilter

// DeadLetterTopic describes the dead letters of one group on one topic at one moment.
type DeadLetterTopic struct {
	Name       string // of the topic that keeps them: <topic>.dlq.<group>
	Topic      string
	Group      string
	Partitions []DeadLetterPartition
}

// Pending is how many letters were neither redriven nor dropped. Partitions that cannot be asked do not
// count.
func (t *DeadLetterTopic) Pending() int64 {
	return t.sum(func(p *DeadLetterPartition) int64 { return p.Pending })
}

// Redriven is how many letters were published again.
func (t *DeadLetterTopic) Redriven() int64 {
	return t.sum(func(p *DeadLetterPartition) int64 { return p.Redriven })
}

// Dropped is how many letters were given up for good.
func (t *DeadLetterTopic) Dropped() int64 {
	return t.sum(func(p *DeadLetterPartition) int64 { return p.Dropped })
}

func (t *DeadLetterTopic) sum(of func(*DeadLetterPartition) int64) (total int64) {
	for i := range t.Partitions {
		total += of(&t.Partitions[i])
	}
	return total
}

// DeadLetterPartition is one partition of a dead-letter topic.
type DeadLetterPartition struct {
	Partition int32
	Node      uint16 // that has it; 0 for a bus of one node
	Start     int64  // first letter kept
	End       int64  // behind the last one
	Pending   int64  // letters of [Start, End) that were neither redriven nor dropped
	Redriven  int64  // since the topic was created
	Dropped   int64  // since the topic was created
	Err       error  // why the rest is not known
}

// DeadLetter is a record that a group gave up: the record as it was, where it came from, and why.
type DeadLetter struct {
	Topic     string    // the dead-letter topic
	Partition int32     // of it
	Offset    int64     // in it
	Died      time.Time // when it got there
	Key       []byte
	Value     []byte   // nil if the read was bare, too
	Headers   []Header // the user's
	Size      int      // bytes of the value
	// Origin is zero for a record that somebody else published to the topic: Known is false then.
	Origin DeadLetterOrigin
	Known  bool
}

// DeadLetterRead asks for dead letters of one partition that are pending.
type DeadLetterRead struct {
	Partition int32
	From      int64 // offset to begin at
	To        int64 // offset to end before; 0 for all there are now
	Limit     int   // letters at most, 1 to 4,096; 0 means 100
	Bare      bool  // without values
	Filter    DeadLetterFilter
	// Job, if not 0, is a random number that names who works on the letters: while one job does, another one is
	// refused with ErrRedriving. It ends with DeadLetterSettle.Done, or when it was silent for 30 s.
	Job int64
}

// DeadLetterPage is a part of the letters of a partition. There are no more where Next is End.
type DeadLetterPage struct {
	Letters []DeadLetter
	Next    int64 // where to read on
	End     int64 // where this reading ends
}

// DeadLetterSettle says what became of dead letters of one partition.
type DeadLetterSettle struct {
	Partition int32
	Job       int64      // as in DeadLetterRead
	Runs      [][2]int64 // offsets [lo, hi)
	Dropped   bool       // else they were published again
	Done      bool       // the job ends with this partition
}

// DeadLetters lists the topics of dead letters by name, with how many they have. In a cluster, partitions of
// nodes that cannot be asked have the reason in Err.
func (b *Bus) DeadLetters(ctx context.Context) ([]DeadLetterTopic, error) {
	return b.backend.DeadLetters(ctx)
}

// ReadDeadLetters reads pending letters of one partition of a dead-letter topic. It changes nothing. The
// letters keep their memory. ErrTopicNotFound, ErrPartitionUnknown, ErrInvalidConfig for a limit, and
// ErrRedriving.
func (b *Bus) ReadDeadLetters(ctx context.Context, name string, r DeadLetterRead) (DeadLetterPage, error) {
	const most = core.MaxBatchRecords
	if r.Limit < 0 || r.Limit > most {
		return DeadLetterPage{}, core.Errorf(core.CodeInvalidConfig, "read dead letters of topic "+core.Quote(name),
			"Limit %d: want 1 to %d", r.Limit, most)
	}
	if r.Limit == 0 {
		r.Limit = 100
	}
	return b.backend.ReadDeadLetters(ctx, name, r)
}

package actors

import (
	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// PartitionShell is the data plane of a partition. Its methods are called by the partition's actor,
// on the executor of its shard, so they never race with the journal.
type PartitionShell interface {
	// Open recovers the log; it may read the whole of it.
	Open() error
	// Describe gives the marks; the partition is open.
	Describe() leat.PartitionInfo
	// Close refuses records from now on.
	Close() error
}

// OpenPartition asks a partition's actor to recover its log.
type OpenPartition struct{ Reply Reply[struct{}] }

// Abandoned tells the caller that the actor stopped first.
func (m OpenPartition) Abandoned(err error) { m.Reply.Abandoned(err) }

// DescribePartition asks for a partition's marks, as of one moment between two journal steps.
type DescribePartition struct{ Reply Reply[leat.PartitionInfo] }

// Abandoned tells the caller that the actor stopped first.
func (m DescribePartition) Abandoned(err error) { m.Reply.Abandoned(err) }

// ClosePartition asks a partition's actor to refuse records from now on.
type ClosePartition struct{ Reply Reply[struct{}] }

// Abandoned tells the caller that the actor stopped first.
func (m ClosePartition) Abandoned(err error) { m.Reply.Abandoned(err) }

// partitionState is where a partition stands in its life.
type partitionState uint8

const (
	partitionRecovering partitionState = iota
	partitionLeading
	partitionFailed
	partitionStopped
)

// partitionActor owns the life of one partition: recovering → leading → stopped, or failed.
type partitionActor struct {
	shell PartitionShell
	state partitionState
	fault error
}

// NewPartitionActor makes the actor of one partition, to be dispatched on its shard.
func NewPartitionActor(shell PartitionShell) Actor { return &partitionActor{shell: shell} }

// Receive implements Actor.
func (a *partitionActor) Receive(ctx Context) {
	switch m := ctx.Message().(type) {
	case OpenPartition:
		if a.state == partitionRecovering {
			a.open()
		}
		m.Reply.Answer(struct{}{}, a.fault)
	case DescribePartition:
		info := leat.PartitionInfo{Err: a.fault}
		switch a.state {
		case partitionLeading, partitionStopped:
			info = a.shell.Describe()
		case partitionRecovering: // also one that was started again because opening panicked
			info.Err = core.Errorf(core.CodeUnavailable, "describe partition", "its log is not open")
		}
		m.Reply.Answer(info, nil)
	case ClosePartition:
		var err error
		if a.state == partitionLeading {
			a.state = partitionStopped
			err = a.shell.Close()
		}
		m.Reply.Answer(struct{}{}, err)
	}
}

func (a *partitionActor) open() {
	a.state = partitionLeading
	if a.fault = a.shell.Open(); a.fault != nil {
		a.state = partitionFailed
	}
}

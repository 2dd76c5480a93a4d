package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/leatbus/leat"
)

// TopicShell is the data plane of a topic.
type TopicShell interface {
	// Name is the topic's name, as users know it.
	Name() string
	// ID names the topic on disk and in commits.
	ID() uint64
	// Partitions is the number of partitions; it does not change.
	Partitions() int32
	// Partition gives the data plane of a partition, numbered from 0.
	Partition(number int32) PartitionShell
	// Dispatcher is the shard that a partition lives on.
	Dispatcher(number int32) Dispatcher
}

// OpenTopic asks a topic's actor to open all its partitions. The answer is the first failure: the
// partitions that did open work.
type OpenTopic struct{ Reply Reply[struct{}] }

// Abandoned tells the caller that the actor stopped first.
func (m OpenTopic) Abandoned(err error) { m.Reply.Abandoned(err) }

// DescribeTopic asks a topic's actor for its partitions.
type DescribeTopic struct {
	Reply Reply[[]leat.PartitionInfo]
}

// Abandoned tells the caller that the actor stopped first.
func (m DescribeTopic) Abandoned(err error) { m.Reply.Abandoned(err) }

// CloseTopic asks a topic's actor to close its partitions.
type CloseTopic struct{ Reply Reply[struct{}] }

// Abandoned tells the caller that the actor stopped first.
func (m CloseTopic) Abandoned(err error) { m.Reply.Abandoned(err) }

// topicActor owns the partition actors of one topic. It may wait for them: they never wait for it.
type topicActor struct {
	system     *System
	shell      TopicShell
	partitions []*PID
}

// NewTopicActor makes the actor of one topic.
func NewTopicActor(system *System, shell TopicShell) Actor {
	return &topicActor{system: system, shell: shell}
}

// Receive implements Actor.
func (a *topicActor) Receive(ctx Context) {
	switch m := ctx.Message().(type) {
	case OpenTopic:
		m.Reply.Answer(struct{}{}, a.open())
	case DescribeTopic:
		m.Reply.Answer(a.describe(), nil)
	case CloseTopic:
		m.Reply.Answer(struct{}{}, a.close())
	}
}

func (a *topicActor) open() error {
	for number := int32(len(a.partitions)); number < a.shell.Partitions(); number++ {
		mailbox, err := NewMailbox[struct{}](MailboxOptions{})
		if err != nil {
			return err
		}
		shell := a.shell.Partition(number)
		props := mailbox.Props(func() Actor { return NewPartitionActor(shell) }, a.shell.Dispatcher(number))
		pid, err := a.system.Spawn(props, fmt.Sprintf("topic/%d/%d", a.shell.ID(), number))
		if err != nil {
			return err
		}
		a.partitions = append(a.partitions, pid)
	}
	opened := askAll(a.system, a.partitions, func(r Reply[struct{}]) any { return OpenPartition{r} })
	return errors.Join(opened.errs...)
}

func (a *topicActor) describe() []leat.PartitionInfo {
	answers := askAll(a.system, a.partitions,
		func(r Reply[leat.PartitionInfo]) any { return DescribePartition{r} })
	for i := range answers.list {
		if err := answers.errs[i]; err != nil {
			answers.list[i] = leat.PartitionInfo{Err: err}
		}
		answers.list[i].Partition = int32(i)
	}
	return answers.list
}

// close closes the partitions and stops their actors: the topic goes.
func (a *topicActor) close() error {
	answers := askAll(a.system, a.partitions, func(r Reply[struct{}]) any { return ClosePartition{r} })
	err := errors.Join(answers.errs...)
	for _, pid := range a.partitions {
		err = errors.Join(err, a.system.Stop(context.Background(), pid))
	}
	a.partitions = nil
	return err
}

// answers are those of several actors, in their order.
type answers[R any] struct {
	list []R
	errs []error
}

// askAll asks actors at the same time and waits for all of them.
func askAll[R any](system *System, pids []*PID, message func(Reply[R]) any) answers[R] {
	got := answers[R]{list: make([]R, len(pids)), errs: make([]error, len(pids))}
	replies := make([]Reply[R], len(pids))
	for i, pid := range pids {
		replies[i] = NewReply[R]()
		system.Send(pid, message(replies[i]))
	}
	for i := range replies {
		got.list[i], got.errs[i] = replies[i].Wait(context.Background())
	}
	return got
}

package actors

import (
	"context"
	"fmt"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// NodeShell is what the node's actor needs of the node around it.
type NodeShell interface {
	// Store makes a change of the catalogue durable; it blocks until it is. snapshot gives records
	// that rebuild the catalogue without the change, so that the log of changes can be cut.
	Store(record core.CatalogueRecord, snapshot func() []core.CatalogueRecord) error
	// PlaceOn gives the nodes that get the partitions of new topics; nil for a node that is alone.
	PlaceOn() []uint16
	// Changed says that a change was stored and applied, and is to be told to other nodes.
	Changed(record core.CatalogueRecord)
	// PlaceGroups says where groups are coordinated from now on.
	PlaceGroups(placement core.Placement) error
	// AddTopic makes the data plane of a topic.
	AddTopic(topic core.Topic) TopicShell
	// ChangeTopic makes the data plane of a topic follow a changed configuration.
	ChangeTopic(topic TopicShell, cfg core.TopicConfig)
	// RemoveTopic takes it away with its data.
	RemoveTopic(topic TopicShell) error
	// Now is the wall time in nanoseconds since 1970.
	Now() int64
}

// CreateTopic asks the node's actor to create a topic.
type CreateTopic struct {
	Name   string
	Config core.TopicConfig // with defaults filled in
	Reply  Reply[struct{}]
}

// Abandoned tells the caller that the actor stopped first.
func (m CreateTopic) Abandoned(err error) { m.Reply.Abandoned(err) }

// DeleteTopicNamed asks the node's actor to delete a topic with its data.
type DeleteTopicNamed struct {
	Name  string
	Reply Reply[uint64] // the deleted topic's id
}

// Abandoned tells the caller that the actor stopped first.
func (m DeleteTopicNamed) Abandoned(err error) { m.Reply.Abandoned(err) }

// AlterTopic asks the node's actor to change what of a topic can change.
type AlterTopic struct {
	Name   string
	Change core.TopicChange
	Reply  Reply[struct{}]
}

// Abandoned tells the caller that the actor stopped first.
func (m AlterTopic) Abandoned(err error) { m.Reply.Abandoned(err) }

// ListTopics asks the node's actor for all topics with their partitions.
type ListTopics struct{ Reply Reply[[]leat.TopicInfo] }

// Abandoned tells the caller that the actor stopped first.
func (m ListTopics) Abandoned(err error) { m.Reply.Abandoned(err) }

// RestoreTopics asks the node's actor to take over a stored catalogue and to open its topics. A
// partition that does not open is reported and left out; the others work.
type RestoreTopics struct {
	Records []core.CatalogueRecord
	Reply   Reply[struct{}]
}

// Abandoned tells the caller that the actor stopped first.
func (m RestoreTopics) Abandoned(err error) { m.Reply.Abandoned(err) }

// openTopic is a topic the node's actor has opened.
type openTopic struct {
	shell TopicShell
	pid   *PID
}

// nodeActor owns the catalogue and the topic actors of one node.
type nodeActor struct {
	system    *System
	shell     NodeShell
	catalogue *core.Catalogue
	topics    map[uint64]openTopic
}

// NewNodeActor makes the actor of one node.
func NewNodeActor(system *System, shell NodeShell) Actor {
	return &nodeActor{
		system: system, shell: shell,
		catalogue: core.NewCatalogue(), topics: make(map[uint64]openTopic),
	}
}

// Receive implements Actor.
func (a *nodeActor) Receive(ctx Context) {
	switch m := ctx.Message().(type) {
	case RestoreTopics:
		m.Reply.Answer(struct{}{}, a.restore(m.Records))
	case CreateTopic:
		m.Reply.Answer(struct{}{}, a.create(m.Name, m.Config))
	case AlterTopic:
		m.Reply.Answer(struct{}{}, a.alter(m.Name, m.Change))
	case DeleteTopicNamed:
		m.Reply.Answer(a.delete(m.Name))
	case ListTopics:
		m.Reply.Answer(a.list(), nil)
	case FollowCatalogue:
		m.Reply.Answer(a.follow(m.Records, m.Snapshot))
	case ReadCatalogue:
		m.Reply.Answer(a.catalogue.Snapshot(), nil)
	}
}

func (a *nodeActor) restore(records []core.CatalogueRecord) error {
	for i := range records {
		if err := a.catalogue.Apply(records[i]); err != nil {
			return err
		}
	}
	for _, topic := range a.catalogue.List() {
		if topic.Internal() {
			continue
		}
		a.openInPart(topic)
	}
	return nil
}

// openInPart opens a topic of which some partitions may fail.
func (a *nodeActor) openInPart(topic core.Topic) {
	if err := a.open(topic); err != nil {
		a.system.logger.Error("topic opened in part", "topic", topic.Name, "err", err)
	}
}

// open adds a topic's data plane and its actor. An error says which partitions did not open.
func (a *nodeActor) open(topic core.Topic) error {
	shell := a.shell.AddTopic(topic)
	pid, err := SpawnTopic(a.system, shell)
	if err != nil {
		return err
	}
	a.topics[topic.ID] = openTopic{shell: shell, pid: pid}
	return CallTopicOpen(a.system, pid)
}

func (a *nodeActor) create(name string, cfg core.TopicConfig) error {
	record, err := a.catalogue.Create(name, cfg, a.shell.Now())
	if err != nil {
		return err
	}
	if err := a.change(record); err != nil {
		return err
	}
	topic, _ := a.catalogue.ByID(record.ID) // it was just created
	return a.open(topic)
}

// change makes a planned change durable, applies it and tells it to other nodes.
func (a *nodeActor) change(record core.CatalogueRecord) error {
	if nodes := a.shell.PlaceOn(); nodes != nil {
		record = a.catalogue.InCluster(record, nodes)
	}
	if err := a.store(record); err != nil {
		return err
	}
	a.shell.Changed(record)
	return nil
}

// store makes a planned change durable and then applies it.
func (a *nodeActor) store(record core.CatalogueRecord) error {
	if err := a.shell.Store(record, a.catalogue.Snapshot); err != nil {
		return err
	}
	return a.catalogue.Apply(record)
}

func (a *nodeActor) alter(name string, change core.TopicChange) error {
	record, err := a.catalogue.Alter(name, change)
	if err != nil {
		return err
	}
	if err := a.change(record); err != nil {
		return err
	}
	a.reconfigure(record.ID)
	return nil
}

// reconfigure makes the data plane of a topic follow the catalogue.
func (a *nodeActor) reconfigure(id uint64) {
	topic, _ := a.catalogue.ByID(id)
	if open, ok := a.topics[id]; ok {
		a.shell.ChangeTopic(open.shell, topic.Config)
	}
}

func (a *nodeActor) delete(name string) (uint64, error) {
	record, err := a.catalogue.Delete(name)
	if err != nil {
		return 0, err
	}
	if err := a.change(record); err != nil {
		return 0, err
	}
	return record.ID, a.remove(record.ID)
}

// remove takes a deleted topic away with its data.
func (a *nodeActor) remove(id uint64) error {
	topic, ok := a.topics[id]
	if !ok {
		return nil // it could not be opened
	}
	delete(a.topics, id)
	if _, err := Call(context.Background(), a.system, topic.pid,
		func(r Reply[struct{}]) any { return CloseTopic{r} }); err != nil {
		return err
	}
	if err := a.system.Stop(context.Background(), topic.pid); err != nil {
		return err
	}
	return a.shell.RemoveTopic(topic.shell)
}

func (a *nodeActor) list() []leat.TopicInfo {
	var infos []leat.TopicInfo
	for _, topic := range a.catalogue.List() {
		if topic.Internal() {
			continue
		}
		info := leat.TopicInfo{Name: topic.Name, ID: topic.ID, Config: topic.Config}
		if open, ok := a.topics[topic.ID]; ok {
			info.Partitions, _ = Call(context.Background(), a.system, open.pid,
				func(r Reply[[]leat.PartitionInfo]) any { return DescribeTopic{r} })
		}
		for i := range info.Partitions {
			info.Partitions[i].Node = topic.Placement.Node(int32(i))
		}
		infos = append(infos, info)
	}
	return infos
}

// SpawnTopic starts a topic's actor.
func SpawnTopic(system *System, shell TopicShell) (*PID, error) {
	props := system.Props(func() Actor { return NewTopicActor(system, shell) })
	return system.Spawn(props, fmt.Sprintf("topic/%d", shell.ID()))
}

// CallTopicOpen opens the partitions of a topic and waits for them.
func CallTopicOpen(system *System, pid *PID) error {
	_, err := Call(context.Background(), system, pid, func(r Reply[struct{}]) any { return OpenTopic{r} })
	return err
}

package node

import (
	"context"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// openInternal opens the internal topics, which no catalogue lists.
func (n *Node) openInternal() error {
	known := core.NewCatalogue()
	add := func(id uint64) *topic {
		t, _ := known.ByID(id) // every catalogue has them
		return n.AddTopic(t.ID, t.Name, t.Config).(*topic)
	}
	n.meta = add(core.MetaTopicID)
	groups := add(core.GroupTopicID)
	n.metaWriter = n.newProducer(n.meta, leat.ProducerOptions{})
	n.commits = newCommitWriter(n, groups)
	for _, t := range []*topic{n.meta, groups} {
		pid, err := actors.SpawnTopic(n.system, t)
		if err != nil {
			return err
		}
		if err := actors.CallTopicOpen(n.system, pid); err != nil {
			return err
		}
	}
	return nil
}

// openCatalogue starts the node's actor, replays __meta into it and opens the topics.
func (n *Node) openCatalogue(ctx context.Context) error {
	var err error
	props := n.system.Props(func() actors.Actor { return actors.NewNodeActor(n.system, n) })
	if n.self, err = n.system.Spawn(props, "node"); err != nil {
		return err
	}
	var records []core.CatalogueRecord
	err = n.meta.partitions[0].replay(func(r core.Record) error {
		record, err := core.DecodeCatalogueRecord(r.Value)
		records = append(records, record)
		return err
	})
	if err != nil {
		return err
	}
	_, err = actors.Call(ctx, n.system, n.self, func(r actors.Reply[struct{}]) any {
		return actors.RestoreTopics{Records: records, Reply: r}
	})
	return err
}

// replay hands every record of a partition to apply, which must not keep its bytes.
func (p *partition) replay(apply func(core.Record) error) error {
	c := &cursor{part: p}
	c.start(p.log.Start())
	defer c.close()
	for {
		found, err := c.fetch(p.log.End())
		if !found || err != nil {
			return err
		}
		for c.hasRecords() {
			r, n, err := core.DecodeRecord(c.records)
			if err != nil {
				return err
			}
			if err := apply(r); err != nil {
				return err
			}
			c.records = c.records[n:]
			c.next++
		}
	}
}

// Store implements actors.NodeShell: it publishes a change of the catalogue to __meta, and after a
// roll writes a snapshot so that older segments can go.
func (n *Node) Store(record core.CatalogueRecord, snapshot func() []core.CatalogueRecord) error {
	p := n.meta.partitions[0]
	if p.log.Segments() > 1 {
		from := p.log.End()
		for _, old := range snapshot() {
			if err := n.storeMeta(old); err != nil {
				return err
			}
		}
		if err := p.log.TrimTo(from); err != nil {
			return err
		}
	}
	return n.storeMeta(record)
}

func (n *Node) storeMeta(record core.CatalogueRecord) error {
	_, err := n.metaWriter.Publish(context.Background(), leat.Message{Value: record.Encode(nil)})
	return err
}

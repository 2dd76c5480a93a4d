package node

import (
	"context"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// openMeta opens __meta and reads it. In a cluster it checks that the folder belongs to this node, and
// makes the catalogue of the meta node that of a cluster. It gives the records and where groups are.
func (n *Node) openMeta(o options) (records []core.CatalogueRecord, groups core.Placement, err error) {
	known := core.NewCatalogue()
	info, _ := known.ByID(core.MetaTopicID) // every catalogue has it
	n.meta = n.AddTopic(info).(*topic)
	n.metaWriter = n.newProducer(n.meta, leat.ProducerOptions{})
	if err := n.openTopic(n.meta); err != nil {
		return nil, "", err
	}
	err = n.meta.partitions[0].replay(func(r core.Record) error {
		record, err := core.DecodeCatalogueRecord(r.Value)
		if err != nil {
			return err
		}
		records = append(records, record)
		return known.Apply(record)
	})
	if err != nil {
		return nil, "", err
	}
	if err := checkNode(n.store, o.cluster, known); err != nil {
		return nil, "", err
	}
	if n.cluster != nil && n.cluster.isMeta() {
		for _, r := range known.Adopt(n.cluster.nodes, n.cluster.Node, n.Now()) {
			if err := n.storeMeta(r); err != nil {
				return nil, "", err
			}
			records = append(records, r)
			if err := known.Apply(r); err != nil {
				return nil, "", err
			}
		}
	}
	if n.cluster != nil {
		n.cluster.version.Store(known.Version())
	}
	groups, _ = known.Groups()
	n.removeGone(known)
	return records, groups, nil
}

// removeGone removes what deletions left behind that a crash cut off: folders of topics that the catalogue
// knows to be deleted, and no other. What cannot be removed is reported and tried again at the next start.
func (n *Node) removeGone(known *core.Catalogue) {
	ids, err := n.store.Topics()
	if err != nil {
		n.logger.Warn("cannot look for the folders of deleted topics", "err", err)
		return
	}
	for _, id := range ids {
		if !known.Gone(id) {
			continue
		}
		if err := n.store.RemoveTopic(id); err != nil {
			n.logger.Warn("cannot remove the folder of a deleted topic", "id", id, "err", err)
			continue
		}
		n.logger.Info("removed the folder of a deleted topic", "id", id)
	}
}

// openGroups makes __groups and what coordinates groups. In a cluster that has not placed it yet, its
// partitions wait for PlaceGroups.
func (n *Node) openGroups(placement core.Placement) error {
	info, _ := core.NewCatalogue().ByID(core.GroupTopicID) // every catalogue has it
	info.Placement = placement
	groups := n.AddTopic(info).(*topic)
	n.commits = newCommitWriter(n, groups)
	n.groups = actors.NewCoordinator(n.system, n.clock, n.commits)
	n.commits.groups = n.groups
	if n.cluster != nil {
		n.cluster.groups.Store(&placement)
		if placement == "" {
			return nil
		}
	}
	return n.openTopic(groups)
}

// openTopic starts the actor of an internal topic, which no catalogue lists, and opens it.
func (n *Node) openTopic(t *topic) error {
	pid, err := actors.SpawnTopic(n.system, t)
	if err != nil {
		return err
	}
	return actors.CallTopicOpen(n.system, pid)
}

// restoreTopics starts the node's actor, hands it the catalogue and opens the topics.
func (n *Node) restoreTopics(ctx context.Context, records []core.CatalogueRecord) error {
	var err error
	props := n.system.Props(func() actors.Actor { return actors.NewNodeActor(n.system, n) })
	if n.self, err = n.system.Spawn(props, "node"); err != nil {
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
		found, err := c.fetch(p.log.End(), false)
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

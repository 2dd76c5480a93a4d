package leat

import (
	"context"
	"sync"
	"time"

	"github.com/leatbus/leat/transport/wire"
)

// fillAges asks the nodes how old the oldest records are that groups have not acked. What is not told,
// because a node is away or of an older version, stays unknown.
func (c *client) fillAges(ctx context.Context, groups []GroupInfo, topics []TopicInfo) {
	nodes := make(map[string][]PartitionInfo, len(topics))
	for i := range topics {
		nodes[topics[i].Name] = topics[i].Partitions
	}
	asked := map[uint16]*agesQuestion{}
	for i := range groups {
		g := &groups[i]
		for j := range g.Partitions {
			p := &g.Partitions[j]
			switch {
			case p.LagRecords == 0:
				p.LagTime = 0
			case p.LagRecords > 0: // so the partition is among those of the topic
				at := nodes[g.Topic][p.Partition].Node
				if asked[at] == nil {
					asked[at] = &agesQuestion{}
				}
				asked[at].add(g.Topic, p)
			}
		}
	}
	var asking sync.WaitGroup
	for node, q := range asked {
		asking.Go(func() { q.ask(ctx, c, c.node(node)) })
	}
	asking.Wait()
}

// agesQuestion is what one node is asked.
type agesQuestion struct {
	records []wire.RecordBody
	into    []*GroupPartition
}

func (q *agesQuestion) add(topic string, p *GroupPartition) {
	q.records = append(q.records,
		wire.RecordBody{Topic: topic, Partition: p.Partition, Offset: max(p.Oldest, 0)})
	q.into = append(q.into, p)
}

// ask fills in what the node knows.
func (q *agesQuestion) ask(ctx context.Context, c *client, n *clientNode) {
	for len(q.records) > 0 {
		count := min(len(q.records), wire.MaxAges)
		var answer wire.AgesAnswer
		err := c.ask(ctx, n, true, wire.OpAges, wire.AgesBody{Records: q.records[:count]}, &answer)
		if err != nil || len(answer.Ages) != count {
			return
		}
		for i, age := range answer.Ages {
			if age >= 0 {
				q.into[i].LagTime = time.Duration(age)
			}
		}
		q.records, q.into = q.records[count:], q.into[count:]
	}
}

package admindoc

import (
	"cmp"
	"slices"
	"time"

	"github.com/leatbus/leat"
)

// Cluster describes the nodes as the one that answers sees them.
type Cluster struct {
	Name   string        `json:"name" doc:"Of the cluster; empty for a node that is alone"`
	Answer uint16        `json:"answer" doc:"The node that answered"`
	Meta   uint16        `json:"meta" doc:"The node that creates topics"`
	Down   int           `json:"down" doc:"Nodes that are not reached"`
	Topics int           `json:"topics"`
	Counts ClusterCounts `json:"partitions"`
	Nodes  []Node        `json:"nodes" doc:"By number"`
}

// ClusterCounts counts partitions of all topics.
type ClusterCounts struct {
	All         int `json:"all"`
	Unavailable int `json:"unavailable" doc:"That take no records, or whose node is not reached"`
}

// Node describes a node.
type Node struct {
	Node       uint16  `json:"node"`
	Address    string  `json:"address"`
	Up         bool    `json:"up"`
	Since      string  `json:"since,omitempty" format:"date-time" doc:"Of this state"`
	RTTMicros  float64 `json:"rtt_us" doc:"From the node that answered; 0 where that is not known"`
	Partitions int     `json:"partitions" doc:"Of all topics"`
	Error      string  `json:"error,omitempty" doc:"Why it is down"`
}

// ClusterOf describes the nodes and what they have.
func ClusterOf(info *leat.ClusterInfo, topics []leat.TopicInfo) Cluster {
	doc := Cluster{Name: info.Name, Answer: info.Answer, Meta: info.Meta, Topics: len(topics),
		Nodes: make([]Node, len(info.Nodes))}
	owned := map[uint16]int{}
	for i := range topics {
		for j := range topics[i].Partitions {
			p := &topics[i].Partitions[j]
			owned[p.Node]++
			doc.Counts.All++
			if p.Err != nil {
				doc.Counts.Unavailable++
			}
		}
	}
	for i, n := range info.Nodes {
		if !n.Up {
			doc.Down++
		}
		doc.Nodes[i] = Node{Node: n.ID, Address: n.Address, Up: n.Up, RTTMicros: float64(n.RTT) / 1e3,
			Partitions: owned[n.ID], Error: errorText(n.Err)}
		if !n.Since.IsZero() {
			doc.Nodes[i].Since = n.Since.UTC().Format(time.RFC3339)
		}
	}
	slices.SortFunc(doc.Nodes, func(a, b Node) int { return cmp.Compare(a.Node, b.Node) })
	return doc
}

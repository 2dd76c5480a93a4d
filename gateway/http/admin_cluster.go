package httpdoor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/leatbus/leat"
)

// Cluster describes the nodes as the one that answers sees them.
type Cluster struct {
	Name   string        `json:"name" doc:"Of the cluster; empty for a node that is alone"`
	Answer uint16        `json:"answer" doc:"The node that answered"`
	Meta   uint16        `json:"meta" doc:"The node that creates topics"`
	Nodes  int           `json:"nodes"`
	Down   int           `json:"down" doc:"Nodes that are not reached"`
	Topics int           `json:"topics"`
	Counts ClusterCounts `json:"partitions"`
}

// ClusterCounts counts partitions of all topics.
type ClusterCounts struct {
	All         int `json:"all"`
	Unavailable int `json:"unavailable" doc:"That take no records, or whose node is not reached"`
}

// Node describes a node.
type Node struct {
	Node       uint16     `json:"node"`
	Address    string     `json:"address"`
	Up         bool       `json:"up"`
	Since      *time.Time `json:"since,omitempty" doc:"Of this state"`
	RTTMicros  float64    `json:"rtt_us" doc:"From the node that answered; 0 where that is not known"`
	Partitions int        `json:"partitions" doc:"Of all topics"`
	Error      string     `json:"error,omitempty" doc:"Why it is down"`
}

type nodesAnswer struct {
	Body struct {
		Nodes []Node `json:"nodes" doc:"By number"`
		Next  string `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
	}
}

func (d *Door) adminClusterRoutes() {
	register(d, admin("admin-get-cluster", http.MethodGet, "/cluster", "Describe the cluster"), d.adminCluster)
	register(d, admin("admin-list-nodes", http.MethodGet, "/nodes", "List nodes"), d.adminNodes)
}

// look asks for nodes and topics.
func (d *Door) look(ctx context.Context) (leat.ClusterInfo, []leat.TopicInfo, error) {
	info, errInfo := d.bus.Cluster(ctx)
	topics, errTopics := d.bus.Topics(ctx)
	return info, topics, cmp.Or(errInfo, errTopics)
}

func (d *Door) adminCluster(ctx context.Context, _ *struct{}) (*struct{ Body Cluster }, error) {
	info, topics, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	c := Cluster{Name: info.Name, Answer: info.Answer, Meta: info.Meta, Nodes: len(info.Nodes),
		Topics: len(topics)}
	for i := range info.Nodes {
		if !info.Nodes[i].Up {
			c.Down++
		}
	}
	for i := range topics {
		for _, p := range topics[i].Partitions {
			c.Counts.All++
			if p.Err != nil {
				c.Counts.Unavailable++
			}
		}
	}
	return &struct{ Body Cluster }{c}, nil
}

func (d *Door) adminNodes(ctx context.Context, in *AdminPage) (*nodesAnswer, error) {
	info, topics, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	owned := map[uint16]int{}
	for i := range topics {
		for _, p := range topics[i].Partitions {
			owned[p.Node]++
		}
	}
	nodes := make([]Node, len(info.Nodes))
	for i, n := range info.Nodes {
		nodes[i] = Node{Node: n.ID, Address: n.Address, Up: n.Up, RTTMicros: float64(n.RTT) / 1e3,
			Partitions: owned[n.ID], Error: errorText(n.Err)}
		if !n.Since.IsZero() {
			nodes[i].Since = new(n.Since.UTC())
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Node, b.Node) })
	out := &nodesAnswer{}
	out.Body.Nodes, out.Body.Next = cut(in, nodes, func(n *Node) string { return padded(int64(n.Node)) },
		func(*Node) bool { return true })
	return out, nil
}

// padded is a number as text that sorts like it.
func padded(n int64) string { return fmt.Sprintf("%019d", n) }

// errorText is what an error says, empty for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

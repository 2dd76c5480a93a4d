package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
)

func newCluster(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:     "cluster",
		Short:   "Look at the nodes",
		Example: examples("leat cluster status", "leat cluster status -o json"),
	}
	group.AddCommand(newClusterStatus(a))
	asGroup(group)
	return group
}

// clusterDoc describes the nodes as one of them sees them; the keys are stable.
type clusterDoc struct {
	Name   string    `json:"name"`
	Answer uint16    `json:"answer"` // the node that answered
	Meta   uint16    `json:"meta"`   // the node that creates topics
	Nodes  []nodeDoc `json:"nodes"`
}

type nodeDoc struct {
	Node       uint16  `json:"node"`
	Address    string  `json:"address"`
	Up         bool    `json:"up"`
	Since      string  `json:"since,omitempty"` // RFC 3339, UTC
	RTTMicros  float64 `json:"rtt_us"`
	Partitions int     `json:"partitions"` // of all topics
	Error      string  `json:"error,omitempty"`

	since time.Time
}

func newClusterStatus(a *app) *cobra.Command {
	var fail bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show which nodes are up and what they have",
		Example: examples("leat cluster status", "leat cluster status --fail -o json"),
		Args:    noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			doc, err := clusterStatus(ctx, bus)
			if err != nil {
				return err
			}
			if err := a.write(doc, func() error { return a.writeCluster(doc) }); err != nil || !fail {
				return err
			}
			for _, n := range doc.Nodes {
				if !n.Up {
					return &inputError{fmt.Errorf("node %d is down", n.Node), "start it: leat serve on " + n.Address}
				}
			}
			return nil
		})
	}
	cmd.Flags().BoolVar(&fail, "fail", false, "exit 1 if a node is down")
	return cmd
}

func clusterStatus(ctx context.Context, bus *leat.Bus) (*clusterDoc, error) {
	info, errInfo := bus.Cluster(ctx)
	topics, errTopics := bus.Topics(ctx)
	if err := errors.Join(errInfo, errTopics); err != nil {
		return nil, cmp.Or(errInfo, errTopics)
	}
	return describeCluster(&info, topics), nil
}

func describeCluster(info *leat.ClusterInfo, topics []leat.TopicInfo) *clusterDoc {
	owned := map[uint16]int{}
	for i := range topics {
		for _, p := range topics[i].Partitions {
			owned[p.Node]++
		}
	}
	doc := &clusterDoc{Name: info.Name, Answer: info.Answer, Meta: info.Meta, Nodes: []nodeDoc{}}
	for _, n := range info.Nodes {
		node := nodeDoc{Node: n.ID, Address: n.Address, Up: n.Up, RTTMicros: float64(n.RTT) / 1e3,
			Partitions: owned[n.ID], since: n.Since}
		if !n.Since.IsZero() {
			node.Since = n.Since.UTC().Format(time.RFC3339)
		}
		if n.Err != nil {
			node.Error = n.Err.Error()
		}
		doc.Nodes = append(doc.Nodes, node)
	}
	return doc
}

// rtt is the time to a node and back for people, - if it is not known.
func (n *nodeDoc) rtt() string {
	if n.RTTMicros <= 0 {
		return "-"
	}
	return strconv.FormatFloat(n.RTTMicros/1e3, 'f', 2, 64) + " ms"
}

func (a *app) writeCluster(doc *clusterDoc) error {
	grid := newGrid(a.stdout, "#node", "address", "state", "#for", "#rtt", "#partitions", "")
	for _, n := range doc.Nodes {
		state, since, note := "up", "-", ""
		if !n.Up {
			state = "down"
		}
		if !n.since.IsZero() {
			since = time.Unix(0, a.clock.Now()).Sub(n.since).Truncate(time.Second).String()
		}
		if n.Node == doc.Answer {
			note = "answered"
		}
		if n.Node == doc.Meta && len(doc.Nodes) > 1 {
			note += " meta"
		}
		grid.row(strconv.Itoa(int(n.Node)), cmp.Or(n.Address, "-"), state, since, n.rtt(),
			strconv.Itoa(n.Partitions), cmp.Or(n.Error, note))
	}
	return grid.flush()
}

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
	"github.com/leatbus/leat/internal/admindoc"
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

func clusterStatus(ctx context.Context, bus *leat.Bus) (*admindoc.Cluster, error) {
	info, errInfo := bus.Cluster(ctx)
	topics, errTopics := bus.Topics(ctx)
	if err := errors.Join(errInfo, errTopics); err != nil {
		return nil, cmp.Or(errInfo, errTopics)
	}
	doc := admindoc.ClusterOf(&info, topics)
	return &doc, nil
}

// rttText is the time to a node and back for people, - if it is not known.
func rttText(n *admindoc.Node) string {
	if n.RTTMicros <= 0 {
		return "-"
	}
	return strconv.FormatFloat(n.RTTMicros/1e3, 'f', 2, 64) + " ms"
}

func (a *app) writeCluster(doc *admindoc.Cluster) error {
	grid := newGrid(a.stdout, "#node", "address", "state", "#for", "#rtt", "#partitions", "")
	for i := range doc.Nodes {
		n := &doc.Nodes[i]
		state, since, note := "up", "-", ""
		if !n.Up {
			state = "down"
		}
		if at, err := time.Parse(time.RFC3339, n.Since); err == nil {
			since = time.Unix(0, a.clock.Now()).Sub(at).Truncate(time.Second).String()
		}
		if n.Node == doc.Answer {
			note = "answered"
		}
		if n.Node == doc.Meta && len(doc.Nodes) > 1 {
			note += " meta"
		}
		grid.row(strconv.Itoa(int(n.Node)), cmp.Or(n.Address, "-"), state, since, rttText(n),
			strconv.Itoa(n.Partitions), cmp.Or(n.Error, note))
	}
	return grid.flush()
}

package httpdoor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/leatbus/leat/internal/admindoc"
)

type nodesAnswer struct {
	Body struct {
		Nodes []admindoc.Node `json:"nodes" doc:"By number"`
		Next  string          `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
	}
}

func (d *Door) adminClusterRoutes() {
	register(d, admin("admin-get-cluster", http.MethodGet, "/cluster", "Describe the cluster"), d.adminCluster)
	register(d, admin("admin-list-nodes", http.MethodGet, "/nodes", "List nodes"), d.adminNodes)
}

// look asks for nodes and topics.
func (d *Door) look(ctx context.Context) (doc admindoc.Cluster, err error) {
	info, errInfo := d.bus.Cluster(ctx)
	topics, errTopics := d.bus.Topics(ctx)
	return admindoc.ClusterOf(&info, topics), cmp.Or(errInfo, errTopics)
}

func (d *Door) adminCluster(ctx context.Context, _ *struct{}) (*struct{ Body admindoc.Cluster }, error) {
	doc, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	return &struct{ Body admindoc.Cluster }{doc}, nil
}

func (d *Door) adminNodes(ctx context.Context, in *AdminPage) (*nodesAnswer, error) {
	doc, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	out := &nodesAnswer{}
	out.Body.Nodes, out.Body.Next = cut(in, doc.Nodes,
		func(n *admindoc.Node) string { return padded(int64(n.Node)) }, func(*admindoc.Node) bool { return true })
	return out, nil
}

// padded is a number as text that sorts like it.
func padded(n int64) string { return fmt.Sprintf("%019d", n) }

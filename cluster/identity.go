package cluster

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
)

// URI names a node in its certificate.
func URI(cluster string, node uint16) string { return fmt.Sprintf("leat://%s/%d", cluster, node) }

// identity reads who the other side of a connection is from its certificate, which TLS has verified: the
// URI leat://<cluster>/<node> among its names (RFC 5280 §4.2.1.6).
func identity(conn transport.Conn) (cluster string, node uint16, err error) {
	const op = "connect to peer"
	shown := conn.PeerCertificates()
	if len(shown) == 0 {
		return "", 0, core.Errorf(core.CodeUntrusted, op, "it has shown no certificate")
	}
	for _, uri := range shown[0].URIs {
		if uri.Scheme != "leat" || uri.User != nil || uri.RawQuery != "" || uri.Fragment != "" {
			continue
		}
		id, ok := strings.CutPrefix(uri.Path, "/")
		number, err := strconv.ParseUint(id, 10, 16)
		if ok && err == nil && number > 0 && strconv.FormatUint(number, 10) == id {
			return uri.Host, uint16(number), nil
		}
	}
	return "", 0, core.Errorf(core.CodeUntrusted, op, "its certificate names no node (URI leat://cluster/node)")
}

// expect checks that the other side is a node of this cluster: node, or any that dials this one if 0.
func (p *Peers) expect(conn transport.Conn, node uint16) (*peer, error) {
	const op = "connect to peer"
	cluster, id, err := identity(conn)
	switch {
	case err != nil:
		return nil, err
	case cluster != p.cfg.Cluster:
		return nil, core.Errorf(core.CodeWrongNode, op, "its certificate is of cluster %s, not %s",
			core.Quote(cluster), core.Quote(p.cfg.Cluster))
	case node != 0 && id != node:
		return nil, core.Errorf(core.CodeWrongNode, op, "its certificate is of node %d, not %d", id, node)
	case node == 0 && id <= p.cfg.Node:
		return nil, core.Errorf(core.CodeWrongNode, op, "node %d dials node %d: the higher id dials",
			id, p.cfg.Node)
	}
	found := p.peers[id]
	if found == nil {
		return nil, core.Errorf(core.CodeWrongNode, op, "node %d is not in the list of nodes", id)
	}
	return found, nil
}

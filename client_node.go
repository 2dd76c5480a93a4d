package leat

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/wire"
)

const (
	stagger      = 50 * time.Millisecond // between the addresses of a race
	attemptFirst = time.Second           // one attempt to connect; later ones have longer
	attemptMost  = 5 * time.Second
)

// clientNode is one node as the client knows it: where it is, and the connection to it if there is one.
// Its fields are guarded by client.mu.
type clientNode struct {
	client    *client
	id        uint16
	addresses []string
	conn      *clientConn              // takes new streams; nil while there is none
	conns     map[*clientConn]struct{} // all that have not ended, draining ones too
	dialing   bool
	needs     int   // who waits for a connection
	lastErr   error // of the last attempt or connection
}

// nodeLocked gives the node of an id, which it makes if needed.
func (c *client) nodeLocked(id uint16) *clientNode {
	n := c.nodes[id]
	if n == nil {
		n = &clientNode{client: c, id: id, conns: map[*clientConn]struct{}{}}
		c.nodes[id] = n
	}
	return n
}

func (c *client) node(id uint16) *clientNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodeLocked(id)
}

// op says what was tried, for errors.
func (n *clientNode) op() string {
	n.client.mu.Lock()
	defer n.client.mu.Unlock()
	return n.opLocked()
}

func (n *clientNode) opLocked() string {
	where := n.addresses
	if len(where) == 0 {
		where = n.client.seeds
	}
	if len(where) == 0 {
		return "reach a node without address"
	}
	return "reach the node at " + core.Quote(where[0])
}

// unavailableLocked is the error of a call that waited long enough.
func (n *clientNode) unavailableLocked() error {
	if core.CodeOf(n.lastErr) == core.CodeUnauthenticated { // it answers, and wants another token
		return core.NewError(core.CodeUnauthenticated, n.opLocked(), bare(n.lastErr, core.CodeUnauthenticated))
	}
	cause := bare(n.lastErr, core.CodeUnavailable)
	if cause == nil {
		cause = errors.New("no answer yet")
	}
	return core.NewError(core.CodeUnavailable, n.opLocked(), cause)
}

// connection gives a connection for new streams. It waits until ctx ends, which is ErrUnavailable unless
// ctx was cancelled; the client keeps trying while anybody waits.
func (n *clientNode) connection(ctx context.Context) (*clientConn, error) {
	c := n.client
	c.mu.Lock()
	defer c.mu.Unlock()
	n.needs++
	defer func() { n.needs-- }()
	for {
		switch {
		case n.conn != nil:
			return n.conn, nil
		case c.ctx.Err() != nil:
			return nil, c.closedError(n.opLocked())
		case ctx.Err() != nil:
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, n.unavailableLocked()
		}
		n.startDialLocked()
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		c.mu.Lock()
	}
}

func (n *clientNode) startDialLocked() {
	if !n.dialing {
		n.dialing = n.client.goTaskLocked(n.dialLoop)
	}
}

// dialLoop connects. It ends when it did, or when nobody needs the node any more.
func (n *clientNode) dialLoop() {
	c := n.client
	for attempt := 0; ; attempt++ {
		c.mu.Lock()
		addresses := slices.Clone(n.addresses)
		c.mu.Unlock()
		if len(addresses) == 0 {
			addresses = c.seeds
		}
		conn, err := c.race(c.ctx, addresses, attempt)
		if err == nil && conn.welcome.Node != n.id {
			err = core.Errorf(core.CodeWrongNode, n.op(), "node %d answers there, want %d", conn.welcome.Node, n.id)
			conn.conn.Close(0, "not the node that was looked for")
		}
		if err == nil {
			c.mu.Lock()
			n.dialing = false
			c.mu.Unlock()
			c.adopt(conn)
			return
		}
		c.mu.Lock()
		n.lastErr = err
		c.mu.Unlock()
		_ = c.sleep(c.ctx, attempt) // looked at below
		c.mu.Lock()
		if n.needs == 0 || c.ctx.Err() != nil {
			n.dialing = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}

// race connects to the address that answers first, HELLO included. The others are given up.
func (c *client) race(ctx context.Context, addresses []string, attempt int) (*clientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, min(attemptFirst<<min(attempt, 4), attemptMost))
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel)
	defer stop()
	type outcome struct {
		conn *clientConn
		err  error
	}
	outcomes := make(chan outcome)
	for i, address := range addresses {
		go func() {
			var o outcome
			if o.err = clock.Sleep(ctx, c.clock, time.Duration(i)*stagger); o.err == nil {
				o.conn, o.err = c.greet(ctx, address)
			}
			outcomes <- o
		}()
	}
	var won *clientConn
	var errs []error
	for range addresses { // the goroutines of the losers end here too
		o := <-outcomes
		switch {
		case o.err != nil:
			errs = append(errs, o.err)
			if final(o.err) && won == nil {
				cancel()
			}
		case won == nil:
			won = o.conn
			cancel()
		default:
			o.conn.conn.Close(0, "another address was faster")
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, worst(errs)
}

// worst gives the error that says most: one that is final, else the first that is ours. One that was refused
// says that all were.
func worst(errs []error) error {
	for _, is := range []func(error) bool{final,
		func(err error) bool { return core.CodeOf(err) != core.CodeInternal && !refused(err) },
		func(err error) bool { return !refused(err) }} {
		if at := slices.IndexFunc(errs, is); at >= 0 {
			return errs[at]
		}
	}
	return errs[0]
}

// adopt makes a connection that of its node.
func (c *client) adopt(conn *clientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodeLocked(conn.welcome.Node)
	conn.node = n
	if !slices.Contains(n.addresses, conn.address) {
		n.addresses = append(n.addresses, conn.address)
	}
	c.takeMapLocked(&conn.welcome.Map)
	if !conn.start() {
		return
	}
	n.conns[conn] = struct{}{}
	n.conn, n.lastErr = conn, nil
	c.broadcastLocked()
}

// detachLocked makes new streams go to another connection of the node.
func (n *clientNode) detachLocked(conn *clientConn, why error) {
	if n.conn == conn {
		n.conn, n.lastErr = nil, why
		if n.needs > 0 {
			n.startDialLocked()
		}
	}
	n.client.broadcastLocked()
}

// takeMapLocked learns the nodes.
func (c *client) takeMapLocked(m *wire.MapBody) {
	c.topology = *m
	for i := range m.Nodes {
		n := c.nodeLocked(m.Nodes[i].ID)
		if address := m.Nodes[i].Address; address != "" && !slices.Contains(n.addresses, address) {
			n.addresses = append([]string{address}, n.addresses...)
		}
		n.addresses = n.addresses[:min(len(n.addresses), maxAddresses)]
	}
}

// maxAddresses is how many addresses of one node are kept; the newest are first.
const maxAddresses = 8

// groupNode gives the node that coordinates a group.
func (c *client) groupNode(group string) *clientNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := int(core.GroupsPartition(group)); at < len(c.topology.GroupNodes) {
		return c.nodeLocked(c.topology.GroupNodes[at])
	}
	return c.nodeLocked(c.topology.Meta)
}

// metaNode gives the node that changes topics.
func (c *client) metaNode() *clientNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodeLocked(c.topology.Meta)
}

// allNodes gives the nodes of the map, by id; for a node that is alone, that one.
func (c *client) allNodes() []*clientNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*clientNode
	for i := range c.topology.Nodes {
		list = append(list, c.nodeLocked(c.topology.Nodes[i].ID))
	}
	if len(list) == 0 {
		list = append(list, c.nodeLocked(c.topology.Meta))
	}
	slices.SortFunc(list, func(a, b *clientNode) int { return int(a.id) - int(b.id) })
	return slices.Compact(list)
}

// anyConnection gives a connection to whichever node there is one to, or comes first.
func (c *client) anyConnection(ctx context.Context) (*clientConn, error) {
	list := c.allNodes()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range list {
		n.needs++
	}
	defer func() {
		for _, n := range list {
			n.needs--
		}
	}()
	for {
		for _, n := range list {
			if n.conn != nil {
				return n.conn, nil
			}
		}
		switch {
		case c.ctx.Err() != nil:
			return nil, c.closedError(list[0].opLocked())
		case ctx.Err() != nil:
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, list[0].unavailableLocked()
		}
		for _, n := range list {
			n.startDialLocked()
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		c.mu.Lock()
	}
}

package mmaplog

// kill returns what the end of the process leaves: all that it wrote, also what the disk does not have yet,
// and the same start of the machine. The old file system is not changed and may go on.
func (m *MemFS) kill() *MemFS {
	m.power.Lock()
	defer m.power.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	after := Heap()
	after.boot = m.boot
	nodes := map[*memNode]*memNode{}
	node := func(n *memNode) *memNode {
		if nodes[n] == nil {
			nodes[n] = n.kill()
		}
		return nodes[n]
	}
	for name, n := range m.entries {
		after.entries[name] = node(n)
	}
	for name, n := range m.durable {
		after.durable[name] = node(n)
	}
	for _, op := range m.pending {
		op.node = node(op.node)
		after.pending = append(after.pending, op)
	}
	return after
}

// kill copies a node. Nothing of it is known to be on the disk but what was synced.
func (n *memNode) kill() *memNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	after := &memNode{dir: n.dir, disk: n.disk.clone()}
	if n.data != nil {
		after.data = append([]byte(nil), n.data...)
		after.dirtyHi = int64(len(n.data))
	}
	return after
}

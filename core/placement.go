package core

import (
	"encoding/binary"
	"slices"
)

// Placement has, for each partition of a topic, the node that leads it. It is immutable and comparable.
// The empty Placement means that the topic belongs to a node that is alone.
type Placement string // two bytes a partition, little endian

// NewPlacement makes the placement of a topic of so many partitions.
func NewPlacement(nodes []uint16) Placement {
	raw := make([]byte, 0, 2*len(nodes))
	for _, node := range nodes {
		raw = binary.LittleEndian.AppendUint16(raw, node)
	}
	return Placement(raw)
}

// Partitions is how many partitions are placed.
func (p Placement) Partitions() int { return len(p) / 2 }

// Node gives the node of a partition, 0 if it is not placed.
func (p Placement) Node(partition int32) uint16 {
	if partition < 0 || int(partition) >= p.Partitions() {
		return 0
	}
	return uint16(p[2*partition]) | uint16(p[2*partition+1])<<8
}

// Nodes gives the nodes by partition, in a new slice; nil if nothing is placed.
func (p Placement) Nodes() []uint16 {
	if p == "" {
		return nil
	}
	nodes := make([]uint16, p.Partitions())
	for i := range nodes {
		nodes[i] = p.Node(int32(i))
	}
	return nodes
}

// valid reports whether every one of so many partitions has a node.
func (p Placement) valid(partitions int) bool {
	if len(p) != 2*partitions || partitions == 0 {
		return false
	}
	for i := range partitions {
		if p.Node(int32(i)) == 0 {
			return false
		}
	}
	return true
}

// Place spreads partitions over nodes: one after the other in ascending order of ids, beginning with the
// first above after, which is the node that got a partition last (0 for none). So the shares of the nodes
// differ by at most one, within a topic and over topics that follow each other. Equal arguments give equal
// placements, whatever the order of nodes. It panics without nodes.
func Place(nodes []uint16, partitions int, after uint16) Placement {
	if len(nodes) == 0 {
		panic("core: nowhere to place a topic")
	}
	order := slices.Compact(slices.Sorted(slices.Values(nodes)))
	turn, found := slices.BinarySearch(order, after)
	if found {
		turn++
	}
	placed := make([]uint16, partitions)
	for i := range placed {
		placed[i] = order[(turn+i)%len(order)]
	}
	return NewPlacement(placed)
}

// everywhere places all partitions on one node.
func everywhere(node uint16, partitions int) Placement {
	return NewPlacement(slices.Repeat([]uint16{node}, partitions))
}

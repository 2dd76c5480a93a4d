package core

import (
	"maps"
	"slices"
)

// reset moves committed offsets, also back. It begins a generation, so that of the stored commits those
// of the reset count (Commit.Supersedes), and those of members that come later count more.
func (g *Group) reset(in *GroupInput, out *GroupEffects) {
	if !g.idle(in, out) {
		return
	}
	partitions := slices.Sorted(maps.Keys(in.Offsets))
	for _, partition := range partitions {
		refused := *in
		refused.Partition, refused.Offset = partition, in.Offsets[partition]
		if !g.has(partition) {
			reject(&refused, CodePartitionUnknown, out)
			return
		}
		if refused.Offset < 0 {
			reject(&refused, CodeOffsetOutOfRange, out)
			return
		}
	}
	g.generation++
	for _, partition := range partitions {
		g.parts[partition].committed = in.Offsets[partition]
		out.add(GroupEffect{Kind: GroupPersist, Partition: partition, Offset: in.Offsets[partition],
			Generation: g.generation})
	}
}

// forget removes all commits. Generations go on, so that a member from before stays fenced.
func (g *Group) forget(in *GroupInput, out *GroupEffects) {
	if !g.idle(in, out) {
		return
	}
	for i := range g.parts {
		if p := &g.parts[i]; p.committed >= 0 {
			p.committed = -1
			out.add(GroupEffect{Kind: GroupRemove, Partition: int32(i), Offset: -1})
		}
	}
}

// idle rejects an input unless the group has commits and no members.
func (g *Group) idle(in *GroupInput, out *GroupEffects) bool {
	if len(g.members) > 0 {
		reject(in, CodeGroupActive, out)
		return false
	}
	for range g.Commits() {
		return true
	}
	reject(in, CodeGroupNotFound, out)
	return false
}

package mmaplog

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
)

const memSector = 512

// Crash returns the disk as a power cut leaves it: of every change since its last sync, be it a
// 512-byte sector of a file or a created, renamed or removed entry of a folder, any subset survived,
// chosen by seed. The old file system is not changed and may go on. No writer may be inside a call.
func (m *MemFS) Crash(seed uint64) *MemFS {
	dice := dice(seed)
	m.mu.Lock()
	defer m.mu.Unlock()
	entries := maps.Clone(m.durable)
	keep := dice.odds()
	for i := range m.pending {
		if dice.chance(keep) {
			m.pending[i].apply(entries)
		}
	}
	after := Heap()
	// Sorted, so that the dice fall the same way in every run of a seed.
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if reachable(entries, name) {
			copied := entries[name].crash(&dice)
			after.entries[name], after.durable[name] = copied, copied
		}
	}
	return after
}

func reachable(entries map[string]*memNode, name string) bool {
	for parent := filepath.Dir(name); parent != "." && parent != filepath.Dir(parent); {
		if node := entries[parent]; node == nil || !node.dir {
			return false
		}
		parent = filepath.Dir(parent)
	}
	return true
}

// crash gives the node as the disk has it: per sector the synced or the written content.
func (n *memNode) crash(d *dice) *memNode {
	if n.dir {
		return &memNode{dir: true}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	size := len(n.disk)
	if len(n.data) > size && d.chance(d.odds()) {
		size = len(n.data) // the new length reached the disk although nobody synced it
	}
	disk := make([]byte, size)
	copy(disk, n.disk)
	keep := d.odds()
	for lo := 0; lo < size; lo += memSector {
		hi := min(lo+memSector, size)
		if !bytes.Equal(disk[lo:hi], n.data[lo:hi]) && d.chance(keep) {
			copy(disk[lo:hi], n.data[lo:hi])
		}
	}
	return &memNode{data: bytes.Clone(disk), disk: disk}
}

// dice is a small generator (splitmix64): simulations repeat from their seed.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// odds draws how likely a change survives, in 1/256: often none or all, to reach the corners.
func (d *dice) odds() uint64 {
	switch d.next() % 4 {
	case 0:
		return 0
	case 1:
		return 256
	}
	return d.next() % 257
}

func (d *dice) chance(odds uint64) bool { return d.next()%256 < odds }

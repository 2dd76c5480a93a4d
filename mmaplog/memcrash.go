package mmaplog

import (
	"maps"
	"path/filepath"
	"slices"
)

const memSector = 512

// Crash returns the disk as a power cut leaves it: of every change since its last sync, be it a
// 512-byte sector of a file or a created, renamed or removed entry of a folder, any subset survived,
// chosen by seed. The old file system is not changed and may go on. No writer may be inside a call.
func (m *MemFS) Crash(seed uint64) *MemFS { return m.crash(&randomCut{dice: dice(seed)}) }

// cut decides of each change that was not synced, in the same order every time, whether it survives.
type cut interface {
	// begin is told that the entries, or the changes of the next file, come next.
	begin()
	survives() bool
}

// randomCut gives every file odds of its own.
type randomCut struct {
	dice dice
	odds uint64
}

func (c *randomCut) begin()         { c.odds = c.dice.odds() }
func (c *randomCut) survives() bool { return c.dice.chance(c.odds) }

// chosenCut lets the changes survive whose bit is set, and counts them.
type chosenCut struct {
	bits    uint64
	changes int
}

func (c *chosenCut) begin() {}
func (c *chosenCut) survives() bool {
	c.changes++
	return c.changes <= 64 && c.bits>>(c.changes-1)&1 == 1
}

func (m *MemFS) crash(c cut) *MemFS {
	// The disk is taken as it is at one moment: what a sync makes durable meanwhile may be told of by bytes
	// that are written then, and an image with those but without that could not be.
	m.power.Lock()
	defer m.power.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	entries := maps.Clone(m.durable)
	c.begin()
	for i := range m.pending {
		if c.survives() {
			m.pending[i].apply(entries)
		}
	}
	after := Heap()
	after.boot = m.boot.next()
	// Sorted, so that the changes come in the same order in every run.
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if reachable(entries, name) {
			copied := entries[name].crash(c)
			after.entries[name], after.durable[name] = copied, copied
		}
	}
	return after
}

// next is the id of the start after this one.
func (a BootID) next() BootID {
	for i := range a {
		if a[i]++; a[i] != 0 {
			break
		}
	}
	return a
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

// crash gives the node as the disk has it: per sector the synced or the written content. What the two
// have in common is shared.
func (n *memNode) crash(c cut) *memNode {
	if n.dir {
		return &memNode{dir: true}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	after := &memNode{disk: n.disk.clone()}
	if n.data == nil {
		return after
	}
	c.begin()
	disk := &after.disk
	if size := int64(len(n.data)); size > disk.size && c.survives() {
		disk.grow(size) // the new length reached the disk although nobody synced it
	}
	for at := int64(0); at < disk.size; at += memPage {
		data := n.data[at:min(at+memPage, disk.size)]
		if disk.equal(data, at) {
			continue
		}
		for lo := 0; lo < len(data); lo += memSector {
			sector := data[lo:min(lo+memSector, len(data))]
			if !disk.equal(sector, at+int64(lo)) && c.survives() {
				disk.write(sector, at+int64(lo))
			}
		}
	}
	return after
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

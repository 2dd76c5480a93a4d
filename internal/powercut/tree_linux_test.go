package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// tree is a file system in memory whose operations can fail: what a log meets on a network or in a quota, or
// when the kernel has made a disk read-only.
type tree struct {
	mu sync.Mutex
	// mu guards the following.
	nodes  map[uint64]*treeNode
	next   uint64
	faults treeFaults
}

type treeNode struct {
	names map[string]uint64 // of a folder; nil for a file
	data  []byte
	opens int
	gone  bool // it has no name
}

// treeFaults says which of the operations that change something fail, counted from 0.
type treeFaults struct {
	Seen     int // operations so far
	Fired    int // of them, those that failed
	From, To int
	Errno    unix.Errno // 0 for none
	Flushes  bool       // syncs count and fail too
	Reads    bool       // nothing but reads of files fails
	Torn     bool       // the first write that fails is done by half, which a caller sees as a short one
}

func newTree() *tree {
	return &tree{nodes: map[uint64]*treeNode{rootNode: {names: map[string]uint64{}}}, next: rootNode + 1}
}

// arm sets what fails from now on, and gives what happened since it was set before.
func (t *tree) arm(f treeFaults) treeFaults {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.faults
	t.faults = f
	return old
}

// changeLocked counts an operation that changes something, and fails it if it is its turn.
func (t *tree) changeLocked(op uint32) (errno unix.Errno, torn bool) {
	f := &t.faults
	if !f.Flushes && (op == fuseFsync || op == fuseFsyncdir) {
		return 0, false
	}
	n := f.Seen
	f.Seen++
	if f.Errno == 0 || f.Reads || n < f.From || n >= f.To {
		return 0, false
	}
	f.Fired++
	return f.Errno, f.Torn && f.Fired == 1
}

func (t *tree) answer(op uint32, node uint64, body, out []byte) (length int, errno unix.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[node]
	if n == nil {
		return 0, unix.ESTALE
	}
	switch op {
	case fuseMkdir, fuseCreate, fuseUnlink, fuseRmdir, fuseRename:
		return t.changeFolderLocked(op, n, body, out)
	case fuseSetattr, fuseWrite, fuseFallocate, fuseFsync, fuseFsyncdir:
		return t.changeFileLocked(op, node, n, body, out)
	case fuseLookup:
		id, ok := n.names[name(body)]
		if !ok {
			return 0, unix.ENOENT
		}
		return putEntry(out, id, t.nodes[id].size()), 0
	case fuseGetattr:
		return putAttr(out, node, n.size()), 0
	case fuseOpen, fuseOpendir:
		n.opens++
		return putOpened(out), 0
	case fuseRead:
		return t.readLocked(n, body, out)
	case fuseReaddir:
		return n.list(body, out), 0
	case fuseStatfs:
		return putSpace(out), 0
	case fuseRelease, fuseReleasedir:
		n.opens--
		t.forgetLocked(node)
		return 0, 0
	case fuseFlush:
		return 0, 0
	}
	return 0, unix.ENOSYS
}

// forgetLocked gives up a node that has no name and that nobody has open.
func (t *tree) forgetLocked(id uint64) {
	if n := t.nodes[id]; n.gone && n.opens == 0 {
		delete(t.nodes, id)
	}
}

func (t *tree) changeFolderLocked(op uint32, n *treeNode, body, out []byte) (length int, errno unix.Errno) {
	if errno, _ := t.changeLocked(op); errno != 0 {
		return 0, errno
	}
	switch op {
	case fuseMkdir:
		return putEntry(out, t.addLocked(n, name(body[8:]), map[string]uint64{}), -1), 0
	case fuseCreate:
		id := t.addLocked(n, name(body[16:]), nil)
		t.nodes[id].opens++
		length = putEntry(out, id, 0)
		return length + putOpened(out[length:]), 0
	case fuseRename:
		from, to, _ := bytes.Cut(body[8:], []byte{0})
		id, ok := n.names[string(from)]
		folder := t.nodes[binary.LittleEndian.Uint64(body)]
		if !ok || folder == nil {
			return 0, unix.ENOENT
		}
		delete(n.names, string(from))
		if old, ok := folder.names[name(to)]; ok {
			t.nodes[old].gone = true
			t.forgetLocked(old)
		}
		folder.names[name(to)] = id
		return 0, 0
	}
	id, ok := n.names[name(body)]
	if !ok {
		return 0, unix.ENOENT
	}
	if op == fuseRmdir && len(t.nodes[id].names) > 0 {
		return 0, unix.ENOTEMPTY
	}
	delete(n.names, name(body))
	t.nodes[id].gone = true
	t.forgetLocked(id)
	return 0, 0
}

func (t *tree) changeFileLocked(op uint32, node uint64, n *treeNode, body, out []byte) (int, unix.Errno) {
	le := binary.LittleEndian
	errno, torn := t.changeLocked(op)
	if op == fuseWrite {
		size := int(le.Uint32(body[16:]))
		if errno != 0 && torn && size >= 1024 {
			size, errno = size/2, 0
			t.faults.To = max(t.faults.To, t.faults.Seen+1) // the caller tries the rest, which fails
		}
		if errno == 0 {
			n.write(body[40:][:size], int(le.Uint64(body[8:])))
		}
		return putWritten(out, uint32(size)), errno
	}
	if errno != 0 {
		return 0, errno
	}
	switch op {
	case fuseSetattr:
		const withSize = 1 << 3
		if le.Uint32(body)&withSize != 0 {
			n.resize(int(le.Uint64(body[16:])))
		}
		return putAttr(out, node, n.size()), 0
	case fuseFallocate:
		n.resize(max(len(n.data), int(le.Uint64(body[8:])+le.Uint64(body[16:]))))
	}
	return 0, 0
}

func (t *tree) addLocked(folder *treeNode, name string, names map[string]uint64) uint64 {
	id := t.next
	t.next++
	t.nodes[id] = &treeNode{names: names}
	folder.names[name] = id
	return id
}

func (t *tree) readLocked(n *treeNode, body, out []byte) (int, unix.Errno) {
	if t.faults.Reads {
		t.faults.Fired++
		return 0, t.faults.Errno
	}
	at := min(int(binary.LittleEndian.Uint64(body[8:])), len(n.data))
	return copy(out[:binary.LittleEndian.Uint32(body[16:])], n.data[at:]), 0
}

// size is that of a file, or -1.
func (n *treeNode) size() int64 {
	if n.names != nil {
		return -1
	}
	return int64(len(n.data))
}

func (n *treeNode) resize(size int) {
	if size <= len(n.data) {
		n.data = n.data[:size]
		return
	}
	n.data = append(n.data, make([]byte, size-len(n.data))...)
}

func (n *treeNode) write(p []byte, at int) {
	if at+len(p) > len(n.data) {
		n.resize(at + len(p))
	}
	copy(n.data[at:], p)
}

// list fills in the names of a folder from a place on.
func (n *treeNode) list(body, out []byte) (length int) {
	le := binary.LittleEndian
	size := int(le.Uint32(body[16:]))
	var names []string
	for name := range n.names {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := int(le.Uint64(body[8:])); i < len(names); i++ {
		entry := 24 + (len(names[i])+7)&^7
		if length+entry > size {
			break
		}
		clear(out[length : length+entry])
		le.PutUint64(out[length:], n.names[names[i]])
		le.PutUint64(out[length+8:], uint64(i+1))
		le.PutUint32(out[length+16:], uint32(len(names[i])))
		copy(out[length+24:], names[i])
		length += entry
	}
	return length
}

// putSpace tells of 1 GiB, all of it free.
func putSpace(out []byte) int {
	le := binary.LittleEndian
	clear(out[:80])
	for _, at := range []int{0, 8, 16, 24, 32} {
		le.PutUint64(out[at:], 1<<18)
	}
	le.PutUint32(out[40:], 4096)
	le.PutUint32(out[44:], 255)
	le.PutUint32(out[48:], 4096)
	return 80
}

// name is a string that ends with a zero byte.
func name(body []byte) string {
	s, _, _ := bytes.Cut(body, []byte{0})
	return string(s)
}

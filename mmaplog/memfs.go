package mmaplog

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// MemFS is a file system in Go memory with a simulated disk behind it: what was synced is known
// apart from what was only written, so Crash can take away any part of the rest, and faults can be
// injected. A map of it is plain memory, which the race detector watches.
type MemFS struct {
	faults memFaults
	power  sync.RWMutex // held for reading while a sync makes something durable, for writing by a crash
	cache  memCache
	boot   BootID // another one after each Crash

	mu sync.Mutex
	// mu guards the following.
	entries map[string]*memNode // what the running system sees
	durable map[string]*memNode // entries that survive any crash
	pending []memOp             // changes of entries not followed by a SyncDir of their folder, in order
	locked  map[string]bool
}

// memNode is a file or folder, whatever names it has.
type memNode struct {
	dir bool

	mu sync.Mutex
	// mu guards the following, but for the bytes of data that a map's writer owns.
	data    []byte  // the page cache; nil while nothing was written since a crash: it is as the disk
	disk    memDisk // what was synced
	dirtyLo int64   // [dirtyLo, dirtyHi) was written by WriteAt since the last Sync
	dirtyHi int64
	mapped  int
	// persisted is the number of the newest WriteOut, of any file, when the file was synced last.
	persisted int64
}

type memOpKind uint8

const (
	memCreate memOpKind = iota
	memRemove
	memRename
)

type memOp struct {
	kind memOpKind
	name string
	to   string // of a rename
	node *memNode
}

func (op *memOp) apply(entries map[string]*memNode) {
	switch op.kind {
	case memCreate:
		entries[op.name] = op.node
	case memRemove:
		if entries[op.name] == op.node {
			delete(entries, op.name)
		}
	case memRename:
		if entries[op.name] == op.node {
			delete(entries, op.name)
		}
		entries[op.to] = op.node
	}
}

// Heap returns an empty file system in memory.
func Heap() *MemFS {
	return &MemFS{
		entries: map[string]*memNode{},
		durable: map[string]*memNode{},
		locked:  map[string]bool{},
		boot:    BootID{1},
	}
}

// BootID changes with Crash.
func (m *MemFS) BootID() BootID { return m.boot }

// Mappable is true: its maps are the files' own memory.
func (m *MemFS) Mappable(string) bool { return true }

// Space is what SizeSpace set, and else unknown.
func (m *MemFS) Space(string) (free, total int64, err error) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	if m.faults.total == 0 {
		return 0, 0, errors.ErrUnsupported
	}
	return m.faults.space, m.faults.total, nil
}

// MkdirAll creates dir and its parents.
func (m *MemFS) MkdirAll(dir string) error {
	if err := m.faults.step("mkdir", dir); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mkdirLocked(filepath.Clean(dir))
}

func (m *MemFS) mkdirLocked(dir string) error {
	if node := m.entries[dir]; node != nil {
		if !node.dir {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir && parent != "." {
		if err := m.mkdirLocked(parent); err != nil {
			return err
		}
	}
	m.changeLocked(memOp{kind: memCreate, name: dir, node: &memNode{dir: true}})
	return nil
}

func (m *MemFS) changeLocked(op memOp) {
	op.apply(m.entries)
	m.pending = append(m.pending, op)
}

// Open opens or creates a file.
func (m *MemFS) Open(name string, mode OpenMode) (File, error) {
	name = filepath.Clean(name)
	if mode == Create {
		if err := m.faults.step("create", name); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.entries[name]
	switch {
	case mode == Create && node != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case mode != Create && node == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case mode == Create:
		if parent := m.entries[filepath.Dir(name)]; parent == nil || !parent.dir {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		node = &memNode{}
		m.changeLocked(memOp{kind: memCreate, name: name, node: node})
	case node.dir:
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	}
	return &memFile{fs: m, node: node, name: name, readOnly: mode == ReadOnly}, nil
}

// ReadDir lists the names in dir.
func (m *MemFS) ReadDir(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if node := m.entries[dir]; node == nil {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
	} else if !node.dir {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: syscall.ENOTDIR}
	}
	var names []string
	for name := range m.entries {
		if filepath.Dir(name) == dir && name != dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Rename moves a file. Between two folders it is two changes, which a crash may tear apart.
func (m *MemFS) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	if err := m.faults.step("rename", from); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.entries[from]
	if node == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		m.changeLocked(memOp{kind: memCreate, name: to, node: node})
		m.changeLocked(memOp{kind: memRemove, name: from, node: node})
		return nil
	}
	m.changeLocked(memOp{kind: memRename, name: from, to: to, node: node})
	return nil
}

// Remove deletes a file or an empty folder.
func (m *MemFS) Remove(name string) error {
	name = filepath.Clean(name)
	if err := m.faults.step("remove", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.entries[name]
	if node == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if node.dir {
		for other := range m.entries {
			if filepath.Dir(other) == name {
				return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
			}
		}
	}
	m.changeLocked(memOp{kind: memRemove, name: name, node: node})
	m.faults.free(node.size())
	return nil
}

// SyncDir makes the entries of dir durable.
func (m *MemFS) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	if err := m.faults.sync("syncdir", dir); err != nil {
		return err
	}
	if m.faults.ignoreDirSync.Load() {
		return nil
	}
	m.power.RLock()
	defer m.power.RUnlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.pending[:0]
	for _, op := range m.pending {
		if filepath.Dir(op.name) == dir {
			op.apply(m.durable)
		} else {
			kept = append(kept, op)
		}
	}
	m.pending = kept
	return nil
}

// Lock takes a lock that lives as long as this MemFS; a crash releases it.
func (m *MemFS) Lock(name string) (io.Closer, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[name] {
		return nil, errLocked
	}
	if m.entries[name] == nil {
		m.changeLocked(memOp{kind: memCreate, name: name, node: &memNode{}})
	}
	m.locked[name] = true
	return &memLock{m, name}, nil
}

type memLock struct {
	fs   *MemFS
	name string
}

func (l *memLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locked, l.name)
	return nil
}

// Size is the length of a file.
func (m *MemFS) Size(name string) (int64, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	node := m.entries[name]
	m.mu.Unlock()
	if node == nil || node.dir {
		return 0, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return node.size(), nil
}

// sectorLocked is the sector at position at, or what is there of it.
func (n *memNode) sectorLocked(at int64) []byte {
	hi := min(at+memSector, n.sizeLocked())
	if n.data != nil {
		return n.data[at:hi]
	}
	return n.disk.page(at / memPage)[at%memPage:][:hi-at]
}

func (n *memNode) size() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sizeLocked()
}

func (n *memNode) sizeLocked() int64 {
	if n.data == nil {
		return n.disk.size
	}
	return int64(len(n.data))
}

// warmLocked gives the node a page cache of its own.
func (n *memNode) warmLocked() {
	if n.data == nil && n.disk.size > 0 {
		n.data = make([]byte, n.disk.size)
		n.disk.read(n.data, 0)
	}
}

package mmaplog

import (
	"cmp"
	"hash/maphash"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// fileBudget is a file system on which at most a number of files is open at a time, however many of them its
// users hold: the least recently used ones are closed, and opened again when they are used. Nobody notices:
// a file that is renamed keeps its handles, and one that is removed or replaced stays open for those who have
// it.
//
// A file with bytes that were not synced since they were written is synced before it is closed, because the
// kernel tells of a failed write only those who had the file open, or have a map of it: what that says is
// what the next Sync of the handle answers. Such files are closed last.
//
// More are open for moments: as many as goroutines are inside a call.
type fileBudget struct {
	FS
	limit int
	tick  atomic.Int64 // rises with every file that is opened
	names [64]fileNames

	mu   sync.Mutex
	open []*fileHandle // guarded by mu; in no order
}

// fileNames are the handles of the files in some of the folders. Changing of names is held while a file of
// them is renamed or removed, which the kernel makes wait for each other anyway: an open meanwhile might get
// another file.
type fileNames struct {
	changing sync.RWMutex

	mu   sync.Mutex
	list map[string][]*fileHandle // guarded by mu
}

func newFileBudget(fs FS, limit int64) *fileBudget { return &fileBudget{FS: fs, limit: int(limit)} }

var folderSeed = maphash.MakeSeed()

// namesOf gives the names of the folder that a file is in.
func (b *fileBudget) namesOf(name string) *fileNames { return &b.names[b.folderOf(name)] }

func (b *fileBudget) folderOf(name string) int {
	return int(maphash.String(folderSeed, filepath.Dir(name)) % uint64(len(b.names)))
}

// Open opens a file.
func (b *fileBudget) Open(name string, mode OpenMode) (File, error) {
	name = filepath.Clean(name)
	n := b.namesOf(name)
	b.makeRoom(b.limit)
	n.changing.RLock()
	defer n.changing.RUnlock()
	file, err := b.openFile(name, mode)
	if err != nil {
		return nil, err
	}
	h := &fileHandle{budget: b, mode: mode, file: file}
	if mode == Create {
		h.mode = ReadWrite
	}
	h.name.Store(&name)
	b.opened(h)
	n.add(name, h)
	return h, nil
}

// openFile opens a file, and if there are too many closes others and tries again.
func (b *fileBudget) openFile(name string, mode OpenMode) (File, error) {
	file, err := b.FS.Open(name, mode)
	if outOfFiles(err) {
		b.makeRoom(b.count() / 2)
		file, err = b.FS.Open(name, mode)
	}
	return file, err
}

// SyncDir takes a file for a moment.
func (b *fileBudget) SyncDir(dir string) error {
	err := b.FS.SyncDir(dir)
	if outOfFiles(err) {
		b.makeRoom(b.count() / 2)
		err = b.FS.SyncDir(dir)
	}
	return err
}

// ReadDir takes a file for a moment.
func (b *fileBudget) ReadDir(dir string) ([]string, error) {
	names, err := b.FS.ReadDir(dir)
	if outOfFiles(err) {
		b.makeRoom(b.count() / 2)
		names, err = b.FS.ReadDir(dir)
	}
	return names, err
}

// Rename moves a file and its handles. Those of the file that had the name stay with that.
func (b *fileBudget) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	source, target := b.namesOf(from), b.namesOf(to)
	defer b.changeNames(from, to)()
	kept := b.wake(target, to)
	err := b.FS.Rename(from, to)
	if err == nil {
		target.orphan(to)
		for _, h := range source.take(from) {
			h.name.Store(&to)
			target.add(to, h)
		}
	}
	release(kept)
	return err
}

// Remove deletes a file. Its handles stay open.
func (b *fileBudget) Remove(name string) error {
	name = filepath.Clean(name)
	n := b.namesOf(name)
	n.changing.Lock()
	defer n.changing.Unlock()
	kept := b.wake(n, name)
	err := b.FS.Remove(name)
	if err == nil {
		n.orphan(name)
	}
	release(kept)
	return err
}

// changeNames has no name in the folders of two files change but by the caller, until it calls what is
// returned.
func (b *fileBudget) changeNames(from, to string) func() {
	i, j := b.folderOf(from), b.folderOf(to)
	if i > j { // always in one order, whoever moves files to and fro
		i, j = j, i
	}
	b.names[i].changing.Lock()
	if i == j {
		return b.names[i].changing.Unlock
	}
	b.names[j].changing.Lock()
	return func() {
		b.names[j].changing.Unlock()
		b.names[i].changing.Unlock()
	}
}

// wake opens the files that are behind the handles of a name, which must not change meanwhile, and keeps them
// open until release. One that cannot be opened is left: its next use tells.
func (b *fileBudget) wake(n *fileNames, name string) []*fileHandle {
	n.mu.Lock()
	handles := slices.Clone(n.list[name])
	n.mu.Unlock()
	var kept []*fileHandle
	for _, h := range handles {
		if _, err := h.acquireAs(name); err == nil {
			kept = append(kept, h)
		}
	}
	return kept
}

func release(handles []*fileHandle) {
	for _, h := range handles {
		h.release()
	}
}

func (n *fileNames) add(name string, h *fileHandle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.list == nil {
		n.list = make(map[string][]*fileHandle)
	}
	n.list[name] = append(n.list[name], h)
}

// take gives the handles of a name, and forgets them.
func (n *fileNames) take(name string) []*fileHandle {
	n.mu.Lock()
	defer n.mu.Unlock()
	handles := n.list[name]
	delete(n.list, name)
	return handles
}

// orphan notes that a file has lost its name: it cannot be opened again.
func (n *fileNames) orphan(name string) {
	for _, h := range n.take(name) {
		h.mu.Lock()
		h.nameless = true
		h.mu.Unlock()
	}
}

func (n *fileNames) remove(name string, h *fileHandle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list[name]
	if i := slices.Index(list, h); i >= 0 {
		list[i] = list[len(list)-1]
		list[len(list)-1] = nil
		n.list[name] = list[:len(list)-1]
	}
	if len(n.list[name]) == 0 {
		delete(n.list, name)
	}
}

// opened counts a file. The handle's mu is held, or nobody else has the handle.
func (b *fileBudget) opened(h *fileHandle) {
	h.used.Store(b.tick.Add(1))
	b.mu.Lock()
	defer b.mu.Unlock()
	h.slot = len(b.open)
	b.open = append(b.open, h)
}

// closed counts a file no more. The handle's mu is held.
func (b *fileBudget) closed(h *fileHandle) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.open) - 1
	b.open[h.slot] = b.open[last]
	b.open[h.slot].slot = h.slot
	b.open[last] = nil
	b.open = b.open[:last]
}

func (b *fileBudget) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open)
}

// candidate is a file that may be closed.
type candidate struct {
	h     *fileHandle
	used  int64
	dirty bool
}

// makeRoom closes files if as many as limit are open, and some more, so that not every open has to look.
func (b *fileBudget) makeRoom(limit int) {
	b.mu.Lock()
	if len(b.open) < limit {
		b.mu.Unlock()
		return
	}
	list := make([]candidate, 0, len(b.open))
	for _, h := range b.open {
		list = append(list, candidate{h: h, used: h.used.Load()})
	}
	b.mu.Unlock()
	for i := range list {
		list[i].dirty = list[i].h.dirty()
	}
	slices.SortFunc(list, func(x, y candidate) int {
		if x.dirty != y.dirty {
			if x.dirty {
				return 1
			}
			return -1
		}
		return cmp.Compare(x.used, y.used)
	})
	enough := limit - limit/16 - 1
	for _, c := range list {
		// A file that has to be synced is closed only if there is no other way.
		if n := b.count(); n <= enough || c.dirty && n < limit {
			return
		}
		c.h.evict()
	}
}

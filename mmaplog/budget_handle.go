package mmaplog

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// fileHandle is a file of a fileBudget: open now, or opened again when it is used.
type fileHandle struct {
	budget *fileBudget
	mode   OpenMode               // to open it with
	name   atomic.Pointer[string] // changes only while nobody else changes names of its folder
	used   atomic.Int64           // tick of the last use
	slot   int                    // in budget.open; guarded by budget.mu

	mu sync.Mutex
	// mu guards the following.
	file     File  // nil while it is not open
	users    int   // calls that are inside of file
	written  int64 // writes that ended
	synced   int64 // of these, those that a sync covers
	failed   error // of a sync before the file was closed for others
	maps     int   // of the file, which know of failed writes too
	nameless bool  // removed or replaced
	closed   bool
}

// acquire gives the file, open until release.
func (h *fileHandle) acquire() (File, error) {
	if now := h.budget.tick.Load(); h.used.Load() != now {
		h.used.Store(now)
	}
	if file, err := h.take(); file != nil || err != nil {
		return file, err
	}
	h.budget.makeRoom(h.budget.limit)
	for {
		name := *h.name.Load()
		n := h.budget.namesOf(name)
		n.changing.RLock()
		if *h.name.Load() == name {
			defer n.changing.RUnlock()
			return h.acquireAs(name)
		}
		n.changing.RUnlock() // it was renamed before
	}
}

// take is acquire of a file that is open; nil if it is not.
func (h *fileHandle) take() (File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, os.ErrClosed
	case h.file == nil && h.nameless: // it could not be opened when it lost its name
		return nil, errNotExist
	case h.file == nil:
		return nil, nil
	}
	h.users++
	return h.file, nil
}

// acquireAs is acquire under a name that does not change meanwhile.
func (h *fileHandle) acquireAs(name string) (File, error) {
	if file, err := h.take(); file != nil || err != nil {
		return file, err
	}
	file, err := h.budget.openFile(name, h.mode)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	switch {
	case h.closed:
		h.mu.Unlock()
		return nil, errors.Join(os.ErrClosed, file.Close())
	case h.file != nil: // somebody else was faster; taken at once, before it can be evicted
		mine := file
		file = h.file
		defer func() { _ = mine.Close() }()
	default:
		h.file = file
		h.budget.opened(h)
	}
	h.users++
	h.mu.Unlock()
	return file, nil
}

func (h *fileHandle) release() {
	h.mu.Lock()
	h.users--
	h.mu.Unlock()
}

func (h *fileHandle) dirty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dirtyLocked()
}

func (h *fileHandle) dirtyLocked() bool { return h.written > h.synced && h.maps == 0 }

// evict closes the file for the time being, unless it is in use or could not be opened again.
func (h *fileHandle) evict() {
	h.mu.Lock()
	if h.file == nil || h.users > 0 || h.nameless || h.closed {
		h.mu.Unlock()
		return
	}
	file, written, dirty := h.file, h.written, h.dirtyLocked()
	h.file = nil
	h.budget.closed(h)
	h.mu.Unlock()
	if dirty {
		h.noteSync(written, file.Sync())
	}
	_ = file.Close() // what matters was synced
}

// noteSync notes the end of a sync that began when so many writes had ended.
func (h *fileHandle) noteSync(written int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.synced = max(h.synced, written)
	} else if h.failed == nil {
		h.failed = err
	}
}

// syncState gives the error that a sync has to answer, and how many writes have ended.
func (h *fileHandle) syncState() (written int64, failed error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.written, h.failed
}

func (h *fileHandle) ReadAt(p []byte, at int64) (int, error) {
	file, err := h.acquire()
	if err != nil {
		return 0, err
	}
	defer h.release()
	return file.ReadAt(p, at)
}

func (h *fileHandle) WriteAt(p []byte, at int64) (int, error) {
	file, err := h.acquire()
	if err != nil {
		return 0, err
	}
	defer h.wrote()
	return file.WriteAt(p, at)
}

// wrote is release after a write.
func (h *fileHandle) wrote() {
	h.mu.Lock()
	h.users--
	h.written++
	h.mu.Unlock()
}

func (h *fileHandle) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return os.ErrClosed
	}
	h.closed = true
	file, nameless := h.file, h.nameless
	h.file = nil
	if file != nil {
		h.budget.closed(h)
	}
	h.mu.Unlock()
	if !nameless {
		h.forgetName()
	}
	if file == nil {
		return nil
	}
	return file.Close()
}

// forgetName takes the handle from those of its file.
func (h *fileHandle) forgetName() {
	for {
		name := *h.name.Load()
		n := h.budget.namesOf(name)
		n.changing.RLock()
		if *h.name.Load() == name {
			n.remove(name, h)
			n.changing.RUnlock()
			return
		}
		n.changing.RUnlock()
	}
}

func (h *fileHandle) Size() (int64, error) {
	file, err := h.acquire()
	if err != nil {
		return 0, err
	}
	defer h.release()
	return file.Size()
}

func (h *fileHandle) Data(from int64) (lo, hi int64, err error) {
	file, err := h.acquire()
	if err != nil {
		return 0, 0, err
	}
	defer h.release()
	return file.Data(from)
}

func (h *fileHandle) Allocate(size int64) error {
	file, err := h.acquire()
	if err != nil {
		return err
	}
	defer h.wrote()
	return file.Allocate(size)
}

func (h *fileHandle) Sync() error {
	file, err := h.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	written, failed := h.syncState()
	if failed != nil {
		return failed
	}
	if err := file.Sync(); err != nil {
		return err
	}
	h.noteSync(written, nil)
	_, failed = h.syncState() // the file may have been closed meanwhile, with a sync that failed
	return failed
}

func (h *fileHandle) Device() uint64 {
	file, err := h.acquire()
	if err != nil {
		return 0
	}
	defer h.release()
	return file.Device()
}

func (h *fileHandle) BeginWriteOut(lo, hi int64) {
	if file, err := h.acquire(); err == nil {
		defer h.release()
		file.BeginWriteOut(lo, hi)
	}
}

func (h *fileHandle) WriteOut(lo, hi int64) error {
	file, err := h.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	if err := file.WriteOut(lo, hi); err != nil {
		return err
	}
	_, failed := h.syncState()
	return failed
}

func (h *fileHandle) Cached(size int64) bool {
	file, err := h.acquire()
	if err != nil {
		return false
	}
	defer h.release()
	return file.Cached(size)
}

func (h *fileHandle) Forget() {
	if file, err := h.acquire(); err == nil {
		defer h.release()
		file.Forget()
	}
}

// Map gives a map that stays, whether the file is open or not.
func (h *fileHandle) Map(size int64) (Region, error) {
	file, err := h.acquire()
	if err != nil {
		return nil, err
	}
	defer h.release()
	r, err := file.Map(size)
	if err != nil {
		return nil, err
	}
	h.addMaps(1)
	return &handleRegion{Region: r, handle: h}, nil
}

func (h *fileHandle) addMaps(n int) {
	h.mu.Lock()
	h.maps += n
	h.mu.Unlock()
}

// handleRegion is a map of a fileHandle.
type handleRegion struct {
	Region
	handle *fileHandle
}

func (r *handleRegion) Close() error {
	err := r.Region.Close()
	r.handle.addMaps(-1)
	return err
}

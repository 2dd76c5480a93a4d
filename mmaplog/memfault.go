package mmaplog

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// memFaults are the switches of a MemFS. The zero value injects nothing.
type memFaults struct {
	ignoreSync    atomic.Bool
	ignoreDirSync atomic.Bool
	ignoreMapSync atomic.Bool
	ignoreFlush   atomic.Bool

	mu sync.Mutex
	// mu guards the following.
	limited  bool  // whether space is limited
	space    int64 // bytes left
	total    int64 // of the file system, for Space; 0 is unknown
	syncErr  error // for the next sync of a file or map
	outErr   error // for the next WriteOut
	hang     chan struct{}
	hung     chan struct{}
	readErr  error
	writeErr error
	hook     func(op, name string)
}

// IgnoreSync makes syncs of files and maps succeed without doing anything: a negative control.
func (m *MemFS) IgnoreSync(on bool) { m.faults.ignoreSync.Store(on) }

// IgnoreDirSync makes SyncDir succeed without doing anything: a negative control.
func (m *MemFS) IgnoreDirSync(on bool) { m.faults.ignoreDirSync.Store(on) }

// IgnoreMapSync makes only Region.Sync a no-op, as an asynchronous msync is.
func (m *MemFS) IgnoreMapSync(on bool) { m.faults.ignoreMapSync.Store(on) }

// IgnoreFlush makes a sync of one file or map leave the cache of the disk as it is: what other files had
// written out stays there.
func (m *MemFS) IgnoreFlush(on bool) { m.faults.ignoreFlush.Store(on) }

// LimitSpace makes the disk full after n more bytes were reserved; n < 0 takes the limit away.
// Removing a file gives its bytes back.
func (m *MemFS) LimitSpace(n int64) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.limited, m.faults.space = n >= 0, n
}

// SizeSpace makes a disk of total bytes of which free are left.
func (m *MemFS) SizeSpace(free, total int64) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.limited, m.faults.space, m.faults.total = true, free, total
}

// FailNextSync makes the next sync of a file or map fail with err and lose what it covered. (Not of a state
// file, which is written at a time of its own.)
func (m *MemFS) FailNextSync(err error) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.syncErr = err
}

// FailNextWriteOut makes the next WriteOut fail with err and lose what it covered.
func (m *MemFS) FailNextWriteOut(err error) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.outErr = err
}

// HangNextSync makes the next sync of a file or map, but a state file, wait until release is called; hung is
// closed when it waits.
func (m *MemFS) HangNextSync() (hung <-chan struct{}, release func()) {
	wait, reached := make(chan struct{}), make(chan struct{})
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.hang, m.faults.hung = wait, reached
	return reached, sync.OnceFunc(func() { close(wait) })
}

// FailWrites makes every WriteAt fail with err after half its bytes; nil ends it.
func (m *MemFS) FailWrites(err error) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.writeErr = err
}

// FailReads makes every ReadAt fail with err; nil ends it.
func (m *MemFS) FailReads(err error) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.readErr = err
}

// Hook calls f before every operation that changes or syncs the disk, so that a test may crash there.
func (m *MemFS) Hook(f func(op, name string)) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.hook = f
}

func (f *memFaults) step(op, name string) error {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		hook(op, name)
	}
	return nil
}

// take reserves n bytes.
func (f *memFaults) take(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limited && n > f.space {
		return syscall.ENOSPC
	}
	f.space -= n
	return nil
}

func (f *memFaults) free(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space += n
}

func (f *memFaults) read(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readErr == nil {
		return nil
	}
	return &fs.PathError{Op: "read", Path: name, Err: f.readErr}
}

// write tells how many of n bytes are written and with which error.
func (f *memFaults) write(name string, n int) (int, error) {
	_ = f.step("write", name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writeErr == nil {
		return n, nil
	}
	return n / 2, &fs.PathError{Op: "write", Path: name, Err: f.writeErr}
}

func (f *memFaults) sync(op, name string) error {
	_ = f.step(op, name)
	f.mu.Lock()
	hang, hung, err := f.hang, f.hung, f.syncErr
	data := op != "syncdir" && !strings.HasPrefix(filepath.Base(name), stateName)
	if data {
		f.hang, f.hung, f.syncErr = nil, nil, nil
	}
	f.mu.Unlock()
	if !data {
		return nil
	}
	if hang != nil {
		close(hung)
		<-hang
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

package mmaplog

import (
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/leatbus/leat/core"
)

// FS is the file seam: everything this package does to a disk goes through it. There are three
// implementations: OS (the real one), Heap (memory, for the race detector) and Heap with Crash (a
// disk that loses what was not synced). Names are paths as package filepath makes them. Methods may
// be called by any goroutine and block for as long as the disk does.
type FS interface {
	// MkdirAll creates dir and its parents with mode 0700; a folder that exists is no error.
	MkdirAll(dir string) error
	// Open opens or creates a file, see OpenMode.
	Open(name string, mode OpenMode) (File, error)
	// Size is the length in bytes of a file that is not open; fs.ErrNotExist if it is not there.
	Size(name string) (int64, error)
	// ReadDir lists the names in dir in ascending order; fs.ErrNotExist if there is no dir.
	ReadDir(dir string) ([]string, error)
	// Rename moves a file, replacing what was there. Between two folders of one file system a power cut
	// may leave both names until both folders are synced.
	Rename(from, to string) error
	// Remove deletes a file or an empty folder.
	Remove(name string) error
	// SyncDir makes the entries of dir durable.
	SyncDir(dir string) error
	// Lock takes the exclusive lock of a file, creating it, or answers errLocked at once.
	Lock(name string) (io.Closer, error)
	// Mappable reports whether files under dir may be written through a map: false where the file
	// system copies on write or the system has no map support here.
	Mappable(dir string) bool
	// Space is the free and the total bytes of the file system that holds dir, or errors.ErrUnsupported.
	Space(dir string) (free, total int64, err error)
	// BootID tells this start of the machine from others, or is zero if it cannot.
	BootID() BootID
}

// OpenMode says how FS.Open opens a file.
type OpenMode uint8

// The modes.
const (
	ReadOnly  OpenMode = iota
	ReadWrite          // the file exists
	Create             // the file must not exist; mode 0600
)

// File is one open file. ReadAt and WriteAt may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Data gives the first range at from or behind that may hold something else than zeros: all that lies
	// between from and lo reads as zeros. lo and hi are the file's size if nothing does. Where the file
	// system does not tell, it is everything from from on.
	Data(from int64) (lo, hi int64, err error)
	// Allocate reserves blocks for [0, size) and extends the file to size; what is there stays. A
	// full disk is an error here, never a signal later.
	Allocate(size int64) error
	// Sync makes content and length durable. After an error nothing is known about what is.
	Sync() error
	// Device names the device whose cache of writes every Sync of a file of it empties, if writing again
	// into blocks that were synced changes nothing on the disk but their bytes; else, and where that is
	// not known, it is 0.
	Device() uint64
	// BeginWriteOut has the device begin to write the pages of [lo, hi). WriteOut tells how it went.
	BeginWriteOut(lo, hi int64)
	// WriteOut returns when the device has taken the pages of [lo, hi), maybe into a cache. They are
	// durable when a later Sync of any file of the same Device, not 0, has returned, if their blocks
	// were durable before. After an error nothing is known about them.
	WriteOut(lo, hi int64) error
	// Cached reports whether all pages of [0, size) are known to be in memory.
	Cached(size int64) bool
	// Forget drops clean pages from memory, so that reads show what is on the disk: after a failed
	// sync the two differ. It is best effort.
	Forget()
	// Map maps [0, size) for reading and writing, or answers errors.ErrUnsupported.
	Map(size int64) (Region, error)
}

// Region is a mapped file. Bytes stays valid until Close.
type Region interface {
	// Bytes is the mapped memory itself, shared with everyone who maps the file.
	Bytes() []byte
	// Populate makes the pages of [lo, hi) writable without a fault. It does not change content.
	Populate(lo, hi int64) error
	// Release takes the pages of [lo, hi) out of the page tables, where the system has such: whoever
	// touches them next takes a fault. It does not change content.
	Release(lo, hi int64) error
	// Sync makes the bytes in [lo, hi) and what is needed to read them durable.
	Sync(lo, hi int64) error
	// Close unmaps; nobody may touch Bytes any more.
	Close() error
}

// errLocked is answered by FS.Lock when another holder has the file.
var errLocked = errors.New("lock is held")

// outOfFiles reports whether err says that the process or the system has as many files open as it may.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// ioError turns an error of the seam into one of the error table: a full disk, a refused permission
// or any other failure. Errors that are ours already pass unchanged.
func ioError(op string, err error) error {
	var ours *core.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return core.NewError(core.CodeStorageFull, op, err)
	case errors.Is(err, fs.ErrPermission):
		return core.NewError(core.CodePermission, op, err)
	}
	e := core.NewError(core.CodeIO, op, err)
	if errors.Is(err, syscall.EROFS) {
		e.Hint = "the file system is read-only: if it was mounted so, mount it for writing (mount -o remount,rw) " +
			"or use another folder; if the kernel made it so, dmesg tells why, and the disk comes first"
	}
	return e
}

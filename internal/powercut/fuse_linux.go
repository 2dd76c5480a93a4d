package main

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// fuseServer serves a mounted folder to the kernel, one request at a time. source: linux/fuse.h, protocol
// 7.31.
type fuseServer struct {
	fd    int
	dir   string
	files fuseFiles
	done  chan struct{} // closed when the folder is no longer mounted
}

// fuseFiles are what is served.
type fuseFiles interface {
	// answer serves one request: it fills out, which is larger than any answer, and gives how much of it,
	// or an error.
	answer(op uint32, node uint64, body, out []byte) (length int, errno unix.Errno)
}

// diskFolder is a folder with one file, "disk": what a loop device needs.
type diskFolder struct{ disk *disk }

const (
	fuseLookup     = 1
	fuseForget     = 2
	fuseGetattr    = 3
	fuseSetattr    = 4
	fuseMkdir      = 9
	fuseUnlink     = 10
	fuseRmdir      = 11
	fuseRename     = 12
	fuseOpen       = 14
	fuseRead       = 15
	fuseWrite      = 16
	fuseStatfs     = 17
	fuseRelease    = 18
	fuseFsync      = 20
	fuseFlush      = 25
	fuseInit       = 26
	fuseOpendir    = 27
	fuseReaddir    = 28
	fuseReleasedir = 29
	fuseFsyncdir   = 30
	fuseCreate     = 35
	fuseInterrupt  = 36
	fuseForgetMany = 42
	fuseFallocate  = 43

	fuseInHeader  = 40
	fuseOutHeader = 16
	fuseWriteMax  = 128 << 10
	fuseBuffer    = fuseWriteMax + 4096

	rootNode = 1
	diskNode = 2
)

// serveFuse mounts the folder dir and serves it until it is unmounted.
func serveFuse(dir string, files fuseFiles) (*fuseServer, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("powercut", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("mount FUSE: %w", err)
	}
	s := &fuseServer{fd: fd, dir: dir, files: files, done: make(chan struct{})}
	go s.serve()
	return s, nil
}

// close unmounts and waits for the end of the server.
func (s *fuseServer) close() error {
	err := retryBusy(func() error { return unix.Unmount(s.dir, 0) })
	if err != nil {
		err = fmt.Errorf("unmount FUSE: %w", unix.Unmount(s.dir, unix.MNT_DETACH|unix.MNT_FORCE))
	}
	<-s.done
	return err
}

func (s *fuseServer) serve() {
	runtime.LockOSThread()
	defer close(s.done)
	defer unix.Close(s.fd)
	in := make([]byte, fuseBuffer)
	out := make([]byte, fuseOutHeader+fuseWriteMax)
	for {
		n, err := unix.Read(s.fd, in)
		if err == unix.EINTR || err == unix.ENOENT { // a request that was interrupted
			continue
		}
		if err != nil || n < fuseInHeader {
			return // ENODEV: unmounted
		}
		le := binary.LittleEndian
		op := le.Uint32(in[4:])
		var length int
		var errno unix.Errno
		switch op {
		case fuseForget, fuseForgetMany, fuseInterrupt:
			continue // they have no answer
		case fuseInit:
			length = fuseHandshake(in[fuseInHeader:n], out[fuseOutHeader:])
		default:
			length, errno = s.files.answer(op, le.Uint64(in[16:]), in[fuseInHeader:n], out[fuseOutHeader:])
		}
		if errno != 0 {
			length = 0
		}
		le.PutUint32(out, uint32(fuseOutHeader+length))
		le.PutUint32(out[4:], uint32(-int32(errno)))
		copy(out[8:16], in[8:16]) // which request it answers
		if _, err := unix.Write(s.fd, out[:fuseOutHeader+length]); err != nil && err != unix.ENOENT {
			return
		}
	}
}

func fuseHandshake(body, out []byte) int {
	const bigWrites = 1 << 5
	le := binary.LittleEndian
	clear(out[:64])
	le.PutUint32(out, 7)
	le.PutUint32(out[4:], 31)
	copy(out[8:12], body[8:12]) // max_readahead
	le.PutUint32(out[12:], bigWrites)
	le.PutUint16(out[16:], 16)
	le.PutUint16(out[18:], 12)
	le.PutUint32(out[20:], fuseWriteMax)
	le.PutUint32(out[24:], 1) // granularity of times
	return 64
}

func (f diskFolder) answer(op uint32, node uint64, body, out []byte) (length int, errno unix.Errno) {
	le := binary.LittleEndian
	switch op {
	case fuseLookup:
		if string(body) != "disk\x00" {
			return 0, unix.ENOENT
		}
		return putEntry(out, diskNode, f.size(diskNode)), 0
	case fuseGetattr, fuseSetattr:
		return putAttr(out, node, f.size(node)), 0
	case fuseOpen, fuseOpendir:
		return putOpened(out), 0
	case fuseRead:
		n, errno := f.disk.read(out[:le.Uint32(body[16:])], int64(le.Uint64(body[8:])))
		return n, errno
	case fuseWrite:
		size := le.Uint32(body[16:])
		return putWritten(out, size), f.disk.write(body[40:][:size], int64(le.Uint64(body[8:])))
	case fuseFsync:
		return 0, f.disk.flush()
	case fuseStatfs:
		clear(out[:80])
		return 80, 0
	case fuseRelease, fuseReleasedir, fuseFlush:
		return 0, 0
	}
	return 0, unix.ENOSYS
}

// size is the size of a node, or -1 for a folder.
func (f diskFolder) size(node uint64) int64 {
	if node == diskNode {
		return f.disk.size()
	}
	return -1
}

// putEntry fills what is answered to a lookup: a node and its attributes, size as for putAttributes. Nothing
// may be kept by the kernel.
func putEntry(out []byte, node uint64, size int64) int {
	clear(out[:40])
	binary.LittleEndian.PutUint64(out, node)
	putAttributes(out[40:], node, size)
	return 128
}

func putAttr(out []byte, node uint64, size int64) int {
	clear(out[:16])
	putAttributes(out[16:], node, size)
	return 104
}

// putOpened fills what is answered to an open: FOPEN_DIRECT_IO, nothing is kept in the kernel's cache of this
// file.
func putOpened(out []byte) int {
	clear(out[:16])
	binary.LittleEndian.PutUint32(out[8:], 1)
	return 16
}

func putWritten(out []byte, size uint32) int {
	clear(out[:8])
	binary.LittleEndian.PutUint32(out, size)
	return 8
}

// putAttributes fills in those of a file of size bytes, or of a folder if size is below 0.
func putAttributes(out []byte, node uint64, size int64) {
	le := binary.LittleEndian
	clear(out[:88])
	le.PutUint64(out, node)
	mode := uint32(unix.S_IFDIR | 0o700)
	if size >= 0 {
		mode = unix.S_IFREG | 0o600
		le.PutUint64(out[8:], uint64(size))
		le.PutUint64(out[16:], uint64(size+511)/512)
	}
	le.PutUint32(out[60:], mode)
	le.PutUint32(out[64:], 1)
	le.PutUint32(out[80:], 4096)
}

package main

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// fuseServer serves a folder with one file, "disk", to the kernel: the part of the protocol that a loop
// device needs. source: linux/fuse.h, protocol 7.31.
type fuseServer struct {
	fd   int
	dir  string
	disk *disk
	done chan struct{} // closed when the folder is no longer mounted
}

const (
	fuseLookup     = 1
	fuseForget     = 2
	fuseGetattr    = 3
	fuseSetattr    = 4
	fuseOpen       = 14
	fuseRead       = 15
	fuseWrite      = 16
	fuseStatfs     = 17
	fuseRelease    = 18
	fuseFsync      = 20
	fuseFlush      = 25
	fuseInit       = 26
	fuseOpendir    = 27
	fuseReleasedir = 29
	fuseInterrupt  = 36
	fuseForgetMany = 42

	fuseInHeader  = 40
	fuseOutHeader = 16
	fuseWriteMax  = 128 << 10
	fuseBuffer    = fuseWriteMax + 4096

	rootNode = 1
	diskNode = 2
)

// serveFuse mounts the folder dir and serves it until it is unmounted.
func serveFuse(dir string, d *disk) (*fuseServer, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("powercut", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("mount FUSE: %w", err)
	}
	s := &fuseServer{fd: fd, dir: dir, disk: d, done: make(chan struct{})}
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
		length, errno, silent := s.answer(in[:n], out[fuseOutHeader:])
		if silent {
			continue
		}
		le := binary.LittleEndian
		le.PutUint32(out, uint32(fuseOutHeader+length))
		le.PutUint32(out[4:], uint32(-int32(errno)))
		copy(out[8:16], in[8:16]) // which request it answers
		if _, err := unix.Write(s.fd, out[:fuseOutHeader+length]); err != nil && err != unix.ENOENT {
			return
		}
	}
}

// answer serves one request: it fills out and gives how much of it, or an error.
func (s *fuseServer) answer(in, out []byte) (length int, errno unix.Errno, silent bool) {
	le := binary.LittleEndian
	node, body := le.Uint64(in[16:]), in[fuseInHeader:]
	switch le.Uint32(in[4:]) {
	case fuseInit:
		return s.init(body, out), 0, false
	case fuseForget, fuseForgetMany, fuseInterrupt:
		return 0, 0, true
	case fuseLookup:
		if string(body) != "disk\x00" {
			return 0, unix.ENOENT, false
		}
		clear(out[:40])
		le.PutUint64(out, diskNode)
		s.attributes(diskNode, out[40:])
		return 128, 0, false
	case fuseGetattr, fuseSetattr:
		clear(out[:16])
		s.attributes(node, out[16:])
		return 104, 0, false
	case fuseOpen, fuseOpendir:
		clear(out[:16])
		le.PutUint32(out[8:], 1) // FOPEN_DIRECT_IO: nothing is kept in the kernel's cache of this file
		return 16, 0, false
	case fuseRead:
		return s.disk.read(out[:le.Uint32(body[16:])], int64(le.Uint64(body[8:]))), 0, false
	case fuseWrite:
		size := le.Uint32(body[16:])
		clear(out[:8])
		le.PutUint32(out, size)
		return 8, s.disk.write(body[40:][:size], int64(le.Uint64(body[8:]))), false
	case fuseFsync:
		return 0, s.disk.flush(), false
	case fuseStatfs:
		clear(out[:80])
		return 80, 0, false
	case fuseRelease, fuseReleasedir, fuseFlush:
		return 0, 0, false
	}
	return 0, unix.ENOSYS, false
}

func (s *fuseServer) init(body, out []byte) int {
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

func (s *fuseServer) attributes(node uint64, out []byte) {
	le := binary.LittleEndian
	clear(out[:88])
	le.PutUint64(out, node)
	mode := uint32(unix.S_IFDIR | 0o700)
	if node == diskNode {
		mode = unix.S_IFREG | 0o600
		le.PutUint64(out[8:], uint64(s.disk.size()))
		le.PutUint64(out[16:], uint64(s.disk.size()/512))
	}
	le.PutUint32(out[60:], mode)
	le.PutUint32(out[64:], 1)
	le.PutUint32(out[80:], 4096)
}

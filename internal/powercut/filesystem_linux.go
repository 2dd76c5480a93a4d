package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileSystem is one of the file systems whose power is cut.
type fileSystem struct {
	name   string
	bytes  int64
	sector int // what the device below writes as a whole
	mkfs   []string
}

// fileSystems are as small as their tools allow.
var fileSystems = []fileSystem{
	{"ext4", 24 << 20, 512, []string{"mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4",
		"-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"}},
	{"xfs", 24 << 20, 512, []string{"mkfs.xfs", "-q", "-f", "-K", "--unsupported", "-m", "reflink=1",
		"-l", "size=6m"}},
	// Its superblock has one checksum for 4 KiB, which it expects to be written as a whole.
	{"btrfs", 48 << 20, 4096, []string{"mkfs.btrfs", "-q", "-f", "-K", "-m", "single", "-d", "single"}},
}

// findFileSystem gives the one with a name.
func findFileSystem(name string) (fileSystem, error) {
	for _, fs := range fileSystems {
		if fs.name == name {
			return fs, nil
		}
	}
	return fileSystem{}, fmt.Errorf("file system %q: want ext4, xfs or btrfs", name)
}

// obstacle tells why this machine cannot have the file system, or is empty.
func (fs *fileSystem) obstacle() string {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err.Error()
	}
	if !bytes.Contains(known, []byte("\t"+fs.name+"\n")) {
		if err := exec.Command("modprobe", fs.name).Run(); err != nil {
			return fmt.Sprintf("the kernel has no %s, and modprobe: %v", fs.name, err)
		}
	}
	if _, err := exec.LookPath(fs.mkfs[0]); err != nil {
		return err.Error()
	}
	return ""
}

// make gives the bytes of an empty one.
func (fs *fileSystem) make(dir string) ([]byte, error) {
	path := filepath.Join(dir, "new.img")
	if err := os.WriteFile(path, make([]byte, fs.bytes), 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(path)
	mkfs := exec.Command(fs.mkfs[0], append(fs.mkfs[1:len(fs.mkfs):len(fs.mkfs)], path)...)
	if printed, err := mkfs.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", fs.mkfs[0], err, printed)
	}
	return os.ReadFile(path)
}

// mount mounts what is in a file.
func (fs *fileSystem) mount(file *os.File, dir string, flags uintptr) error {
	device, err := attachLoop(file, fs.sector)
	if err != nil {
		return fmt.Errorf("loop device: %w", err)
	}
	defer device.Close()
	if err := unix.Mount(device.Name(), dir, fs.name, unix.MS_NOATIME|flags, ""); err != nil {
		return fmt.Errorf("mount %s: %w", fs.name, err)
	}
	return nil
}

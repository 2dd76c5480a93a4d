package mmaplog

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
)

// OS is the real file system. Maps are used on Linux only; elsewhere it reads and writes by system
// calls, and on Windows it refuses to open a data folder.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFS) Open(name string, mode OpenMode) (File, error) {
	flag := os.O_RDONLY
	switch mode {
	case ReadWrite:
		flag = os.O_RDWR
	case Create:
		flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	if mode != ReadOnly {
		adviseRandom(f)
	}
	return &osFile{f}, nil
}

func (osFS) ReadDir(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

type osFile struct{ f *os.File }

func (f *osFile) ReadAt(p []byte, at int64) (int, error)  { return f.f.ReadAt(p, at) }
func (f *osFile) WriteAt(p []byte, at int64) (int, error) { return f.f.WriteAt(p, at) }
func (f *osFile) Close() error                            { return f.f.Close() }

func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, notRegular(f.f.Name())
	}
	return info.Size(), nil
}

func notRegular(name string) error {
	return &fs.PathError{Op: "size", Path: name, Err: errors.New("not a regular file")}
}

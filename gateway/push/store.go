package push

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// fileName is the file of subscriptions within its folder.
const fileName = "subscriptions"

// store keeps subscriptions in a file of mode 0600. It belongs to one process.
type store struct {
	fs  mmaplog.FS
	dir string
}

// load reads the file; there are no subscriptions where there is none.
func (s *store) load() ([]record, error) {
	path := filepath.Join(s.dir, fileName)
	f, err := s.fs.Open(path, mmaplog.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, core.NewError(core.CodeIO, "open push subscriptions", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, core.NewError(core.CodeIO, "read push subscriptions", err)
	}
	if size > fileBytesMost {
		return nil, damaged("%d bytes, at most %d", size, fileBytesMost)
	}
	text := make([]byte, size)
	if n, err := f.ReadAt(text, 0); int64(n) < size || err != nil && !errors.Is(err, io.EOF) {
		return nil, core.Errorf(core.CodeIO, "read push subscriptions", "%d of %d bytes: %w", n, size, err)
	}
	return decode(text)
}

// save replaces the file: after a crash it is as it was or as it is to be. What was in it is gone, secrets
// too.
func (s *store) save(all []record) error {
	text, err := encode(all)
	if err != nil {
		return core.NewError(core.CodeInternal, "write push subscriptions", err)
	}
	if len(text) > fileBytesMost {
		return core.Errorf(core.CodeLimited, "write push subscriptions", "%d bytes, at most %d", len(text),
			fileBytesMost)
	}
	if err := s.replace(text); err != nil {
		return core.NewError(core.CodeIO, "write push subscriptions", err)
	}
	return nil
}

func (s *store) replace(text []byte) error {
	path := filepath.Join(s.dir, fileName)
	temporary := path + ".tmp"
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	if err := s.fs.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.fs.Open(temporary, mmaplog.Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.fs.Rename(temporary, path); err != nil {
		return err
	}
	for _, dir := range []string{s.dir, filepath.Dir(s.dir)} {
		if err := s.fs.SyncDir(dir); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("sync the folder: %w", err)
		}
	}
	return nil
}

package mmaplog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/leatbus/leat/core"
)

// formatVersion is the version of the folder's layout, the number in the file FORMAT.
const formatVersion = 1

const formatPrefix = "leat data format "

// checkFormat reads the file FORMAT of a data folder, writing it if there is none.
func checkFormat(fs FS, dir string) error {
	text, err := readSmall(fs, filepath.Join(dir, "FORMAT"))
	if errors.Is(err, errNotExist) {
		// Whoever finds the file, after a kill right behind its rename, may rely on the folders.
		if err := errors.Join(fs.SyncDir(filepath.Dir(dir)), fs.SyncDir(dir)); err != nil {
			return err
		}
		return writeSmall(fs, dir, "FORMAT", fmt.Sprintf("%s%d\n", formatPrefix, formatVersion))
	}
	if err != nil {
		return err
	}
	version, err := parseFormat(text)
	if err != nil {
		return err
	}
	if version > formatVersion {
		return core.Errorf(core.CodeVersionTooNew, "open data folder "+strconv.Quote(dir),
			"format %d, this build reads up to %d", version, formatVersion)
	}
	return nil
}

func parseFormat(text string) (int, error) {
	number, ok := strings.CutPrefix(text, formatPrefix)
	version, err := strconv.Atoi(strings.TrimSuffix(number, "\n"))
	if !ok || err != nil || version < 1 {
		return 0, core.Errorf(core.CodeCorrupt, "read FORMAT", "found %s, want a line like %q",
			core.Quote(text), formatPrefix+"1")
	}
	return version, nil
}

// writeSmall writes a file of the data folder itself. It is complete or absent, whatever happens: it gets
// its name when its content is durable.
func writeSmall(fs FS, dir, name, text string) error {
	path := filepath.Join(dir, name)
	temporary := path + ".tmp"
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	f, err := fs.Open(temporary, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(temporary, path); err != nil {
		return err
	}
	if err := fs.SyncDir(dir); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(dir))
}

func readSmall(fs FS, path string) (string, error) {
	f, err := fs.Open(path, ReadOnly)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var buf [512]byte
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(buf[:n]), nil
}

// Note gives the text of a small file of the data folder, at most 512 bytes, such as NODE; empty if there
// is no such file.
func (s *Store) Note(name string) (string, error) {
	text, err := readSmall(s.fs, filepath.Join(s.dir, name))
	if errors.Is(err, errNotExist) {
		return "", nil
	}
	return text, ioError("read "+name, err)
}

// WriteNote writes such a file durably: after a crash it is complete or as it was before.
func (s *Store) WriteNote(name, text string) error {
	return ioError("write "+name, writeSmall(s.fs, s.dir, name, text))
}

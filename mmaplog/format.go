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

// checkFormat reads the file FORMAT of a data folder, writing it if there is none. The file is
// complete or absent, whatever happens: it gets its name when its content is durable.
func checkFormat(fs FS, dir string) error {
	path := filepath.Join(dir, "FORMAT")
	text, err := readSmall(fs, path)
	if errors.Is(err, errNotExist) {
		return writeFormat(fs, dir, path)
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

func writeFormat(fs FS, dir, path string) error {
	temporary := path + ".tmp"
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	f, err := fs.Open(temporary, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%s%d\n", formatPrefix, formatVersion), 0)
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
	var buf [128]byte
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(buf[:n]), nil
}

package mmaplog

import (
	"errors"
	"os"
)

// lockFile refuses: without a tested lock and directory sync no promise of a node holds on Windows.
func lockFile(*os.File) error {
	return errors.New("a node's data folder cannot be opened on Windows; run the node on Linux or macOS")
}

func (osFS) SyncDir(string) error { return errors.ErrUnsupported }

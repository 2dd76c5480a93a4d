package log

import (
	"errors"
	"os"
)

func syncPath(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(syncData(file), file.Close())
}

// drain lets the disk finish what others left to it, so that the next case does not pay for them.
func drain(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = syncDisk(file)
	return errors.Join(err, file.Close())
}

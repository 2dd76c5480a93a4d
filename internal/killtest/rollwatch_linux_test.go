package killtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// rollWatch tells when a segment file gets its name, which is when a partition rolls. It is an inotify
// instance (inotify(7)) on the folders of the partitions.
type rollWatch struct {
	file *os.File
	buf  [4096]byte
}

// watchRolls watches the partitions below a topic's folder that have one.
func watchRolls(topicDir string) (*rollWatch, error) {
	dirs, err := filepath.Glob(filepath.Join(topicDir, "*"))
	if err != nil {
		return nil, err
	}
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	w := &rollWatch{file: os.NewFile(uintptr(fd), "inotify")}
	for _, dir := range dirs {
		if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_MOVED_TO); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

// wait returns at the n-th roll from now, or with an error at the deadline.
func (w *rollWatch) wait(n int, deadline time.Time) error {
	if err := w.file.SetReadDeadline(deadline); err != nil {
		return err
	}
	for n > 0 {
		length, err := w.file.Read(w.buf[:])
		if err != nil {
			return err
		}
		for events := w.buf[:length]; len(events) >= syscall.SizeofInotifyEvent; {
			end := syscall.SizeofInotifyEvent + int(binary.LittleEndian.Uint32(events[12:]))
			name := bytes.TrimRight(events[syscall.SizeofInotifyEvent:end], "\x00")
			if bytes.HasSuffix(name, []byte(".seg")) {
				n--
			}
			events = events[end:]
		}
	}
	return nil
}

func (w *rollWatch) close() error { return w.file.Close() }

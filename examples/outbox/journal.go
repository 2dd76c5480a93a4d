package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// journal is an append-only file of commits, each a line with a checksum, and stands for the database of a
// service. A commit is there as a whole or not at all, and on the disk when append returns.
type journal struct {
	file   *os.File
	size   int64
	failed error       // after a failed write or sync nobody knows what the file holds
	fate   func() bool // asked before each commit whether the process dies in the middle of it
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal opens a journal, or makes it, and hands every commit to replay. What a crash left of the last
// commit is cut off: it was never answered. A journal that is damaged elsewhere is refused.
func openJournal(name string, replay func(commit []byte) error) (*journal, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err := j.recover(replay); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", name, err), file.Close())
	}
	// So that the name of a new file is on the disk, too. Windows has no such call and needs none.
	if dir, err := os.Open(filepath.Dir(name)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return j, nil
}

func (j *journal) recover(replay func(commit []byte) error) error {
	text, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	for rest := text; len(rest) > 0; {
		line, behind, whole := bytes.Cut(rest, []byte("\n"))
		commit, ok := checked(line)
		if !whole || !ok {
			break
		}
		if err := replay(commit); err != nil {
			return err
		}
		rest = behind
		j.size += int64(len(line)) + 1
	}
	_, behind, _ := bytes.Cut(text[j.size:], []byte("\n"))
	for line := range bytes.Lines(behind) {
		if _, ok := checked(bytes.TrimSuffix(line, []byte("\n"))); ok {
			return fmt.Errorf("damaged at byte %d: there are commits behind it", j.size)
		}
	}
	return errors.Join(j.file.Truncate(j.size), j.file.Sync())
}

// checked gives the commit in a line if its checksum is right.
func checked(line []byte) (commit []byte, ok bool) {
	sum, commit, ok := bytes.Cut(line, []byte(" "))
	return commit, ok && string(sum) == fmt.Sprintf("%08x", crc32.Checksum(commit, castagnoli))
}

// append makes one commit of v.
func (j *journal) append(v any) error {
	if j.failed != nil {
		return j.failed
	}
	commit, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line := fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(commit, castagnoli), commit)
	if j.fate != nil && j.fate() {
		_, _ = j.file.WriteAt(line[:len(line)/2], j.size)
		j.failed = errDied
		return errDied
	}
	if _, err = j.file.WriteAt(line, j.size); err == nil {
		err = j.file.Sync()
	}
	if j.failed = err; err == nil {
		j.size += int64(len(line))
	}
	return err
}

func (j *journal) close() error { return j.file.Close() }

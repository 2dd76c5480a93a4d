package mmaplog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/leatbus/leat/core"
)

// Reading a data folder without opening it: for people who want to know what is in it, be it damaged, on
// a read-only disk, or in use by a node. Only Repair takes the folder's lock, and writes.
//
//	FindOffline ──▶ OfflineLog ──▶ Scan ──▶ OfflineReport: segments, findings, and each frame
//	                                │
//	                                └─ asks recovery, without letting it write, what opening would do

// OfflineFolder is what FindOffline found.
type OfflineFolder struct {
	Root    string       // the data folder; empty if what was named is not inside one
	Logs    []OfflineLog // ascending by topic and partition
	Unknown []string     // paths of files and folders that Leat does not know
}

// OfflineLog is where the files of one log are.
type OfflineLog struct {
	Topic     uint64
	Partition int32
	Dir       string
	Root      string // the data folder, whose manifest is looked at; empty for none
	Segment   string // the name of the only segment to look at; empty for all
}

// Name gives the log as messages spell it, as in 16/0.
func (l *OfflineLog) Name() string { return fmt.Sprintf("%d/%d", l.Topic, l.Partition) }

// FindOffline finds the logs at path: a data folder, the folder of a topic or of a partition, or one
// segment file. Errors: fs.ErrNotExist if there is nothing, CodeInvalidConfig if it is none of these,
// CodeVersionTooNew, CodePermission, CodeIO.
func FindOffline(fs FS, path string) (*OfflineFolder, error) {
	path = filepath.Clean(path)
	op := "read " + strconv.Quote(path)
	names, err := fs.ReadDir(path)
	if errors.Is(err, syscall.ENOTDIR) {
		return findSegmentFile(fs, path)
	}
	if err != nil {
		return nil, ioErrorUnlessAbsent(op, err)
	}
	f := &OfflineFolder{}
	switch {
	case slices.Contains(names, "FORMAT") || slices.Contains(names, "t"):
		f.Root = path
		err = f.addRoot(fs, names)
	case slices.ContainsFunc(names, isLogFile):
		f.Root = rootAbove(fs, path, 3)
		err = f.addPartition(path)
	default:
		f.Root = rootAbove(fs, path, 2)
		err = f.addTopic(fs, path)
	}
	if err != nil {
		return nil, ioErrorUnlessAbsent(op, err)
	}
	if f.Root == "" && len(f.Logs) == 0 {
		return nil, core.Errorf(core.CodeInvalidConfig, op,
			"it is no data folder, none of a topic or partition inside one, and no segment file")
	}
	for i := range f.Logs {
		f.Logs[i].Root = f.Root
	}
	slices.SortFunc(f.Logs, func(a, b OfflineLog) int {
		if a.Topic != b.Topic {
			return compareIDs(a.Topic, b.Topic)
		}
		return int(a.Partition - b.Partition)
	})
	return f, nil
}

func compareIDs(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// ioErrorUnlessAbsent leaves the error of an absent file as it is: the caller named it.
func ioErrorUnlessAbsent(op string, err error) error {
	if errors.Is(err, errNotExist) {
		return err
	}
	return ioError(op, err)
}

// rootFiles are the files and folders of a data folder itself.
var rootFiles = []string{
	"LOCK", "FORMAT", "FORMAT.tmp", "NODE", "NODE.tmp", "MANIFEST", "MANIFEST.tmp", "tls", "t",
}

func (f *OfflineFolder) addRoot(fs FS, names []string) error {
	if text, err := readSmall(fs, filepath.Join(f.Root, "FORMAT")); err == nil {
		version, err := parseFormat(text)
		if err == nil && version > formatVersion {
			return core.Errorf(core.CodeVersionTooNew, "read "+strconv.Quote(f.Root),
				"format %d, this build reads up to %d", version, formatVersion)
		}
	}
	for _, name := range names {
		if !slices.Contains(rootFiles, name) && !strings.HasSuffix(name, damagedSuffix) {
			f.Unknown = append(f.Unknown, filepath.Join(f.Root, name))
		}
	}
	topics, err := fs.ReadDir(filepath.Join(f.Root, "t"))
	if err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	for _, name := range topics {
		dir := filepath.Join(f.Root, "t", name)
		if _, ok := parseID(name, 64); !ok {
			f.Unknown = append(f.Unknown, dir)
		} else if err := f.addTopic(fs, dir); err != nil && !errors.Is(err, errNotExist) {
			return err
		}
	}
	return nil
}

func (f *OfflineFolder) addTopic(fs FS, dir string) error {
	names, err := fs.ReadDir(dir)
	if errors.Is(err, syscall.ENOTDIR) {
		f.Unknown = append(f.Unknown, dir)
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, ok := parseID(name, 31); !ok {
			f.Unknown = append(f.Unknown, path)
		} else if _, err := fs.ReadDir(path); errors.Is(err, syscall.ENOTDIR) {
			f.Unknown = append(f.Unknown, path)
		} else if err := f.addPartition(path); err != nil {
			return err
		}
	}
	return nil
}

// addPartition adds the log whose files are in dir; its place says whose they are.
func (f *OfflineFolder) addPartition(dir string) error {
	topic, ok1 := parseID(filepath.Base(filepath.Dir(dir)), 64)
	partition, ok2 := parseID(filepath.Base(dir), 31)
	if !ok1 || !ok2 {
		return core.Errorf(core.CodeInvalidConfig, "read "+strconv.Quote(dir),
			"the folder of a partition is named by its number and lies in one named by its topic's id, as in t/16/0")
	}
	f.Logs = append(f.Logs, OfflineLog{Topic: topic, Partition: int32(partition), Dir: dir})
	return nil
}

// findSegmentFile takes a single segment file; its header says whose it is.
func findSegmentFile(fs FS, path string) (*OfflineFolder, error) {
	op := "read " + strconv.Quote(path)
	_, _, ok := parseSegmentName(filepath.Base(path))
	if !ok {
		return nil, core.Errorf(core.CodeInvalidConfig, op,
			"a segment file has a name like %s, which its frames are checked against", segmentName(0, 0x1f))
	}
	f, err := fs.Open(path, ReadOnly)
	if err != nil {
		return nil, ioErrorUnlessAbsent(op, err)
	}
	defer f.Close()
	var page [headerSize]byte
	if _, err := f.ReadAt(page[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, ioError(op, err)
	}
	log := OfflineLog{Dir: filepath.Dir(path), Segment: filepath.Base(path)}
	if h, err := decodeSegmentHeader(page[:]); err == nil {
		log.Topic, log.Partition = h.topic, h.partition
	} else if core.CodeOf(err) == core.CodeVersionTooNew {
		return nil, err
	} else {
		topic, _ := parseID(filepath.Base(filepath.Dir(log.Dir)), 64)
		partition, _ := parseID(filepath.Base(log.Dir), 31)
		log.Topic, log.Partition = topic, int32(partition)
	}
	return &OfflineFolder{Root: rootAbove(fs, path, 4), Logs: []OfflineLog{log}}, nil
}

// rootAbove gives the data folder that is levels above path, or nothing.
func rootAbove(fs FS, path string, levels int) string {
	root := path
	for i := range levels {
		root = filepath.Dir(root)
		if i == levels-2 && filepath.Base(root) != "t" {
			return ""
		}
	}
	if _, err := readSmall(fs, filepath.Join(root, "FORMAT")); err != nil {
		return ""
	}
	return root
}

// isLogFile reports whether a name is one that only the folder of a partition has.
func isLogFile(name string) bool {
	_, _, segment := parseSegmentName(strings.TrimSuffix(name, ".cut"))
	return segment || isSpareName(name) || name == stateName || name == stateTmpName ||
		name == damageName || name == damageTmpName
}

// parseID reads a decimal number without leading zeros of at most so many bits.
func parseID(name string, bits int) (uint64, bool) {
	id, err := strconv.ParseUint(name, 10, bits)
	return id, err == nil && strconv.FormatUint(id, 10) == name
}

// readOnlyFS keeps whoever has it from changing anything, and from dropping pages that a live node uses.
type readOnlyFS struct{ FS }

var errReadOnly = errors.New("opened for reading only")

// MkdirAll refuses.
func (readOnlyFS) MkdirAll(string) error { return errReadOnly }

// Open refuses everything but reading.
func (r readOnlyFS) Open(name string, mode OpenMode) (File, error) {
	if mode != ReadOnly {
		return nil, errReadOnly
	}
	f, err := r.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f}, nil
}

// Rename refuses.
func (readOnlyFS) Rename(string, string) error { return errReadOnly }

// Remove refuses.
func (readOnlyFS) Remove(string) error { return errReadOnly }

// SyncDir refuses.
func (readOnlyFS) SyncDir(string) error { return errReadOnly }

// Lock refuses: a node that starts meanwhile must get it.
func (readOnlyFS) Lock(string) (io.Closer, error) { return nil, errReadOnly }

type readOnlyFile struct{ File }

// Forget leaves the pages alone.
func (readOnlyFile) Forget() {}

// FileBytes is what the segment files of the log take, as far as that can be told; for a progress display.
func (l *OfflineLog) FileBytes(fs FS) int64 {
	names := []string{l.Segment}
	if l.Segment == "" {
		names, _ = fs.ReadDir(l.Dir) // what cannot be listed is reported when it is scanned
	}
	total := int64(0)
	for _, name := range names {
		if _, _, ok := parseSegmentName(name); !ok {
			continue
		}
		if f, err := fs.Open(filepath.Join(l.Dir, name), ReadOnly); err == nil {
			size, _ := f.Size()
			total += size
			_ = f.Close()
		}
	}
	return total
}

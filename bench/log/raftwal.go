package log

import (
	"io"
	"log/slog"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/leatbus/leat/internal/benchkit"
)

var raftWAL = kind{name: "raft-wal", role: benchkit.Peer, level: levelPage,
	note: "reads are not checked; without syncs it runs on a file system whose Sync does nothing",
	open: openRaftWAL}

// raftStore is a log of hashicorp/raft-wal, with mu around it because the caller counts.
type raftStore struct {
	wal *raftwal.WAL
	vfs *lazyFS

	mu sync.Mutex
	// mu guards the following.
	next    uint64
	entries []*raft.Log
}

func openRaftWAL(dir string, o setting) (store, error) {
	vfs := &lazyFS{FS: fs.New(), lazy: !o.durable || o.batched}
	log, err := raftwal.Open(dir, raftwal.WithSegmentFiler(segment.NewFiler(dir, vfs)),
		raftwal.WithLogger(hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})))
	return &raftStore{wal: log, vfs: vfs, next: 1}, err
}

func (s *raftStore) append(record []byte) error { return s.appendAll([][]byte{record}) }

func (s *raftStore) appendAll(records [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.entries) < len(records) {
		s.entries = append(s.entries, new(raft.Log))
	}
	entries := s.entries[:len(records)]
	for i, record := range records {
		*entries[i] = raft.Log{Index: s.next, Data: record}
		s.next++
	}
	return s.wal.StoreLogs(entries)
}

// sync syncs the file written last: raft-wal itself does so before it leaves one.
func (s *raftStore) sync() error { return s.vfs.syncLast() }

func (s *raftStore) read(visit func([]byte) error) error {
	var entry raft.Log
	for i := uint64(1); i < s.next; i++ {
		if err := s.wal.GetLog(i, &entry); err != nil {
			return err
		}
		if err := visit(entry.Data); err != nil {
			return err
		}
	}
	return nil
}

func (s *raftStore) close() error { return s.wal.Close() }

// lazyFS is the file system of raft-wal whose files, if it is lazy, are synced by syncLast only.
type lazyFS struct {
	*fs.FS
	lazy bool

	mu   sync.Mutex
	last *lazyFile // guarded by mu
}

func (f *lazyFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return f.wrap(f.FS.Create(dir, name, size))
}

func (f *lazyFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	return f.wrap(f.FS.OpenWriter(dir, name))
}

func (f *lazyFS) wrap(file types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil || !f.lazy {
		return file, err
	}
	return &lazyFile{file, f}, nil
}

func (f *lazyFS) syncLast() error {
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	if last == nil {
		return nil
	}
	return last.WritableFile.Sync()
}

type lazyFile struct {
	types.WritableFile
	fs *lazyFS
}

// Sync implements types.WritableFile and does nothing but to remember the file.
func (f *lazyFile) Sync() error {
	f.fs.mu.Lock()
	f.fs.last = f
	f.fs.mu.Unlock()
	return nil
}

// quiet is a logger for peers that insist on one.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

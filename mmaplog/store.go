package mmaplog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/leatbus/leat/core"
)

// Store is one data folder: its lock, its logs and the goroutines that serve them. Its methods may be
// called by any goroutine.
type Store struct {
	fs   FS
	dir  string
	opts Options
	lock io.Closer

	syncer   *syncer
	preparer *preparer
	janitor  *janitor
	keeper   *keeper
	watcher  *watcher
	cleaner  *cleaner
	scrubber *scrubber
	early    sync.WaitGroup // all of them but the janitor, to which they may hand jobs
	late     sync.WaitGroup // janitor

	pool     pool
	mappable bool
	boot     BootID
	maps     mapBudget
	space    spaceGuard
	ids      atomic.Uint64
	arenas   sync.Pool
	indexes  indexCache
	manifest *manifest
	folders  folderSyncs

	mu sync.Mutex
	// mu guards the following.
	logs   map[logKey]*Log
	closed bool
}

type logKey struct {
	topic     uint64
	partition int32
}

func (k logKey) compare(other logKey) int {
	return cmp.Or(cmp.Compare(k.topic, other.topic), cmp.Compare(k.partition, other.partition))
}

// Open opens the data folder dir, creating it with mode 0700 if it is absent, and takes its lock. It
// reads no log. Errors: CodeLocked if another process (or another Store of this one) has the folder,
// CodePermission, CodeVersionTooNew, CodeInvalidConfig, CodeIO. Close releases it.
func Open(fs FS, dir string, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	op := "open data folder " + strconv.Quote(dir)
	fs = newFileBudget(fs, o.FileBudget)
	if err := fs.MkdirAll(filepath.Join(dir, "t")); err != nil {
		return nil, ioError(op, err)
	}
	lock, err := fs.Lock(filepath.Join(dir, "LOCK"))
	if errors.Is(err, errLocked) {
		return nil, core.NewError(core.CodeLocked, op, err)
	}
	if err != nil {
		return nil, ioError(op, err)
	}
	if err := checkFormat(fs, dir); err != nil {
		return nil, errors.Join(ioError(op, err), lock.Close())
	}
	s := &Store{fs: fs, dir: dir, opts: o, lock: lock, logs: map[logKey]*Log{}}
	s.mappable, s.boot, s.maps.limit = fs.Mappable(dir), fs.BootID(), o.MapBudget
	s.indexes.budget = o.IndexBytes
	s.arenas.New = func() any { return &arena{} }
	if s.manifest, err = openManifest(s); err != nil {
		return nil, errors.Join(ioError(op, err), lock.Close())
	}
	s.start()
	return s, nil
}

func (s *Store) start() {
	s.syncer = newSyncer(s)
	s.preparer = newPreparer(s)
	s.janitor = &janitor{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	s.keeper, s.cleaner, s.scrubber = newKeeper(s), newCleaner(s), newScrubber(s)
	s.watcher = &watcher{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	s.syncer.start()
	s.early.Go(s.preparer.run)
	for range prepareWorkers {
		s.early.Go(s.preparer.runWorker)
	}
	s.early.Go(s.keeper.run)
	s.early.Go(s.watcher.run)
	s.early.Go(s.cleaner.run)
	if s.scrubber.every > 0 {
		s.early.Go(s.scrubber.run)
	}
	s.late.Go(s.janitor.run)
}

// Close syncs every log, ends the store's goroutines and releases the lock. The writers must have
// stopped; readers may still be inside a call. It blocks for as long as the disk does. The first
// error that fenced a log is returned.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	logs := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	s.mu.Unlock()

	s.syncer.ended.Store(true)
	s.syncer.drain(logs)
	s.syncer.close()
	s.preparer.close()
	close(s.keeper.quit)
	close(s.watcher.quit)
	close(s.cleaner.quit)
	close(s.scrubber.quit)
	s.early.Wait()
	s.janitor.await() // segments that were left get their end
	s.closeStates(logs)
	var err error
	for _, l := range logs {
		if f := l.close(); err == nil {
			err = f
		}
	}
	close(s.janitor.quit)
	s.late.Wait()
	for _, f := range s.pool.empty() {
		s.removeFile(f.path)
	}
	unwritten := ioError("close data folder", s.manifest.close(err == nil))
	return errors.Join(err, unwritten, s.lock.Close())
}

// close gives up the log's files and answers the error that fenced it.
func (l *Log) close() error {
	fenced := l.Fenced()
	l.fence.CompareAndSwap(nil, core.NewError(core.CodeClosed, l.name(), nil))
	l.closed.Store(true)
	l.compaction.busy.Lock() // a round sees closed and ends
	l.compaction.busy.Unlock()
	l.closeSpares()
	for _, seg := range l.segs.recent() {
		seg.cool()
	}
	return fenced
}

// OpenLog opens the log of a partition and recovers it: everything kept is checked from the last
// point known durable on, a torn tail is cut, and what is accepted is synced before this returns. A
// partition without records has no file, no folder and no goroutine. Errors: CodeCorrupt if durable
// data is damaged (nothing is changed then), CodeVersionTooNew, CodeIO, CodeClosed. A log is opened
// once per store.
func (s *Store) OpenLog(topic uint64, partition int32, o LogOptions) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{store: s, topic: topic, partition: partition, opts: o, dir: logDir(s.dir, topic, partition)}
	l.retention.Store(new(o.retention()))
	l.compaction.cleanTo.Store(-1)
	l.segs.Store(&[]*segment{})
	if partition < 0 {
		return nil, core.Errorf(core.CodePartitionUnknown, "open "+l.name(), "want 0 or more")
	}
	key := logKey{topic, partition}
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, core.NewError(core.CodeClosed, "open "+l.name(), nil)
	case s.logs[key] != nil:
		s.mu.Unlock()
		return nil, core.Errorf(core.CodeInternal, "open "+l.name(), "it is open already")
	}
	s.logs[key] = l // keeps others out while it recovers
	s.mu.Unlock()
	if err := l.recover(); err != nil {
		s.manifest.failed()
		s.mu.Lock()
		delete(s.logs, key)
		s.mu.Unlock()
		return nil, err
	}
	l.recovered.Store(true)
	s.keeper.watch(l, l.w.now)
	return l, nil
}

// Dir is the data folder.
func (s *Store) Dir() string { return s.dir }

// Topics lists the topic ids that have a folder, in no order.
func (s *Store) Topics() ([]uint64, error) {
	names, err := s.fs.ReadDir(filepath.Join(s.dir, "t"))
	if err != nil {
		return nil, ioError("list topics", err)
	}
	var ids []uint64
	for _, name := range names {
		if id, err := strconv.ParseUint(name, 10, 64); err == nil && strconv.FormatUint(id, 10) == name {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// RemoveTopic closes the topic's logs, whose writers must have stopped, and deletes its folder with
// everything in it. A power cut meanwhile leaves a part: call it again for ids no topic has.
func (s *Store) RemoveTopic(topic uint64) error {
	s.mu.Lock()
	var logs []*Log
	for key, l := range s.logs {
		if key.topic == topic {
			logs = append(logs, l)
			delete(s.logs, key)
		}
	}
	s.mu.Unlock()
	s.folders.forget(topicDir(s.dir, topic))
	s.syncer.drain(logs)
	for _, l := range logs {
		_ = l.close()
	}
	done := make(chan error, 1)
	// Behind the janitor's jobs for these logs, which remove files of the same folders.
	s.janitor.do(func() {
		err := s.manifest.topicRemoved(topic)
		if err == nil {
			err = s.removeTree(topicDir(s.dir, topic))
		}
		done <- err
	})
	if err := <-done; err != nil {
		return ioError("remove topic "+strconv.FormatUint(topic, 10), err)
	}
	return ioError("remove topic", s.fs.SyncDir(filepath.Join(s.dir, "t")))
}

func (s *Store) removeTree(path string) error {
	err := s.fs.Remove(path)
	if err == nil || errors.Is(err, errNotExist) {
		return nil
	}
	names, listErr := s.fs.ReadDir(path)
	if listErr != nil {
		return err
	}
	for _, name := range names {
		if err := s.removeTree(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return s.fs.Remove(path)
}

// syncParents makes durable the folder entries above a log's own folder.
func (s *Store) syncParents(topic uint64) error {
	if err := s.fs.SyncDir(topicDir(s.dir, topic)); err != nil {
		return err
	}
	return s.fs.SyncDir(filepath.Join(s.dir, "t"))
}

// newID makes a segment id no other segment of this folder has, even if the clock stands still or goes
// back: it depends on a counter, the clock, the log and the segments that were there when it was opened.
func (l *Log) newID() uint64 {
	return mixIDs(l.idSeed, l.topic, uint64(l.partition), l.store.ids.Add(1), uint64(l.store.opts.Clock.Now()))
}

func mixIDs(ids ...uint64) uint64 {
	var b []byte
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint64(b, id)
	}
	return xxhash.Sum64(b)
}

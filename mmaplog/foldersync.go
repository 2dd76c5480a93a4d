package mmaplog

import (
	"path/filepath"
	"sync"
)

// folderSyncs makes folders durable once each, however many logs below them are recovered: what those have
// accepted was there before the store was opened.
type folderSyncs struct {
	mu   sync.Mutex
	once map[string]func() error // by path; guarded by mu
}

// sync syncs dir unless that was done, or waits for whoever does. After an error it is tried again.
func (f *folderSyncs) sync(fs FS, dir string) error {
	f.mu.Lock()
	do := f.once[dir]
	if do == nil {
		do = sync.OnceValue(func() error { return fs.SyncDir(dir) })
		if f.once == nil {
			f.once = map[string]func() error{}
		}
		f.once[dir] = do
	}
	f.mu.Unlock()
	err := do()
	if err != nil {
		f.forget(dir)
	}
	return err
}

// forget has the folder synced again when it is asked for.
func (f *folderSyncs) forget(dir string) {
	f.mu.Lock()
	delete(f.once, dir)
	f.mu.Unlock()
}

// syncParentsOnce is syncParents for a log that was there when the store was opened.
func (s *Store) syncParentsOnce(topic uint64) error {
	if err := s.folders.sync(s.fs, topicDir(s.dir, topic)); err != nil {
		return err
	}
	return s.folders.sync(s.fs, filepath.Join(s.dir, "t"))
}

// nothingNew reports whether recovery accepted what the checkpoint tells to be durable, and changed nothing.
func (r *recovery) nothingNew() bool {
	last := r.chain[len(r.chain)-1]
	found := &r.log.recovery
	return r.began.segment != 0 && r.began == r.file.check && last.header.id == r.began.segment &&
		last.end == r.began.pos && found.CutBytes == 0 && !last.markLost && !r.file.cut.active
}

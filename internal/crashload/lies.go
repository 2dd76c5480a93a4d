package crashload

import (
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/mmaplog"
)

// Liar is a file system whose syncs of a log's files and maps do nothing: what it promises must be found out.
func Liar(fs mmaplog.FS) mmaplog.FS {
	topics := string(filepath.Separator) + "t" + string(filepath.Separator)
	return &syncFS{FS: fs, sync: func(name string, sync func() error) error {
		if strings.Contains(name, topics) {
			return nil
		}
		return sync()
	}}
}

// Counter is a file system that notes in a journal how many calls sync a file again that failed to sync.
func Counter(fs mmaplog.FS, j *Journal) mmaplog.FS {
	var failed sync.Map // of names
	var after atomic.Uint64
	return &syncFS{FS: fs, sync: func(name string, sync func() error) error {
		if _, again := failed.Load(name); again {
			_ = j.set(wordSyncs, after.Add(1))
		}
		err := sync()
		if err != nil {
			failed.Store(name, true)
		}
		return err
	}}
}

// syncFS puts a function round every sync of a file or map.
type syncFS struct {
	mmaplog.FS
	sync func(name string, sync func() error) error
}

// Open opens a file whose syncs go through the function.
func (s *syncFS) Open(name string, mode mmaplog.OpenMode) (mmaplog.File, error) {
	f, err := s.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &syncFile{f, s, name}, nil
}

type syncFile struct {
	mmaplog.File
	fs   *syncFS
	name string
}

func (f *syncFile) Sync() error { return f.fs.sync(f.name, f.File.Sync) }

func (f *syncFile) Map(size int64) (mmaplog.Region, error) {
	r, err := f.File.Map(size)
	if err != nil || r == nil {
		return r, err
	}
	return &syncRegion{r, f}, nil
}

type syncRegion struct {
	mmaplog.Region
	file *syncFile
}

func (r *syncRegion) Sync(lo, hi int64) error {
	return r.file.fs.sync(r.file.name, func() error { return r.Region.Sync(lo, hi) })
}

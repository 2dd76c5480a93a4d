package mmaplog

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/leatbus/leat/core"
)

// manifestCrash does a fixed list of things that change the manifest, through two orderly closes, and cuts
// the power before one chosen operation on the disk. Files of the manifest and entries of folders are what
// it aims at.
type manifestCrash struct {
	cutAt int
	seed  uint64
	lie   func(FS) FS // nil for an honest disk

	mu sync.Mutex
	// mu guards the following.
	seen    int
	log     *Log
	durable int64
	trimmed int64 // the highest offset trimmed to
	added   int64
	after   *MemFS
	where   string
}

func (c *manifestCrash) hook(fs *MemFS) func(op, name string) {
	return func(op, name string) {
		if op != "rename" && op != "remove" && op != "syncdir" && !strings.Contains(name, manifestName) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.seen++; c.seen != c.cutAt {
			return
		}
		if c.log != nil {
			c.durable = max(c.durable, c.log.DurableEnd())
		}
		c.after = fs.Crash(c.seed)
		c.where = fmt.Sprintf("operation %d, %s %s", c.seen, op, name)
	}
}

var crashPad = strings.Repeat("x", 30_000)

func crashValue(offset int64) string { return fmt.Sprint(offset, crashPad) }

func (c *manifestCrash) open(fs FS) (*Store, *Log, error) {
	s, err := Open(fs, "data", manualOptions())
	if err != nil {
		return nil, nil, fmt.Errorf("open: %w", err)
	}
	s.manifest.slack = 2
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckDisk, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		_ = s.Close()
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	c.mu.Lock()
	c.log = l
	c.mu.Unlock()
	return s, l, nil
}

// live does the things. It stops early if the power was cut.
func (c *manifestCrash) live(disk *MemFS) error {
	disk.Hook(c.hook(disk))
	defer disk.Hook(nil)
	fs := FS(disk)
	if c.lie != nil {
		fs = c.lie(fs)
	}
	for range 3 {
		s, l, err := c.open(fs)
		if err != nil {
			return err
		}
		for i := 0; i < 4 && err == nil && !c.cut(); i++ {
			err = c.work(s, l)
		}
		if closeErr := s.Close(); err == nil {
			err = closeErr
		}
		if err != nil || c.cut() {
			return err
		}
	}
	return nil
}

func (c *manifestCrash) cut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.after != nil
}

// work fills more than a segment, record by record durable, and trims half of what there is.
func (c *manifestCrash) work(s *Store, l *Log) error {
	for range 9 {
		c.mu.Lock()
		if c.after == nil {
			c.added = l.End() + 1
		}
		c.mu.Unlock()
		if err := appendValue(l, crashValue(l.End())); err != nil {
			return err
		}
		syncNow(l)
	}
	drainJanitor(s)
	c.mu.Lock()
	if c.after == nil {
		c.trimmed = (l.Start() + l.End()) / 2
	}
	to := c.trimmed
	c.mu.Unlock()
	err := l.TrimTo(to)
	drainJanitor(s)
	return err
}

// check opens what the power cut left, twice: the second time as an orderly close leaves it.
func (c *manifestCrash) check(fs *MemFS) error {
	for life := range 2 {
		s, l, err := c.open(fs)
		if err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		defer func() { _ = s.Close() }()
		got, err := readValues(l)
		if err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		if l.End() < c.durable || l.End() > c.added+int64(life) || l.Start() > c.trimmed ||
			int64(len(got)) != l.End()-l.Start() {
			return fmt.Errorf("life %d: %d records of [%d, %d), durable were %d, added %d, trimmed %d", life, len(got),
				l.Start(), l.End(), c.durable, c.added, c.trimmed)
		}
		for i, value := range got {
			if value != crashValue(l.Start()+int64(i)) {
				return fmt.Errorf("life %d: offset %d is %.20q", life, l.Start()+int64(i), value)
			}
		}
		if err := appendValue(l, crashValue(l.End())); err != nil {
			return err
		}
		c.durable = l.End()
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// crashAtEach cuts before each operation, and leaves of what was not synced what each seed says.
func crashAtEach(seeds []uint64, step int, lie func(FS) FS) (runs int, err error) {
	for at := 1; ; at += step {
		for i, seed := range seeds {
			if i > 1 && at%3 > 0 {
				continue // nothing and everything are the corners
			}
			c := &manifestCrash{cutAt: at, seed: seed, lie: lie}
			disk := Heap()
			if err := c.live(disk); err != nil {
				return runs, err
			}
			if c.after == nil {
				return runs, nil
			}
			runs++
			if err := c.check(c.after); err != nil {
				return runs, fmt.Errorf("cut before %s, seed %d: %w", c.where, seed, err)
			}
		}
	}
}

// crashSeeds are seeds whose crashes keep nothing that was not synced, all of it, and some.
func crashSeeds() []uint64 {
	var none, all, some uint64
	for seed := uint64(1); none == 0 || all == 0 || some == 0; seed++ {
		d := dice(seed)
		switch odds := d.odds(); {
		case odds == 0:
			none = seed
		case odds == 256:
			all = seed
		case odds > 64 && odds < 192:
			some = seed
		}
	}
	return []uint64{none, all, some, some + 1}
}

// TestManifestCrash: wherever the power is cut, and whatever of the unsynced survives, the log has everything
// durable and nothing that was not appended, and opens.
func TestManifestCrash(t *testing.T) {
	step := 1
	if raceEnabled || testing.Short() {
		step = 7
	}
	t.Parallel()
	runs, err := crashAtEach(crashSeeds(), step, nil)
	if err != nil {
		t.Fatal(err)
	}
	if runs < 200/step {
		t.Errorf("only %d crashes", runs)
	}
	t.Log(runs, "crashes")
}

// lyingManifest is a disk whose syncs of the manifest do nothing.
type lyingManifest struct{ FS }

func (l lyingManifest) Open(name string, mode OpenMode) (File, error) {
	f, err := l.FS.Open(name, mode)
	if err == nil && strings.HasSuffix(name, manifestName) {
		f = unsyncedFile{f}
	}
	return f, err
}

type unsyncedFile struct{ File }

func (unsyncedFile) Sync() error { return nil }

// TestManifestCrashFindsMissingSync is the negative control: where the edit that drops a segment is not
// durable before its file goes, or the mark of the last close lives on, a crash must be found after which
// the log does not open or lacks something.
func TestManifestCrashFindsMissingSync(t *testing.T) {
	t.Parallel()
	_, err := crashAtEach(crashSeeds(), 3, func(fs FS) FS { return lyingManifest{fs} })
	if err == nil {
		t.Fatal("no crash was found on a disk that does not sync the manifest")
	}
	t.Log("found:", err)
}

package mmaplog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/leatbus/leat/core"
)

// Repairing makes the logs of a folder openable again where no copy is at hand. Nothing is deleted: a file
// that is in the way gets another name, and bytes that are overwritten are kept beside the segment first.
//
//	a header page is damaged       one is made from the frames behind it
//	records are damaged, missing   frames without records take their offsets, if the caller gives them up
//	the end is torn                opening cuts it
//	state and MANIFEST             are set aside when something else was changed: they follow from the log

// RepairOptions direct a repair.
type RepairOptions struct {
	SkipDamage bool // give up records that cannot be read
	Apply      bool // do it; else only tell
	Progress   func(bytes int64)
}

// RepairStep is one change, made or proposed.
type RepairStep struct {
	Log      string // as in 16/0, empty for the folder
	Action   string // "write header", "give up records", "cut open end" or "set aside"
	Path     string
	Kept     string // where what was there is kept; empty if nothing was
	Position int64
	From, To int64 // offsets whose records are given up, [From, To); equal if none
}

// RepairReport tells what a repair did, or would do.
type RepairReport struct {
	Steps []RepairStep
	Left  []OfflineFinding // damage that stays
}

// Repair makes the logs of a data folder openable, as far as that can be done without a copy. It holds the
// folder's lock. Errors: CodeLocked while a process has the folder open, CodeInvalidConfig outside of a data
// folder, CodeIO, CodePermission, CodeVersionTooNew, and that of ctx. After an error call it again.
func Repair(ctx context.Context, fs FS, folder *OfflineFolder, o RepairOptions) (*RepairReport, error) {
	op := "repair data folder " + strconv.Quote(folder.Root)
	if folder.Root == "" {
		return nil, core.Errorf(core.CodeInvalidConfig, "repair",
			"the files are not inside a data folder, whose lock keeps a node away meanwhile: "+
				"put a copy of a partition at t/TOPIC ID/PARTITION of a folder of its own, and repair that")
	}
	lock, err := lockFolder(fs, folder.Root, o.Apply)
	if errors.Is(err, errLocked) {
		return nil, core.NewError(core.CodeLocked, op, err)
	}
	if err != nil {
		return nil, ioError(op, err)
	}
	r := &repairer{ctx: ctx, fs: fs, root: folder.Root, opts: o, report: &RepairReport{}}
	var open []OfflineLog
	for _, log := range folder.Logs {
		log.Segment = "" // a log is repaired as a whole
		var cut bool
		if cut, err = r.repairLog(log); err != nil {
			break
		}
		if cut {
			open = append(open, log)
		}
	}
	if err == nil && r.changed {
		err = r.setAside("", filepath.Join(folder.Root, manifestName))
	}
	if err = errors.Join(err, lock.Close()); err == nil && o.Apply && len(open) > 0 {
		err = r.open(open)
	}
	return r.report, ioError(op, err)
}

// lockFolder takes the lock of a folder. A plan creates no lock file: without one nobody has the folder open.
func lockFolder(fs FS, root string, create bool) (io.Closer, error) {
	path := filepath.Join(root, "LOCK")
	if !create {
		f, err := fs.Open(path, ReadOnly)
		if err != nil {
			return io.NopCloser(nil), nil // a lock that cannot be read is reported when it is to be taken
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return fs.Lock(path)
}

// repairer is a repair under way.
type repairer struct {
	ctx     context.Context
	fs      FS
	root    string
	opts    RepairOptions
	report  *RepairReport
	changed bool // a segment was, or would be
}

// repairsMax bounds the repairs of one log: more places than that were not damaged by chance.
const repairsMax = 10_000

// repairLog repairs the damages of a log one after the other, reading it again after each. cut reports that
// its end is to be cut by opening it.
func (r *repairer) repairLog(log OfflineLog) (cut bool, err error) {
	changed := false
	for range repairsMax {
		s := &offlineScan{ctx: r.ctx, fs: readOnlyFS{r.fs}, report: &OfflineReport{Log: log},
			opts: ScanOptions{Progress: r.opts.Progress}}
		if err := s.run(); err != nil {
			return false, err
		}
		if len(s.damages) == 0 {
			cut = s.report.Class == OfflineOpenEnd
			r.noteOpenEnds(s.report)
			break
		}
		fixed := 0
		for i := range s.damages {
			if r.opts.Apply && fixed > 0 {
				break // what the others say may have changed
			}
			if ok, err := r.fix(s, &s.damages[i]); err != nil {
				return false, err
			} else if ok {
				fixed++
				changed = true
			} else {
				r.report.Left = append(r.report.Left, s.damages[i].finding)
			}
		}
		if fixed == 0 || !r.opts.Apply {
			break
		}
		r.report.Left = slices.DeleteFunc(r.report.Left, func(f OfflineFinding) bool {
			return filepath.Dir(f.Path) == log.Dir || f.Path == log.Dir // found again if it is still there
		})
	}
	if changed {
		r.changed = true
		return cut, errors.Join(r.setAside(log.Name(), filepath.Join(log.Dir, stateName)),
			r.setAside(log.Name(), filepath.Join(log.Dir, damageName)))
	}
	return cut, nil
}

func (r *repairer) noteOpenEnds(report *OfflineReport) {
	for _, f := range report.Findings {
		if f.Class == OfflineOpenEnd {
			r.report.Steps = append(r.report.Steps, RepairStep{Log: report.Log.Name(), Action: "cut open end",
				Path: f.Path, Position: f.Position, From: f.From, To: f.From})
		}
	}
}

// fix repairs one damage; ok is false if that is not possible, or not allowed.
func (r *repairer) fix(s *offlineScan, d *offlineDamage) (ok bool, err error) {
	if d.broken != nil {
		page, err := s.headerFor(d)
		if err != nil || page != nil {
			return err == nil, errors.Join(err, r.writeHeader(s, d, page))
		}
	}
	if !r.opts.SkipDamage {
		return false, nil
	}
	switch {
	case d.forget:
		return r.forget(s.report.Log, d)
	case d.broken != nil || d.missing:
		return r.replaceSegment(s, d)
	case d.seg != nil:
		return r.giveUp(s, d)
	}
	return false, nil
}

// step notes a change and reports whether it is to be made.
func (r *repairer) step(step RepairStep) bool {
	r.report.Steps = append(r.report.Steps, step)
	return r.opts.Apply
}

// setAside renames a file that follows from the log, if it is there.
func (r *repairer) setAside(log, path string) error {
	f, err := r.fs.Open(path, ReadOnly)
	if errors.Is(err, errNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	to := r.free(path)
	if !r.step(RepairStep{Log: log, Action: "set aside", Path: path, Kept: to}) {
		return nil
	}
	return errors.Join(r.fs.Rename(path, to), r.fs.SyncDir(filepath.Dir(path)))
}

// free is a name for what was at path that no file has.
func (r *repairer) free(path string) string {
	for i := 1; ; i++ {
		name := path + damagedSuffix
		if i > 1 {
			name = fmt.Sprintf("%s.%d%s", path, i, damagedSuffix)
		}
		f, err := r.fs.Open(name, ReadOnly)
		if err != nil {
			return name
		}
		_ = f.Close()
	}
}

// damagedSuffix is that of files which a repair kept. Nothing reads or deletes them.
const damagedSuffix = ".damaged"

// keep copies [lo, hi) of a file to a new one beside it and makes that durable.
func (r *repairer) keep(path string, lo, hi int64, to string) error {
	from, err := r.fs.Open(path, ReadOnly)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := r.fs.Open(to, Create)
	if err != nil {
		return err
	}
	buf := &scanBuf{}
	buf.reset(from, hi)
	for pos := lo; pos < hi && err == nil; {
		var p []byte
		if p, err = buf.view(pos, min(hi-pos, scanChunk)); err == nil {
			_, err = f.WriteAt(p, pos-lo)
			pos += int64(len(p))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), r.fs.SyncDir(filepath.Dir(to)))
}

// open opens the logs as a node does, which cuts what was never durable, and closes them.
func (r *repairer) open(logs []OfflineLog) error {
	s, err := Open(r.fs, r.root, Options{})
	if err != nil {
		return err
	}
	for _, log := range logs {
		if _, openErr := s.OpenLog(log.Topic, log.Partition, LogOptions{}); err == nil {
			err = openErr
		}
	}
	return errors.Join(err, s.Close())
}

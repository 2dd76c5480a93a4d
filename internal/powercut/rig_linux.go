package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/internal/crashload"
	"github.com/leatbus/leat/mmaplog"
)

// writerVariable makes this program a writer; it holds a writerSpec.
const writerVariable = "LEAT_POWERCUT_WRITER"

// writerSpec says what a writer does.
type writerSpec struct {
	Load crashload.Spec
	Lie  bool // its syncs do nothing
}

// runWriter is the child.
func runWriter(text string) error {
	var spec writerSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	fs := mmaplog.OS()
	if spec.Lie {
		fs = crashload.Liar(fs)
	} else {
		j, err := crashload.OpenJournal(spec.Load.Journal)
		if err != nil {
			return err
		}
		defer j.Close()
		fs = crashload.Counter(fs, j)
	}
	return crashload.Run(spec.Load, fs, nil)
}

// rig is one disk with a file system on it and a place to mount images of it.
type rig struct {
	fs      fileSystem
	dir     string
	disk    *disk
	fuse    *fuseServer
	journal *crashload.Journal
	image   *imageFile
	closers []func() error // run in reverse order
}

// newRig makes a rig with the file system fs, an empty one of which is given, on its live disk.
func newRig(fs fileSystem, empty []byte) (r *rig, err error) {
	r = &rig{fs: fs}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.dir, err = os.MkdirTemp("", "leat-powercut-"); err != nil {
		return r, err
	}
	r.closers = append(r.closers, func() error { return os.RemoveAll(r.dir) })
	for _, name := range []string{"fuse", "live", "cut"} {
		if err := os.Mkdir(filepath.Join(r.dir, name), 0o700); err != nil {
			return r, err
		}
	}
	if r.journal, err = crashload.OpenJournal(r.journalPath()); err != nil {
		return r, err
	}
	r.closers = append(r.closers, r.journal.Close)
	if r.image, err = newImageFile(); err != nil {
		return r, err
	}
	r.closers = append(r.closers, r.image.file.Close)
	r.disk = &disk{journal: r.journal, data: slices.Clone(empty)}
	if r.fuse, err = serveFuse(filepath.Join(r.dir, "fuse"), diskFolder{r.disk}); err != nil {
		return r, err
	}
	r.closers = append(r.closers, r.fuse.close)
	return r, r.mountLive()
}

func (r *rig) journalPath() string { return filepath.Join(r.dir, "journal") }
func (r *rig) live() string        { return filepath.Join(r.dir, "live") }

func (r *rig) mountLive() error {
	// Not os.OpenFile: it would ask this process's own server whether the file can be polled, in a system
	// call that the scheduler does not expect to wait.
	fd, err := unix.Open(filepath.Join(r.dir, "fuse", "disk"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "disk")
	defer file.Close()
	if err := r.fs.mount(file, r.live(), 0); err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { return unmount(r.live()) })
	return nil
}

// unmountLive is for file systems that do not suffer two mounts of one identity: images of the live one are
// mounted next.
func (r *rig) unmountLive() error {
	last := len(r.closers) - 1
	c := r.closers[last]
	r.closers = r.closers[:last]
	return c()
}

func (r *rig) close() error {
	var err error
	for _, c := range slices.Backward(r.closers) {
		err = errors.Join(err, c())
	}
	return err
}

// start starts a writer on the live disk.
func (r *rig) start(ctx context.Context, spec writerSpec) (*exec.Cmd, *strings.Builder, error) {
	spec.Load.Dir, spec.Load.Journal = filepath.Join(r.live(), "data"), r.journalPath()
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, nil, err
	}
	stderr := &strings.Builder{}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), writerVariable+"="+string(text))
	cmd.Stderr = stderr
	return cmd, stderr, cmd.Start()
}

// load lets a writer do its steps while the disk records.
func (r *rig) load(spec writerSpec) (*recordedRun, error) {
	r.disk.record()
	ctx, cancel := context.WithTimeout(context.Background(), writerPatience)
	defer cancel()
	cmd, stderr, err := r.start(ctx, spec)
	if err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("writer: %w: %s", err, stderr)
	}
	run, err := r.disk.stop()
	run.level, run.lie = core.AckPage, spec.Lie
	if spec.Load.Disk {
		run.level = core.AckDisk
	}
	return run, err
}

const writerPatience = 2 * time.Minute

// cutMany cuts one recorded run n times and verifies each image.
func (r *rig) cutMany(run *recordedRun, n int, random *rand.Rand, t *tally) error {
	plan := planCuts(run.ops, n, t.Aimed, random)
	scratch := make([]byte, len(run.image))
	started := clock.System.Mono()
	for _, c := range plan {
		if err := r.verify(run, c, random, scratch, t); err != nil {
			return fmt.Errorf("cut before operation %d of %d (%s): %w", c.at, len(run.ops), c.why, err)
		}
		t.Cuts++
		if c.point != "" {
			t.Aimed[c.point]++
		}
	}
	t.VerifyFor += time.Duration(clock.System.Mono() - started)
	t.Runs++
	t.Operations += len(run.ops)
	for _, op := range run.ops {
		t.RecordedBytes += int64(len(op.data))
		if op.data == nil {
			t.Flushes++
		}
	}
	return nil
}

// verify mounts the image of a cut and judges the log on it.
func (r *rig) verify(run *recordedRun, c plannedCut, random *rand.Rand, scratch []byte, t *tally) error {
	if err := r.image.set(run.cut(c.at, r.fs.sector, random, scratch)); err != nil {
		return err
	}
	progress := run.ops[len(run.ops)-1].progress
	if c.at < len(run.ops) {
		progress = run.ops[c.at].progress
	}
	w, err := r.journal.AfterCut(&progress)
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dir, "cut")
	if err := r.fs.mount(r.image.file, dir, 0); err != nil {
		return err
	}
	found, err := crashload.Verify(mmaplog.OS(), filepath.Join(dir, "data"), run.level, &w)
	if unmounted := unmount(dir); unmounted != nil {
		return errors.Join(err, unmounted)
	}
	t.Acked += w.Must
	if err != nil && run.lie {
		t.Broken++
		t.Lost += max(0, w.Must-found.End)
		return nil
	}
	if err != nil {
		return err
	}
	tail := max(0, progress.Published()-found.End)
	if progress.Cutting() {
		tail = 0
	}
	t.Tail += tail
	t.TailMax = max(t.TailMax, tail)
	t.CutBytes += found.CutBytes
	return nil
}

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
	dir     string
	disk    *disk
	fuse    *fuseServer
	journal *crashload.Journal
	image   *imageFile
	closers []func() error // run in reverse order
}

func newRig(empty []byte) (r *rig, err error) {
	r = &rig{}
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
	if r.fuse, err = serveFuse(filepath.Join(r.dir, "fuse"), r.disk); err != nil {
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
	if err := mountFile(file, r.live()); err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { return unmount(r.live()) })
	return nil
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
	return r.disk.stop()
}

const writerPatience = 2 * time.Minute

// tally counts cuts.
type tally struct {
	Runs, Cuts     int
	Aimed          map[string]int // by failpoint
	Operations     int
	Flushes        int
	Acked          int64 // records that were durable at a cut
	Tail, TailMax  int64 // records that were published and are gone, at page
	CutBytes       int64
	RecordedBytes  int64
	VerifyFor, For time.Duration
}

// cutMany cuts one recorded run n times and verifies each image.
func (r *rig) cutMany(run *recordedRun, n int, level core.Ack, random *rand.Rand, t *tally) error {
	plan := planCuts(run.ops, n, random)
	scratch := make([]byte, diskBytes)
	started := clock.System.Mono()
	for _, c := range plan {
		if err := r.verify(run, c, level, random, scratch, t); err != nil {
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
func (r *rig) verify(run *recordedRun, c plannedCut, level core.Ack, random *rand.Rand, scratch []byte,
	t *tally) error {
	if err := r.image.set(run.cut(c.at, random, scratch)); err != nil {
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
	if err := mountFile(r.image.file, dir); err != nil {
		return err
	}
	found, err := crashload.Verify(mmaplog.OS(), filepath.Join(dir, "data"), level, &w)
	if err := errors.Join(err, unmount(dir)); err != nil {
		return err
	}
	t.Acked += w.Must
	tail := max(0, progress.Published()-found.End)
	t.Tail += tail
	t.TailMax = max(t.TailMax, tail)
	t.CutBytes += found.CutBytes
	return nil
}

// plannedCut is a moment: just before an operation.
type plannedCut struct {
	at         int
	point, why string // aimed at a failpoint, or not
}

// planCuts draws n cuts, half of them right behind failpoints, each failpoint as often as any other.
func planCuts(ops []operation, n int, random *rand.Rand) []plannedCut {
	hits := map[string][]int{}
	var names []string
	before := make([]uint64, len(mmaplog.Points()))
	for i, op := range ops {
		passed := op.progress.Passed()
		for n, name := range mmaplog.Points() {
			if passed[n] == before[n] {
				continue
			}
			before[n] = passed[n]
			if hits[name] == nil {
				names = append(names, name)
			}
			hits[name] = append(hits[name], i)
		}
	}
	slices.Sort(names)
	var plan []plannedCut
	for i := range n {
		if i%2 == 0 || len(names) == 0 {
			plan = append(plan, plannedCut{at: random.IntN(len(ops) + 1), why: "anywhere"})
			continue
		}
		name := names[i/2%len(names)]
		at := hits[name][random.IntN(len(hits[name]))] + random.IntN(4)
		plan = append(plan, plannedCut{at: min(at, len(ops)), point: name, why: "behind " + name})
	}
	slices.SortFunc(plan, func(a, b plannedCut) int { return a.at - b.at })
	return plan
}

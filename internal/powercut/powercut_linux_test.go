package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/crashload"
	"github.com/leatbus/leat/mmaplog"
)

// cutsWanted is how many power cuts a run of the tests promises; pointsWanted how many failpoints they must
// have been aimed at.
const (
	cutsWanted   = 200
	cutsShort    = 24
	pointsWanted = 12
)

// needRig gives a file system to work with, or skips the test with the reason.
func needRig(t *testing.T, name string) fileSystem {
	t.Helper()
	fs, err := findFileSystem(name)
	if err != nil {
		t.Fatal(err)
	}
	if why := obstacle(&fs); why != "" {
		t.Skip("power cuts are not simulated here: ", why)
	}
	return fs
}

// testSeed is LEAT_SEED or the time.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("LEAT_SEED")
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("LEAT_SEED: %v", err)
	}
	return seed
}

// TestPowerCuts: what was reported durable survives a power cut at any moment, at page and disk, and what is
// lost of the rest is its end.
func TestPowerCuts(t *testing.T) {
	needRig(t, "ext4")
	p := plan{seed: testSeed(t), cuts: cutsWanted, perRun: 50, steps: 250, fs: "ext4"}
	if testing.Short() {
		p.cuts, p.perRun = cutsShort, 12
	}
	tally, err := runPlan(p)
	t.Logf("LEAT_SEED=%d: %v", p.seed, tally)
	if err != nil {
		t.Fatalf("LEAT_SEED=%d: %v", p.seed, err)
	}
	if tally.Cuts < p.cuts || tally.Acked < int64(10*p.cuts) {
		t.Errorf("%d cuts and %d durable records, want %d and 10 for each", tally.Cuts, tally.Acked, p.cuts)
	}
	if !testing.Short() && len(tally.Aimed) < pointsWanted {
		t.Errorf("aimed at %v, want %d failpoints", tally.Aimed, pointsWanted)
	}
}

// TestPowerCutsOfFileSystems does the same where the log is never mapped.
func TestPowerCutsOfFileSystems(t *testing.T) {
	for _, name := range []string{"xfs", "btrfs"} {
		t.Run(name, func(t *testing.T) {
			needRig(t, name)
			p := plan{seed: testSeed(t), cuts: 12, perRun: 6, steps: 250, fs: name}
			if testing.Short() {
				p.cuts, p.perRun = 4, 4
			}
			tally, err := runPlan(p)
			t.Logf("LEAT_SEED=%d: %v", p.seed, tally)
			if err != nil {
				t.Fatalf("LEAT_SEED=%d: %v", p.seed, err)
			}
			if tally.Cuts < p.cuts || tally.Acked < int64(10*p.cuts) {
				t.Errorf("%d cuts and %d durable records, want %d and 10 for each", tally.Cuts, tally.Acked, p.cuts)
			}
		})
	}
}

// TestLieIsFound is the negative control: a writer whose syncs do nothing is caught.
func TestLieIsFound(t *testing.T) {
	needRig(t, "ext4")
	p := plan{seed: testSeed(t), cuts: 12, perRun: 6, steps: 60, fs: "ext4", lie: true}
	tally, err := runPlan(p)
	t.Logf("LEAT_SEED=%d: %v", p.seed, tally)
	if err != nil || tally.Broken == 0 || tally.Lost == 0 {
		t.Errorf("LEAT_SEED=%d: %v, and nothing was found: %v", p.seed, tally, err)
	}
}

// TestFailingDiskFences: after the first sync that fails nothing is synced again, nothing more is reported
// durable, and the log that is opened from the healed disk has all that was.
func TestFailingDiskFences(t *testing.T) {
	fs := needRig(t, "ext4")
	empty, err := fs.make(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, atDisk := range []bool{false, true} {
		if err := failOnce(t.Context(), fs, empty, crashload.Spec{Disk: atDisk, Seed: testSeed(t)}); err != nil {
			t.Errorf("level disk %t: %v", atDisk, err)
		}
	}
}

func failOnce(ctx context.Context, fs fileSystem, empty []byte, load crashload.Spec) (err error) {
	r, err := newRig(fs, empty)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	ctx, cancel := context.WithTimeout(ctx, writerPatience)
	defer cancel()
	cmd, stderr, err := r.start(ctx, writerSpec{Load: load})
	if err != nil {
		return err
	}
	if err := r.awaitDurable(ctx, 100); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait(), errors.New(stderr.String()))
	}
	r.disk.fail(true)
	if cmd.Wait() == nil || ctx.Err() != nil {
		return errors.New("the writer did not end with an error")
	}
	p, err := r.journal.Progress()
	if err != nil {
		return err
	}
	if fenced, syncs := p.Fenced(); !fenced || syncs > 0 {
		return errors.New("fenced: " + strconv.FormatBool(fenced) + ", later syncs: " + strconv.Itoa(syncs))
	}
	r.disk.fail(false)
	return r.checkHealed(&p, load)
}

// awaitDurable waits until the journal tells of n durable records.
func (r *rig) awaitDurable(ctx context.Context, n int64) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		p, err := r.journal.Progress()
		if err != nil || p.Durable() >= n {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkHealed judges what is on the disk, in a mount of its own: the live one may be beyond use.
func (r *rig) checkHealed(p *crashload.Progress, load crashload.Spec) error {
	r.disk.record()
	run, err := r.disk.stop()
	if err != nil {
		return err
	}
	if err := r.image.set(run.image); err != nil {
		return err
	}
	w, err := r.journal.AfterCut(p)
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dir, "cut")
	if err := r.fs.mount(r.image.file, dir, 0); err != nil {
		return err
	}
	level := core.AckPage
	if load.Disk {
		level = core.AckDisk
	}
	_, err = crashload.Verify(mmaplog.OS(), filepath.Join(dir, "data"), level, &w)
	return errors.Join(err, unmount(dir))
}

// TestCutKeepsWhatWasFlushed: an image has every write before the last flush, and of those behind it no more
// than was written.
func TestCutKeepsWhatWasFlushed(t *testing.T) {
	page := func(b byte) []byte { return bytes.Repeat([]byte{b}, 1024) }
	ops := []operation{{at: 0, data: page(1)}, {at: 1024, data: page(2)}, {}, {at: 0, data: page(3)},
		{at: 2048, data: page(4)}}
	random := rand.New(rand.NewPCG(1, 2))
	scratch := make([]byte, 4096)
	seen := map[byte]int{}
	for range 200 {
		run := &recordedRun{image: make([]byte, 4096), ops: ops}
		image := run.cut(len(ops), 512, random, scratch)
		if image[0] != 1 && image[0] != 3 || image[1024] != 2 || image[2048] != 0 && image[2048] != 4 {
			t.Fatalf("sectors %d %d %d %d", image[0], image[512], image[1024], image[2048])
		}
		seen[image[0]]++
		if image[0] != image[512] {
			seen[0]++ // torn
		}
		early := &recordedRun{image: make([]byte, 4096), ops: ops}
		if image := early.cut(1, 512, random, scratch); image[1024] != 0 || image[2048] != 0 {
			t.Fatal("a write from behind the cut is there")
		}
	}
	if seen[1] == 0 || seen[3] == 0 || seen[0] == 0 {
		t.Errorf("kept, lost and torn: %v, want all", seen)
	}
}

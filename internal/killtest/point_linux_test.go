package killtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/crashload"
	"github.com/leatbus/leat/mmaplog"
)

// pointVariable makes the test binary a child that loads one log; it holds a pointSpec.
const pointVariable = "LEAT_KILLTEST_POINT"

// logKills is how many kills of TestKillAtPoints there are at each level.
var logKills = flag.Int("kills", 110, "kills of TestKillAtPoints at each level")

// pointSpec tells a child when to end itself.
type pointSpec struct {
	Load  crashload.Spec
	Point string // empty for a child that the parent kills
	Hit   int64  // at which time that it gets there, from 1
}

// runPointChild loads a log until it is at the failpoint, where it dies as a SIGKILL lets it.
func runPointChild(text string) error {
	var spec pointSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4) // the parent is gone
	}()
	var hits atomic.Int64
	return crashload.Run(spec.Load, mmaplog.OS(), func(name string) {
		if name == spec.Point && hits.Add(1) == spec.Hit {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
}

// pointSteps is how long a child goes on if it never gets to its failpoint.
const pointSteps = 1500

// notReached are failpoints that a load which does not compact does not get to.
var notReached = []string{"compact.before-rename", "compact.after-rename"}

// pointFolder is a data folder in which one child continues what the one before left.
type pointFolder struct {
	dir     string
	journal *crashload.Journal
	level   core.Ack
}

func newPointFolder(t *testing.T, dir string, level core.Ack) *pointFolder {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := crashload.OpenJournal(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	return &pointFolder{dir, j, level}
}

// kill runs a child to its death and judges what it left. It reports whether the child was killed.
func (f *pointFolder) kill(spec pointSpec, delay time.Duration) (killed bool, acked int64, err error) {
	spec.Load.Dir, spec.Load.Journal = filepath.Join(f.dir, "data"), filepath.Join(f.dir, "journal")
	spec.Load.Disk = f.level == core.AckDisk
	text, err := json.Marshal(spec)
	if err != nil {
		return false, 0, err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), pointVariable+"="+string(text))
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return false, 0, err
	}
	defer stdin.Close()
	if err := start(cmd); err != nil {
		return false, 0, err
	}
	if spec.Point == "" {
		<-time.After(delay)
		_ = cmd.Process.Kill()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		killed = true
	default:
		return false, 0, fmt.Errorf("child: %w: %s", err, stderr.Bytes())
	}
	acked, err = f.judge()
	return killed, acked, err
}

// lead makes a child get to failpoints that are rare.
func (f *pointFolder) lead(spec *pointSpec) error {
	switch spec.Point {
	case "trim.before-unlink":
		spec.Load.TrimAt, spec.Hit = 12, 1 // more than are kept to be used again
		spec.Load.Steps = 2 * pointSteps
	case "manifest.rewrite":
		spec.Hit = 1 // when the log is opened without one
		err := os.Remove(filepath.Join(f.dir, "data", "MANIFEST"))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	case "state.after-rename":
		spec.Hit = 1 // of a log that has no segment yet
		if err := f.journal.Close(); err != nil {
			return err
		}
		err := errors.Join(os.RemoveAll(f.dir), os.Mkdir(f.dir, 0o700))
		if err == nil {
			f.journal, err = crashload.OpenJournal(filepath.Join(f.dir, "journal"))
		}
		return err
	}
	return nil
}

// judge verifies the log, which goes on from there.
func (f *pointFolder) judge() (acked int64, err error) {
	p, err := f.journal.Progress()
	if err != nil {
		return 0, err
	}
	w, err := f.journal.AfterKill(&p)
	if err != nil {
		return 0, err
	}
	forking.RLock()
	defer forking.RUnlock()
	found, err := crashload.Verify(mmaplog.OS(), filepath.Join(f.dir, "data"), f.level, &w)
	if err != nil {
		return w.Must, err
	}
	return w.Must, f.journal.Adopt(found)
}

// TestKillAtPoints: a process that dies at a failpoint, or anywhere, loses nothing that was published.
func TestKillAtPoints(t *testing.T) {
	wanted := *logKills
	if testing.Short() {
		wanted = 3 * len(mmaplog.Points())
	}
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			seed := seed(t)
			hits, anywhere, acked := killAtPoints(t, level, seed, wanted)
			t.Logf("LEAT_SEED=%d: %d kills anywhere, %v at failpoints; %d records acknowledged before a kill on "+
				"average", seed, anywhere, hits, acked/int64(max(1, wanted)))
			for _, name := range mmaplog.Points() {
				if hits[name] == 0 && !slices.Contains(notReached, name) {
					t.Errorf("no child was killed at %s", name)
				}
			}
		})
	}
}

func killAtPoints(t *testing.T, level core.Ack, seed uint64, wanted int) (
	hits map[string]int, anywhere int, acked int64) {
	random := rand.New(rand.NewPCG(seed, uint64(level)))
	root := t.TempDir()
	hits = map[string]int{}
	var f *pointFolder
	points := slices.DeleteFunc(mmaplog.Points(), func(name string) bool {
		return slices.Contains(notReached, name)
	})
	kills, missed := 0, 0
	for i := 0; kills < wanted; i++ {
		if i%folderKills == 0 {
			if f != nil {
				_ = f.journal.Close()
				_ = os.RemoveAll(f.dir)
			}
			f = newPointFolder(t, filepath.Join(root, fmt.Sprint(i)), level)
		}
		spec := pointSpec{Load: crashload.Spec{Seed: random.Uint64(), NoMap: i%16 == 15, Reserve: 1000}}
		if i%4 > 0 {
			spec.Point, spec.Hit = points[(i-i/4)%len(points)], 1+random.Int64N(4)
			spec.Load.Steps = pointSteps
			spec.Load.Cut = strings.HasPrefix(spec.Point, "truncate")
			if err := f.lead(&spec); err != nil {
				t.Fatal(err)
			}
		}
		killed, n, err := f.kill(spec, time.Duration(random.IntN(80))*time.Millisecond)
		if err != nil {
			t.Fatalf("LEAT_SEED=%d, kill %d, the %d. of its folder, at %q: %v", seed, kills+1, i%folderKills+1,
				spec.Point, err)
		}
		acked += n
		switch {
		case !killed:
			missed++
		case spec.Point == "":
			anywhere++
		default:
			hits[spec.Point]++
		}
		if killed {
			kills++
		}
		if missed > wanted {
			t.Fatalf("LEAT_SEED=%d: %d children never got to their failpoints: %v", seed, missed, hits)
		}
	}
	_ = f.journal.Close()
	return hits, anywhere, acked
}

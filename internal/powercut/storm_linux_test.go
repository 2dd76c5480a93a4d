package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// stormVariable makes a test of this file the child that uses the log; it holds the folder that the parent
// serves. Who serves a FUSE folder must not use it: it may wait for itself.
const stormVariable = "LEAT_POWERCUT_STORM"

// stormAllVariable makes TestStorm try every operation; else the seed draws some.
const stormAllVariable = "LEAT_STORM_ALL"

// TestStorm has a short run of a log meet a file system that fails: at each of its operations in turn, once
// or from then on, with a full disk, an error of the device, or read-only. Each is an error of a call, and
// what was acknowledged is there when the file system is well again.
func TestStorm(t *testing.T) { inStorm(t, stormAll) }

// TestFailingReads has reads of segments fail: the reader gets an error, the log stays, and reads again.
func TestFailingReads(t *testing.T) { inStorm(t, stormReads) }

// inStorm runs child in another process, on a tree whose faults it commands.
func inStorm(t *testing.T, child func(t *testing.T, s *storm)) {
	if dir := os.Getenv(stormVariable); dir != "" {
		in, out := os.NewFile(3, "in"), os.NewFile(4, "out")
		child(t, &storm{dir: dir, in: json.NewDecoder(in), out: json.NewEncoder(out)})
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("no failing file system here: mounting needs root")
	}
	dir, files := t.TempDir(), newTree()
	server, err := serveFuse(dir, files)
	if err != nil {
		t.Skip("no failing file system here: ", err)
	}
	defer func() {
		if err := server.close(); err != nil {
			t.Error(err)
		}
	}()
	toChild, fromChild := pipe(t), pipe(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*writerPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	if testing.Short() {
		cmd.Args = append(cmd.Args, "-test.short")
	}
	cmd.Env = append(os.Environ(), stormVariable+"="+dir)
	cmd.ExtraFiles = []*os.File{toChild[0], fromChild[1]}
	printed := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = printed, printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = toChild[0].Close(), fromChild[1].Close()
	commands, answers := json.NewDecoder(fromChild[0]), json.NewEncoder(toChild[1])
	for {
		var f treeFaults
		if commands.Decode(&f) != nil {
			break // the child is gone
		}
		if err := answers.Encode(files.arm(f)); err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	t.Log(printed)
}

func pipe(t *testing.T) [2]*os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return [2]*os.File{r, w}
}

// storm is the child's side.
type storm struct {
	dir string
	in  *json.Decoder
	out *json.Encoder
}

// arm sets what fails from now on, and tells what happened since it was set before.
func (s *storm) arm(t *testing.T, f treeFaults) (before treeFaults) {
	t.Helper()
	if err := errors.Join(s.out.Encode(f), s.in.Decode(&before)); err != nil {
		t.Fatal(err)
	}
	return before
}

func (s *storm) heal(t *testing.T) treeFaults {
	t.Helper()
	return s.arm(t, treeFaults{})
}

func stormAll(t *testing.T, s *storm) {
	seed := testSeed(t)
	for _, kind := range []struct {
		errno unix.Errno
		every int // of its operations is tried
	}{{unix.ENOSPC, 6}, {unix.EIO, 17}, {unix.EROFS, 43}} {
		every := kind.every
		switch {
		case os.Getenv(stormAllVariable) != "":
			every = 1
		case testing.Short():
			every *= 5
		}
		runs, fired, refused, fences := 0, 0, 0, 0
		for n := int(seed % uint64(every)); ; n += every {
			f := treeFaults{From: n, To: n + 1, Errno: kind.errno, Flushes: kind.errno == unix.EIO, Torn: n%3 == 0}
			if n%2 == 1 || kind.errno == unix.EROFS {
				f.To = 1 << 30
			}
			run := &stormRun{storm: s, dir: filepath.Join(s.dir, fmt.Sprint(kind.errno, n)), faults: f}
			run.level = []core.Ack{core.AckPage, core.AckDisk}[n/2%2]
			run.do(t)
			runs, fired, refused = runs+1, fired+run.fired, refused+run.refused
			if run.fenced != nil {
				fences++
			}
			if t.Failed() {
				t.Fatalf("LEAT_SEED=%d: %v at operation %d up to %d, level %v", seed, kind.errno, n, f.To, run.level)
			}
			if run.seen <= n {
				break
			}
		}
		t.Logf("%v: %d runs, %d operations failed, %d calls refused, %d logs fenced", kind.errno, runs, fired,
			refused, fences)
		if runs < 3 || fired < runs-1 || refused == 0 {
			t.Error("the file system did not fail")
		}
	}
}

// stormRun is one run of a log.
type stormRun struct {
	*storm
	dir     string
	level   core.Ack
	faults  treeFaults
	tried   int64 // the highest offset that was being appended, and 1
	acked   int64 // published
	refused int   // calls that answered an error
	fenced  error
	seen    int // operations of the run that changed something
	fired   int
}

const (
	stormRecords = 36
	stormBytes   = 25_000
)

func stormValue(offset int64) []byte { return fmt.Appendf(nil, "%d-%0*d", offset, stormBytes, offset) }

func (r *stormRun) options() mmaplog.LogOptions {
	return mmaplog.LogOptions{Level: r.level, SegmentBytes: core.MinSegmentBytes, RetentionBytes: 512 << 10}
}

// do runs the log through the fault, heals the file system and looks at what is there.
func (r *stormRun) do(t *testing.T) {
	r.arm(t, r.faults)
	r.run(t)
	r.note(r.heal(t))
	r.check(t)
	if err := os.RemoveAll(r.dir); err != nil {
		t.Error(err)
	}
}

func (r *stormRun) note(f treeFaults) {
	r.seen += f.Seen
	r.fired += f.Fired
}

// allow says whether a call may answer err.
func (r *stormRun) allow(t *testing.T, what string, err error) {
	t.Helper()
	r.refused++
	code := core.CodeOf(err)
	if r.faults.Errno == unix.ENOSPC && code == core.CodeStorageFull && core.Retryable(err) ||
		r.faults.Errno != unix.ENOSPC && (code == core.CodeIO || code == core.CodeLogFenced) {
		return
	}
	t.Errorf("%s = %v", what, err)
}

func (r *stormRun) run(t *testing.T) {
	store, err := mmaplog.Open(mmaplog.OS(), r.dir, mmaplog.Options{})
	if err != nil {
		r.allow(t, "open the folder", err)
		return
	}
	defer func() {
		if err := store.Close(); err != nil {
			r.allow(t, "close", err)
		}
	}()
	log, err := store.OpenLog(16, 0, r.options())
	if err != nil {
		r.allow(t, "open the log", err)
		return
	}
	for failures := 0; r.acked < stormRecords && failures < 6; {
		if failures == 4 && r.faults.Errno == unix.ENOSPC {
			r.note(r.heal(t)) // there is room again, and the log goes on by itself
		}
		err := r.append(log)
		if err != nil {
			failures++
			r.allow(t, "append", err)
		}
		if r.fenced = log.Fenced(); r.fenced != nil {
			break
		}
		if r.acked%4 == 0 && log.DurableEnd() < r.acked {
			if err := log.Sync(t.Context()); err != nil {
				r.allow(t, "sync", err)
			}
		}
	}
	if r.faults.Errno == unix.ENOSPC && (r.acked < stormRecords || r.fenced != nil) {
		t.Errorf("a full disk stopped the log at %d of %d: %v", r.acked, stormRecords, log.Fenced())
	}
}

func (r *stormRun) append(log *mmaplog.Log) error {
	value := stormValue(r.acked)
	n, err := core.EncodedRecordSize(nil, value, nil)
	if err != nil {
		return err
	}
	record := make([]byte, n)
	core.PutRecord(record, nil, value, nil, xxhash.Sum64(value), 0)
	r.tried = max(r.tried, r.acked+1)
	end, err := log.Append(1, record, 1)
	if err == nil {
		r.acked = end
	}
	return err
}

// check opens the log again, twice, and uses it.
func (r *stormRun) check(t *testing.T) {
	for range 2 {
		store, err := mmaplog.Open(mmaplog.OS(), r.dir, mmaplog.Options{})
		if err != nil {
			t.Errorf("open the healed folder: %v", err)
			return
		}
		log, err := store.OpenLog(16, 0, r.options())
		if err != nil {
			t.Errorf("open the healed log: %v", errors.Join(err, store.Close()))
			return
		}
		if log.End() < r.acked || log.End() > r.tried {
			t.Errorf("the healed log is [%d, %d): %d were acknowledged and %d tried; %+v", log.Start(), log.End(),
				r.acked, r.tried, log.Recovery())
		}
		if err := readStorm(log, log.Start()); err != nil {
			t.Errorf("read the healed log: %v", err)
		}
		r.acked, r.tried = log.End(), log.End()
		for range 3 {
			if err := r.append(log); err != nil {
				t.Errorf("append to the healed log: %v", err)
			}
		}
		if err := errors.Join(log.Sync(t.Context()), store.Close()); err != nil {
			t.Errorf("sync and close the healed log: %v", err)
		}
	}
}

// readStorm compares all records from an offset on.
func readStorm(log *mmaplog.Log, from int64) error {
	reader := log.Reader(from)
	defer reader.Close()
	for {
		run, err := reader.Next(log.End())
		if err != nil {
			return err
		}
		if run == nil {
			break
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			payload := run[core.FrameHeaderSize:h.Length]
			for range h.Records {
				record, n, err := core.DecodeRecord(payload)
				if err != nil {
					return err
				}
				if string(record.Value) != string(stormValue(from)) {
					return fmt.Errorf("offset %d is not what was appended", from)
				}
				payload = payload[n:]
				from++
			}
			run = run[h.Size():]
		}
	}
	if from != log.End() {
		return fmt.Errorf("records end at %d, the log at %d", from, log.End())
	}
	return nil
}

func stormReads(t *testing.T, s *storm) {
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		r := &stormRun{storm: s, dir: filepath.Join(s.dir, level.String()), level: level}
		store, err := mmaplog.Open(mmaplog.OS(), r.dir, mmaplog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		log, err := store.OpenLog(16, 0, r.options())
		for err == nil && r.acked < 10 {
			err = r.append(log)
		}
		if err == nil {
			err = log.Sync(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		s.arm(t, treeFaults{Errno: unix.EIO, Reads: true})
		for _, from := range []int64{0, 5} {
			if err := readStorm(log, from); core.CodeOf(err) != core.CodeIO || !errors.Is(err, unix.EIO) {
				t.Errorf("read from %d = %v, want an error of the disk", from, err)
			}
		}
		if err := errors.Join(log.Fenced(), r.append(log), log.Sync(t.Context())); err != nil {
			t.Errorf("the log does not go on: %v", err)
		}
		if f := s.heal(t); f.Fired == 0 {
			t.Error("nothing was read")
		}
		if err := errors.Join(readStorm(log, 0), store.Close()); err != nil {
			t.Error(err)
		}
		r.tried = r.acked
		r.check(t)
	}
}

package mmaplog

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/leatbus/leat/core"
)

const keptVariable = "LEAT_KEPT_CHILD"

// TestKeptRunsOutliveTheLog: what a reader was given stays as it was, through trimming, the reuse of files
// and Close, until it is released. It runs in a process of its own, which a fault would end.
func TestKeptRunsOutliveTheLog(t *testing.T) {
	if dir := os.Getenv(keptVariable); dir != "" {
		keepRuns(t, dir)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestKeptRunsOutliveTheLog$", "-test.v")
	child.Env = append(os.Environ(), keptVariable+"="+t.TempDir())
	printed, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("the child: %v\n%s", err, printed)
	}
	if !bytes.Contains(printed, []byte("--- PASS: TestKeptRunsOutliveTheLog")) {
		t.Skipf("the child did not do it:\n%s", printed)
	}
}

// keptRun is a run and what was in it when it was handed out.
type keptRun struct {
	run  *Pinned
	then []byte
}

func keepRuns(t *testing.T, dir string) {
	s := openTest(t, OS(), dir, Options{})
	if !s.mappable {
		t.Skip("the test folder's file system is written by system calls only")
	}
	l := openLog(t, s, core.AckPage)
	var kept []keptRun
	readers := make([]*Reader, 4)
	for i := range readers {
		readers[i] = l.Reader(0)
	}
	for range 12 { // segments come, are read, and go while their runs are kept
		appendValues(t, l, numbered(300, 1000)...)
		for _, r := range readers {
			kept = append(kept, takeRuns(t, r, l.End())...)
		}
		syncNow(l)
		if err := l.TrimTo(l.DurableEnd()); err != nil {
			t.Fatal(err)
		}
		drainJanitor(s)
	}
	compareKept(t, kept, "while the log goes on")
	for _, r := range readers {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	compareKept(t, kept, "after Close")
	mapped := 0
	for _, k := range kept {
		if k.run.Mapped() {
			mapped++
		}
		k.run.Release()
	}
	if mapped == 0 || mapped == len(kept) {
		t.Errorf("%d of %d runs were in a map, want some", mapped, len(kept))
	}
}

func takeRuns(t *testing.T, r *Reader, end int64) (runs []keptRun) {
	t.Helper()
	for {
		run, err := r.NextPinned(end)
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			return runs
		}
		runs = append(runs, keptRun{run, bytes.Clone(run.Bytes())})
	}
}

func compareKept(t *testing.T, kept []keptRun, when string) {
	t.Helper()
	for i, k := range kept {
		if !bytes.Equal(k.run.Bytes(), k.then) {
			t.Errorf("run %d of %d changed %s", i, len(kept), when)
		}
	}
}

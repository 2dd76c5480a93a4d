package mmaplog

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
)

// manyLogsVariable tells a test process that it is the one with few files.
const manyLogsVariable = "LEAT_TEST_MANY_LOGS"

// TestManyLogsWith256Files writes and reads thousands of segments of many logs in a process that may have 256
// files open.
func TestManyLogsWith256Files(t *testing.T) {
	if os.Getenv(manyLogsVariable) != "" {
		manyLogs(t)
		return
	}
	args := []string{"-test.run=^TestManyLogsWith256Files$", "-test.timeout=100s"}
	if testing.Short() || raceEnabled {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), manyLogsVariable+"=1", "TMPDIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func manyLogs(t *testing.T) {
	limit := unix.Rlimit{Cur: 256, Max: 256}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := 1000
	if testing.Short() {
		n = 200
	}
	dir := t.TempDir()
	options := Options{ScrubEvery: leastScrubEvery}
	s := openTest(t, OS(), dir, options)
	open := func() (logs []*Log) {
		for i := range n {
			level := core.AckDisk
			if i%2 == 1 {
				level = core.AckPage
			}
			l, err := s.OpenLog(16, int32(i), LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, l)
		}
		return logs
	}
	logs := open()
	var readers []*Reader
	for round := range 3 {
		for i, l := range logs {
			appendValues(t, l, fmt.Sprint(i, " in round ", round))
			if round == 1 && i%10 == 0 {
				if err := l.Roll(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, l := range logs {
		syncNow(l)
		r := l.Reader(0)
		defer r.Close()
		readers = append(readers, r)
		if _, err := r.Next(1); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range readers {
		if run, err := r.Next(logs[i].End()); err != nil || run == nil {
			t.Fatal(run, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, OS(), dir, options)
	for i, l := range open() {
		wantValues(t, l, fmt.Sprint(i, " in round 0"), fmt.Sprint(i, " in round 1"), fmt.Sprint(i, " in round 2"))
		appendValues(t, l, "goes on")
	}
	if got := s.opts.FileBudget; got != 192 {
		t.Errorf("the budget is %d files of 256", got)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// firstJobs writes the first n jobs to a file, and counts those of each airport.
func firstJobs(t *testing.T, n int) (name string, counts map[string]int) {
	t.Helper()
	file, err := os.Open("../actor/birdstrikes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var text bytes.Buffer
	counts = map[string]int{}
	lines := bufio.NewScanner(file)
	for i := 0; i < n && lines.Scan(); i++ {
		text.Write(lines.Bytes())
		text.WriteByte('\n')
		counts[strings.SplitN(lines.Text(), "\t", 2)[0]]++
	}
	name = filepath.Join(t.TempDir(), "jobs.tsv")
	if err := os.WriteFile(name, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name, counts
}

func runFor(t *testing.T, o options) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, o, &out)
	return out.String(), err
}

// TestRun: the airport that is down holds up itself only, workers come and go, and the order is exact.
func TestRun(t *testing.T) {
	const down, count = "BARKSDALE AIR FORCE BASE ARPT", 1000
	file, counts := firstJobs(t, count)
	out, err := runFor(t, options{file: file, down: down, desks: 4, shift: 60, retry: time.Millisecond})
	if err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out)
	}
	for _, want := range []string{
		fmt.Sprintf("%d jobs of %d airports\n", count, len(counts)),
		fmt.Sprintf(", %d more wait behind it\n", counts[down]-1),
		fmt.Sprintf("all %d jobs of the others are done after ", count-counts[down]),
		fmt.Sprintf("all %d jobs are done after ", count),
		"each in the order of its airport, 0 of them twice\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output %q, want %q in it", out, want)
		}
	}
	joined := regexp.MustCompile(`by (\d+) workers, each`).FindStringSubmatch(out)
	if joined == nil {
		t.Fatalf("output %q does not tell the workers", out)
	}
	// Attempts that fail count for a shift, too, so there may be more.
	if workers, err := strconv.Atoi(joined[1]); err != nil || workers < count/60 {
		t.Errorf("%d workers, want at least %d shifts", workers, count/60)
	}
}

// TestNobodyIsDown: without an airport that fails there is one step less.
func TestNobodyIsDown(t *testing.T) {
	file, _ := firstJobs(t, 100)
	out, err := runFor(t, options{file: file, desks: 2, shift: 1000, retry: time.Millisecond})
	if err != nil || strings.Contains(out, "down") || !strings.Contains(out, "all 100 jobs are done") {
		t.Errorf("%v, output %q", err, out)
	}
}

// TestRefused: what cannot be run says why.
func TestRefused(t *testing.T) {
	file, _ := firstJobs(t, 10)
	good := options{file: file, desks: 1, shift: 1, retry: 1}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for _, spoil := range []func(*options){
		func(o *options) { o.desks = 0 }, func(o *options) { o.shift = 0 },
		func(o *options) { o.work = -1 }, func(o *options) { o.retry = 0 },
	} {
		bad := good
		if spoil(&bad); bad.check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	good.down = "nowhere"
	if _, err := runFor(t, good); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("an airport without jobs: %v", err)
	}
	good.file = filepath.Join(t.TempDir(), "absent")
	if _, err := runFor(t, good); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file of jobs: %v", err)
	}
}

// TestLedger: it bites when the order is broken, and when attempts are not counted.
func TestLedger(t *testing.T) {
	l := newLedger("B")
	for i, airport := range []string{"A", "B", "A", "A"} {
		l.add(airport, int64(i))
	}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		what string
		err  error
		bad  bool
	}{
		{"the second job first", l.done("A", 2), true},
		{"the first job", l.done("A", 0), false},
		{"the third before the second", l.done("A", 3), true},
		{"the first job again", l.done("A", 0), false},
		{"a job that fails", l.fail("B", 1, 1), false},
		{"an attempt that is not counted", l.fail("B", 1, 1), true},
		{"an airport that nobody has named", l.done("C", 4), true},
	}
	for _, step := range steps {
		if (step.err != nil) != step.bad {
			t.Errorf("%s: error %v, want one: %t", step.what, step.err, step.bad)
		}
	}
	if err := errors.Join(l.done("A", 2), l.done("A", 3)); err != nil {
		t.Error(err)
	}
	select {
	case <-l.othersDone:
	default:
		t.Error("all of A are done, which nobody is told")
	}
	select {
	case <-l.allDone:
		t.Error("B is not done")
	default:
	}
	if s := l.summary(); s != (summary{total: 4, ofDown: 1, failures: 2, repeated: 1}) {
		t.Errorf("summary %+v", s)
	}
}

func TestBackoff(t *testing.T) {
	for attempt, want := range map[int32]time.Duration{
		1: 20 * time.Millisecond, 2: 40 * time.Millisecond, 5: 320 * time.Millisecond, 7: time.Second,
		1000: time.Second,
	} {
		if got := backoff(20*time.Millisecond, attempt); got != want {
			t.Errorf("behind attempt %d: %v, want %v", attempt, got, want)
		}
	}
}

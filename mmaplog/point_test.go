package mmaplog

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// TestPointsAreListed: a failpoint that is not listed is one nobody aims at.
func TestPointsAreListed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`\.point\("([^"]*)"\)`)
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range call.FindAllStringSubmatch(string(source), -1) {
			found++
			if !slices.Contains(Points(), match[1]) {
				t.Errorf("%s: point %q is not in pointNames", file, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no call of point was found")
	}
}

// TestPointsAreReached: a log that rolls, syncs, trims and saves the state of producers gets to the
// failpoints of all that.
func TestPointsAreReached(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	s, err := Open(Heap(), "data", Options{Clock: clock.NewManual(1), Point: func(name string) {
		mu.Lock()
		defer mu.Unlock()
		seen[name]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	record := encodeRecord(strings.Repeat("x", 40_000))
	for i := range 60 {
		h := produced(1, int32(i), record, 1)
		if _, err := l.AddFrame(&h, record); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(); err != nil {
			t.Fatal(err)
		}
		if l.StateDue() {
			l.SaveState([]byte("state"))
		}
	}
	syncNow(l)
	drainJanitor(s)
	if err := l.TrimTo(l.End()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{
		"roll.before", "roll.adopted", "sync.before", "sync.after", "trim.before-unlink", "state.before-rename",
		"seal.before-footer", "seal.after-footer", "manifest.before-write", "manifest.before-sync",
		"recycle.before-rename", "recycle.after-rename",
	} {
		if seen[name] == 0 {
			t.Errorf("point %s was never reached: %v", name, seen)
		}
	}
}

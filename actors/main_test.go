package actors

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !settles(func() bool { return leaked() == "" }) {
		os.Stderr.WriteString("goroutines left behind:\n" + leaked() + "\n")
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks of goroutines that run code of this package.
func leaked() string {
	buf := make([]byte, 1<<20)
	var left []string
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
		if strings.Contains(stack, "leat/actors.") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// settles waits until holds, at most 30 s, and reports whether it does.
func settles(holds func() bool) bool {
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(200 * time.Microsecond)
	}
	return true
}

// journal is what an actor writes down and a test reads.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, line)
}

func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

// eventually fails the test unless the condition comes true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !settles(holds) {
		t.Fatalf("not within 30 s: %s", what)
	}
}

package leat

import (
	"os"
	"runtime"
	"strings"
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
		if strings.Contains(stack, "leatbus/leat.") || strings.Contains(stack, "leatbus/leat/transport.") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// settles waits until holds, and reports whether it does.
func settles(holds func() bool) bool {
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(200 * time.Microsecond)
	}
	return true
}

// eventually fails the test unless the condition comes true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !settles(holds) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

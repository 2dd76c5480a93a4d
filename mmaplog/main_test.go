package mmaplog

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestMain checks that no goroutine of the package outlives its store.
func TestMain(m *testing.M) {
	code := m.Run()
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	for _, stack := range strings.Split(stacks, "\n\n")[1:] {
		if strings.Contains(stack, "mmaplog.(*") {
			fmt.Fprintln(os.Stderr, "a goroutine is left:\n"+stack)
			code = 1
		}
	}
	os.Exit(code)
}

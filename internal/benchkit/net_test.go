package benchkit

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// netVariable makes this test binary the server process of Net; its value is the folder.
const netVariable = "LEAT_BENCHKIT_NET"

// TestNet runs everything in miniature: the figures mean nothing, that they are there and that nothing was
// lost does.
func TestNet(t *testing.T) {
	needNode(t)
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	dir := t.TempDir()
	served := 0
	report, err := Net(t.Context(), Options{Dir: dir, For: 50 * time.Millisecond, Rounds: 1, Idle: 3,
		IdleFor: 100 * time.Millisecond,
		NetServer: func(ctx context.Context, dir string) (*exec.Cmd, error) {
			command := exec.CommandContext(ctx, os.Args[0])
			command.Env = append(os.Environ(), netVariable+"="+dir)
			command.Stderr = os.Stderr
			return command, nil
		},
		Serve: func(context.Context, string) (func() error, error) {
			served++
			return func() error { return nil }, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// What does nothing may have cost nothing measurable.
	idle := func(row Row) bool { return row.Unit == "% of a core" || row.Unit == "MB" }
	if n := len(report.Rows); len(slices.DeleteFunc(slices.Clone(report.Rows), idle)) != n-3 {
		t.Errorf("%d rows, want three of them of a server that idles", n)
	}
	report.Rows = slices.DeleteFunc(report.Rows, idle)
	checkReport(t, report, "publish, store and deliver", "publish to receipt, one at a time",
		"leat serve until ready")
	checkEmpty(t, dir)
	if served != 2 { // one warms up
		t.Errorf("a server was started %d times, want 2", served)
	}
	for _, problem := range report.Problems {
		t.Error(problem)
	}
	for _, row := range report.Rows[:2] {
		if row.Value <= 0 || row.FloorValue <= 0 || row.Ratio <= 0 {
			t.Errorf("%s: value %v, floor %v, ratio %v", row.Name, row.Value, row.FloorValue, row.Ratio)
		}
	}
}

func TestNetRefusesSizes(t *testing.T) {
	for _, size := range []int{1, 2 << 20} {
		if _, err := Net(t.Context(), Options{Size: size}); err == nil {
			t.Errorf("Net with values of %d bytes: no error", size)
		}
	}
	if _, err := Net(t.Context(), Options{}); err == nil {
		t.Error("Net without a server: no error")
	}
}

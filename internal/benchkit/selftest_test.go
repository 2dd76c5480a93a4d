package benchkit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSelfTest(t *testing.T) {
	dir := t.TempDir()
	report, err := SelfTest(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid || report.Scenario != "selftest" || len(report.Rows) != 2+len(selfFaults)+1 {
		t.Errorf("report %+v; want everything found", report)
	}
	row := report.Rows[0]
	if row.Latency.P99 < 70e3 || row.Latency.Max < 100e3 {
		t.Errorf("p99 %.0f µs, max %.0f µs of a stall of 100 ms", row.Latency.P99, row.Latency.Max)
	}
	checkEmpty(t, dir)
}

// TestSelfTestCanFail: without its injections it says what it did not find.
func TestSelfTestCanFail(t *testing.T) {
	harmless := selfFault{name: "nothing", want: "1 lost", pass: (*faultyPath).deliver}
	report, err := (&selfTest{faults: []selfFault{harmless}}).run(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(report.Problems, "\n")
	if report.Valid || !strings.Contains(text, "nothing was overlooked") {
		t.Errorf("problems %q; want the fault that was not there", text)
	}
	// A busy machine may stall by itself.
	if l := report.Rows[0].Latency; l.P99 < 70e3 && !strings.Contains(text, "a stall of 0s was overlooked") {
		t.Errorf("problems %q; want the stall that was not there", text)
	}
}

func TestSelfTestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := SelfTest(ctx, Options{Dir: t.TempDir()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("SelfTest = %v; want %v", err, context.DeadlineExceeded)
	}
}

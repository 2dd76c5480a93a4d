package benchkit

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

func TestLog(t *testing.T) {
	dir := t.TempDir()
	report, err := Log(t.Context(), Options{Dir: dir, For: 20 * time.Millisecond, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"append 256 B one by one", "append 256 B one by one, sustained",
		"read 256 B in order, checked", "durable append, one at a time", "durable append, one at a time, p50"}
	if fileSystemOf(dir) == "ext4" {
		names = append(names, "bytes written per durable append", "write calls per durable append",
			"page faults per durable append")
	}
	names = append(names, "durable append, 64 at a time", "records per sync, 64 appenders")
	if runtime.GOOS == "linux" {
		names = append(names, "durable append to each of 256 logs, p50",
			"durable append to each of 256 logs, p50, against syncfs")
	}
	checkReport(t, report, names...)
	checkEmpty(t, dir)
	for _, row := range report.Rows {
		if (row.Name == "records per sync, 64 appenders" || row.Unit == "calls") && row.Value < 0.9 ||
			row.Unit == "B" && row.Value < 4000 {
			t.Errorf("%s = %v; want at least one, and a page", row.Name, row.Value)
		}
	}
}

// checkReport compares the names of the rows and looks for figures that cannot be.
func checkReport(t *testing.T, report *Report, names ...string) {
	t.Helper()
	var got []string
	for i := range report.Rows {
		row := &report.Rows[i]
		got = append(got, row.Name)
		mayBeNone := row.Name == "publisher held" || row.Unit == "faults"
		if row.Value <= 0 && !mayBeNone || row.Level == "" || row.Unit == "" || len(row.Rounds) == 0 {
			t.Errorf("row %+v: want a value, a level, a unit and rounds", row)
		}
		if row.Floor != "" && (row.FloorValue <= 0 || row.Ratio <= 0) {
			t.Errorf("row %q: floor %v, ratio %v; want both above 0", row.Name, row.FloorValue, row.Ratio)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("rows = %q; want %q", got, names)
	}
	var out bytes.Buffer
	if err := errors.Join(report.WriteJSON(&out), report.WriteTable(&out)); err != nil {
		t.Error(err)
	}
	if testing.Verbose() {
		t.Log(out.String())
	}
}

// checkEmpty finds what a scenario left behind.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind in the folder: %v, %v", entries, err)
	}
}

func TestLogRefusesSizes(t *testing.T) {
	for _, size := range []int{8, 47, 50, 257, 2 << 20} {
		_, err := Log(t.Context(), Options{Dir: t.TempDir(), Size: size})
		if core.CodeOf(err) != core.CodeInvalidConfig {
			t.Errorf("Log with size %d = %v; want INVALID_CONFIG", size, err)
		}
	}
}

func TestCheckRunFindsWrongRecords(t *testing.T) {
	frame := func(base int64, numbers ...int64) []byte {
		h := core.FrameHeader{BaseOffset: base, Records: uint16(len(numbers)), Version: core.FrameVersion,
			Length: uint32(core.FrameHeaderSize + 64*len(numbers))}
		run := make([]byte, core.FrameHeaderSize)
		h.Encode(run, 0)
		for _, number := range numbers {
			record := numberedRecord(64)
			setNumber(record, number)
			run = append(run, record...)
		}
		return run
	}
	tests := []struct {
		name string
		run  []byte
		next int64
		bad  bool
	}{
		{"in order", append(frame(3, 3, 4), frame(5, 5)...), 6, false},
		{"starts inside a frame", frame(2, 2, 3, 4), 5, false},
		{"another number", frame(3, 4), 3, true},
		{"a gap", append(frame(3, 3), frame(5, 5)...), 4, true},
	}
	for _, tt := range tests {
		if next, err := checkRun(tt.run, 3); next != tt.next || (err != nil) != tt.bad {
			t.Errorf("%s: checkRun = %d, %v; want %d, error %v", tt.name, next, err, tt.next, tt.bad)
		}
	}
}

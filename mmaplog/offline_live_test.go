package mmaplog

import (
	"context"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// TestScanOfALiveLog: while a log grows, rolls and drops segments, whose files become later ones, nothing is
// called damaged, and what is read is right.
func TestScanOfALiveLog(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(5)})
	l := openLog(t, s, core.AckDisk)
	appendValues(t, l, "first")
	syncNow(l)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := appendValue(l, string(make([]byte, 1+i*7919%20000))); err != nil {
				ended <- err
				return
			}
			if i%3 == 0 {
				syncNow(l)
			}
			if i%40 == 39 {
				if err := l.TrimTo(l.End() - 30); err != nil {
					ended <- err
					return
				}
			}
		}
	}()
	place := OfflineLog{Topic: 16, Dir: l.dir, Root: "data"}
	end := int64(0)
	for range scaled(60) {
		report, err := Scan(context.Background(), fs, place, ScanOptions{})
		if err != nil {
			t.Error(err)
			break
		}
		if report.Class == OfflineDamaged || report.End < end {
			t.Errorf("Scan of a live log: %v, [%d, %d) after %d; %+v", report.Class, report.Start, report.End, end,
				report.Findings)
			break
		}
		end = report.End
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestScanOfAGap: a log that goes on behind offsets that were lost is whole, and verify tells of them.
func TestScanOfAGap(t *testing.T) {
	fs := Heap()
	opts := reserving(core.AckPage)
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l, err := s.OpenLog(16, 0, opts)
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, "a", "b")
	syncNow(l)
	drainJanitor(s)
	fs = fs.Crash(1)
	s = openTest(t, fs, "data", Options{Clock: clock.NewManual(2)})
	if l, err = s.OpenLog(16, 0, opts); err != nil {
		t.Fatal(err)
	}
	if l.End() < testReserve {
		t.Fatalf("the log goes on at %d; want a gap", l.End())
	}
	appendValues(t, l, "c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Scan(t.Context(), fs, OfflineLog{Topic: 16, Dir: l.dir, Root: "data"}, ScanOptions{})
	if err != nil || report.Class != OfflineClean || report.Records != 3 || report.End != l.End() {
		t.Fatalf("%+v, %v; want a clean log of 3 records", report, err)
	}
	if len(report.Findings) != 1 || report.Findings[0].From != 2 || report.Findings[0].To != l.End()-1 {
		t.Errorf("findings %+v; want the gap [2, %d)", report.Findings, l.End()-1)
	}
}

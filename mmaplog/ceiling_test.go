package mmaplog

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

const testReserve = 5000

func reserving(level core.Ack) LogOptions {
	return LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes, Reserve: testReserve}
}

// offsetsOf gives the offsets of all records of a log, which may have gaps, and their values.
func offsetsOf(l *Log) (map[int64]string, error) {
	r := l.Reader(l.Start())
	defer r.Close()
	all, next := map[int64]string{}, l.Start()
	for {
		run, err := r.Next(l.End())
		if err != nil {
			return nil, err
		}
		if run == nil {
			break
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if h.BaseOffset < next {
				return nil, fmt.Errorf("frame of offset %d behind %d", h.BaseOffset, next)
			}
			payload := run[core.FrameHeaderSize:h.Length]
			for i := range int64(h.Records) {
				record, n, err := core.DecodeRecord(payload)
				if err != nil {
					return nil, err
				}
				all[h.BaseOffset+i] = string(record.Value)
				payload = payload[n:]
			}
			next, run = h.NextOffset(), run[h.Size():]
		}
	}
	if r.Offset() != l.End() {
		return nil, fmt.Errorf("the reader stops at %d, the log ends at %d", r.Offset(), l.End())
	}
	return all, nil
}

// TestNoOffsetIsGivenTwice: whatever a power cut takes, an offset that was read names one record for
// ever. Not reserving is the negative control.
func TestNoOffsetIsGivenTwice(t *testing.T) {
	for _, reserve := range []int64{testReserve, 0} {
		var failed error
		for seed := range uint64(scaled(120)) {
			if failed = ceilingRun(seed, reserve); failed != nil {
				break
			}
		}
		if (failed == nil) != (reserve > 0) {
			t.Errorf("reserving %d: %v", reserve, failed)
		}
	}
}

func ceilingRun(seed uint64, reserve int64) error {
	d := dice(seed)
	fs := Heap()
	given := map[int64]string{} // every offset that anybody saw
	opts := reserving(core.AckPage)
	opts.Reserve = reserve
	crashed := false
	for life := range 6 {
		s, err := Open(fs, "data", Options{Clock: clock.NewManual(1), NoMap: seed%4 == 0})
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		l, err := s.OpenLog(16, 0, opts)
		if err != nil {
			return fmt.Errorf("LEAT_SEED=%d, life %d: %w", seed, life, err)
		}
		if gap := l.Recovery().Gap; gap.To > gap.From && !crashed {
			return fmt.Errorf("LEAT_SEED=%d, life %d: gap %+v without a power cut", seed, life, gap)
		}
		values, err := offsetsOf(l)
		if err != nil {
			return fmt.Errorf("LEAT_SEED=%d, life %d: %w", seed, life, err)
		}
		for offset, value := range values {
			if was, ok := given[offset]; !ok || was != value {
				return fmt.Errorf("LEAT_SEED=%d, life %d: offset %d is %.20q, was %.20q", seed, life, offset,
					value, was)
			}
		}
		for range d.next() % 300 {
			offset, value := l.End(), fmt.Sprintf("%d/%0*d", life, d.next()%1500, d.next())
			if was, ok := given[offset]; ok {
				return fmt.Errorf("LEAT_SEED=%d, life %d: offset %d is given again, was %.20q", seed, life, offset, was)
			}
			given[offset] = value
			if err := appendValue(l, value); err != nil {
				return err
			}
			if d.next()%32 == 0 {
				syncNow(l)
			}
		}
		crashed = d.next()%3 > 0
		after := fs.Crash(seed<<8 | uint64(life))
		if err := s.Close(); err != nil {
			return err
		}
		if crashed {
			fs = after
		} else if d.next()%2 == 0 {
			fs = fs.Crash(0) // the machine starts anew after an orderly close
		}
	}
	return nil
}

// TestKilledProcessLosesNoOffset: without a new start of the machine offsets stay dense.
func TestKilledProcessLosesNoOffset(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l, err := s.OpenLog(16, 0, reserving(core.AckPage))
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, numbered(100, 100)...)
	syncNow(l)
	killed := fs.Crash(1)
	killed.boot = fs.boot
	s = openTest(t, killed, "data", Options{})
	l, err = s.OpenLog(16, 0, reserving(core.AckPage))
	if err != nil || l.End() != 100 || l.Recovery().Gap != (Gap{}) {
		t.Fatalf("ends at %d, %+v, %v", l.End(), l.Recovery(), err)
	}
}

// TestGapIsThereOnce: an opening reports the gap it made, and the next one finds it, without another.
func TestGapIsThereOnce(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l, err := s.OpenLog(16, 0, reserving(core.AckPage))
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, "a", "b")
	syncNow(l)
	fs = fs.Crash(1)
	for i := range 3 {
		s = openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
		if l, err = s.OpenLog(16, 0, reserving(core.AckPage)); err != nil {
			t.Fatal(err)
		}
		gap := l.Recovery().Gap
		if (gap.From == 2 && gap.To > 2) != (i == 0) || l.End() < testReserve {
			t.Fatalf("opening %d: gap %+v, end %d", i, gap, l.End())
		}
		if at, err := l.OffsetAt(99); at != l.End() || err != nil {
			t.Fatalf("OffsetAt = %d, %v, want %d", at, err, l.End())
		}
		fs = fs.Crash(1)
		fs.boot = s.boot // the process was killed
	}
	appendValues(t, l, "c")
	got, err := offsetsOf(l)
	if err != nil || len(got) != 3 || got[1] != "b" || got[l.End()-1] != "c" {
		t.Fatalf("read %v, %v", got, err)
	}
	r := l.Reader(77) // in the gap
	defer r.Close()
	if run, err := r.Next(l.End()); err != nil || core.ParseFrameHeader(run).BaseOffset != l.End()-1 {
		t.Fatalf("a reader in the gap: %v", err)
	}
}

// TestCeilingIsRaisedAhead: the writer waits once, and the state says more than was given at any time.
func TestCeilingIsRaisedAhead(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{Clock: clock.NewManual(1)})
	opts := reserving(core.AckPage)
	opts.Reserve = 20_000
	l, err := s.OpenLog(16, 0, opts)
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for i := range 60 {
		l.Begin(1)
		for range 1000 {
			mustAdd(t, l, encodeRecord("x"))
		}
		if _, err := l.Publish(); err != nil {
			t.Fatal(err)
		}
		f := mustState(t, l)
		if f.ceiling < l.End() || f.ceiling < last || !f.boot.same(s.boot) {
			t.Fatalf("after %d: ceiling %d, end %d", i, f.ceiling, l.End())
		}
		last = f.ceiling
	}
	if last < 60_000 {
		t.Errorf("ceiling %d: it was not raised", last)
	}
}

// TestAppendWaitsForTheCeiling: where nothing can be reserved, nothing is appended.
func TestAppendWaitsForTheCeiling(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l, err := s.OpenLog(16, 0, reserving(core.AckPage))
	if err != nil {
		t.Fatal(err)
	}
	fs.LimitSpace(10)
	wantCode(t, "append", appendValue(l, "x"), core.CodeStorageFull)
	fs.LimitSpace(-1)
	appendValues(t, l, "x")
	wantValues(t, l, "x")
}

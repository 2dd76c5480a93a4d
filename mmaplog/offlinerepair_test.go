package mmaplog

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// repairTiny repairs a disk with a tiny log.
func repairTiny(t testing.TB, what string, fs *MemFS, o RepairOptions) *RepairReport {
	t.Helper()
	folder, err := FindOffline(fs, "data")
	if err != nil {
		t.Fatalf("%s: find: %v", what, err)
	}
	report, err := Repair(t.Context(), fs, folder, o)
	if err != nil {
		t.Fatalf("%s: repair: %v", what, err)
	}
	return report
}

// readable gives the payloads that Scan finds, by offset.
func (l *tinyLog) readable(t testing.TB, what string, fs *MemFS) (map[int64]string, *OfflineReport) {
	t.Helper()
	found := map[int64]string{}
	place := OfflineLog{Topic: 16, Dir: l.dir}
	report, err := Scan(t.Context(), fs, place, ScanOptions{Frame: func(f *OfflineFrame) error {
		if f.Header.Type() == core.FrameData {
			found[f.Header.BaseOffset] = string(f.Payload)
		}
		return nil
	}})
	if err != nil {
		t.Fatalf("%s: scan: %v", what, err)
	}
	return found, report
}

// checkRepair repairs the log with some files replaced: a plan changes nothing; what could be read before can
// be read afterwards, the log opens, and it goes on. It gives what was done.
func (l *tinyLog) checkRepair(t testing.TB, what string, changed map[string][]byte) *RepairReport {
	t.Helper()
	fs := l.disk(t, changed)
	fs.put("data/FORMAT", []byte("leat data format 1\n"))
	before, damage := l.readable(t, what, fs)
	content := fs.everything()
	plan := repairTiny(t, what, fs, RepairOptions{SkipDamage: true})
	if !maps.EqualFunc(content, fs.everything(), bytes.Equal) {
		t.Fatalf("%s: a plan changed the disk", what)
	}
	report := repairTiny(t, what, fs, RepairOptions{SkipDamage: true, Apply: true})
	if len(report.Left) > 0 {
		t.Fatalf("%s: %+v is left of %+v", what, report.Left, damage.Findings)
	}
	if (len(plan.Steps) == 0) != (len(report.Steps) == 0) || len(plan.Steps) > len(report.Steps) {
		t.Fatalf("%s: planned %+v, did %+v", what, plan.Steps, report.Steps)
	}
	after, report2 := l.readable(t, what, fs)
	if report2.Class != OfflineClean {
		t.Fatalf("%s: %v after the repair %+v: %+v", what, report2.Class, report.Steps, report2.Findings)
	}
	for offset, payload := range before {
		if after[offset] != payload {
			t.Fatalf("%s: offset %d could be read before the repair", what, offset)
		}
	}
	l.checkGoesOn(t, what, fs)
	return report
}

func (l *tinyLog) checkGoesOn(t testing.TB, what string, fs *MemFS) {
	t.Helper()
	s, err := Open(fs, "data", Options{Clock: clock.NewManual(1 << 40)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log, err := s.OpenLog(16, 0, LogOptions{SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatalf("%s: open after the repair: %v", what, err)
	}
	appendValues(t, log, "more")
	at := log.Start()
	run := readRuns(t, log)
	for len(run) > 0 {
		h := core.ParseFrameHeader(run)
		payload := run[core.FrameHeaderSize:h.Length]
		want := "more"
		if h.BaseOffset < log.End()-1 {
			want = l.values[h.BaseOffset]
		}
		if h.BaseOffset != at || h.Type() == core.FrameData && string(payload) != string(encodeRecord(want)) {
			t.Fatalf("%s: wrong frame %+v after the repair, want offset %d", what, h, at)
		}
		at, run = h.NextOffset(), run[h.Size():]
	}
	if at != log.End() {
		t.Fatalf("%s: read up to %d of %d", what, at, log.End())
	}
}

// everything gives the content of all files.
func (m *MemFS) everything() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string][]byte{}
	for name, node := range m.entries {
		if !node.dir && filepath.Base(name) != "LOCK" {
			all[name] = bytes.Clone(node.data)
		}
	}
	return all
}

// TestRepairOfFlips: whatever bit is wrong, the repaired log opens and has all that could be read.
func TestRepairOfFlips(t *testing.T) {
	tiny := newTinyLog(t, 3, 2, false)
	step := 13
	if testing.Short() {
		step = 151
	}
	actions := map[string]int{}
	for segment, path := range tiny.segments() {
		good := tiny.files[path]
		for bit := segment; bit < len(good)*8; bit += step {
			if at := bit / 8; at > 128 && at < headerSize || at >= 8 && at < 12 || at >= 16 && at < 20 {
				continue // versions and features are not there to be repaired
			}
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			what := fmt.Sprintf("segment %d, bit %d of byte %d", segment, bit%8, bit/8)
			for _, s := range tiny.checkRepair(t, what, map[string][]byte{path: bad}).Steps {
				actions[s.Action]++
			}
		}
	}
	for _, action := range []string{"write header", "give up records", "cut open end"} {
		if actions[action] == 0 {
			t.Errorf("no repair did %q: %v", action, actions)
		}
	}
}

// TestRepairOfLargerDamage: sectors, ends of files and whole files.
func TestRepairOfLargerDamage(t *testing.T) {
	tiny := newTinyLog(t, 12, 2, false)
	paths := tiny.segments()
	for segment, path := range paths {
		good := tiny.files[path]
		for at := headerSize; at < len(good); at += memSector {
			bad := bytes.Clone(good)
			clear(bad[at:min(at+memSector, len(bad))])
			what := fmt.Sprintf("segment %d, sector at %d zeroed", segment, at)
			tiny.checkRepair(t, what, map[string][]byte{path: bad})
		}
		for size := 0; size < len(good); size += 97 {
			what := fmt.Sprintf("segment %d cut at %d", segment, size)
			tiny.checkRepair(t, what, map[string][]byte{path: good[:size:size]})
		}
	}
	for i, path := range paths {
		tiny.checkRepair(t, fmt.Sprintf("without segment %d", i), map[string][]byte{path: nil})
	}
	bad := map[string][]byte{}
	for i, path := range paths {
		bad[path] = bytes.Clone(tiny.files[path])
		bad[path][70] ^= byte(1 + i)
	}
	fs := tiny.disk(t, bad)
	fs.put("data/FORMAT", []byte("leat data format 1\n"))
	report := repairTiny(t, "all headers", fs, RepairOptions{SkipDamage: true})
	if len(report.Steps)+len(report.Left) == 0 {
		t.Error("all headers are damaged, and there is nothing to do")
	}
}

// TestRepairOfACopy: a partition's folder alone is refused with what to do, and that helps.
func TestRepairOfACopy(t *testing.T) {
	tiny := newTinyLog(t, 3, 0, false)
	path := tiny.segments()[0]
	bad := bytes.Clone(tiny.files[path])
	bad[headerSize+sizeAt(bad, headerSize)+70] ^= 1
	copyTo := func(dir string) *MemFS {
		fs := Heap()
		if err := fs.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		for name, content := range tiny.disk(t, map[string][]byte{path: bad}).everything() {
			if filepath.Dir(name) == tiny.dir {
				fs.put(filepath.Join(dir, filepath.Base(name)), content)
			}
		}
		return fs
	}
	fs := copyTo("16/0")
	folder, err := FindOffline(fs, "16/0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Repair(t.Context(), fs, folder, RepairOptions{SkipDamage: true, Apply: true})
	wantCode(t, "repair of a copy alone", err, core.CodeInvalidConfig)
	if err == nil || !strings.Contains(err.Error(), "t/TOPIC ID/PARTITION") {
		t.Errorf("repair of a copy alone: %v, want it to say what to do", err)
	}
	o := RepairOptions{SkipDamage: true, Apply: true}
	report := repairTiny(t, "in a folder of its own", copyTo("data/t/16/0"), o)
	if len(report.Steps) == 0 || len(report.Left) > 0 {
		t.Errorf("in a folder of its own: %+v", report)
	}
}

// TestRepairKeepsAndRefuses: nothing is given up without leave, what is overwritten is kept, other files are
// set aside, and nothing happens while a node has the folder.
func TestRepairKeepsAndRefuses(t *testing.T) {
	tiny := newTinyLog(t, 3, 0, false)
	path := tiny.segments()[0]
	bad := bytes.Clone(tiny.files[path])
	second := headerSize + sizeAt(bad, headerSize)
	bad[second+70] ^= 1
	fs := tiny.disk(t, map[string][]byte{path: bad})
	fs.put("data/FORMAT", []byte("leat data format 1\n"))
	fs.put(filepath.Join(tiny.dir, stateName), []byte("old"))
	content := fs.everything()
	report := repairTiny(t, "without leave", fs, RepairOptions{Apply: true})
	if len(report.Left) != 1 || report.Left[0].From != 1 || report.Left[0].To != 2 || len(report.Steps) != 0 ||
		!maps.EqualFunc(content, fs.everything(), bytes.Equal) {
		t.Fatalf("without leave: %+v", report)
	}
	s := openTest(t, fs, "data", Options{})
	folder, err := FindOffline(fs, "data")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Repair(t.Context(), fs, folder, RepairOptions{SkipDamage: true, Apply: true})
	wantCode(t, "repair of an open folder", err, core.CodeLocked)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	report = repairTiny(t, "with leave", fs, RepairOptions{SkipDamage: true, Apply: true})
	i := slices.IndexFunc(report.Steps, func(s RepairStep) bool { return s.Action == "give up records" })
	if i < 0 || report.Steps[i].From != 1 || report.Steps[i].To != 2 {
		t.Fatalf("with leave: %+v", report)
	}
	if kept := fs.content(report.Steps[i].Kept); !bytes.HasPrefix(bad[second:], kept) || len(kept) < 70 {
		t.Errorf("%d bytes kept are not those that were overwritten", len(kept))
	}
	names, err := fs.ReadDir(tiny.dir)
	if err != nil || !slices.Contains(names, stateName+damagedSuffix) {
		t.Errorf("the state was not set aside: %v, %v", names, err)
	}
	scan, err := Scan(t.Context(), fs, OfflineLog{Topic: 16, Dir: tiny.dir}, ScanOptions{})
	if err != nil || strings.Contains(fmt.Sprint(scan.Unknown), damagedSuffix) {
		t.Errorf("files that repair keeps are unknown: %v, %v", scan.Unknown, err)
	}
}

// TestManifestTellsWhatIsMissing: a log's oldest segment leaves no trace in the others when it goes.
func TestManifestTellsWhatIsMissing(t *testing.T) {
	for _, gone := range []int{0, 1, 2} {
		fs := Heap()
		s := openTest(t, fs, "data", Options{Clock: clock.NewManual(5)})
		l := openLog(t, s, core.AckDisk)
		values := numbered(40, 20<<10)
		for _, v := range values {
			appendValues(t, l, v)
			syncNow(l)
		}
		list := *l.segs.Load()
		drainJanitor(s)
		if err := s.Close(); err != nil || len(list) < 4 {
			t.Fatalf("%d segments, %v; want 4", len(list), err)
		}
		list = list[:len(list)-1]
		victim := list[gone]
		if err := fs.Remove(victim.path); err != nil {
			t.Fatal(err)
		}
		place := OfflineLog{Topic: 16, Dir: l.dir, Root: "data"}
		report, err := Scan(t.Context(), fs, place, ScanOptions{})
		if err != nil || report.Class != OfflineDamaged || report.Findings[0].From != victim.header.base.offset {
			t.Fatalf("segment %d is gone: %+v, %v; want damage from offset %d on", gone, report, err,
				victim.header.base.offset)
		}
		repairTiny(t, "missing", fs, RepairOptions{SkipDamage: true, Apply: true})
		report, err = Scan(t.Context(), fs, place, ScanOptions{})
		if err != nil || report.Class != OfflineClean {
			t.Fatalf("segment %d was given up: %+v, %v; want a clean log", gone, report, err)
		}
		s = openTest(t, fs, "data", Options{Clock: clock.NewManual(1 << 40)})
		l = openLog(t, s, core.AckDisk)
		if l.End() != int64(len(values)) {
			t.Fatalf("segment %d was given up: the log ends at %d, want %d", gone, l.End(), len(values))
		}
		appendValues(t, l, "more")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

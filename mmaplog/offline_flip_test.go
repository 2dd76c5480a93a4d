package mmaplog

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/internal/refscan"
)

// tinyLog is a disk with a log of three segments with a few small frames each, and what was published.
// All but the last unsynced frames are durable.
type tinyLog struct {
	files  map[string][]byte // by path
	dir    string
	values []string // by offset
	state  []byte   // the file, which is in files only where a test wants it
	synced int      // values known durable when the last frame was written
}

func newTinyLog(t testing.TB, perSegment, unsynced int, recycled bool) *tinyLog {
	t.Helper()
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(5)})
	l := openLog(t, s, core.AckDisk)
	values := numbered(3*perSegment, 9)
	for i, v := range values {
		if i > 0 && i%perSegment == 0 {
			l.w.dataEnd = l.w.pos // as if the segment were full
		}
		if i <= len(values)-unsynced {
			syncNow(l)
		}
		appendValues(t, l, v)
	}
	if n := l.Segments(); n != 3 {
		t.Fatalf("%d segments, want 3", n)
	}
	dir := l.dir
	drainJanitor(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return loadTiny(t, fs, dir, values, len(values)-unsynced, recycled)
}

// loadTiny takes the files of a log as they are on the disk. Segments are cut behind the last frame but
// for those with a footer.
func loadTiny(t testing.TB, fs *MemFS, dir string, values []string, synced int, recycled bool) *tinyLog {
	t.Helper()
	tiny := &tinyLog{files: map[string][]byte{}, dir: dir, values: values, synced: synced}
	names, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		content := fs.content(filepath.Join(dir, name))
		if name == stateName {
			tiny.state = content // with it nothing before its checkpoint is read
			continue
		}
		if strings.HasSuffix(name, ".seg") {
			content = shrunk(t, content, recycled)
		}
		tiny.files[filepath.Join(dir, name)] = content
	}
	return tiny
}

// shrunk gives a segment file with room for little more than its frames, as another build might make it, so
// that the tests need not look through many zeros. A recycled one has frames of an earlier segment behind
// the length word that ends it.
func shrunk(t testing.TB, file []byte, recycled bool) []byte {
	t.Helper()
	h, err := decodeSegmentHeader(file)
	if err != nil {
		t.Fatal(err)
	}
	used := tinyUsed(file)
	h.dataEnd = int64(used + 256)
	page := make([]byte, headerSize)
	h.recycled = recycled
	h.encode(page)
	if recycled {
		stale := bytes.Clone(file[headerSize:used])
		for at := 0; at < len(stale); at += sizeAt(stale, at) {
			old := core.ParseFrameHeader(stale[at:])
			old.Encode(stale[at:], core.HeaderSeed(h.id+1))
		}
		stale = stale[:min(len(stale), 240)]
		return slices.Concat(page, file[headerSize:used], make([]byte, 8), stale)
	}
	return append(page, file[headerSize:used+64]...) // what is missing reads as zeros
}

// tinyUsed is the position behind the last frame.
func tinyUsed(file []byte) int {
	at := headerSize
	for file[at] != 0 {
		at += sizeAt(file, at)
	}
	return at
}

func (l *tinyLog) segments() []string {
	var paths []string
	for path := range l.files {
		if strings.HasSuffix(path, ".seg") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// disk makes a disk with the files, some replaced; nil removes one.
func (l *tinyLog) disk(t testing.TB, changed map[string][]byte) *MemFS {
	t.Helper()
	fs := Heap()
	if err := fs.MkdirAll(l.dir); err != nil {
		t.Fatal(err)
	}
	for path, content := range l.files {
		if bad, ok := changed[path]; ok {
			content = bad
		}
		if content != nil {
			fs.put(path, content)
		}
	}
	return fs
}

// check opens, reads and scans the log with some files replaced and compares all three with the reference.
// It gives what the reference says.
func (l *tinyLog) check(t testing.TB, what string, changed map[string][]byte) refscan.Result {
	t.Helper()
	files := map[string][]byte{}
	for path, content := range l.files {
		if bad, ok := changed[path]; ok {
			content = bad
		}
		if content != nil {
			files[filepath.Base(path)] = content
		}
	}
	want := refscan.Scan(files)
	fs := l.disk(t, changed)
	l.checkScan(t, what, fs, want)
	l.checkOpen(t, what, fs, want)
	return want
}

// checkScan compares Scan with the reference: the class, and every frame before the first damage.
func (l *tinyLog) checkScan(t testing.TB, what string, fs *MemFS,
	want refscan.Result) *OfflineReport {
	t.Helper()
	var got []refscan.Frame
	place := OfflineLog{Topic: 16, Dir: l.dir}
	report, err := Scan(context.Background(), fs, place, ScanOptions{Frame: func(f *OfflineFrame) error {
		got = append(got, refscan.Frame{Offset: f.Header.BaseOffset, Records: int(f.Header.Records),
			Payload: bytes.Clone(f.Payload)})
		return nil
	}})
	if err != nil {
		if core.CodeOf(err) != core.CodeVersionTooNew {
			t.Fatalf("%s: Scan: %v", what, err)
		}
		return nil
	}
	if int(report.Class) != int(want.Class) {
		t.Fatalf("%s: Scan says %v, the reference class %d; findings %+v", what, report.Class, want.Class,
			report.Findings)
	}
	if (report.Class == OfflineDamaged) != (len(report.Damaged()) > 0) {
		t.Fatalf("%s: Scan says %v with findings %+v", what, report.Class, report.Findings)
	}
	for i, f := range got {
		if string(f.Payload) != string(encodeRecord(l.values[f.Offset])) {
			t.Fatalf("%s: Scan gave a wrong payload at offset %d", what, f.Offset)
		}
		if i > 0 && f.Offset <= got[i-1].Offset {
			t.Fatalf("%s: Scan gave offset %d after %d", what, f.Offset, got[i-1].Offset)
		}
	}
	if len(got) < len(want.Frames) || !slices.EqualFunc(got[:len(want.Frames)], want.Frames, sameFrame) {
		t.Fatalf("%s: Scan gave %d frames, the reference %d before the first damage", what, len(got),
			len(want.Frames))
	}
	return report
}

func sameFrame(a, b refscan.Frame) bool {
	return a.Offset == b.Offset && a.Records == b.Records && bytes.Equal(a.Payload, b.Payload)
}

// checkOpen compares opening and reading with the reference: refused or not, each payload right, CodeCorrupt
// where the reference stops, and nothing durable cut.
func (l *tinyLog) checkOpen(t testing.TB, what string, fs *MemFS, want refscan.Result) {
	t.Helper()
	s, err := Open(fs, "data", Options{Clock: clock.NewManual(6)})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer s.Close()
	before := map[string][]byte{}
	for _, path := range l.segments() {
		if f, err := fs.Open(path, ReadOnly); err == nil {
			_ = f.Close()
			before[path] = fs.content(path)
		}
	}
	log, err := s.OpenLog(16, 0, LogOptions{SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		code := core.CodeOf(err)
		if code != core.CodeCorrupt && code != core.CodeVersionTooNew {
			t.Fatalf("%s: open: %v", what, err)
		}
		if !want.Refused {
			t.Fatalf("%s: open: %v, the reference opens it", what, err)
		}
		for path, content := range before {
			if !bytes.Equal(fs.content(path), content) {
				t.Fatalf("%s: refused, yet %s was changed", what, path)
			}
		}
		return
	}
	if want.Refused {
		t.Fatalf("%s: opened at [%d, %d), the reference refuses", what, log.Start(), log.End())
	}
	if want.Class == refscan.Clean && log.Recovery().CutBytes != 0 {
		t.Fatalf("%s: clean, yet cut: %+v", what, log.Recovery())
	}
	l.checkRead(t, what, log, want)
}

func (l *tinyLog) checkRead(t testing.TB, what string, log *Log, want refscan.Result) {
	t.Helper()
	r := log.Reader(log.Start())
	defer r.Close()
	read := 0
	for {
		run, err := r.Next(log.End())
		if err != nil && (core.CodeOf(err) != core.CodeCorrupt || want.Class != refscan.Damaged) {
			t.Fatalf("%s: read: %v; the reference says %d", what, err, want.Class)
		}
		if run == nil || err != nil {
			break
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			payload := run[core.FrameHeaderSize:h.Length]
			if string(payload) != string(encodeRecord(l.values[h.BaseOffset])) {
				t.Fatalf("%s: a wrong payload at offset %d was served", what, h.BaseOffset)
			}
			if read < len(want.Frames) && want.Frames[read].Offset != h.BaseOffset {
				t.Fatalf("%s: read offset %d, want %d", what, h.BaseOffset, want.Frames[read].Offset)
			}
			read++
			run = run[h.Size():]
		}
	}
	if read < len(want.Frames) {
		t.Fatalf("%s: %d frames served, the reference has %d", what, read, len(want.Frames))
	}
}

// TestFlipEveryBit flips every bit of the headers and frames of a log of three segments.
func TestFlipEveryBit(t *testing.T) {
	flipEveryBit(t, newTinyLog(t, 2, 2, false), 1)
}

// TestFlipBitsOfRecycled does the same where the files were other segments before: what those left means
// nothing.
func TestFlipBitsOfRecycled(t *testing.T) {
	flipEveryBit(t, newTinyLog(t, 2, 2, true), 5)
}

// TestFlipBitsWithState does the same where a state file says that all of the log is durable, with and
// without the mark of an orderly close, and to that file.
func TestFlipBitsWithState(t *testing.T) {
	for _, closed := range []bool{true, false} {
		tiny := newTinyLog(t, 2, 2, false)
		path := filepath.Join(tiny.dir, stateName)
		tiny.synced = len(tiny.values)
		tiny.files[path] = tiny.state
		if !closed {
			clear(tiny.state[512:1024])
		}
		flipEveryBit(t, tiny, 11)
		step := 7
		if testing.Short() {
			step = 101
		}
		for bit := 0; bit < len(tiny.state)*8; bit += step {
			bad := bytes.Clone(tiny.state)
			bad[bit/8] ^= 1 << (bit % 8)
			what := fmt.Sprintf("bit %d of byte %d of the state", bit%8, bit/8)
			if got := tiny.check(t, what, map[string][]byte{path: bad}); got.Class != refscan.Clean {
				t.Fatalf("%s: class %d", what, got.Class)
			}
		}
		for size := 0; size < len(tiny.state); size += 13 {
			what := fmt.Sprintf("a state of %d bytes", size)
			if got := tiny.check(t, what, map[string][]byte{path: tiny.state[:size]}); got.Class != refscan.Clean {
				t.Fatalf("%s: class %d", what, got.Class)
			}
		}
	}
}

func flipEveryBit(t *testing.T, tiny *tinyLog, step int) {
	got := tiny.check(t, "untouched", nil)
	if got.Class != refscan.Clean || len(got.Frames) != len(tiny.values) {
		t.Fatalf("untouched: class %d, %d frames", got.Class, len(got.Frames))
	}
	if testing.Short() {
		step = 37
	}
	for segment, path := range tiny.segments() {
		t.Run(fmt.Sprint("segment ", segment), func(t *testing.T) {
			t.Parallel()
			classes := map[refscan.Class]int{}
			good := tiny.files[path]
			for bit := segment % step; bit < len(good)*8; bit += step {
				if bit > 128*8 && bit < headerSize*8 && bit%499 != 0 {
					continue // the header page's zeros: a sample
				}
				bad := bytes.Clone(good)
				bad[bit/8] ^= 1 << (bit % 8)
				what := fmt.Sprintf("bit %d of byte %d", bit%8, bit/8)
				got := tiny.check(t, what, map[string][]byte{path: bad})
				classes[got.Class]++
				if bit >= headerSize*8 && got.Class != refscan.Damaged && len(got.Frames) < tiny.synced {
					t.Fatalf("%s: %d durable frames, %d left, class %d", what, tiny.synced, len(got.Frames), got.Class)
				}
			}
			if classes[refscan.Damaged] == 0 || (classes[refscan.Torn] > 0) != (segment == 2) {
				t.Fatalf("classes %v: want damage in each segment and a torn end in the last", classes)
			}
		})
	}
}

// TestFlipEveryBitOfIndexAndFooter: they are caches, so whatever is wrong with them, nothing is damaged and
// everything is served.
func TestFlipEveryBitOfIndexAndFooter(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(5)})
	l := openLog(t, s, core.AckDisk)
	values := numbered(9, 17<<10)
	for i, v := range values {
		if i > 0 && i%3 == 0 {
			l.w.dataEnd = l.w.pos // as if the segment were full
		}
		appendValues(t, l, v)
		syncNow(l)
	}
	dir := l.dir
	drainJanitor(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tiny := loadTiny(t, fs, dir, values, len(values), false)
	path := tiny.segments()[1]
	full := fs.content(path)
	h, err := decodeSegmentHeader(full)
	if err != nil {
		t.Fatal(err)
	}
	block, _, err := decodeTail(full[h.dataEnd:], &h)
	if err != nil || len(block.list()) < 2 {
		t.Fatalf("the second segment has no footer, or no index: %v", err)
	}
	entries, footer := int(h.dataEnd), int(h.size)-footerSize
	step := 1
	if testing.Short() {
		step = 29
	}
	notes := 0
	want := tiny.check(t, "untouched", map[string][]byte{path: full})
	for bit := entries * 8; bit < len(full)*8; bit += step {
		if at := bit / 8; at >= entries+len(block.list())*indexEntrySize && at < footer ||
			at > footer+88 && bit%61 != 0 {
			continue // zeros
		}
		bad := bytes.Clone(full)
		bad[bit/8] ^= 1 << (bit % 8)
		what := fmt.Sprintf("bit %d of byte %d", bit%8, bit/8)
		disk := tiny.disk(t, map[string][]byte{path: bad})
		notes += len(tiny.checkScan(t, what, disk, want).Findings)
		if bit%16 == 0 {
			tiny.checkOpen(t, what, disk, want)
		}
	}
	if notes == 0 {
		t.Fatal("nothing was noted about index and footer")
	}
}

// TestEveryTruncation cuts each file of the log at every length: what is missing reads as zeros.
func TestEveryTruncation(t *testing.T) {
	tiny := newTinyLog(t, 2, 2, false)
	step := 1
	if testing.Short() {
		step = 17
	}
	for segment, path := range tiny.segments() {
		t.Run(fmt.Sprint("segment ", segment), func(t *testing.T) {
			t.Parallel()
			good := tiny.files[path]
			for size := segment % step; size < len(good); size += step {
				if size > 128 && size < headerSize && size%61 != 0 {
					continue
				}
				what := fmt.Sprintf("cut at %d", size)
				got := tiny.check(t, what, map[string][]byte{path: good[:size:size]})
				if size >= headerSize && got.Class != refscan.Damaged && len(got.Frames) < tiny.synced {
					t.Fatalf("%s: %d durable frames, %d left", what, tiny.synced, len(got.Frames))
				}
			}
		})
	}
	for segment, path := range tiny.segments() {
		got := tiny.check(t, fmt.Sprint("without segment ", segment), map[string][]byte{path: nil})
		if segment > 0 && got.Class != refscan.Damaged && len(got.Frames) < tiny.synced {
			t.Fatalf("without segment %d: class %d", segment, got.Class)
		}
	}
}

// TestSectorsZeroedAndSwapped does to the sectors of a file what disks do: one is lost, two change places,
// one is written in the place of another.
func TestSectorsZeroedAndSwapped(t *testing.T) {
	tiny := newTinyLog(t, 12, 2, false)
	for segment, path := range tiny.segments() {
		good := tiny.files[path]
		sectors := (len(good) + memSector - 1) / memSector
		good = append(bytes.Clone(good), make([]byte, sectors*memSector-len(good))...)
		sector := func(b []byte, i int) []byte { return b[i*memSector:][:memSector] }
		for i := range sectors {
			if i > 0 && i < headerSize/memSector-1 {
				continue // the header page's zeros
			}
			bad := bytes.Clone(good)
			clear(sector(bad, i))
			tiny.check(t, fmt.Sprintf("segment %d, sector %d zeroed", segment, i), map[string][]byte{path: bad})
			for j := headerSize / memSector; j < sectors; j++ {
				if i == j {
					continue
				}
				bad = bytes.Clone(good)
				copy(sector(bad, i), sector(good, j))
				what := fmt.Sprintf("segment %d, sector %d at %d", segment, j, i)
				tiny.check(t, what, map[string][]byte{path: bad})
				copy(sector(bad, j), sector(good, i))
				tiny.check(t, what+" and back", map[string][]byte{path: bad})
			}
		}
	}
}

// TestOldSegmentReplayed puts a segment back as it was before its last frames, one in the place of another,
// and one that was replaced.
func TestOldSegmentReplayed(t *testing.T) {
	tiny := newTinyLog(t, 4, 2, false)
	paths := tiny.segments()
	for i, path := range paths {
		good := tiny.files[path]
		old := bytes.Clone(good)
		clear(old[headerSize+2*sizeAt(good, headerSize):])
		got := tiny.check(t, fmt.Sprint("an old copy of segment ", i), map[string][]byte{path: old})
		if i < 2 && got.Class != refscan.Damaged { // nothing is younger than the last segment's own frames
			t.Errorf("an old copy of segment %d: class %d, want damaged", i, got.Class)
		}
		for j, other := range paths {
			if i == j {
				continue
			}
			fs := tiny.disk(t, map[string][]byte{path: tiny.files[other]})
			report, err := Scan(t.Context(), fs, OfflineLog{Topic: 16, Dir: tiny.dir}, ScanOptions{})
			if err != nil || report.Class != OfflineDamaged {
				t.Errorf("segment %d in the place of %d: %+v, %v; want damaged", j, i, report, err)
			}
			s := openTest(t, fs, "data", Options{})
			_, err = s.OpenLog(16, 0, LogOptions{})
			wantCode(t, "open", err, core.CodeCorrupt)
		}
	}
}

package mmaplog

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

func testEdits() []manifestEdit {
	h := testHeader()
	h.durable, h.produced, h.recycled = mark{}, true, true
	last := logState{offset: 2345, index: 290, prevCRC: 0xfeedface, time: 2_000_000_000}
	behind := h
	behind.gap, behind.gapFrom = true, h.base.offset-77
	of := segmentHeader{topic: h.topic, partition: h.partition, id: h.id}
	return []manifestEdit{
		{kind: editOpened},
		{kind: editCreated, header: h},
		{kind: editSealed, header: h, end: 200_000, last: last},
		{kind: editSealed, header: h},
		{kind: editTruncated, header: h},
		{kind: editDropped, header: of},
		{kind: editTopicRemoved, header: segmentHeader{topic: 17}},
		{kind: editCreated, header: behind},
		{kind: editClosed},
	}
}

func encodeManifest(edits []manifestEdit) []byte {
	b := appendManifestHead(nil)
	for i := range edits {
		b = edits[i].append(b)
	}
	return b
}

func TestManifestRoundTrip(t *testing.T) {
	edits := testEdits()
	raw := encodeManifest(edits)
	image, err := decodeManifest(raw)
	if err != nil || !image.closed || image.end != int64(len(raw)) || image.edits != len(edits) {
		t.Fatalf("decodeManifest = %+v, %v", image, err)
	}
	for i, want := range edits {
		got, err := image.edit(int32(i)).decode()
		if err != nil || got != want {
			t.Errorf("edit %d = %+v, %v; want %+v", i, got, err, want)
		}
	}
	golden(t, "manifest-v1.hex", raw)
	if n := reflect.TypeFor[segmentHeader]().NumField(); n != 15 {
		t.Errorf("a segment header has %d fields: the manifest has to keep the new one, and then this test "+
			"has to know", n)
	}
}

// TestManifestBitFlips flips every bit: the manifest is refused as a whole, so that an edit that drops a
// segment is never missed.
func TestManifestBitFlips(t *testing.T) {
	raw := encodeManifest(testEdits())
	for at := range raw {
		for bit := range 8 {
			raw[at] ^= 1 << bit
			if _, err := decodeManifest(raw); err == nil {
				t.Fatalf("byte %d, bit %d flipped and nobody noticed", at, bit)
			}
			raw[at] ^= 1 << bit
		}
	}
	raw[8]++
	copy(raw[12:], []byte{0, 0, 0, 0})
	raw = appendManifestHead(nil)
	raw[8] = 2
	setManifestHeadCRC(raw)
	_, err := decodeManifest(raw)
	wantCode(t, "version 2", err, core.CodeVersionTooNew)
}

func setManifestHeadCRC(b []byte) {
	sum := manifestHeadCRC(b)
	b[12], b[13], b[14], b[15] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
}

// TestManifestTorn: what a power cut leaves of edits that were not synced is no damage.
func TestManifestTorn(t *testing.T) {
	edits := testEdits()
	whole := encodeManifest(edits)
	for cut := editSize; cut < len(whole); cut++ {
		image, err := decodeManifest(whole[:cut:cut])
		if err != nil || image.edits != cut/editSize-1 || image.end != int64(cut/editSize)*editSize ||
			image.closed {
			t.Fatalf("cut at %d: %+v, %v", cut, image, err)
		}
	}
	for i := range edits {
		torn := bytes.Clone(whole)
		clear(torn[(i+1)*editSize : (i+2)*editSize])
		image, err := decodeManifest(torn)
		if err != nil || image.edits != len(edits)-1 || image.closed {
			t.Fatalf("without edit %d: %+v, %v", i, image, err)
		}
	}
}

// FuzzManifest: no input makes it panic, what is accepted resolves, and writing what it resolves to anew
// resolves to the same.
func FuzzManifest(f *testing.F) {
	f.Add(encodeManifest(testEdits()))
	f.Add(encodeManifest(testEdits()[:4]))
	f.Add(append(encodeManifest(testEdits()[:2]), make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for at := editSize; at+editSize <= len(raw); at += editSize { // else hardly any edit would be right
			if raw[at+4] < 16 {
				sum := editCRC(raw[at : at+editSize])
				raw[at], raw[at+1], raw[at+2], raw[at+3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
			}
		}
		if len(raw) >= editSize {
			copy(raw, appendManifestHead(nil))
		}
		image, err := decodeManifest(raw)
		if err != nil {
			return
		}
		again := appendManifestHead(nil)
		live := 0
		for _, log := range image.logs {
			r := image.resolve(log)
			for i, n := range r.live {
				if e := image.edit(n); i > 0 && image.edit(r.live[i-1]).ordinal() > e.ordinal() {
					t.Fatalf("ordinal %d after %d", e.ordinal(), image.edit(r.live[i-1]).ordinal())
				}
				_, _ = image.edit(n).decode()
				again = image.edit(n).appendFirst(again)
				live++
			}
		}
		second, err := decodeManifest(again)
		if err != nil || second.live != live || second.edits != live {
			t.Fatalf("written anew: %+v, %v; want %d segments", second, err, live)
		}
	})
}

// sealedLog fills a log with segments of few large records, all durable, and gives the values.
func sealedLog(t testing.TB, s *Store, n int) (*Log, []string) {
	t.Helper()
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckDisk, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	values := numbered(n, 30_000)
	appendValues(t, l, values...)
	syncNow(l)
	drainJanitor(s)
	return l, values
}

func manualOptions() Options { return Options{Clock: clock.NewManual(1)} }

// TestManifestSparesFiles: after an orderly close only the youngest segments are touched, until somebody
// reads the others.
func TestManifestSparesFiles(t *testing.T) {
	fs := &countingFS{FS: Heap()}
	s := openTest(t, fs, "data", manualOptions())
	l, values := sealedLog(t, s, 100)
	segments, bytes := l.Segments(), l.Bytes()
	if err := s.Close(); err != nil || segments < 10 {
		t.Fatalf("%d segments, %v", segments, err)
	}
	s = openTest(t, fs, "data", manualOptions())
	before := fs.opened.Load()
	l = openLog(t, s, core.AckDisk)
	if opened := fs.opened.Load() - before; opened > 6 {
		t.Errorf("opening the log opened %d files, it has %d segments", opened, segments)
	}
	if l.Segments() != segments || l.Bytes() != bytes || l.Start() != 0 || l.segs.state.Load().older == nil {
		t.Errorf("%d segments of %d bytes from %d on, want %d of %d", l.Segments(), l.Bytes(), l.Start(), segments,
			bytes)
	}
	appendValues(t, l, "more")
	wantValues(t, l, append(values, "more")...)
	for _, seg := range *l.segs.Load() {
		f, err := fs.Open(seg.path, ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		page := make([]byte, headerSize)
		if _, err := f.ReadAt(page, 0); err != nil {
			t.Fatal(err)
		}
		h, err := decodeSegmentHeader(page)
		seg.header.durable, h.durable = mark{}, mark{}
		if err != nil || h != seg.header {
			t.Errorf("segment %s: header %+v, the manifest gave %+v, %v", seg.path, h, seg.header, err)
		}
	}
}

// TestManifestKnowsWhatIsMissing takes a sealed segment away, or its end, after a power cut: the log is not
// opened. After an orderly close, when nobody looks, whoever reads the segment is told.
func TestManifestKnowsWhatIsMissing(t *testing.T) {
	for _, closed := range []bool{false, true} {
		for _, short := range []bool{false, true} {
			for victim := 0; ; victim++ {
				fs := Heap()
				s := openTest(t, fs, "data", manualOptions())
				l, _ := sealedLog(t, s, 30)
				if err := s.manifest.sync(); err != nil { // the janitor is idle
					t.Fatal(err)
				}
				list := *l.segs.Load()
				if victim == len(list)-1 {
					break
				}
				if closed {
					_ = s.Close()
				}
				fs = fs.Crash(7)
				name := list[victim].path
				if short {
					fs.put(name, fs.content(name)[:50_000])
				} else if err := fs.Remove(name); err != nil {
					t.Fatal(err)
				}
				s = openTest(t, fs, "data", manualOptions())
				l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckDisk, SegmentBytes: core.MinSegmentBytes})
				if closed && err == nil {
					_, err = readValues(l)
				}
				if core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), filepath.Base(name)) {
					t.Errorf("closed %v, short %v, segment %d of %d: error %v", closed, short, victim, len(list), err)
				}
			}
		}
	}
}

// TestManifestIsMadeAgain damages or removes it: the logs open as before, and are trusted after the next
// close.
func TestManifestIsMadeAgain(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"gone":    nil,
		"empty":   func([]byte) []byte { return nil },
		"damaged": func(b []byte) []byte { b[5*editSize+50] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)-editSize] },
		"torn":    func(b []byte) []byte { return b[:len(b)-editSize-3] },
	} {
		fs := Heap()
		s := openTest(t, fs, "data", manualOptions())
		_, values := sealedLog(t, s, 40)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("data", manifestName)
		if change == nil {
			if err := fs.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else {
			fs.put(path, change(fs.content(path)))
		}
		for life := range 3 {
			s = openTest(t, fs, "data", manualOptions())
			if want := life > 0; s.manifest.trusted != want {
				t.Errorf("%s, life %d: trusted %v, want %v", name, life, s.manifest.trusted, want)
			}
			wantValues(t, openLog(t, s, core.AckDisk), values...)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestManifestIsGivenUp: when it cannot be written it goes, trimming goes on, and the next start makes it
// again.
func TestManifestIsGivenUp(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", manualOptions())
	l, values := sealedLog(t, s, 40)
	fs.FailNextSync(syscall.EIO)
	if err := l.TrimTo(20); err != nil {
		t.Fatal(err)
	}
	drainJanitor(s)
	start := l.Start()
	if fs.content0(filepath.Join("data", manifestName)) || start == 0 || l.Fenced() != nil {
		t.Fatalf("start %d, fenced %v; the manifest is there: %v", start, l.Fenced(),
			fs.content0(filepath.Join("data", manifestName)))
	}
	appendValues(t, l, "more")
	syncNow(l)
	for life := range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, fs.Crash(uint64(life)), "data", manualOptions())
		l = openLog(t, s, core.AckDisk)
		if l.Start() != start {
			t.Fatalf("start %d, want %d", l.Start(), start)
		}
		wantValues(t, l, append(values[start:], "more")...)
	}
}

// content0 reports whether a file is there.
func (m *MemFS) content0(path string) bool {
	_, err := m.Open(path, ReadOnly)
	return !errors.Is(err, errNotExist)
}

// TestManifestOfUnopenedLogs: after a power cut nobody looks at one of two logs; an orderly close must not
// say that all is known.
func TestManifestOfUnopenedLogs(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", manualOptions())
	sealedLog(t, s, 20)
	other, err := s.OpenLog(16, 1, LogOptions{SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, other, "a", "b")
	syncNow(other)
	drainJanitor(s)
	if err := s.manifest.sync(); err != nil {
		t.Fatal(err)
	}
	appendValues(t, other, numbered(20, 30_000)...) // durable, but the manifest was not told durably
	syncNow(other)
	fs = fs.Crash(0)
	for range 2 {
		s = openTest(t, fs, "data", manualOptions())
		if s.manifest.trusted {
			t.Fatal("a manifest is trusted after a power cut, although one of its logs was not opened since")
		}
		openLog(t, s, core.AckDisk)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = openTest(t, fs, "data", manualOptions())
	other, err = s.OpenLog(16, 1, LogOptions{SegmentBytes: core.MinSegmentBytes})
	if err != nil || other.End() != 22 {
		t.Fatalf("the other log ends at %d, want 22: %v", other.End(), err)
	}
	openLog(t, s, core.AckDisk)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openTest(t, fs, "data", manualOptions()); !s.manifest.trusted {
		t.Error("not trusted although all logs were opened and closed in order")
	}
}

// TestManifestIsWrittenAnew lets a log with retention run until most of the manifest is out of date.
func TestManifestIsWrittenAnew(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", manualOptions())
	drainJanitor(s)
	s.manifest.slack = 3
	l, _ := sealedLog(t, s, 10)
	largest := int64(0)
	for i := range 30 {
		appendValues(t, l, numbered(10, 30_000)...)
		syncNow(l)
		if err := l.TrimTo(int64(10 * i)); err != nil {
			t.Fatal(err)
		}
		drainJanitor(s)
		f, err := fs.Open(filepath.Join("data", manifestName), ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, size)
	}
	if limit := int64(40 * editSize); largest > limit {
		t.Errorf("the manifest grew to %d bytes, at most %d are of use", largest, limit)
	}
	start, end := l.Start(), l.End()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, fs, "data", manualOptions())
	l = openLog(t, s, core.AckDisk)
	if !s.manifest.trusted || l.Start() != start || l.End() != end {
		t.Errorf("trusted %v, [%d, %d), want [%d, %d)", s.manifest.trusted, l.Start(), l.End(), start, end)
	}
	if _, err := readValues(l); err != nil {
		t.Error(err)
	}
}

// TestManifestForgetsTopics: a removed topic leaves nothing that could be missed.
func TestManifestForgetsTopics(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", manualOptions())
	sealedLog(t, s, 20)
	if err := s.RemoveTopic(16); err != nil {
		t.Fatal(err)
	}
	fs = fs.Crash(3)
	s = openTest(t, fs, "data", manualOptions())
	if l := openLog(t, s, core.AckDisk); l.End() != 0 {
		t.Errorf("the log of a removed topic ends at %d", l.End())
	}
}

// TestManifestOfManyChunks: what is read piece by piece is what is decoded at once, wherever the pieces meet.
func TestManifestOfManyChunks(t *testing.T) {
	fs := Heap()
	if err := fs.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	content := appendManifestHead(nil)
	var h segmentHeader
	for i := range 3*manifestChunk/editSize + 5 {
		before := h.id
		h = segmentHeader{topic: 16, partition: int32(i / 3000), id: mixIDs(uint64(i)), previousID: before,
			ordinal: uint64(i + 1), size: core.MinSegmentBytes, dataEnd: classDataEnd(core.MinSegmentBytes),
			base: segmentBase{offset: int64(i), index: uint64(i + 1)}}
		content = rawEdit((&manifestEdit{kind: editSealed, header: h}).append(nil)).appendFirst(content)
	}
	content = (&manifestEdit{kind: editDropped, header: h}).append(content)
	content = (&manifestEdit{kind: editClosed}).append(content)
	for _, cut := range []int{0, 1, editSize, manifestChunk + editSize, len(content) - manifestChunk} {
		src := content[:len(content)-cut]
		path := filepath.Join("d", fmt.Sprint(cut))
		f, err := fs.Open(path, Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(src, 0); err != nil {
			t.Fatal(err)
		}
		m, err := readManifest(fs, path)
		if err != nil {
			t.Fatal(err)
		}
		want := len(src)/editSize - 1
		if m.closed != (cut == 0) || m.edits != want {
			t.Errorf("cut by %d: closed %v, %d edits; want %d", cut, m.closed, m.edits, want)
		}
		seen := 0
		for key, log := range m.logs {
			for _, n := range log.edits {
				seen++
				at := int(n+1) * editSize
				if e := m.edit(n); e.key() != key || string(e) != string(src[at:at+editSize]) {
					t.Fatalf("cut by %d: edit %d is another one", cut, n)
				}
			}
			sealed := min(3000, want)
			if key.partition == 0 && (!log.plain || log.sealed != sealed ||
				log.bytes != int64(sealed)*core.MinSegmentBytes) {
				t.Errorf("log 0: plain %v, %d sealed, %d bytes", log.plain, log.sealed, log.bytes)
			}
		}
		if marks := m.edits - seen; marks != 0 && cut != 0 || marks > 1 {
			t.Errorf("cut by %d: %d edits of no log", cut, marks)
		}
	}
	content[2*manifestChunk+editSize+9] ^= 1
	if _, err := decodeManifest(content); err == nil {
		t.Error("damage in the third chunk was not seen")
	}
}

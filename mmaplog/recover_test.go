package mmaplog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// verdict is what opening a log does.
type verdict struct {
	refused bool
	frames  int // accepted
}

// reference is an independent scanner of one segment, written from docs/format.md alone: how many
// frames are accepted, and whether what follows is damage.
func reference(file []byte) verdict {
	le, table := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	page := file[:4096]
	crc := crc32.Update(crc32.Update(0, table, page[:12]), table, page[16:])
	id := crc32.Checksum(idOfTest, table)
	check := func(at int) (size int, ok bool) {
		if at+64 > len(file) {
			return 0, false
		}
		length := int(le.Uint32(file[at:]))
		if length < 64 || length > len(file)-at {
			return 0, false
		}
		sum := crc32.Update(crc32.Update(id, table, file[at:at+4]), table, file[at+8:at+64])
		size = (length + 7) &^ 7
		ok = sum == le.Uint32(file[at+4:]) && at+size <= len(file) && file[at+63] == 1 && file[at+62] == 0 &&
			crc32.Checksum(file[at+64:at+length], table) == le.Uint32(file[at+48:]) &&
			!slices.ContainsFunc(file[at+length:at+size], func(c byte) bool { return c != 0 })
		return size, ok
	}
	if string(page[:8]) != "LEATSEGM" || crc != le.Uint32(page[12:]) {
		_, ok := check(4096)
		return verdict{refused: ok}
	}
	at, index, offset, prev, time := 4096, uint64(1), uint64(0), uint32(0), uint64(0)
	frames := 0
	for {
		size, ok := check(at)
		if !ok || le.Uint64(file[at+8:]) != index || le.Uint64(file[at+16:]) != offset ||
			le.Uint32(file[at+44:]) != prev || le.Uint64(file[at+24:]) < time {
			break
		}
		index, offset = index+1, offset+uint64(le.Uint16(file[at+58:]))
		prev, time = le.Uint32(file[at+48:]), le.Uint64(file[at+24:])
		at, frames = at+size, frames+1
	}
	for f := at; f+64 <= len(file); f += 8 {
		if _, ok := check(f); ok && le.Uint64(file[f+8:])-1-uint64(le.Uint16(file[f+60:])) >= index {
			return verdict{refused: true}
		}
	}
	return verdict{frames: frames}
}

var idOfTest []byte

// smallLog is a disk with a log of a few frames in one segment, of which the first durable ones were
// synced before the others were written.
func smallLog(t testing.TB, frames, durable int) (*MemFS, string) {
	t.Helper()
	fs := Heap()
	s, err := Open(fs, "data", Options{Clock: clock.NewManual(5)})
	if err != nil {
		t.Fatal(err)
	}
	l := openLog(t, s, core.AckDisk)
	for i, v := range numbered(frames, 20) {
		if i == durable {
			syncNow(l)
		}
		appendValues(t, l, v)
	}
	list := *l.segs.Load()
	idOfTest = binary.LittleEndian.AppendUint64(nil, list[0].header.id)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	forgetState(t, fs, list[0].path)
	return fs, list[0].path
}

// forgetState removes the log's state file, so that opening it reads the frames.
func forgetState(t testing.TB, fs *MemFS, segment string) {
	t.Helper()
	if err := fs.Remove(filepath.Join(filepath.Dir(segment), stateName)); err != nil {
		t.Fatal(err)
	}
}

// put replaces a file's content.
func (m *MemFS) put(path string, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path = filepath.Clean(path)
	node := &memNode{data: bytes.Clone(content)}
	node.persistLocked(0, int64(len(content)))
	m.entries[path], m.durable[path] = node, node
}

func (m *MemFS) content(path string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.entries[filepath.Clean(path)]
	node.warmLocked()
	return bytes.Clone(node.data)
}

// openVerdict recovers the log and tells the verdict; what was accepted must read back. With goOn a
// record is appended then.
func openVerdict(t testing.TB, fs *MemFS, frames int, goOn bool) verdict {
	t.Helper()
	s, err := Open(fs, "data", Options{Clock: clock.NewManual(6)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := s.OpenLog(16, 0, LogOptions{SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		if core.CodeOf(err) != core.CodeCorrupt {
			t.Fatalf("OpenLog: %v, want CodeCorrupt", err)
		}
		return verdict{refused: true}
	}
	wantValues(t, l, numbered(frames, 20)[:l.End()]...)
	if goOn {
		appendValues(t, l, "next")
		return verdict{frames: int(l.End()) - 1}
	}
	return verdict{frames: int(l.End())}
}

// TestEveryBitFlip flips each bit of a small segment and compares with the reference: what was
// durable is never cut, what is accepted is never changed.
func TestEveryBitFlip(t *testing.T) {
	const frames, durable = 6, 4
	fs, path := smallLog(t, frames, durable)
	good := fs.content(path)
	used := headerSize
	for range frames {
		used += sizeAt(good, used)
	}
	refusals := 0
	for bit := range used * 8 {
		if bit > 200*8 && bit < headerSize*8 && bit%97 != 0 {
			continue // the header page's zeros: a sample
		}
		if raceEnabled && bit%31 != 0 {
			continue
		}
		bad := bytes.Clone(good[:used+4096])
		bad[bit/8] ^= 1 << (bit % 8)
		want := reference(bad)
		fs.put(path, bad)
		got := openVerdict(t, fs, frames, bit%16 == 0)
		if !got.refused {
			forgetState(t, fs, path)
		}
		if got != want {
			t.Fatalf("bit %d of byte %d: %+v, reference says %+v", bit%8, bit/8, got, want)
		}
		if got.refused {
			refusals++
			if !bytes.Equal(fs.content(path), bad) {
				t.Fatalf("bit %d: refused, yet the file was changed", bit)
			}
		} else if got.frames < durable && bit >= headerSize*8 {
			t.Fatalf("bit %d: durable frames cut, %d of %d left", bit, got.frames, durable)
		}
	}
	if refusals == 0 {
		t.Fatal("no flip was refused")
	}
}

// TestTornTail cuts the file at every byte of the frames that were not synced: the whole frames
// before it stay, and the log goes on there.
func TestTornTail(t *testing.T) {
	const frames, durable = 6, 2
	fs, path := smallLog(t, frames, durable)
	good := fs.content(path)
	var ends []int
	for at := headerSize; len(ends) <= frames; {
		ends = append(ends, at)
		if len(ends) <= frames {
			at += sizeAt(good, at)
		}
	}
	for at := ends[durable]; at <= ends[frames]; at += 500 / scaled(500) {
		torn := bytes.Clone(good)
		clear(torn[at:])
		whole := frames // some frames end with zeros, which a cut there does not change
		for !bytes.Equal(torn[:ends[whole]], good[:ends[whole]]) {
			whole--
		}
		for _, file := range [][]byte{torn, good[:at]} {
			fs.put(path, file)
			if got := openVerdict(t, fs, frames, true); got != (verdict{frames: whole}) {
				t.Fatalf("torn at %d: %+v, want %d frames", at, got, whole)
			}
			forgetState(t, fs, path)
			if got := openVerdictOf(t, fs); got != int64(whole)+1 {
				t.Fatalf("torn at %d: second recovery ends at %d, want %d", at, got, whole+1)
			}
			forgetState(t, fs, path)
		}
	}
}

func openVerdictOf(t *testing.T, fs *MemFS) int64 {
	t.Helper()
	s := openTest(t, fs, "data", Options{})
	l := openLog(t, s, core.AckDisk)
	end := l.End()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return end
}

// TestDamageNamesSegmentAndPosition: another log of the store goes on.
func TestDamageNamesSegmentAndPosition(t *testing.T) {
	fs, path := smallLog(t, 6, 4)
	file := fs.content(path)
	at := headerSize + sizeAt(file, headerSize)
	file[at+70] ^= 1
	fs.put(path, file)
	s := openTest(t, fs, "data", Options{})
	_, err := s.OpenLog(16, 0, LogOptions{})
	wantCode(t, "open", err, core.CodeCorrupt)
	for _, part := range []string{path, "position 4", "offsets [1, "} {
		if !bytes.Contains([]byte(err.Error()), []byte(part)) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
	var damaged *Damaged
	if !errors.As(err, &damaged) || damaged.From != 1 || damaged.To < 2 || damaged.Segment != path {
		t.Errorf("error %v tells of %+v", err, damaged)
	}
	other, err := s.OpenLog(16, 1, LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, other, "x")
}

// TestMissingSegment: a file in the middle was deleted by somebody. Where the disk tells that it was
// durable, the log is refused; where it does not, the younger segments are set aside, not deleted.
func TestMissingSegment(t *testing.T) {
	for _, synced := range []bool{true, false} {
		for _, victim := range []int{1, 2, 3} {
			fs := Heap()
			s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
			l := openLog(t, s, core.AckDisk)
			for i, v := range numbered(1000, 1000) {
				appendValues(t, l, v)
				if synced && i%100 == 0 {
					syncNow(l)
				}
			}
			list := *l.segs.Load()
			if err := s.Close(); err != nil || len(list) < 5 {
				t.Fatalf("%d segments, %v", len(list), err)
			}
			gone := len(list) - 1 - victim
			if err := errors.Join(fs.Remove(list[gone].path), fs.Remove("data/MANIFEST")); err != nil {
				t.Fatal(err) // with the manifest all of them are known to be durable
			}
			if !synced { // else it tells even when the headers do not
				forgetState(t, fs, list[gone].path)
			}
			s = openTest(t, fs, "data", Options{})
			l, err := s.OpenLog(16, 0, LogOptions{SegmentBytes: core.MinSegmentBytes})
			if synced {
				wantCode(t, "open", err, core.CodeCorrupt)
				continue
			}
			if err != nil || l.End() != list[gone].header.base.offset || l.Recovery().CutBytes == 0 {
				t.Fatalf("open: %v, end %d, %+v", err, l.End(), l.Recovery())
			}
			for _, seg := range list[gone+1:] {
				if len(fs.content(seg.path+".cut")) != int(seg.header.size) {
					t.Fatalf("segment %s was not set aside", seg.path)
				}
			}
		}
	}
}

// TestUnknownFilesStay and prepared leftovers go.
func TestUnknownFilesStay(t *testing.T) {
	fs, path := smallLog(t, 3, 3)
	dir := filepath.Dir(path)
	stay := []string{"state", "notes.txt", "0-0.seg"}
	// A segment's file that never got its header, and holds no frame, is as useless as a spare.
	useless := []string{spareName(9), segmentName(3, 77)}
	for _, name := range append(stay, useless...) {
		fs.put(filepath.Join(dir, name), make([]byte, 10))
	}
	if err := fs.Remove("data/MANIFEST"); err != nil {
		t.Fatal(err) // it would spare the look into the folder
	}
	if got := openVerdict(t, fs, 3, true); got != (verdict{frames: 3}) {
		t.Fatalf("%+v", got)
	}
	names, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stay {
		if !slices.Contains(names, name) {
			t.Errorf("%s was deleted", name)
		}
	}
	for _, name := range useless {
		if slices.Contains(names, name) {
			t.Errorf("%s was kept", name)
		}
	}
}

func FuzzSegmentRecover(f *testing.F) {
	fs, path := smallLog(f, 4, 2)
	good := fs.content(path)[:headerSize+1024]
	id := bytes.Clone(idOfTest)
	f.Add([]byte{}, uint16(headerSize))
	f.Add([]byte{1, 2, 3}, uint16(headerSize+100))
	f.Add(good[headerSize:headerSize+200], uint16(headerSize+400))
	// Properties: no panic; either the log is refused with CodeCorrupt or CodeVersionTooNew and the file
	// unchanged, or what was recovered reads back, and a second recovery finds the same.
	f.Fuzz(func(t *testing.T, patch []byte, at uint16) {
		idOfTest = id
		bad := bytes.Clone(good)
		copy(bad[min(int(at), len(bad)):], patch)
		disk := Heap()
		if err := disk.MkdirAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		disk.put(path, bad)
		s := openTest(t, disk, "data", Options{Clock: clock.NewManual(1)})
		l, err := s.OpenLog(16, 0, LogOptions{})
		if err != nil {
			if code := core.CodeOf(err); code != core.CodeCorrupt && code != core.CodeVersionTooNew {
				t.Fatalf("code %v: %v", code, err)
			}
			if !bytes.Equal(disk.content(path), bad) {
				t.Fatal("refused, yet the file was changed")
			}
			return
		}
		first := readRuns(t, l)
		_ = s.Close()
		s = openTest(t, disk, "data", Options{Clock: clock.NewManual(2)})
		l, err = s.OpenLog(16, 0, LogOptions{})
		if err != nil || l.Recovery().CutBytes != 0 || !bytes.Equal(first, readRuns(t, l)) {
			t.Fatalf("second recovery: %v, %+v", err, l.Recovery())
		}
	})
}

// readRuns gives all frames of a log, verbatim.
func readRuns(t testing.TB, l *Log) []byte {
	t.Helper()
	r := l.Reader(l.Start())
	defer r.Close()
	var all []byte
	for {
		run, err := r.Next(l.End())
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			return all
		}
		all = append(all, run...)
	}
}

func sizeAt(file []byte, at int) int {
	h := core.ParseFrameHeader(file[at:])
	return int(h.Size())
}

// TestBlankSegmentOfALostLog: a power cut may leave the name of a segment whose header never reached the
// disk, and nothing of the one before. Nothing was durable then.
func TestBlankSegmentOfALostLog(t *testing.T) {
	fs := Heap()
	if err := openTest(t, fs, "data", Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	dir := logDir("data", 16, 0)
	if err := fs.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	fs.put(filepath.Join(dir, segmentName(12, 7)), make([]byte, core.MinSegmentBytes))
	l := openLog(t, openTest(t, fs, "data", Options{}), core.AckPage)
	if l.End() != 0 {
		t.Errorf("End = %d, want 0", l.End())
	}
	appendValues(t, l, "first")
	wantValues(t, l, "first")
}

package mmaplog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// stateBed is a log with frames of producers whose owner keeps a list of their offsets as its state.
type stateBed struct {
	t     *testing.T
	fs    *MemFS
	store *Store
	log   *Log
	seen  []byte // offsets of producers' frames mod 256, the state
	load  []byte // the saved state that opening gave, nil if it gave none
	walk  int    // frames opening read
	read  error
}

func newStateBed(t *testing.T, fs *MemFS) *stateBed {
	b := &stateBed{t: t, fs: fs}
	b.open()
	return b
}

func (b *stateBed) open() {
	b.store = openTest(b.t, b.fs, "data", Options{Clock: clock.NewManual(1)})
	b.log = openLog(b.t, b.store, core.AckPage)
	b.seen, b.load, b.walk = nil, nil, 0
	b.read = b.log.RestoreProducers(func(state []byte) error {
		if len(state) > 0 && state[0] == 0xff {
			return errors.New("refused by its owner")
		}
		b.load, b.seen = state, slices.Clone(state)
		return nil
	}, func(h *core.FrameHeader) {
		b.walk++
		if h.ProducerID != 0 {
			b.seen = append(b.seen, byte(h.BaseOffset))
		}
	})
}

func (b *stateBed) reopen() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

// publish appends n frames, every second one of a producer, and saves the state when it is due.
func (b *stateBed) publish(n, size int) {
	b.t.Helper()
	for range n {
		record := encodeRecord(string(make([]byte, size)))
		b.log.Begin(1)
		if offset := b.log.End(); offset%2 == 0 {
			h := produced(7, int32(offset), record, 1)
			if _, err := b.log.AddFrame(&h, record); err != nil {
				b.t.Fatal(err)
			}
			b.seen = append(b.seen, byte(offset))
		} else {
			mustAdd(b.t, b.log, record)
		}
		if _, err := b.log.Publish(); err != nil {
			b.t.Fatal(err)
		}
		if b.log.StateDue() {
			b.log.SaveState(slices.Clone(b.seen))
		}
	}
}

// wantSeen fails unless opening found every frame of a producer, and read as the test expects.
func (b *stateBed) wantSeen(what string, loaded bool, atMost int) {
	b.t.Helper()
	var want []byte
	for offset := b.log.Start() + b.log.Start()%2; offset < b.log.End(); offset += 2 {
		want = append(want, byte(offset))
	}
	if b.read != nil || !slices.Equal(b.seen, want) {
		b.t.Errorf("%s: restored %d frames of producers, want %d; error %v", what, len(b.seen), len(want), b.read)
	}
	if (b.load != nil) != loaded || b.walk > atMost {
		b.t.Errorf("%s: state loaded: %v, want %v; %d frames read, want at most %d",
			what, b.load != nil, loaded, b.walk, atMost)
	}
}

func (b *stateBed) stateFile() string { return filepath.Join(b.log.dir, stateName) }

func TestStateIsSavedAtRoll(t *testing.T) {
	b := newStateBed(t, Heap())
	b.publish(10, 100)
	b.reopen()
	b.wantSeen("one segment", false, 10)
	b.publish(2000, 1000) // several segments
	if b.log.Segments() < 3 {
		t.Fatalf("%d segments", b.log.Segments())
	}
	b.reopen()
	b.wantSeen("several segments", true, 300)
	b.reopen()
	b.wantSeen("again, with nothing new", true, 300)
	b.publish(3, 100)
	b.reopen()
	b.wantSeen("and some more", true, 303)
}

func TestLogWithoutProducersReadsNothing(t *testing.T) {
	b := newStateBed(t, Heap())
	appendValues(t, b.log, numbered(2000, 1000)...)
	if b.log.Segments() < 3 || b.log.StateDue() {
		t.Fatalf("%d segments, state due: %v", b.log.Segments(), b.log.StateDue())
	}
	b.reopen()
	if b.walk != 0 || b.load != nil || b.read != nil {
		t.Errorf("%d frames read, state %v, error %v", b.walk, b.load, b.read)
	}
}

// TestStateWaitsForTheDisk: a state that covers what a power cut may take must not be on the disk.
func TestStateWaitsForTheDisk(t *testing.T) {
	fs := Heap()
	b := newStateBed(t, fs)
	b.publish(2, 100)
	syncNow(b.log)
	hung, release := fs.HangNextSync()
	defer release()
	b.log.RequestSync() // nothing to sync: the hang waits for the next round
	b.publish(400, 1000)
	b.log.RequestSync()
	<-hung
	drainJanitor(b.store)
	if f, _, err := b.log.readState(); err != nil || f.saved != nil || f.check.at.offset > b.log.DurableEnd() {
		t.Errorf("the state was written before what it covers: %+v, %v", f, err)
	}
	release()
	syncNow(b.log)
	drainJanitor(b.store)
	if f, _, err := b.log.readState(); err != nil || f.saved == nil {
		t.Errorf("the state was not written after what it covers: %+v, %v", f, err)
	}
}

func TestUnusableStateIsReadAgain(t *testing.T) {
	patch := func(at int, with byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= with; return b }
	}
	repaired := func(change func([]byte) []byte) func([]byte) []byte {
		return func(b []byte) []byte { b = change(b); putStateCRC(b); return b }
	}
	for what, change := range map[string]func([]byte) []byte{
		"empty":           func([]byte) []byte { return nil },
		"cut":             func(b []byte) []byte { return b[:len(b)-1] },
		"longer":          func(b []byte) []byte { return append(b, 0) },
		"magic":           patch(0, 1),
		"checksum":        patch(12, 1),
		"content":         patch(stateHead+3, 1),
		"newer version":   repaired(patch(8, 1)),
		"older version":   repaired(patch(8, 3)),
		"another log":     repaired(patch(16, 1)),
		"another one":     repaired(patch(24, 1)),
		"without it":      repaired(patch(28, stateHasProducers)),
		"unknown flag":    repaired(patch(29, 1)),
		"other checksum":  repaired(patch(120, 1)),
		"inside a frame?": repaired(patch(104, 1)),
		"beyond the end":  repaired(patch(109, 1)),
		"negative offset": repaired(patch(111, 0x80)),
		"other index":     repaired(patch(112, 1)),
		"length":          repaired(patch(128, 1)),
		"reserved":        repaired(patch(200, 1)),
		"its owner's":     repaired(func(b []byte) []byte { b[stateHead] = 0xff; return b }),
	} {
		t.Run(what, func(t *testing.T) {
			b := newStateBed(t, Heap())
			b.publish(1000, 1000)
			if err := b.store.Close(); err != nil {
				t.Fatal(err)
			}
			rewrite(t, b.fs, b.stateFile(), change)
			b.open()
			b.wantSeen("the log", false, 1000)
			if b.walk != 1000 {
				t.Errorf("%d frames read, want all 1000", b.walk)
			}
			b.publish(1, 100) // the state is saved anew
			b.reopen()
			b.wantSeen("afterwards", true, 400)
		})
	}
}

func putStateCRC(b []byte) {
	crc := stateCRC(b)
	b[12], b[13], b[14], b[15] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
}

// rewrite replaces the content of a file.
func rewrite(t *testing.T, fs *MemFS, name string, change func([]byte) []byte) {
	t.Helper()
	f, err := fs.Open(name, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	content := make([]byte, size)
	if _, err := f.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove(name); err != nil {
		t.Fatal(err)
	}
	f, err = fs.Open(name, Create)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(change(content), 0); err != nil {
		t.Fatal(err)
	}
}

// TestStateOfATrimmedLog: what was trimmed since the state was saved is not made up for by it.
func TestStateOfATrimmedLog(t *testing.T) {
	b := newStateBed(t, Heap())
	b.publish(400, 1000)
	if !slices.Contains(mustReadDir(t, b), stateName) {
		t.Fatal("no state was saved")
	}
	for range 800 { // nobody saves it again
		appendValues(t, b.log, string(make([]byte, 1000)))
	}
	syncNow(b.log)
	if err := b.log.TrimTo(b.log.End()); err != nil {
		t.Fatal(err)
	}
	if b.log.Start() <= 400 {
		t.Fatalf("log starts at %d", b.log.Start())
	}
	b.reopen()
	if b.load != nil || len(b.seen) != 0 || b.read != nil || b.walk == 0 {
		t.Errorf("state loaded: %v, %d frames of producers, %d frames read, error %v",
			b.load != nil, len(b.seen), b.walk, b.read)
	}
}

func mustReadDir(t *testing.T, b *stateBed) []string {
	t.Helper()
	syncNow(b.log)
	drainJanitor(b.store)
	names, err := b.fs.ReadDir(b.log.dir)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestDamagedHeaderIsCorrupt: in a segment that recovery took for durable as a whole.
func TestDamagedHeaderIsCorrupt(t *testing.T) {
	b := newStateBed(t, Heap())
	b.publish(300, 1000)
	syncNow(b.log)
	b.publish(700, 1000) // in segments whose headers say that the first one is durable
	first := (*b.log.segs.Load())[0].path
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	rewrite(t, b.fs, b.stateFile(), func([]byte) []byte { return nil })
	rewrite(t, b.fs, first, func(p []byte) []byte { p[headerSize+20] ^= 1; return p })
	b.open()
	wantCode(t, "RestoreProducers", b.read, core.CodeCorrupt)
}

// goldenState has something in every field.
func goldenState() stateFile {
	return stateFile{
		clean: true, produced: true, boot: BootID{1, 2, 3, 15: 16}, ceiling: 1 << 26,
		check: checkpoint{segment: 0x0123456789abcdef, pos: 8192,
			at: logState{offset: 2000, index: 400, prevCRC: 0xcafe, term: 4, time: 1234567890}},
		cut: suffixCut{active: true, from: 3000, term: 5},
		saved: &savedState{at: logState{offset: 1000, index: 200, prevCRC: 0xdeadbeef},
			bytes: []byte("state of producers")},
	}
}

func TestStateGolden(t *testing.T) {
	l := &Log{topic: 16, partition: 3}
	want := goldenState()
	got := want.encode(16, 3)
	path := filepath.Join("testdata", "state-v2.hex")
	if *update {
		if err := os.WriteFile(path, []byte(hex.Dump(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != hex.Dump(got) {
		t.Fatalf("%s (%v): got\n%swant\n%s", path, err, hex.Dump(got), text)
	}
	if s, err := l.decodeState(got); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("decodes to %+v, %v", s, err)
	}
	clear(got[cleanAt:stateHead])
	want.clean = false
	if s, err := l.decodeState(got); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("without its clean mark: decodes to %+v, %v", s, err)
	}
}

// TestStateV1IsRead: the producers of a file of before.
func TestStateV1IsRead(t *testing.T) {
	l := &Log{topic: 16, partition: 3}
	got, err := l.decodeState(goldenBytes(t, "state-v1.hex"))
	want := stateFile{saved: &savedState{at: logState{offset: 1000, index: 200, prevCRC: 0xdeadbeef},
		bytes: []byte("state of producers")}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decodes to %+v, %v; want %+v", got, err, want)
	}
}

// goldenBytes reads a dump of testdata.
func goldenBytes(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for line := range strings.Lines(string(text)) {
		digits, _, _ := strings.Cut(line, "|")
		for _, digit := range strings.Fields(digits)[1:] {
			one, err := hex.DecodeString(digit)
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, one...)
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	return b
}

// FuzzState: no input panics; what decodes encodes to the same bytes, but for a clean mark that is none.
func FuzzState(f *testing.F) {
	l := &Log{topic: 16, partition: 3}
	golden := goldenState()
	f.Add(golden.encode(16, 3))
	f.Add((&stateFile{}).encode(16, 3))
	f.Add(goldenBytes(f, "state-v1.hex"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) >= stateHead {
			putStateCRC(src) // so that the fuzzer gets beyond it
		}
		s, err := l.decodeState(src)
		if err != nil {
			return
		}
		got := s.encode(16, 3)
		if src[8] == 1 {
			if again, err := l.decodeState(got); err != nil || !reflect.DeepEqual(again.saved, s.saved) {
				t.Fatalf("version 1, encoded anew: %+v, %v; was %+v", again, err, s)
			}
			return
		}
		if !s.clean {
			clear(src[cleanAt:stateHead])
		}
		if !bytes.Equal(got, append(src[:cleanAt+cleanBytes:cleanAt+cleanBytes],
			append(make([]byte, stateHead-cleanAt-cleanBytes), src[stateHead:]...)...)) {
			t.Fatalf("encodes to\n%x, was\n%x", got, src)
		}
	})
}

func TestSegmentHeaderTellsOfProducers(t *testing.T) {
	h := testHeader()
	h.produced = true
	page := make([]byte, headerSize)
	h.encode(page)
	if got, err := decodeSegmentHeader(page); err != nil || got != h {
		t.Errorf("decode(encode(%+v)) = %+v, %v", h, got, err)
	}
	page[20] |= 0xf0 // compatible features of a later build
	setPageCRC(page)
	if got, err := decodeSegmentHeader(page); err != nil || got != h {
		t.Errorf("with features of a later build: %+v, %v", got, err)
	}
}

// TestStateOfLogWithoutSegments is what a kill leaves after the ceiling was written, which comes before the
// first segment and tells of producers already.
func TestStateOfLogWithoutSegments(t *testing.T) {
	b := newStateBed(t, Heap())
	b.log.setProduced()
	if err := b.fs.MkdirAll(b.log.dir); err != nil {
		t.Fatal(err)
	}
	if err := b.log.replaceState(func(f *stateFile) { f.ceiling = 100 }); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	if b.walk != 0 || b.load != nil || b.read != nil || b.log.StateDue() {
		t.Errorf("%d frames read, state %v, due %v, error %v", b.walk, b.load, b.log.StateDue(), b.read)
	}
	b.seen = nil
	base := b.log.End()
	b.publish(10, 100)
	b.reopen()
	if len(b.seen) != 5 || b.log.End() != base+10 {
		t.Errorf("then %d frames of producers in [%d, %d), want 5 in [%d, %d)",
			len(b.seen), b.log.Start(), b.log.End(), base, base+10)
	}
}

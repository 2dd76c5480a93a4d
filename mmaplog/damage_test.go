package mmaplog

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// hurtLog is a log of a few segments, every frame of it durable, on a disk that is damaged by a test.
type hurtLog struct {
	t      testing.TB
	fs     *MemFS
	noMap  bool
	level  core.Ack
	dir    string
	paths  []string // of the segments, ascending
	bases  []int64
	frames [][][2]int // of each segment: position and size of each frame
	values []string   // by offset
}

// newHurtLog makes a log whose segments have so many frames of one record. With the state and the manifest
// opening knows that all of them are durable; without, what headers and frames tell of it.
func newHurtLog(t testing.TB, level core.Ack, noMap bool, perSegment ...int) *hurtLog {
	t.Helper()
	l := &hurtLog{t: t, fs: Heap(), noMap: noMap, level: level}
	s, log := l.open(Fail)
	for i, n := range perSegment {
		for range n {
			value := fmt.Sprintf("%d-%0*d", len(l.values), 100+37*(len(l.values)%5), 7)
			l.values = append(l.values, value)
			appendValues(t, log, value)
			syncNow(log)
		}
		if i+1 < len(perSegment) {
			if err := log.Roll(); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.dir = log.dir
	for _, seg := range *log.segs.Load() {
		l.paths = append(l.paths, seg.path)
		l.bases = append(l.bases, seg.header.base.offset)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, path := range l.paths {
		content, at := l.fs.content(path), headerSize
		l.frames = append(l.frames, nil)
		for range perSegment[i] {
			l.frames[i] = append(l.frames[i], [2]int{at, sizeAt(content, at)})
			at += sizeAt(content, at)
		}
	}
	return l
}

func (l *hurtLog) store() *Store {
	l.t.Helper()
	s, err := Open(l.fs, "data", Options{Clock: clock.NewManual(5), NoMap: l.noMap})
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (l *hurtLog) tryOpen(s *Store, policy OnDamage) (*Log, error) {
	return s.OpenLog(16, 0, LogOptions{Level: l.level, SegmentBytes: core.MinSegmentBytes, OnDamage: policy})
}

func (l *hurtLog) open(policy OnDamage) (*Store, *Log) {
	l.t.Helper()
	s := l.store()
	log, err := l.tryOpen(s, policy)
	if err != nil {
		l.t.Fatal(err)
	}
	return s, log
}

// forget removes what tells of durable records beside the segments.
func (l *hurtLog) forget(state, manifest bool) {
	if state {
		_ = l.fs.Remove(filepath.Join(l.dir, stateName))
	}
	if manifest {
		_ = l.fs.Remove("data/MANIFEST")
	}
}

// flip changes a byte of a frame's payload, or of its header.
func (l *hurtLog) flip(segment, frame int, header bool) {
	at := l.frames[segment][frame][0]
	if !header {
		at += core.FrameHeaderSize + 24
	}
	content := l.fs.content(l.paths[segment])
	content[at+9] ^= 0x10
	l.fs.put(l.paths[segment], content)
}

// zero overwrites frames with zeros.
func (l *hurtLog) zero(segment, from, to int) {
	content := l.fs.content(l.paths[segment])
	last := l.frames[segment][to-1]
	clear(content[l.frames[segment][from][0] : last[0]+last[1]])
	l.fs.put(l.paths[segment], content)
}

// cutHeader damages the page before the frames.
func (l *hurtLog) cutHeader(segment int) {
	content := l.fs.content(l.paths[segment])
	content[60] ^= 1
	l.fs.put(l.paths[segment], content)
}

func (l *hurtLog) remove(segment int) {
	if err := l.fs.Remove(l.paths[segment]); err != nil {
		l.t.Fatal(err)
	}
}

// readAround reads the whole log, seeking behind each damage that the reader meets, and gives the values and
// the ranges.
func readAround(t testing.TB, l *Log, pinned bool) (map[int64]string, []Damaged) {
	t.Helper()
	r := l.Reader(l.Start())
	defer r.Close()
	values, met := map[int64]string{}, []Damaged(nil)
	for {
		run, err := readSome(r, l.End(), pinned)
		var d *Damaged
		if errors.As(err, &d) {
			if core.CodeOf(err) != core.CodeCorrupt || d.To <= r.Offset() || d.From > r.Offset() || d.To > l.End() {
				t.Fatalf("at offset %d of [%d, %d): %v", r.Offset(), l.Start(), l.End(), err)
			}
			if _, again := readSome(r, l.End(), pinned); again == nil || again.Error() != err.Error() {
				t.Fatalf("%v, and then %v", err, again)
			}
			met = append(met, *d)
			r.Seek(d.To)
			continue
		}
		if err != nil {
			t.Fatalf("at offset %d of [%d, %d): %v", r.Offset(), l.Start(), l.End(), err)
		}
		if run == nil {
			return values, met
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			record, _, err := core.DecodeRecord(run[core.FrameHeaderSize:h.Length])
			if err != nil {
				t.Fatal(err)
			}
			values[h.BaseOffset] = string(record.Value)
			run = run[h.Size():]
		}
	}
}

func readSome(r *Reader, limit int64, pinned bool) ([]byte, error) {
	if !pinned {
		return r.Next(limit)
	}
	p, err := r.NextPinned(limit)
	if p == nil {
		return nil, err
	}
	defer p.Release()
	return bytes.Clone(p.Bytes()), err
}

// wantServed checks that all records but those of the ranges are served, with the right bytes.
func (l *hurtLog) wantServed(log *Log, lost []Damaged) {
	l.t.Helper()
	for _, pinned := range []bool{false, true} {
		got, met := readAround(l.t, log, pinned)
		for offset, value := range l.values {
			o := int64(offset)
			isLost := slices.ContainsFunc(lost, func(d Damaged) bool { return d.From <= o && o < d.To })
			if v, ok := got[o]; ok && v != value {
				l.t.Fatalf("offset %d: %.40q, want %.40q", o, v, value)
			} else if ok == isLost {
				l.t.Fatalf("offset %d of [%d, %d): served %t, lost %v, met %v", o, log.Start(), log.End(), ok, lost, met)
			}
		}
		for _, d := range met {
			if !slices.Contains(lost, d) {
				l.t.Fatalf("a reader met %+v, lost are %+v", d, lost)
			}
		}
		for _, d := range lost {
			if d.From < d.To && d.To > log.Start() && !slices.Contains(met, d) {
				l.t.Fatalf("no reader met %+v, but %+v", d, met)
			}
		}
	}
}

// wantVerified checks that Scan finds the same ranges. Of a file without a header it tells as a whole.
func (l *hurtLog) wantVerified(lost []Damaged) {
	l.t.Helper()
	report, err := Scan(l.t.Context(), l.fs, OfflineLog{Topic: 16, Dir: l.dir, Root: "data"}, ScanOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	if slices.ContainsFunc(lost, func(d Damaged) bool { return d.From == d.To || d.To <= report.Start }) {
		return
	}
	var want, got [][2]int64
	for _, d := range lost {
		want = append(want, [2]int64{d.From, d.To})
	}
	for _, f := range report.Damaged() {
		got = append(got, [2]int64{f.From, f.To})
	}
	if !slices.Equal(got, want) {
		l.t.Fatalf("verify finds %v, opening %v", got, want)
	}
}

// segments gives what is in all files of segments.
func (l *hurtLog) segments() map[string]string {
	files := map[string]string{}
	names, err := l.fs.ReadDir(l.dir)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".seg") {
			files[name] = string(l.fs.content(filepath.Join(l.dir, name)))
		}
	}
	return files
}

// check opens the log with both policies, again and again.
func (l *hurtLog) check() []Damaged {
	l.t.Helper()
	before := l.segments()
	s := l.store()
	_, err := l.tryOpen(s, Fail)
	wantCode(l.t, "open", err, core.CodeCorrupt)
	_ = s.Close()
	if !reflect.DeepEqual(l.segments(), before) {
		l.t.Fatal("a refused opening changed segments")
	}
	s, log := l.open(SkipWithGap)
	lost := log.Recovery().Damaged
	if len(lost) == 0 {
		l.t.Fatal("no damage is told")
	}
	l.wantServed(log, lost)
	_ = s.Close()
	l.wantVerified(lost)
	for range 2 {
		s = l.store()
		_, err = l.tryOpen(s, Fail)
		wantCode(l.t, "open again", err, core.CodeCorrupt)
		var d *Damaged
		if !errors.As(err, &d) || *d != lost[0] {
			l.t.Fatalf("refused with %v, want %+v", err, lost[0])
		}
		_ = s.Close()
		s, log = l.open(SkipWithGap)
		if got := log.Recovery(); !reflect.DeepEqual(got.Damaged, lost) || got.CutBytes > 0 {
			l.t.Fatalf("opened again: %+v, want %+v", got, lost)
		}
		l.wantServed(log, lost)
		for log.End() > int64(len(l.values)) {
			l.values = append(l.values, "")
		}
		appendValues(l.t, log, "behind")
		l.values = append(l.values, "behind")
		syncNow(log)
		l.wantServed(log, lost)
		if err := log.RestoreProducers(func([]byte) error { return nil }, func(*core.FrameHeader) {}); err != nil {
			l.t.Fatalf("restore producers: %v", err)
		}
		if _, err := log.OffsetAt(1); err != nil {
			l.t.Fatalf("offset at: %v", err)
		}
		if err := s.Close(); err != nil {
			l.t.Fatal(err)
		}
	}
	for name, content := range before {
		if now := l.segments()[name]; now != content && slices.ContainsFunc(lost, func(d Damaged) bool {
			return filepath.Base(d.Segment) == name
		}) {
			l.t.Fatalf("%s, which is damaged, was changed", name)
		}
	}
	return lost
}

// TestDamage does something to a log of three segments of 6, 7 and 8 frames and compares what is lost.
func TestDamage(t *testing.T) {
	for n, tt := range []struct {
		name            string
		hurt            func(l *hurtLog)
		state, manifest bool // these are gone, too
		want            [][2]int64
	}{
		{"a frame of the last segment", func(l *hurtLog) { l.flip(2, 3, false) }, true, false,
			[][2]int64{{16, 17}}},
		{"the header of one", func(l *hurtLog) { l.flip(2, 3, true) }, true, true, [][2]int64{{16, 17}}},
		{"the first one", func(l *hurtLog) { l.flip(2, 0, true) }, true, true, [][2]int64{{13, 14}}},
		{"two places", func(l *hurtLog) { l.flip(2, 1, true); l.zero(2, 3, 5) }, true, false,
			[][2]int64{{14, 15}, {16, 18}}},
		{"the end, which the state tells of", func(l *hurtLog) {
			l.fs.put(l.paths[2], l.fs.content(l.paths[2])[:l.frames[2][6][0]])
		}, false, false, [][2]int64{{19, 21}}},
		{"a missing segment in the middle", func(l *hurtLog) { l.remove(1) }, false, true, [][2]int64{{6, 13}}},
		{"the same without a state", func(l *hurtLog) { l.remove(1) }, true, true, [][2]int64{{6, 13}}},
		{"that and damage before it", func(l *hurtLog) { l.remove(1); l.flip(0, 5, false); l.flip(0, 2, true) },
			true, true, [][2]int64{{2, 3}, {5, 13}}},
		{"the last segment is missing", func(l *hurtLog) { l.remove(2) }, false, false, [][2]int64{{13, 21}}},
		{"all segments are missing", func(l *hurtLog) { l.remove(0); l.remove(1); l.remove(2) }, false, true,
			[][2]int64{{0, 21}}},
		{"the header page of the last", func(l *hurtLog) { l.cutHeader(2) }, true, true, [][2]int64{{13, 13}}},
		{"that and its first frames", func(l *hurtLog) { l.cutHeader(2); l.zero(2, 0, 2) }, true, true,
			[][2]int64{{13, 13}, {13, 15}}},
		{"that and all its frames", func(l *hurtLog) { l.cutHeader(1); l.zero(1, 0, 7) }, true, true,
			[][2]int64{{6, 13}}},
		{"the header page of the second", func(l *hurtLog) { l.cutHeader(1) }, true, true, [][2]int64{{6, 6}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, level := range []core.Ack{core.AckPage, core.AckPage, core.AckDisk} {
				if testing.Short() && i != n%3 {
					continue
				}
				l := newHurtLog(t, level, i == 1, 6, 7, 8)
				tt.hurt(l)
				l.forget(tt.state, tt.manifest)
				var got [][2]int64
				for _, d := range l.check() {
					got = append(got, [2]int64{d.From, d.To})
				}
				if !slices.Equal(got, tt.want) {
					t.Fatalf("level %v: lost %v, want %v", level, got, tt.want)
				}
			}
		})
	}
}

// TestDamageAnywhere damages bytes of a log of three segments at random. Whatever it is, and with whatever
// that tells of durable records: every frame outside the ranges that readers meet is served with the right
// bytes, and no frame that is whole is in such a range.
func TestDamageAnywhere(t *testing.T) {
	skipped := 0
	for seed := range uint64(scaled(48)) {
		d := dice(seed)
		level := core.AckPage
		if d.next()%3 == 0 {
			level = core.AckDisk
		}
		l := newHurtLog(t, level, d.next()%2 == 0, 4, 6, 5)
		last := l.frames[2][len(l.frames[2])-1]
		for range 1 + d.next()%4 {
			segment := int(d.next() % 3)
			content := l.fs.content(l.paths[segment])
			from, used := 0, l.frames[segment][len(l.frames[segment])-1]
			if segment == 2 && d.next()%2 == 0 {
				from = headerSize // the header of the last one tells of the others
			}
			at := from + int(d.next()%uint64(used[0]+used[1]-from))
			size := int(1 + d.next()%300)
			for i := at; i < min(at+size, used[0]+used[1]); i++ {
				content[i] = byte(d.next() >> (d.next() % 3 * 8))
			}
			l.fs.put(l.paths[segment], content)
		}
		if content := l.fs.content(l.paths[2]); allZero(content[last[0] : last[0]+8]) {
			continue
		}
		l.forget(d.next()%2 == 0, d.next()%2 == 0)
		before := l.segments()
		s := l.store()
		log, err := l.tryOpen(s, SkipWithGap)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		skipped += len(log.Recovery().Damaged)
		l.wantAround(seed, log)
		l.values = l.values[:min(len(l.values), int(log.End()))]
		for int64(len(l.values)) < log.End() {
			l.values = append(l.values, "")
		}
		l.values = append(l.values, "behind")
		appendValues(t, log, "behind")
		first := log.Recovery().Damaged
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, log = l.open(SkipWithGap)
		if got := log.Recovery().Damaged; !reflect.DeepEqual(got, first) {
			t.Fatalf("seed %d: %+v, and then %+v", seed, first, got)
		}
		l.wantAround(seed, log)
		_ = s.Close()
		for _, d := range first {
			name := filepath.Base(d.Segment)
			if now, ok := l.segments()[name]; ok && now != before[name] {
				t.Fatalf("seed %d: %s, which is damaged, was changed", seed, name)
			}
		}
	}
	if skipped == 0 {
		t.Fatal("nothing was ever damaged")
	}
}

// wantAround checks what is served of a log with damage anywhere against the frames that are still whole.
func (l *hurtLog) wantAround(seed uint64, log *Log) {
	l.t.Helper()
	got, met := readAround(l.t, log, seed%2 == 0)
	for i, path := range l.paths {
		content := l.fs.content(path)
		_, id, _ := parseSegmentName(filepath.Base(path))
		for j, f := range l.frames[i] {
			offset := l.bases[i] + int64(j)
			var buf scanBuf
			file, err := l.fs.Open(path, ReadOnly)
			if err != nil {
				l.t.Fatal(err)
			}
			buf.reset(file, int64(len(content)))
			_, err = buf.frameAt(int64(f[0]), core.HeaderSeed(id))
			_ = file.Close()
			isMet := slices.ContainsFunc(met, func(d Damaged) bool { return d.From <= offset && offset < d.To })
			value, served := got[offset]
			switch {
			case served && offset < int64(len(l.values)) && value != l.values[offset]:
				l.t.Fatalf("seed %d: offset %d: a wrong value", seed, offset)
			case served == isMet && offset < log.End() || err == nil && !served && offset < log.End():
				l.t.Fatalf("seed %d: offset %d of [%d, %d): whole %v, served %t, met %+v; %+v", seed, offset,
					log.Start(), log.End(), err, served, met, log.Recovery())
			}
		}
	}
}

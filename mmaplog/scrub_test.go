package mmaplog

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

// scrubRun is a store whose scrubber runs, in virtual time.
type scrubRun struct {
	*testing.T
	s     *Store
	fs    FS
	log   *Log
	mu    sync.Mutex
	found []Damaged // guarded by mu
}

const scrubTestEvery = time.Hour

func newScrubRun(t *testing.T, fs FS, level core.Ack) *scrubRun {
	r := &scrubRun{T: t, fs: fs}
	found := func(_ uint64, _ int32, d *Damaged) {
		r.mu.Lock()
		r.found = append(r.found, *d)
		r.mu.Unlock()
	}
	r.s = openTest(t, fs, "data", Options{ScrubEvery: scrubTestEvery, OnScrub: found})
	r.log = openLog(t, r.s, level)
	return r
}

// pass waits for the end of a pass that begins later, and gives what was found.
func (r *scrubRun) pass() []Damaged {
	r.Helper()
	before := r.s.ScrubStats().Passes
	pause(scrubTestEvery + scrubTestEvery/2)
	synctest.Wait()
	if r.s.ScrubStats().Passes == before {
		r.Fatal("no pass ended")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.found
	r.found = nil
	return found
}

// flip changes one bit of a file.
func flip(t testing.TB, fs FS, path string, pos int64, bit int) {
	t.Helper()
	f, err := fs.Open(path, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
}

// frameSpan is where a frame lies.
type frameSpan struct{ pos, end, from, to int64 }

// spans lists the frames of a sealed segment.
func spans(t testing.TB, l *Log, s *segment) []frameSpan {
	t.Helper()
	var list []frameSpan
	at := checkpoint{pos: headerSize, at: s.start()}
	if err := l.walkHeaders(s, &at, func(h *core.FrameHeader) bool {
		list = append(list, frameSpan{at.pos, at.pos + h.Size(), h.BaseOffset, h.NextOffset()})
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestScrubFindsFlippedBits flips one bit after the other: in headers, at all places of a frame, in index and
// footer. Each is found in one pass, and the range is that of the one frame that is hit.
func TestScrubFindsFlippedBits(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { flipBits(t, level) })
		})
	}
}

func flipBits(t *testing.T, level core.Ack) {
	r := newScrubRun(t, Heap(), level)
	appendValues(t, r.log, numbered(60, 13_000)...)
	settle(r.s, r.log)
	list := *r.log.segs.Load()
	if len(list) < 3 || r.log.Fenced() != nil {
		t.Fatal(len(list), "segments")
	}
	if found := r.pass(); len(found) > 0 {
		t.Fatal(found)
	}
	try := func(s *segment, pos int64, bit int, from, to int64) {
		t.Helper()
		flip(t, r.fs, s.path, pos, bit)
		found := r.pass()
		if len(found) != 1 || found[0].From != from || found[0].To != to || found[0].Segment != s.path {
			t.Errorf("%s, bit %d of byte %d: found %+v, want [%d, %d)", s.path, bit, pos, found, from, to)
		}
		if again := r.pass(); len(again) > 0 {
			t.Errorf("told of again: %+v", again)
		}
		flip(t, r.fs, s.path, pos, bit)
		if healed := r.pass(); len(healed) > 0 {
			t.Errorf("healed, found %+v", healed)
		}
	}
	s, next := list[1], list[2]
	frames, step := spans(t, r.log, s), int64(3)
	if testing.Short() || raceEnabled {
		step = 11
	}
	for _, f := range []frameSpan{frames[0], frames[len(frames)/2], frames[len(frames)-1]} {
		for pos := f.pos; pos < f.pos+core.FrameHeaderSize; pos += step {
			try(s, pos, int(pos%8), f.from, f.to)
		}
		for pos := f.pos + core.FrameHeaderSize; pos < f.end; pos += 4001 {
			try(s, pos, int(pos%8), f.from, f.to)
		}
		try(s, f.end-1, 7, f.from, f.to)
	}
	base, end := s.header.base.offset, next.header.base.offset
	for pos := int64(0); pos < headerSize; pos = pos*2 + 1 {
		try(s, pos, int(pos%8), base, end)
	}
	entries := len(s.index.block.Load().list())
	if entries < 5 {
		t.Fatal(entries, "entries in the index")
	}
	for _, pos := range []int64{s.header.dataEnd, s.header.dataEnd + int64(entries)*indexEntrySize - 1,
		s.header.size - footerSize, s.header.size - footerSize + 24, s.header.size - 1} {
		try(s, pos, 3, end, end)
	}
	try(list[0], frames[0].pos, 0, 0, spans(t, r.log, list[0])[0].to)
}

// TestScrubFindsAllThatIsDamaged: several frames of a segment, the next one, a segment that is missing, one
// that was cut short; the log goes on all the while.
func TestScrubFindsAllThatIsDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newScrubRun(t, Heap(), core.AckDisk)
		appendValues(t, r.log, numbered(200, 9000)...)
		settle(r.s, r.log)
		list := *r.log.segs.Load()
		first := spans(t, r.log, list[0])
		flip(t, r.fs, list[0].path, first[3].pos+2, 1)
		flip(t, r.fs, list[0].path, first[4].pos+50, 1) // two at once cannot be told apart
		flip(t, r.fs, list[0].path, first[9].end-9, 1)
		flip(t, r.fs, list[1].path, 60, 1)
		if err := r.fs.Remove(list[2].path); err != nil {
			t.Fatal(err)
		}
		f, err := r.fs.Open(list[3].path, ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		fourth := spans(t, r.log, list[3])
		cut := fourth[7]
		if err := writeZeros(f, cut.pos, list[3].header.size); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range r.pass() {
			i := slices.IndexFunc(list, func(s *segment) bool { return s.path == d.Segment })
			got = append(got, fmt.Sprint(i, "@", d.Position, " ", d.From, "-", d.To))
		}
		slices.Sort(got)
		base := func(i int) int64 { return list[i].header.base.offset }
		want := []string{
			fmt.Sprint("0@", first[3].pos, " ", first[3].from, "-", first[4].to),
			fmt.Sprint("0@", first[9].pos, " ", first[9].from, "-", first[9].to),
			fmt.Sprint("1@0 ", base(1), "-", base(2)),
			fmt.Sprint("2@0 ", base(2), "-", base(3)),
			fmt.Sprint("3@", cut.pos, " ", cut.from, "-", base(4)),
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("found %q,\nwant %q", got, want)
		}
		appendValues(t, r.log, "goes on")
		if stats := r.s.ScrubStats(); stats.Damaged != int64(len(want)) || r.log.Fenced() != nil {
			t.Errorf("%+v, fence %v", stats, r.log.Fenced())
		}
	})
}

// TestScrubFindsWhatCannotBeRead: an error of the disk is damage, and when it is over nothing is told of.
func TestScrubFindsWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		r := newScrubRun(t, fs, core.AckDisk)
		appendValues(t, r.log, numbered(100, 9000)...)
		settle(r.s, r.log)
		fs.FailReads(syscall.EIO)
		found := r.pass()
		fs.FailReads(nil)
		if n := len(*r.log.segs.Load()) - 1; len(found) < n {
			t.Errorf("found %+v, want something in each of %d segments", found, n)
		}
		if found := r.pass(); len(found) > 0 {
			t.Error(found)
		}
		fs.FailReads(syscall.EMFILE)
		defer fs.FailReads(nil)
		if found := r.pass(); len(found) > 0 {
			t.Error("no files left:", found)
		}
	})
}

// tornFS has reads of its files answer a wrong byte once in a while, never twice in turn.
type tornFS struct {
	FS
	on   atomic.Bool
	torn atomic.Int64
}

func (f *tornFS) Open(name string, mode OpenMode) (File, error) {
	file, err := f.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &tornFile{File: file, fs: f}, nil
}

type tornFile struct {
	File
	fs    *tornFS
	reads int
}

// ReadAt changes a byte of every other read of a file.
func (f *tornFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if f.reads++; f.reads%2 == 0 && n > 0 && f.fs.on.Load() {
		p[n/2] ^= 1
		f.fs.torn.Add(1)
	}
	return n, err
}

// TestScrubLooksTwice: what one read shows and the next does not is not told of.
func TestScrubLooksTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &tornFS{FS: Heap()}
		r := newScrubRun(t, fs, core.AckDisk)
		appendValues(t, r.log, numbered(100, 9000)...)
		settle(r.s, r.log)
		r.pass()
		fs.on.Store(true)
		if found := r.pass(); len(found) > 0 || fs.torn.Load() == 0 {
			t.Errorf("found %+v after %d torn reads", found, fs.torn.Load())
		}
	})
}

// TestScrubTurns: whenever a pass begins, it reads all logs and segments, each once.
func TestScrubTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, Heap(), "data", Options{ScrubEvery: 16 * time.Hour})
		want := 0
		for i := range 3 {
			l, err := s.OpenLog(16, int32(i), LogOptions{SegmentBytes: core.MinSegmentBytes})
			if err != nil {
				t.Fatal(err)
			}
			appendValues(t, l, numbered(70*(i+1), 9000)...)
			settle(s, l)
			want += len(*l.segs.Load()) - 1
		}
		began := make(map[*segment]bool)
		for range 32 {
			turns, total := s.scrubber.turns()
			seen := make(map[*segment]int)
			bytes := int64(0)
			for _, turn := range turns {
				offset, after := turn.from, (*segment)(nil)
				for {
					seg, _ := turn.log.sealedFrom(offset, after)
					if seg == nil || seg.header.base.offset >= turn.to {
						break
					}
					if len(seen) == 0 {
						began[seg] = true
					}
					seen[seg]++
					bytes += seg.bytes()
					offset, after = seg.header.base.offset, seg
				}
			}
			if len(seen) != want || bytes > total {
				t.Errorf("%d segments of %d, %d bytes of %d", len(seen), want, bytes, total)
			}
			for seg, n := range seen {
				if n != 1 {
					t.Errorf("%s: %d times", seg.path, n)
				}
			}
			pause(30 * time.Minute)
		}
		if len(began) < 5 {
			t.Errorf("passes begin at %d places", len(began))
		}
	})
}

// TestScrubRate: passes take what is asked for, within the limits, and a slow disk gets rests.
func TestScrubRate(t *testing.T) {
	for name, test := range map[string]struct {
		total, step int64
		every, took time.Duration
		least, most time.Duration
	}{
		"a day":     {100 << 30, 1 << 20, 24 * time.Hour, 0, 22 * time.Hour, 24 * time.Hour},
		"small":     {64 << 20, 1 << 20, 24 * time.Hour, 0, 63 * time.Second, 65 * time.Second},
		"too large": {10 << 30, 1 << 20, 10 * time.Second, 0, 79 * time.Second, 81 * time.Second},
		"slow disk": {1 << 30, 1 << 20, time.Minute, time.Second, 1000 * time.Second, 1100 * time.Second},
		"crumbs":    {64 << 20, 500, 24 * time.Hour, 0, 63 * time.Second, 65 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openTest(t, Heap(), "data", Options{})
				c := newScrubber(s)
				c.every = test.every
				c.left, c.due = test.total, s.opts.Clock.Mono()+int64(test.every-test.every/16)
				began := s.opts.Clock.Mono()
				for n := int64(0); n < test.total; n += test.step {
					c.pace(test.step, test.took)
				}
				if took := time.Duration(s.opts.Clock.Mono() - began); took < test.least || took > test.most {
					t.Errorf("took %v, want %v to %v", took, test.least, test.most)
				}
			})
		})
	}
}

// TestScrubEvery refuses what makes no sense.
func TestScrubEvery(t *testing.T) {
	for _, every := range []time.Duration{-1, 1, leastScrubEvery - 1} {
		_, err := Open(Heap(), "data", Options{ScrubEvery: every})
		wantCode(t, every.String(), err, core.CodeInvalidConfig)
	}
}

// TestScrubDuringEverything has a log written to, trimmed, compacted, truncated and closed while it is
// scrubbed without a pause: nothing is found, as nothing is damaged.
func TestScrubDuringEverything(t *testing.T) {
	for name, fs := range map[string]FS{"os": OS(), "heap": Heap()} {
		for _, level := range bothSinks {
			t.Run(fmt.Sprint(name, "/", level), func(t *testing.T) { scrubBusy(t, fs, level) })
		}
	}
}

func scrubBusy(t *testing.T, fs FS, level core.Ack) {
	s := openTest(t, fs, t.TempDir(), Options{ScrubEvery: leastScrubEvery,
		OnScrub: func(_ uint64, p int32, d *Damaged) { t.Error("partition", p, d) }})
	var writers sync.WaitGroup
	for p := range int32(3) {
		// The retention of the first one has segments go round, the second compacts.
		o := LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes, Compact: p == 1}
		if p == 0 {
			o.RetentionBytes = 5 * core.MinSegmentBytes
		}
		l, err := s.OpenLog(16, p, o)
		if err != nil {
			t.Fatal(err)
		}
		writers.Go(func() { writeBusy(t, s, l) })
	}
	writers.Wait()
	for passes := s.ScrubStats().Passes; s.ScrubStats().Passes < passes+2; {
		pause(time.Millisecond)
	}
	if err := s.RemoveTopic(16); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if stats := s.ScrubStats(); stats.Damaged > 0 || stats.Bytes == 0 {
		t.Errorf("%+v", stats)
	}
}

func writeBusy(t *testing.T, s *Store, l *Log) {
	for round := range 24 {
		for range 30 {
			if err := appendValue(l, numbered(1, 9000+round*8)[0]); err != nil {
				t.Error(err)
				return
			}
		}
		switch {
		case l.partition == 1 && round%4 == 3:
			syncNow(l)
			l.compact()
		case l.partition == 2 && round%8 == 7:
			syncNow(l)
			if err := l.TrimTo(l.Start() + (l.End()-l.Start())/2); err != nil {
				t.Error(err)
			}
		case l.partition == 2 && round%8 == 3 && !l.opts.mapped():
			// (A map of the heap is no place to overwrite what others read.)
			if err := l.TruncateSuffix(l.End()-20, 0); err != nil {
				t.Error(err)
			}
		case round%16 == 5:
			if err := l.Roll(); err != nil {
				t.Error(err)
			}
		}
	}
	settle(s, l)
}

// TestScrubIgnoresWhatIsGone: a segment that is trimmed away between two reads is not damage.
func TestScrubIgnoresWhatIsGone(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{
		OnScrub: func(_ uint64, _ int32, d *Damaged) { t.Error(d) }})
	l := openLog(t, s, core.AckDisk)
	appendValues(t, l, numbered(100, 9000)...)
	settle(s, l)
	list := *l.segs.Load()
	check := segmentCheck{scrubber: newScrubber(s), log: l, seg: list[0], next: list[1]}
	check.scrubber.left = 1 << 40
	check.seg.users.Add(1)
	if err := l.TrimTo(list[2].header.base.offset); err != nil {
		t.Fatal(err)
	}
	drainJanitor(s)
	drainJanitor(s)
	if f, err := s.fs.Open(list[0].path, ReadOnly); !errors.Is(err, errNotExist) {
		t.Fatal(f, err)
	}
	if !check.run() || !check.gone {
		t.Error("the check did not notice")
	}
	if err := check.again(func() error { return io.EOF }); !errors.Is(err, errRoundEnded) {
		t.Error("second look:", err)
	}
	if n := s.pool.bytes; n != core.MinSegmentBytes {
		t.Errorf("%d bytes go round, want those of the segment that was not being read", n)
	}
}

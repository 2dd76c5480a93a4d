//go:build !windows

package mmaplog

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// BenchmarkOpen opens a store with 100,000 segments in ten logs and all its logs: after an orderly close, in
// turns with reading the bytes of the manifest; after a process was killed; and without a manifest. The
// segments are sparse files with headers. Figures are medians.
//
//	go test -run '^$' -bench 'Open$' -benchtime 15x ./mmaplog
func BenchmarkOpen(b *testing.B) {
	for _, logs := range []int{10, 1} {
		b.Run(fmt.Sprintf("logs=%d,segments=%d", logs, 100_000), func(b *testing.B) {
			scene := newOpenScene(b, logs, 100_000/logs, 0)
			b.Run("closed", scene.benchClosed)
			b.Run("killed", func(b *testing.B) { scene.benchKilled(b, 1, true) })
			b.Run("rebuilt", scene.benchRebuilt)
		})
	}
}

// BenchmarkOpenKilled opens 100 GB, 1,600 segments of 64 MiB, after a process was killed: no log has a clean
// mark, and 512 MiB of frames lie behind the checkpoints. The rest of the files are holes. With boot=other
// the machine was started anew, so that each log goes on at its ceiling, in a new segment. The floor is
// reading and checking those frames one after the other. Figures are medians.
//
//	go test -run '^$' -bench OpenKilled -benchtime 5x ./mmaplog
func BenchmarkOpenKilled(b *testing.B) {
	const segments, frames = 1600, 512 << 20
	for _, logs := range []int{1600, 100, 1} {
		b.Run(fmt.Sprintf("logs=%d,segments=%d", logs, segments), func(b *testing.B) {
			scene := newOpenScene(b, logs, segments/logs, min(frames/logs, 48<<20))
			for _, workers := range slices.Compact([]int{1, min(logs, 8)}) {
				for _, boot := range []string{"same", "other"} {
					b.Run(fmt.Sprintf("boot=%s,workers=%d", boot, workers), func(b *testing.B) {
						scene.benchKilled(b, workers, boot == "same")
					})
				}
			}
		})
	}
}

// openScene is a data folder as a process left it that was killed, which can be had again.
type openScene struct {
	dir      string
	logs     []openLogScene
	manifest []byte
}

// openLogScene is a log in it.
type openLogScene struct {
	last  segmentHeader // of its last segment
	end   int64         // position behind the frames of that
	place logState      // and what comes next
	files []string      // ascending
}

// newOpenScene makes the files of logs whose segments are all durable, each of 1,000 records in 10 frames
// that are not there, but for the last one of each, which has frames of the given bytes behind its
// checkpoint.
func newOpenScene(b *testing.B, logs, segments, frames int) *openScene {
	b.Helper()
	s := &openScene{dir: b.TempDir(), logs: make([]openLogScene, logs)}
	headers := make([][]segmentHeader, logs)
	each(b, logs*segments, 4, func(i int) error {
		if i%segments > 0 {
			return nil
		}
		return os.MkdirAll(logDir(s.dir, 16, int32(i/segments)), 0o700)
	})
	for i := range headers {
		headers[i] = sceneHeaders(int32(i), segments)
	}
	each(b, logs*segments, 4, func(i int) error {
		h := &headers[i/segments][i%segments]
		return sparseSegment(filepath.Join(logDir(s.dir, 16, h.partition), segmentName(h.base.offset, h.id)), h)
	})
	each(b, logs, 4, func(i int) (err error) { return s.logs[i].fill(s.dir, headers[i], frames) })
	s.manifest = appendManifestHead(nil)
	for _, list := range headers {
		for i := range list[:segments-1] {
			e := manifestEdit{kind: editSealed, header: list[i], end: list[i].dataEnd, last: list[i+1].begins()}
			s.manifest = rawEdit(e.append(nil)).appendFirst(s.manifest)
		}
		s.manifest = (&manifestEdit{kind: editCreated, header: list[segments-1]}).append(s.manifest)
	}
	s.manifest = (&manifestEdit{kind: editOpened}).append(s.manifest)
	return s
}

// each calls do for all numbers below n in a few goroutines.
func each(b *testing.B, n, workers int, do func(int) error) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func sceneHeaders(partition int32, segments int) []segmentHeader {
	list := make([]segmentHeader, segments)
	for i := range list {
		list[i] = segmentHeader{
			topic: 16, partition: partition, id: mixIDs(uint64(partition), uint64(i)), ordinal: uint64(i + 1),
			size: core.MaxSegmentBytes, dataEnd: classDataEnd(core.MaxSegmentBytes),
			base:    segmentBase{offset: int64(1000 * i), index: uint64(10*i + 1), prevCRC: uint32(i)},
			created: int64(i), durable: mark{int64(1000 * i), uint64(10 * i)},
		}
		if i > 0 {
			list[i].previousID = list[i-1].id
		}
	}
	return list
}

// begins is the state of the log where the segment begins.
func (h *segmentHeader) begins() logState { return (&segmentFile{header: *h}).begin(0).at }

func sparseSegment(path string, h *segmentHeader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	page := make([]byte, headerSize)
	h.encode(page)
	if _, err := f.WriteAt(page, 0); err != nil {
		return err
	}
	return f.Truncate(h.size)
}

// fill writes frames of 16 records of 256 bytes into the last segment.
func (l *openLogScene) fill(root string, list []segmentHeader, bytes int) error {
	l.last = list[len(list)-1]
	l.end, l.place = headerSize, l.last.begins()
	for i := range list {
		l.files = append(l.files, segmentName(list[i].base.offset, list[i].id))
	}
	slices.Sort(l.files)
	var content []byte
	payload := make([]byte, 16*256)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	size := core.FrameHeaderSize + len(payload)
	for ; len(content)+size <= bytes; l.end += int64(size) {
		h := core.FrameHeader{Length: uint32(size), Index: l.place.index, BaseOffset: l.place.offset,
			Time: l.place.time, PrevCRC: l.place.prevCRC, PayloadCRC: core.Checksum(payload), Records: 16,
			DurableLag: 1<<16 - 1, Version: core.FrameVersion}
		at := len(content)
		content = append(append(content, make([]byte, core.FrameHeaderSize)...), payload...)
		h.Encode(content[at:at+core.FrameHeaderSize], core.HeaderSeed(l.last.id))
		if err := l.place.accept(&h); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.path(root), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(content, headerSize)
	return err
}

func (l *openLogScene) path(root string) string {
	return filepath.Join(logDir(root, 16, l.last.partition), segmentName(l.last.base.offset, l.last.id))
}

// restore makes the folder what it was when the process was killed.
func (s *openScene) restore(b *testing.B, sameBoot bool) {
	b.Helper()
	boot := BootID{1}
	if sameBoot {
		boot = OS().BootID()
	}
	if err := os.WriteFile(filepath.Join(s.dir, manifestName), s.manifest, 0o600); err != nil {
		b.Fatal(err)
	}
	each(b, len(s.logs), 4, func(i int) error {
		l := &s.logs[i]
		dir := logDir(s.dir, 16, int32(i))
		names, err := OS().ReadDir(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, ours := slices.BinarySearch(l.files, name); !ours {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					return err
				}
			}
		}
		state := stateFile{boot: boot, ceiling: l.place.offset + 1000, check: checkpoint{segment: l.last.id,
			pos: headerSize, at: l.last.begins()}}
		return os.WriteFile(filepath.Join(dir, stateName), state.encode(16, int32(i)), 0o600)
	})
}

// open opens the store and its logs in a few goroutines, tells how long that took, and closes it.
func (s *openScene) open(b *testing.B, workers int) time.Duration {
	b.Helper()
	began := clock.System.Mono()
	store, err := Open(OS(), s.dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	goroutines := atomic.Int64{}
	each(b, len(s.logs), workers, func(i int) error {
		l, err := store.OpenLog(16, int32(i), LogOptions{Reserve: 1000})
		if err == nil && l.End()-l.Recovery().Gap.To+l.Recovery().Gap.From < s.logs[i].place.offset {
			err = fmt.Errorf("log %d ends at %d, want %d", i, l.End(), s.logs[i].place.offset)
		}
		goroutines.Store(int64(runtime.NumGoroutine()))
		return err
	})
	took := time.Duration(clock.System.Mono() - began)
	b.ReportMetric(float64(goroutines.Load()), "goroutines")
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

// benchClosed opens and reads in turns, so that both meet the same machine.
func (s *openScene) benchClosed(b *testing.B) {
	s.restore(b, true)
	s.open(b, 1)
	var opens, reads, ratios []float64
	for b.Loop() {
		runtime.GC() // what one leaves is not the other's to collect
		began := clock.System.Mono()
		raw, err := os.ReadFile(filepath.Join(s.dir, manifestName))
		if err != nil {
			b.Fatal(err)
		}
		read := clock.System.Mono() - began
		b.SetBytes(int64(len(raw)))
		raw = nil
		runtime.GC()
		open := s.open(b, 1)
		reads, opens = append(reads, milliseconds(time.Duration(read))), append(opens, milliseconds(open))
		ratios = append(ratios, float64(open)/float64(read))
	}
	b.ReportMetric(median(opens), "ms/open")
	b.ReportMetric(slices.Max(opens), "ms/slowest")
	b.ReportMetric(median(reads), "ms/read")
	b.ReportMetric(median(ratios), "×read")
}

func (s *openScene) benchKilled(b *testing.B, workers int, sameBoot bool) {
	var opens, floors []float64
	var before, after runtime.MemStats
	for b.Loop() {
		s.restore(b, sameBoot)
		floors = append(floors, s.readFrames(b))
		runtime.GC()
		runtime.ReadMemStats(&before)
		opens = append(opens, milliseconds(s.open(b, workers)))
		runtime.ReadMemStats(&after)
	}
	b.ReportMetric(median(opens)/1000, "s/open")
	b.ReportMetric(slices.Max(opens)/1000, "s/slowest")
	b.ReportMetric(median(floors)/1000, "s/floor")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(1<<20), "MiB-allocated")
}

// readFrames reads and checks the frames that recovery has to check, one file after the other.
func (s *openScene) readFrames(b *testing.B) float64 {
	b.Helper()
	buf := &scanBuf{}
	began := clock.System.Mono()
	for i := range s.logs {
		l := &s.logs[i]
		f, err := OS().Open(l.path(s.dir), ReadOnly)
		if err != nil {
			b.Fatal(err)
		}
		buf.reset(f, l.end)
		for pos, seed := int64(headerSize), core.HeaderSeed(l.last.id); pos < l.end; {
			h, err := buf.frameAt(pos, seed)
			if err != nil {
				b.Fatal(err)
			}
			pos += h.Size()
		}
		_ = f.Close()
	}
	return milliseconds(time.Duration(clock.System.Mono() - began))
}

// benchRebuilt opens without a manifest: the headers of all segments are read.
func (s *openScene) benchRebuilt(b *testing.B) {
	var opens []float64
	for b.Loop() {
		s.restore(b, true)
		if err := os.Remove(filepath.Join(s.dir, manifestName)); err != nil {
			b.Fatal(err)
		}
		opens = append(opens, milliseconds(s.open(b, 1)))
	}
	b.ReportMetric(median(opens)/1000, "s/open")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

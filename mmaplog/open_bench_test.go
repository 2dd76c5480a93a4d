//go:build !windows

package mmaplog

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// BenchmarkOpen opens a store and all its logs: after an orderly close, beside reading the bytes of the
// manifest, and after a process was killed. The segments are sparse files with headers and footers; only the
// last one of a log has room that recovery reads. Making the files takes minutes.
//
//	go test -run '^$' -bench 'Open/' -benchtime 10x ./mmaplog
func BenchmarkOpen(b *testing.B) {
	for _, size := range []struct{ logs, segments int }{{10, 10_000}, {16, 100}} {
		name := fmt.Sprintf("logs=%d,segments=%d", size.logs, size.logs*size.segments)
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			for i := range size.logs {
				sparseLog(b, dir, int32(i), size.segments)
			}
			openAll(b, dir, size.logs) // makes manifest and states
			b.Run("manifest", func(b *testing.B) { benchReadManifest(b, dir) })
			b.Run("closed", func(b *testing.B) { benchOpenClosed(b, dir, size.logs) })
			b.Run("killed", func(b *testing.B) { benchOpenKilled(b, dir, size.logs) })
			b.Run("rebuilt", func(b *testing.B) { benchOpenRebuilt(b, dir, size.logs) })
		})
	}
}

// sparseLog makes the files of a log whose segments are all durable, each of 1,000 records in 10 frames that
// are not there, and its last one empty.
func sparseLog(b *testing.B, root string, partition int32, segments int) {
	b.Helper()
	dir := logDir(root, 16, partition)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	var before segmentHeader
	for i := range segments {
		h := segmentHeader{
			topic: 16, partition: partition, id: mixIDs(uint64(partition), uint64(i)), previousID: before.id,
			ordinal: uint64(i + 1), size: core.MaxSegmentBytes, dataEnd: classDataEnd(core.MaxSegmentBytes),
			base:    segmentBase{offset: int64(1000 * i), index: uint64(10*i + 1), prevCRC: uint32(i)},
			created: int64(i), durable: mark{int64(1000 * i), uint64(10 * i)},
		}
		path := filepath.Join(dir, segmentName(h.base.offset, h.id))
		if err := sparseSegment(path, &h, i+1 == segments); err != nil {
			b.Fatal(err)
		}
		before = h
	}
}

func sparseSegment(path string, h *segmentHeader, last bool) error {
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
	if last {
		return f.Truncate(h.size)
	}
	footer := segmentFooter{end: h.dataEnd, created: h.created, last: logState{offset: h.base.offset + 1000,
		index: h.base.index + 10, prevCRC: h.base.prevCRC + 1, time: h.created + 1}}
	tail := appendTail(nil, h, &footer, nil)
	_, err = f.WriteAt(tail[len(tail)-footerSize:], h.size-footerSize)
	return err
}

// openAll opens the store and its logs, tells how long that took, and closes it.
func openAll(b *testing.B, dir string, logs int) time.Duration {
	b.Helper()
	began := clock.System.Mono()
	s, err := Open(OS(), dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range logs {
		if l, err := s.OpenLog(16, int32(i), LogOptions{}); err != nil || l.End() == 0 {
			b.Fatal(err)
		}
	}
	took := time.Duration(clock.System.Mono() - began)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

func benchReadManifest(b *testing.B, dir string) {
	for b.Loop() {
		raw, err := os.ReadFile(filepath.Join(dir, manifestName))
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(raw)))
	}
}

// readManifestTook is how long reading the manifest's bytes takes.
func readManifestTook(b *testing.B, dir string) time.Duration {
	began := clock.System.Mono()
	if _, err := os.ReadFile(filepath.Join(dir, manifestName)); err != nil {
		b.Fatal(err)
	}
	return time.Duration(clock.System.Mono() - began)
}

func benchOpenClosed(b *testing.B, dir string, logs int) {
	var open, read time.Duration
	for b.Loop() { // one after the other, so that both meet the same machine
		read += readManifestTook(b, dir)
		open += openAll(b, dir, logs)
	}
	reportOpen(b, open)
	b.ReportMetric(float64(open)/float64(read), "×read")
}

func reportOpen(b *testing.B, open time.Duration) {
	b.ReportMetric(float64(open.Microseconds())/1000/float64(b.N), "ms/open")
}

// benchOpenKilled takes the marks of an orderly close away first.
func benchOpenKilled(b *testing.B, dir string, logs int) {
	var open time.Duration
	for b.Loop() {
		image, err := readManifest(OS(), filepath.Join(dir, manifestName))
		if err != nil || !image.closed {
			b.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, manifestName), image.end-editSize); err != nil {
			b.Fatal(err)
		}
		for i := range logs {
			_ = os.Remove(filepath.Join(logDir(dir, 16, int32(i)), stateName))
		}
		open += openAll(b, dir, logs)
	}
	reportOpen(b, open)
}

func benchOpenRebuilt(b *testing.B, dir string, logs int) {
	var open time.Duration
	for b.Loop() {
		if err := os.Remove(filepath.Join(dir, manifestName)); err != nil {
			b.Fatal(err)
		}
		open += openAll(b, dir, logs)
	}
	reportOpen(b, open)
}

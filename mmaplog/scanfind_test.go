package mmaplog

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestDataCoversAllThatIsNotZero: what a file system tells of holes never hides a byte, whether it was
// written or stored through a map, synced or not.
func TestDataCoversAllThatIsNotZero(t *testing.T) {
	const size = 1 << 20
	for name, fs := range map[string]FS{"disk": OS(), "memory": Heap()} {
		dir := t.TempDir()
		if err := fs.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "f")
		f, err := fs.Open(path, Create)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Allocate(size); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, size)
		write := func(at int64, p string) {
			copy(want[at:], p)
			if _, err := f.WriteAt([]byte(p), at); err != nil {
				t.Fatal(err)
			}
		}
		write(300_000, "synced")
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		write(size-3, "end")
		write(100_001, "not synced")
		if fs.Mappable(dir) {
			region, err := f.Map(size)
			if err != nil {
				t.Fatal(err)
			}
			defer region.Close()
			want[700_000] = 1
			region.Bytes()[700_000] = 1
		}
		checkData(t, name, f, want)
		for at := int64(size); at < size+2; at++ {
			if lo, hi, err := f.Data(at); lo != size || hi != size || err != nil {
				t.Errorf("%s: data behind the end, at %d, in [%d, %d), %v", name, at, lo, hi, err)
			}
		}
		if n, err := fs.Size(path); n != size || err != nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if _, err := fs.Size(path + "x"); !os.IsNotExist(err) {
			t.Errorf("%s: the size of a file that is not there: %v", name, err)
		}
	}
}

// checkData asks for the data of f from many places.
func checkData(t *testing.T, name string, f File, want []byte) {
	t.Helper()
	size := int64(len(want))
	for from := int64(0); from < size; from += 24_571 {
		for at := from; at < size; {
			lo, hi, err := f.Data(at)
			if err != nil || lo < at || hi < lo || hi > size || lo == hi && lo != size {
				t.Fatalf("%s: data from %d in [%d, %d), %v", name, at, lo, hi, err)
			}
			if !allZero(want[at:lo]) {
				t.Fatalf("%s: data from %d begins at %d, there is some before", name, at, lo)
			}
			at = hi
		}
	}
}

// TestScanOfHolesFindsTheSame compares what is found behind the end of a log by asking for holes with what is
// found by reading everything, and that with a plain search.
func TestScanOfHolesFindsTheSame(t *testing.T) {
	const size, seed = 256 << 10, 77
	fs := Heap()
	if err := fs.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range scaled(150) {
		src := tailImage(random, size, seed)
		f, err := fs.Open(filepath.Join("d", segmentName(int64(round), 1)), Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(src, 0); err != nil {
			t.Fatal(err)
		}
		from, next := random.Int64N(size)&^7, &logState{index: random.Uint64N(40)}
		wantNonZero, wantEnd, wantDurable := plainScan(src, from, seed, next)
		for _, sparse := range []bool{false, true} {
			b := &scanBuf{sparse: sparse}
			b.reset(f, size)
			b.chunk = 4096 << random.IntN(5)
			nonZero, err1 := b.lastNonZero(from)
			end, err2 := b.headersEnd(from, seed, next)
			durable, err3 := b.durableAfter(from, seed, next)
			if err1 != nil || err2 != nil || err3 != nil || nonZero != wantNonZero || end != wantEnd ||
				durable != wantDurable {
				t.Fatalf("round %d, holes %v: zeros from %d, frames to %d, durable to frame %d; want %d, %d, %d "+
					"(%v, %v, %v)", round, sparse, nonZero, end, durable, wantNonZero, wantEnd, wantDurable,
					err1, err2, err3)
			}
		}
	}
}

// tailImage is what may lie behind the end of a log: frames of this segment and of others, parts of them,
// other bytes, and mostly nothing.
func tailImage(random *rand.Rand, size int, seed uint32) []byte {
	src := make([]byte, size)
	for range random.IntN(30) {
		at := random.IntN(size-2000) &^ 7
		payload := make([]byte, random.IntN(1500))
		for i := range payload {
			payload[i] = byte(random.Uint32())
		}
		h := core.FrameHeader{Index: random.Uint64N(50), DurableLag: uint16(random.Uint32N(9)), Records: 1,
			Length: uint32(core.FrameHeaderSize + len(payload)), PayloadCRC: core.Checksum(payload), Version: 1}
		copy(src[at+core.FrameHeaderSize:], payload)
		h.Encode(src[at:at+core.FrameHeaderSize], seed+random.Uint32N(8)/7)
		if random.IntN(4) == 0 {
			src[at+random.IntN(int(h.Length))] ^= 1
		}
		if random.IntN(4) == 0 {
			clear(src[at+random.IntN(int(h.Length)):][:200])
		}
	}
	return src
}

// plainScan is what lastNonZero, headersEnd and durableAfter have to find.
func plainScan(src []byte, from int64, seed uint32, next *logState) (nonZero, end int64, durable uint64) {
	nonZero, end = from, from
	behind := from // of the last whole frame
	for at := from; at+8 <= int64(len(src)); at += 8 {
		for i := at; i < at+8; i++ {
			if src[i] != 0 {
				nonZero = i + 1
			}
		}
		if at+core.FrameHeaderSize > int64(len(src)) || binary.LittleEndian.Uint64(src[at+8:]) < next.index {
			continue
		}
		h, err := core.DecodeFrameHeader(src[at:], seed)
		if err != nil {
			continue
		}
		end = max(end, min(at+h.Size(), int64(len(src))))
		whole := at+h.Size() <= int64(len(src)) &&
			h.CheckPayload(src[at+core.FrameHeaderSize:at+int64(h.Length)]) == nil &&
			allZero(src[at+int64(h.Length):at+h.Size()])
		if whole && at >= behind {
			durable, behind = max(durable, knownDurable(&h)), at+h.Size()
		}
	}
	return nonZero, end, durable
}

// TestRecoveryReadsNoHoles: the room behind the last frame that nothing was written to is not read.
func TestRecoveryReadsNoHoles(t *testing.T) {
	fs := &countingFS{FS: Heap()}
	s := openTest(t, fs, "data", Options{})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, numbered(3, 100)...)
	syncNow(l)
	crashed := fs.FS.(*MemFS).Crash(1)
	after := &countingFS{FS: crashed}
	l = openLog(t, openTest(t, after, "data", Options{}), core.AckPage)
	if n := after.read.Load(); n > 32<<10 {
		t.Errorf("recovery read %d bytes of a segment of %d with one page of frames", n, core.MinSegmentBytes)
	}
	wantValues(t, l, numbered(3, 100)...)
}

package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// frame is one frame of a type with a payload of n bytes that tell where they stand.
func frame(kind wire.Type, n int) []byte {
	h := wire.Header{Length: uint32(n), Type: kind, Arg: uint64(n)}
	out := h.Append(nil)
	for i := range n {
		out = append(out, byte(i*7)^byte(i>>8))
	}
	return out
}

// chunks reads random pieces of up to most bytes.
type chunks struct {
	from   io.Reader
	random *rand.Rand
	most   int
}

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	return c.from.Read(p[:min(len(p), 1+c.random.IntN(c.most))])
}

// splits are ways in which the same bytes can arrive.
func splits(stream []byte) map[string]io.Reader {
	from := func() io.Reader { return bytes.NewReader(stream) }
	all := map[string]io.Reader{
		"at once":          from(),
		"a byte at a time": iotest.OneByteReader(from()),
		"halves":           iotest.HalfReader(from()),
		"end with data":    iotest.DataErrReader(from()),
	}
	for seed := range uint64(8) {
		all[fmt.Sprint("LEAT_SEED=", seed)] = &chunks{from(), rand.New(rand.NewPCG(seed, 0)), 1 << (2 * (seed + 1))}
	}
	return all
}

// ways are what a caller can do with a payload.
var ways = map[string]func(r *Reader, want []byte) error{
	"Payload of nil": func(r *Reader, want []byte) error {
		got, err := r.Payload(nil)
		return same(got, want, err)
	},
	"Payload into room": func(r *Reader, want []byte) error {
		got, err := r.Payload(make([]byte, 3, len(want)+3))
		return same(got, want, err)
	},
	"Small": func(r *Reader, want []byte) error {
		got, err := r.Small()
		return same(got, want, err)
	},
	"skip": func(*Reader, []byte) error { return nil },
}

func same(got, want []byte, err error) error {
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes, %w; want the %d sent", len(got), err, len(want))
	}
	return nil
}

var frameSizes = []int{0, 1, 15, 16, 17, 1000, readBytes - wire.HeaderSize, readBytes, readBytes + 1,
	firstChunk + 1, 2*firstChunk + 5, 0, 7}

func TestReaderOfEverySplit(t *testing.T) {
	var stream []byte
	for _, n := range frameSizes {
		stream = append(stream, frame(wire.Batch, n)...)
	}
	for way, take := range ways {
		for split, from := range splits(stream) {
			r := NewReader(from, wire.MaxPayload)
			for i, n := range frameSizes {
				h, err := r.Next()
				want := wire.Header{Length: uint32(n), Type: wire.Batch, Arg: uint64(n)}
				if err != nil || h != want {
					t.Fatalf("%s, %s: frame %d: %+v, %v; want %+v", way, split, i, h, err, want)
				}
				if err = take(r, frame(wire.Batch, n)[wire.HeaderSize:]); err != nil {
					t.Fatalf("%s, %s: frame %d: %v", way, split, i, err)
				}
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%s, %s: behind the last frame: %v, want io.EOF", way, split, err)
			}
		}
	}
}

// TestReaderOfAllCuts ends the stream at every byte of a frame.
func TestReaderOfAllCuts(t *testing.T) {
	whole := append(frame(wire.Ping, 0), frame(wire.Hello, 40)...)
	for way, take := range ways {
		for cut := range len(whole) {
			r := NewReader(iotest.HalfReader(bytes.NewReader(whole[:cut])), wire.MaxPayload)
			var err error
			frames := 0
			for err == nil {
				var h wire.Header
				if h, err = r.Next(); err == nil {
					frames++
					if h.Length == 40 && cut < len(whole) && way != "skip" {
						if err = take(r, whole[len(whole)-40:]); err == nil {
							t.Fatalf("%s, cut at %d: a payload of 40 bytes", way, cut)
						}
					}
				}
			}
			if cut == 0 || cut == wire.HeaderSize {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s, cut at %d, between frames: %v, want io.EOF", way, cut, err)
				}
				continue
			}
			if !errors.Is(err, core.ErrProtocol) {
				t.Errorf("%s, cut at %d, after %d frames: %v, want a protocol error", way, cut, frames, err)
			}
		}
	}
}

func TestReaderKeepsItsLimit(t *testing.T) {
	stream := append(frame(wire.Hello, 100), frame(wire.Hello, 101)...)
	r := NewReader(bytes.NewReader(stream), 100)
	if _, err := r.Next(); err != nil {
		t.Fatalf("a payload at the limit: %v", err)
	}
	h, err := r.Next()
	wantCode(t, "a payload over the limit", err, core.CodeProtocol)
	if h.Length != 101 {
		t.Errorf("the header over the limit tells %d bytes, want 101", h.Length)
	}

	r = NewReader(bytes.NewReader(stream), 100)
	if _, err = r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetLimit(101)
	if _, err = r.Next(); err != nil {
		t.Errorf("after SetLimit: %v", err)
	}
}

func TestReaderGivesTheErrorOfTheStream(t *testing.T) {
	want := core.NewError(core.CodeProducerFenced, "read stream", nil)
	for way, take := range ways {
		for _, whole := range [][]byte{nil, frame(wire.Hello, 40)[:20], frame(wire.Hello, firstChunk)[:readBytes]} {
			r := NewReader(io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(want)), wire.MaxPayload)
			h, err := r.Next()
			if err == nil && way != "skip" {
				err = take(r, make([]byte, h.Length))
			}
			if err == nil {
				_, err = r.Next()
			}
			if !errors.Is(err, want) {
				t.Errorf("%s, after %d bytes: %v, want the stream's error", way, len(whole), err)
			}
		}
	}
}

// idle reads nothing and reports no error, which a reader must not wait for without end.
type idle struct{}

// Read implements io.Reader.
func (idle) Read([]byte) (int, error) { return 0, nil }

func TestReaderOfNothing(t *testing.T) {
	for way, take := range ways {
		for _, n := range []int{0, 20, 3 * firstChunk} {
			r := NewReader(io.MultiReader(bytes.NewReader(frame(wire.Batch, n)[:min(n, 20)]), idle{}), wire.MaxPayload)
			h, err := r.Next()
			if err == nil && way != "skip" {
				err = take(r, make([]byte, h.Length))
			}
			if err == nil {
				_, err = r.Next()
			}
			if !errors.Is(err, io.ErrNoProgress) {
				t.Errorf("%s of %d bytes: %v, want io.ErrNoProgress", way, n, err)
			}
		}
	}
}

// TestReaderTrustsNoLength: memory grows with what arrives, not with what was announced.
func TestReaderTrustsNoLength(t *testing.T) {
	h := wire.Header{Length: wire.MaxPayload, Type: wire.Batch}
	stream := append(h.Append(nil), make([]byte, 1000)...)
	before := allocated()
	r := NewReader(bytes.NewReader(stream), wire.MaxPayload)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	_, err := r.Payload(nil)
	wantCode(t, "Payload", err, core.CodeProtocol)
	if used := allocated() - before; used > 2*firstChunk {
		t.Errorf("a frame that announced %d bytes and held 1000 took %d bytes of memory", h.Length, used)
	}
}

// allocated is how many bytes this process has allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// endless repeats a frame.
type endless struct {
	frame []byte
	at    int
}

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.frame[e.at:])
	e.at = (e.at + n) % len(e.frame)
	return n, nil
}

func TestReaderDoesNotAllocate(t *testing.T) {
	for _, n := range []int{0, 64, 4 << 10, 100 << 10} {
		r := NewReader(&endless{frame: frame(wire.Batch, n)}, wire.MaxPayload)
		buf := make([]byte, n)
		if got := testing.AllocsPerRun(100, func() {
			_, err := r.Next()
			if err == nil {
				buf, err = r.Payload(buf)
			}
			if err != nil || len(buf) != n {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("frames of %d bytes: %v allocations each, want 0", n, got)
		}
	}
}

// FuzzReader feeds arbitrary bytes in arbitrary pieces. It must end with an error, give the frames that are
// there whatever the pieces, and allocate in proportion to what came.
func FuzzReader(f *testing.F) {
	f.Add(append(frame(wire.Hello, 40), frame(wire.Ping, 0)...), uint64(1), uint16(3))
	f.Add(frame(wire.Batch, 70_000), uint64(2), uint16(9000))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3}, uint64(3), uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, most uint16) {
		want, _ := readAll(bytes.NewReader(stream))
		before := allocated()
		got, err := readAll(&chunks{bytes.NewReader(stream), rand.New(rand.NewPCG(seed, 0)), 1 + int(most)})
		if used := allocated() - before; used > uint64(8*len(stream)+firstChunk+2*readBytes+32<<10) {
			t.Errorf("%d bytes took %d bytes of memory", len(stream), used)
		}
		if err == nil {
			t.Fatal("no error at the end")
		}
		if !bytes.Equal(got, want) {
			t.Errorf("read %d bytes of frames, %d in one piece", len(got), len(want))
		}
	})
}

// readAll gives the bytes of all whole frames.
func readAll(from io.Reader) (frames []byte, err error) {
	r := NewReader(from, wire.MaxPayload)
	for way := 0; ; way++ {
		h, err := r.Next()
		if err != nil {
			return frames, err
		}
		var payload []byte
		if way%2 == 0 {
			payload, err = r.Payload(nil)
		} else {
			payload, err = r.Small()
		}
		if err != nil {
			return frames, err
		}
		frames = append(h.Append(frames), payload...)
	}
}

package crc32c

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func random(n int) []byte {
	source := rand.New(rand.NewPCG(1, uint64(n)))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(source.Uint32())
	}
	return p
}

// TestKnownValues are those of RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
func TestKnownValues(t *testing.T) {
	ascending := make([]byte, 32)
	ones := make([]byte, 32)
	for i := range ascending {
		ascending[i], ones[i] = byte(i), 0xff
	}
	for _, tt := range []struct {
		p    []byte
		want uint32
	}{
		{nil, 0},
		{[]byte("123456789"), 0xe3069283},
		{make([]byte, 32), 0x8a9136aa},
		{ones, 0x62a8ab43},
		{ascending, 0x46dd794e},
	} {
		if got := Checksum(tt.p); got != tt.want {
			t.Errorf("Checksum(%x) = %08x, want %08x", tt.p, got, tt.want)
		}
	}
}

// TestLikeStandard compares every length around each place where the work is divided differently, at every
// alignment, with hash/crc32.
func TestLikeStandard(t *testing.T) {
	p := random(16<<10 + 8)
	for n := 0; n <= 16<<10; n++ {
		from := n % 8
		part := p[from : from+n]
		seed := uint32(n * 0x9e3779b1)
		if got, want := Update(seed, part), crc32.Update(seed, castagnoli, part); got != want {
			t.Fatalf("%d bytes from %d: %08x, want %08x", n, from, got, want)
		}
		if n > 4000 && n%3072 > 300 {
			n += 100
		}
	}
}

// TestWords: the three ways to seal a header agree with hash/crc32 over its bytes.
func TestWords(t *testing.T) {
	for n := range 3100 { // past the lengths of all ways
		payload, seed := random(n), uint32(n*0x85ebca6b)
		var header [64]byte
		copy(header[:], random(64+n))
		binary.LittleEndian.PutUint32(header[48:], crc32.Checksum(payload, castagnoli))
		want := crc32.Update(crc32.Update(seed, castagnoli, header[:4]), castagnoli, header[8:])
		var sealed, summed Words
		for i := range sealed {
			sealed[i] = binary.LittleEndian.Uint64(header[8*i:])
		}
		sealed[0] = uint64(uint32(sealed[0]))
		summed = sealed
		summed[6] &^= 1<<32 - 1
		crc := summed.SumAndSeal(seed, payload)
		sealed.Seal(seed)
		if summed != sealed || sealed[0]>>32 != uint64(want) || Header(seed, &header) != want ||
			crc != crc32.Checksum(payload, castagnoli) {
			t.Fatalf("%d bytes: sealed %x, summed %x, header %08x, want %08x", n, sealed, summed,
				Header(seed, &header), want)
		}
		copied, room := sealed, append(make([]byte, n), "behind"...)
		copied[0], copied[6] = uint64(uint32(copied[0])), copied[6]&^(1<<32-1)
		if crc := copied.CopySumAndSeal(seed, room, payload); crc != crc32.Checksum(payload, castagnoli) ||
			copied != sealed || string(room) != string(payload)+"behind" {
			t.Fatalf("%d bytes: copied %x, sealed %x, room %x", n, copied, sealed, room)
		}
		slow := sealed
		slow.sealSlow(seed)
		if slow != sealed {
			t.Fatalf("%d bytes: without assembly %x, with %x", n, slow, sealed)
		}
	}
}

// FuzzUpdate compares with hash/crc32, whole and in two pieces.
func FuzzUpdate(f *testing.F) {
	f.Add([]byte("123456789"), uint32(0), uint16(3))
	f.Add(random(5000), uint32(7), uint16(4097))
	f.Fuzz(func(t *testing.T, p []byte, seed uint32, at uint16) {
		want := crc32.Update(seed, castagnoli, p)
		cut := min(int(at), len(p))
		if got, two := Update(seed, p), Update(Update(seed, p[:cut]), p[cut:]); got != want || two != want {
			t.Fatalf("%d bytes: %08x, in two pieces %08x, want %08x", len(p), got, two, want)
		}
	})
}

// BenchmarkUpdate beside hash/crc32.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{64, 128, 256, 512, 1024, 4096, 65536} {
		p := random(n)
		for name, update := range map[string]func(uint32, []byte) uint32{
			"ours":     Update,
			"standard": func(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) },
		} {
			b.Run(fmt.Sprint(n, "/", name), func(b *testing.B) {
				b.SetBytes(int64(n))
				crc := uint32(0)
				for b.Loop() {
					crc = update(crc, p)
				}
			})
		}
	}
	b.Run("header", func(b *testing.B) {
		var w Words
		payload := random(256)
		for b.Loop() {
			w[6] = 0
			w.SumAndSeal(1, payload)
		}
	})
}

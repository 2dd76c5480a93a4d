package ringbuf

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"unsafe"
)

func mustSlab(t testing.TB, capacity int, position uint64) *Slab {
	t.Helper()
	s, err := newSlabAt(capacity, position)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewSlabCapacity(t *testing.T) {
	for _, tt := range []struct {
		name     string
		capacity int
		ok       bool
	}{
		{"zero", 0, false},
		{"negative", -4096, false},
		{"below the least", 2048, false},
		{"the least", 4096, true},
		{"not a power of two", 4096 + 8, false},
		{"1 MiB", 1 << 20, true},
		{"above the most", twice(maxSlab), false},
	} {
		s, err := NewSlab(tt.capacity)
		if (err == nil) != tt.ok {
			t.Errorf("%s: NewSlab(%d) = %v, want ok %v", tt.name, tt.capacity, err, tt.ok)
		}
		if err == nil && (s.Capacity() != tt.capacity || s.MaxEntry() != tt.capacity/8 || !s.Empty()) {
			t.Errorf("%s: capacity %d, max %d, empty %v", tt.name, s.Capacity(), s.MaxEntry(), s.Empty())
		}
	}
}

func TestSlabAlignment(t *testing.T) {
	for range 20 {
		s := mustSlab(t, 4096, 0)
		if at := uintptr(unsafe.Pointer(&s.bytes[0])); at%slabAlign != 0 {
			t.Fatalf("memory starts at %#x, want a multiple of %d", at, slabAlign)
		}
		if unsafe.Pointer(&s.bytes[0]) != unsafe.Pointer(&s.words[0]) || len(s.words)*8 != len(s.bytes) {
			t.Fatal("words and bytes are not the same memory")
		}
	}
}

// The end of the memory is where slicing could leave it: an empty payload in its last 8 bytes.
func TestSlabEmptyEntryAtTheEnd(t *testing.T) {
	s := mustSlab(t, 4096, 4096*7-8)
	e, ok := s.TryClaim(0)
	if !ok || e.Bytes == nil || len(e.Bytes) != 0 || cap(e.Bytes) != 0 {
		t.Fatalf("TryClaim(0) = %v, %v, want an empty entry that is not nil", e, ok)
	}
	s.Commit(e)
	if b, ok := s.Next(); !ok || len(b) != 0 {
		t.Fatalf("Next() = %v, %v, want an empty payload", b, ok)
	}
	s.Release()
	if !s.Empty() {
		t.Errorf("Pending() = %d, want 0", s.Pending())
	}
}

func TestSlabClaimSizes(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	for _, tt := range []struct {
		name string
		n    int
		want error
	}{
		{"negative", -1, ErrTooLarge},
		{"empty", 0, nil},
		{"one", 1, nil},
		{"the largest", 512, nil},
		{"one more", 513, ErrTooLarge},
		{"huge", math.MaxInt, ErrTooLarge},
	} {
		e, err := s.Claim(t.Context(), tt.n)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: Claim(%d) = %v, want %v", tt.name, tt.n, err, tt.want)
		}
		if err != nil {
			if _, ok := s.TryClaim(tt.n); ok {
				t.Errorf("%s: TryClaim(%d) = true", tt.name, tt.n)
			}
			continue
		}
		if len(e.Bytes) != tt.n || cap(e.Bytes) != tt.n {
			t.Errorf("%s: len %d cap %d, want %d", tt.name, len(e.Bytes), cap(e.Bytes), tt.n)
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(e.Bytes))); at%8 != 0 {
			t.Errorf("%s: payload at %#x, want a multiple of 8", tt.name, at)
		}
		s.Commit(e)
	}
}

func TestSlabCommitsInClaimOrder(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	a, _ := s.TryClaim(1)
	b, _ := s.TryClaim(2)
	c, _ := s.TryClaim(3)
	s.Commit(c)
	s.Abort(b)
	if got, ok := s.Next(); ok {
		t.Fatalf("Next() = %v before the first entry is committed", got)
	}
	s.Commit(a)
	for _, want := range []int{1, 3} {
		if got, ok := s.Next(); !ok || len(got) != want {
			t.Fatalf("Next() = %v, %v, want %d bytes", got, ok, want)
		}
	}
	if got, ok := s.Next(); ok {
		t.Fatalf("Next() = %v, want none", got)
	}
	if s.Empty() {
		t.Error("Empty() before Release")
	}
	s.Release()
	if !s.Empty() || s.Claims() != 48 {
		t.Errorf("Empty() = %v, Claims() = %d, want true, 48", s.Empty(), s.Claims())
	}
}

// A producer may reslice Bytes while it fills them: the length that counts is the claimed one.
func TestSlabLengthSurvivesReslice(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	e, _ := s.TryClaim(24)
	e.Bytes = append(e.Bytes[:0], 1, 2, 3)[3:]
	s.Commit(e)
	if got, ok := s.Next(); !ok || len(got) != 24 || got[0] != 1 || got[2] != 3 {
		t.Errorf("Next() = %v, %v, want the 24 claimed bytes", got, ok)
	}
}

func TestSlabCommitOfNothingPanics(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	defer func() {
		if recover() == nil {
			t.Error("Commit of the zero Entry did not panic")
		}
	}()
	s.Commit(Entry{})
}

// Reading a full slab to its end without Release must not start over at the oldest entry.
func TestSlabNextStopsAfterOneLap(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	n := 0
	for e, ok := s.TryClaim(120); ok; e, ok = s.TryClaim(120) {
		s.Commit(e)
		n++
	}
	if n != 32 || s.Pending() != 4096 {
		t.Fatalf("%d entries, %d bytes pending, want 32 and 4096", n, s.Pending())
	}
	read := 0
	for _, ok := s.Next(); ok; _, ok = s.Next() {
		read++
	}
	if read != n {
		t.Errorf("read %d entries, want %d", read, n)
	}
	s.Release()
	if !s.Empty() {
		t.Error("not empty after Release")
	}
}

// Aborted entries alone free themselves, or producers could wait for a Release that nobody owes.
func TestSlabAbortedEntriesFreeThemselves(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	for lap := range 10 {
		for e, ok := s.TryClaim(100); ok; e, ok = s.TryClaim(100) {
			s.Abort(e)
		}
		if b, ok := s.Next(); ok {
			t.Fatalf("lap %d: Next() = %v, want none", lap, b)
		}
		if !s.Empty() {
			t.Fatalf("lap %d: %d bytes pending after all were aborted", lap, s.Pending())
		}
	}
}

// slabModel is the slab as a list: what a single goroutine must see after any series of calls.
type slabModel struct {
	t                     *testing.T
	random                *rand.Rand
	slab                  *Slab
	claim, read, released uint64
	entries               []slabModelEntry // claimed and not yet read, in order
	lent                  [][]byte         // returned by Next since the last Release
	lentStamps            []uint64
	stamp                 uint64
}

type slabModelEntry struct {
	Entry
	size    uint64 // of the stretch, padding in front included
	stamp   uint64
	done    bool
	aborted bool
}

func TestSlabAgainstModel(t *testing.T) {
	starts := []uint64{0, 4096 - 8, 1<<31 - 64, 1<<32 - 8, 1<<53 - 1024, 1<<63 - 4096}
	forSeeds(t, cut(60, 12), func(t *testing.T, random *rand.Rand) {
		start := starts[random.IntN(len(starts))]
		m := &slabModel{
			t: t, random: random, slab: mustSlab(t, 4096<<random.IntN(2), start),
			claim: start, read: start, released: start,
		}
		for range 3000 {
			m.step()
			if t.Failed() {
				return
			}
		}
	})
}

func (m *slabModel) step() {
	switch k := m.random.IntN(10); {
	case k < 4:
		m.tryClaim()
	case k < 7:
		m.finish()
	case k < 9:
		m.next()
	default:
		m.release()
	}
	if got, want := m.slab.Pending(), int(m.claim-m.released); got != want {
		m.t.Errorf("Pending() = %d, want %d", got, want)
	}
	if got := m.slab.Empty(); got != (m.claim == m.released) {
		m.t.Errorf("Empty() = %v with claim %d, released %d", got, m.claim, m.released)
	}
	if m.random.IntN(50) == 0 {
		m.freeBytesAreZero()
	}
}

func (m *slabModel) tryClaim() {
	n := m.random.IntN(m.slab.MaxEntry() + 1)
	if m.random.IntN(2) == 0 {
		n = m.random.IntN(40)
	}
	size, capacity := (uint64(n)+8+7)/8*8, uint64(m.slab.Capacity())
	if rest := capacity - m.claim%capacity; size > rest {
		size += rest
	}
	e, ok := m.slab.TryClaim(n)
	if want := m.claim+size-m.released <= capacity; ok != want {
		m.t.Errorf("TryClaim(%d) = %v, want %v; claim %d released %d", n, ok, want, m.claim, m.released)
	}
	if !ok {
		return
	}
	for i, b := range e.Bytes {
		if b != 0 {
			m.t.Errorf("claimed byte %d is %#x, want 0", i, b)
			return
		}
	}
	m.stamp++
	stamp(e.Bytes, m.stamp)
	m.claim += size
	m.entries = append(m.entries, slabModelEntry{Entry: e, size: size, stamp: m.stamp})
}

// finish commits or aborts any claimed entry, in any order.
func (m *slabModel) finish() {
	if len(m.entries) == 0 {
		return
	}
	e := &m.entries[m.random.IntN(len(m.entries))]
	if e.done {
		return
	}
	e.done = true
	if e.aborted = m.random.IntN(4) == 0; e.aborted {
		m.slab.Abort(e.Entry)
	} else {
		m.slab.Commit(e.Entry)
	}
}

func (m *slabModel) next() {
	got, ok := m.slab.Next()
	for len(m.entries) > 0 && m.entries[0].done {
		e := m.entries[0]
		m.entries = m.entries[1:]
		m.read += e.size
		if e.aborted {
			continue
		}
		if !ok || len(got) != int(e.length) || !stamped(got, e.stamp) {
			m.t.Errorf("Next() = %d bytes, %v; want %d bytes of entry %d", len(got), ok, e.length, e.stamp)
		}
		m.lent, m.lentStamps = append(m.lent, got), append(m.lentStamps, e.stamp)
		return
	}
	if ok {
		m.t.Errorf("Next() = %d bytes, want none", len(got))
	}
	if len(m.entries) > 0 && m.entries[0].size != entrySize(uint64(m.entries[0].length)) {
		// The padding in front of an entry is published by its claim and read before the entry is.
		padding := m.entries[0].size - entrySize(uint64(m.entries[0].length))
		m.entries[0].size -= padding
		m.read += padding
	}
	if len(m.lent) == 0 {
		m.released = m.read
	}
}

func (m *slabModel) release() {
	for i, b := range m.lent {
		if !stamped(b, m.lentStamps[i]) {
			m.t.Errorf("entry %d changed while the consumer held it", m.lentStamps[i])
		}
	}
	m.lent, m.lentStamps = nil, nil
	m.slab.Release()
	m.released = m.read
}

func (m *slabModel) freeBytesAreZero() {
	capacity := uint64(m.slab.Capacity())
	for at := m.claim; at < m.released+capacity; at++ {
		if b := m.slab.bytes[at%capacity]; b != 0 {
			m.t.Errorf("free byte at position %d is %#x, want 0", at, b)
			return
		}
	}
}

// stamp fills b with a pattern of its own for every value; stamped checks it.
func stamp(b []byte, value uint64) {
	for i := range b {
		b[i] = byte(value*31+uint64(i)*7) | 1
	}
}

func stamped(b []byte, value uint64) bool {
	for i := range b {
		if b[i] != byte(value*31+uint64(i)*7)|1 {
			return false
		}
	}
	return true
}

// slabStress has producers claim entries of all sizes and abort some of them, while consumers take
// turns under a lock. Per-producer order, content and count are checked.
type slabStress struct {
	slab      *Slab
	producers int
	each      int // committed entries per producer

	mu   sync.Mutex // guards the following, and makes the holder the consumer
	next []uint64   // per producer: the number of the next entry
	bad  string
}

func (x *slabStress) produce(t *testing.T, id int, random *rand.Rand) {
	for i := 0; i < x.each; {
		n := 16 + random.IntN(100)
		if random.IntN(20) == 0 {
			n = 16 + random.IntN(x.slab.MaxEntry()-15)
		}
		e, err := x.slab.Claim(t.Context(), n)
		if err != nil {
			t.Errorf("producer %d: Claim: %v", id, err)
			return
		}
		if random.IntN(8) == 0 {
			stamp(e.Bytes, 99)
			x.slab.Abort(e)
			continue
		}
		binary.LittleEndian.PutUint64(e.Bytes, uint64(id))
		binary.LittleEndian.PutUint64(e.Bytes[8:], uint64(i))
		stamp(e.Bytes[16:], uint64(id*1_000_003+i))
		x.slab.Commit(e)
		i++
	}
}

// drain is one turn of a consumer. It reports true when everything has come.
func (x *slabStress) drain(limit int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for range limit {
		b, ok := x.slab.Next()
		if !ok {
			break
		}
		id, i := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		if id >= uint64(x.producers) || x.next[id] != i || !stamped(b[16:], id*1_000_003+i) {
			x.bad = "an entry came out of order or changed"
			return true
		}
		x.next[id]++
	}
	x.slab.Release()
	for _, n := range x.next {
		if n < uint64(x.each) {
			return x.bad != ""
		}
	}
	return true
}

func TestSlabStress(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		producers, consumers int
		start                uint64
	}{
		{"one producer", 1, 1, 0},
		{"three producers", 3, 1, 1<<32 - 4096 + 8},
		{"four producers, three consumers in turn", 4, 3, 1<<53 - 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := &slabStress{
				slab: mustSlab(t, 4096, tt.start), producers: tt.producers,
				each: cut(15_000, 2_500), next: make([]uint64, tt.producers),
			}
			var wg sync.WaitGroup
			for id := range tt.producers {
				wg.Go(func() { x.produce(t, id, rand.New(rand.NewPCG(uint64(id), 1))) })
			}
			for id := range tt.consumers {
				wg.Go(func() {
					for !x.drain(1 + id*20) {
						runtime.Gosched()
					}
				})
			}
			wg.Wait()
			if x.bad != "" {
				t.Error(x.bad)
			}
			for _, ok := x.slab.Next(); ok; _, ok = x.slab.Next() {
				t.Error("an entry too many")
			}
			if !x.slab.Empty() || x.slab.room.waiting.Load() != 0 {
				t.Errorf("%d bytes pending, %d waiting", x.slab.Pending(), x.slab.room.waiting.Load())
			}
		})
	}
}

// Every cycle the producer finds the slab full and parks while, at a moment drawn anew each time, the
// consumer frees it. One lost wake-up hangs the test.
func TestSlabLostWakeup(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	s.wait = newWaiting(Block, 0)
	random := rand.New(rand.NewPCG(1, 1))
	cycles := cut(100_000, 20_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range cycles * 7 { // seven entries of this size are a full slab
			e, err := s.Claim(t.Context(), s.MaxEntry())
			if err != nil {
				t.Errorf("Claim: %v", err)
				return
			}
			s.Commit(e)
		}
	})
	parked := 0
	for range cycles {
		for i := 1; s.Pending() < 7*entrySizeInt(s.MaxEntry()); i++ {
			if i%200 == 0 { // look often, to be here before the producer is parked
				runtime.Gosched()
			}
		}
		burn(random.IntN(1+random.IntN(600)) * random.IntN(2))
		parked += int(s.room.waiting.Load())
		for got := 0; got < 7; {
			if _, ok := s.Next(); ok {
				got++
			}
		}
		s.Release()
	}
	wg.Wait()
	t.Logf("%d of %d cycles found the producer parked", parked, cycles)
}

func entrySizeInt(n int) int { return int(entrySize(uint64(n))) }

// fill claims and commits until there is no room for another entry of n bytes.
func fill(s *Slab, n int) (entries int) {
	for e, ok := s.TryClaim(n); ok; e, ok = s.TryClaim(n) {
		s.Commit(e)
		entries++
	}
	return entries
}

func TestSlabCloseWakesClaimers(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	committed := fill(s, 500)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := s.Claim(context.Background(), 500); !errors.Is(err, ErrClosed) {
				t.Errorf("Claim = %v, want ErrClosed", err)
			}
		})
	}
	until(func() bool { return s.room.waiting.Load() == 5 })
	s.Close()
	s.Close()
	wg.Wait()
	for range committed {
		if _, ok := s.Next(); !ok {
			t.Fatal("an entry committed before Close is gone")
		}
	}
	s.Release()
	if _, ok := s.TryClaim(1); ok || !s.Empty() {
		t.Errorf("TryClaim after Close = %v, Empty() = %v", ok, s.Empty())
	}
	if _, err := s.Claim(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Claim after Close = %v, want ErrClosed", err)
	}
}

func TestSlabEntryClaimedBeforeCloseDrains(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	e, _ := s.TryClaim(3)
	s.Close()
	if s.Empty() || s.Claims() != 16 {
		t.Errorf("Empty() = %v, Claims() = %d, want false, 16", s.Empty(), s.Claims())
	}
	s.Commit(e)
	if b, ok := s.Next(); !ok || len(b) != 3 {
		t.Errorf("Next() = %v, %v, want the 3 bytes claimed before Close", b, ok)
	}
}

func TestSlabCancel(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	fill(s, 500)
	ctx, cancel := context.WithCancel(t.Context())
	claims := s.Claims()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := s.Claim(ctx, 500); !errors.Is(err, context.Canceled) {
				t.Errorf("Claim = %v, want context.Canceled", err)
			}
		})
	}
	until(func() bool { return s.room.waiting.Load() == 3 })
	cancel()
	wg.Wait()
	if s.Claims() != claims || s.room.waiting.Load() != 0 {
		t.Errorf("a cancelled Claim left %d bytes claimed, %d waiting", s.Claims()-claims, s.room.waiting.Load())
	}
}

// A cancelled and a released waiter at the same moment: nobody hangs and no token stays behind.
func TestSlabCancelWhileReleased(t *testing.T) {
	s := mustSlab(t, 4096, 0)
	s.wait = newWaiting(Block, 0)
	for range cut(4000, 800) {
		fill(s, 500)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if e, err := s.Claim(ctx, 500); err == nil {
					s.Commit(e)
				}
			})
		}
		until(func() bool { return s.room.waiting.Load() > 0 })
		wg.Go(cancel)
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
		s.Release()
		wg.Wait()
	}
	for p := s.room.free; p != nil; p = p.next {
		if len(p.token) != 0 || p.listed {
			t.Error("a place to be reused holds a token or is listed")
		}
	}
}

// Closing under load: every claimer returns, and what was committed is all there is to read.
func TestSlabCloseUnderLoad(t *testing.T) {
	for range cut(60, 15) {
		s := mustSlab(t, 4096, 0)
		var wg sync.WaitGroup
		var mu sync.Mutex
		committed, consumed := 0, 0
		for range 4 {
			wg.Go(func() {
				n := 0
				for {
					e, err := s.Claim(t.Context(), 40)
					if err != nil {
						break
					}
					s.Commit(e)
					n++
				}
				mu.Lock()
				committed += n
				mu.Unlock()
			})
		}
		for consumed < 500 {
			if _, ok := s.Next(); ok {
				consumed++
			} else {
				runtime.Gosched()
			}
			s.Release()
		}
		s.Close()
		wg.Wait()
		for _, ok := s.Next(); ok; _, ok = s.Next() {
			consumed++
		}
		s.Release()
		if committed != consumed || !s.Empty() {
			t.Fatalf("committed %d, consumed %d, empty %v", committed, consumed, s.Empty())
		}
	}
}

func TestSlabAllocates(t *testing.T) {
	s := mustSlab(t, 1<<16, 0)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		e, _ := s.TryClaim(96)
		f, _ := s.Claim(ctx, 30)
		s.Abort(f)
		s.Commit(e)
		s.Next()
		s.Next()
		s.Release()
	}); n != 0 {
		t.Errorf("%v allocations per round, want 0", n)
	}
}

func TestSlabLayout(t *testing.T) {
	var s Slab
	words := []struct {
		name   string
		offset uintptr
	}{
		{"the read-only fields", unsafe.Offsetof(s.wait)},
		{"claim", unsafe.Offsetof(s.claim) + unsafe.Offsetof(s.claim.value)},
		{"gateCache", unsafe.Offsetof(s.gateCache) + unsafe.Offsetof(s.gateCache.value)},
		{"released", unsafe.Offsetof(s.released) + unsafe.Offsetof(s.released.value)},
		{"read", unsafe.Offsetof(s.read)},
		{"room.waiting", unsafe.Offsetof(s.room) + unsafe.Offsetof(s.room.waiting)},
		{"room.mu", unsafe.Offsetof(s.room) + unsafe.Offsetof(s.room.mu)},
	}
	for i := 1; i < len(words); i++ {
		if d := words[i].offset - words[i-1].offset; d < cacheGap {
			t.Errorf("%s is %d bytes after %s, want at least %d", words[i].name, d, words[i-1].name, cacheGap)
		}
	}
	if end := unsafe.Sizeof(s) - unsafe.Offsetof(s.room) - unsafe.Offsetof(s.room.mu); end < cacheGap {
		t.Errorf("%d bytes after the last word, want at least %d", end, cacheGap)
	}
}

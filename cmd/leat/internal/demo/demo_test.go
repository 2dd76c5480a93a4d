package demo

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
)

func TestPayloadDetectsEveryFlippedBit(t *testing.T) {
	keys := makeKeys(8)
	want := payload{sequence: 1<<40 + 7, intended: 123456789, key: 5}
	value := make([]byte, valueBytes)
	want.put(value)
	m := leat.Message{Key: keys[5], Value: value}
	if got, ok := parsePayload(&m, keys); !ok || got != want {
		t.Fatalf("parsePayload = %+v, %v; want %+v, true", got, ok, want)
	}
	for bit := range valueBytes * 8 {
		value[bit/8] ^= 1 << (bit % 8)
		if got, ok := parsePayload(&m, keys); ok {
			t.Errorf("bit %d flipped: parsePayload = %+v, true; want false", bit, got)
		}
		value[bit/8] ^= 1 << (bit % 8)
	}
}

func TestPayloadRefusesStrangers(t *testing.T) {
	keys := makeKeys(8)
	value := make([]byte, valueBytes)
	p := payload{key: 5}
	p.put(value)
	beyond := make([]byte, valueBytes)
	q := payload{key: 8}
	q.put(beyond)
	for name, m := range map[string]leat.Message{
		"key of another":       {Key: keys[4], Value: value},
		"no key":               {Value: value},
		"no value":             {Key: keys[5]},
		"short value":          {Key: keys[5], Value: value[:31]},
		"long value":           {Key: keys[5], Value: append(slices.Clone(value), 0)},
		"key number too large": {Key: keys[5], Value: beyond},
	} {
		if _, ok := parsePayload(&m, keys); ok {
			t.Errorf("%s: parsePayload = true; want false", name)
		}
	}
}

func FuzzParsePayload(f *testing.F) {
	keys := makeKeys(8)
	value := make([]byte, valueBytes)
	p := payload{sequence: 3, key: 2}
	p.put(value)
	f.Add(keys[2], value)
	f.Add([]byte(nil), []byte(nil))
	// Never panics; what it accepts encodes to the same bytes.
	f.Fuzz(func(t *testing.T, key, value []byte) {
		p, ok := parsePayload(&leat.Message{Key: key, Value: value}, keys)
		if !ok {
			return
		}
		again := make([]byte, valueBytes)
		p.put(again)
		if !slices.Equal(again, value) || !slices.Equal(keys[p.key], key) {
			t.Errorf("accepted %q %x, which encodes to %q %x", key, value, keys[p.key], again)
		}
	})
}

func TestHandleDoesNotAllocate(t *testing.T) {
	a := newAudience("a", makeKeys(8), clock.System)
	a.latency = benchkit.NewHistogram()
	s := saboteur{check: func(p payload) { a.sequences.Observe(p.key, p.sequence) }}
	m := leat.Message{Key: a.keys[3], Value: make([]byte, valueBytes)}
	p := payload{key: 3}
	if n := testing.AllocsPerRun(1000, func() {
		p.put(m.Value)
		a.handle(&m, &s)
		p.sequence++
		m.Offset++
	}); n != 0 {
		t.Errorf("handle allocates %v times; want 0", n)
	}
	if v := a.sequences.Against([]uint64{3: p.sequence, 7: 0}); !v.Clean() || a.handled() != m.Offset {
		t.Errorf("verdict %+v, handled %d of %d", v, a.handled(), m.Offset)
	}
}

func TestSaboteur(t *testing.T) {
	tests := []struct {
		fault Fault
		want  benchkit.Verdict
	}{
		{FaultNone, benchkit.Verdict{Delivered: 400}},
		{FaultLost, benchkit.Verdict{Delivered: 399, Lost: 1}},
		{FaultDup, benchkit.Verdict{Delivered: 401, Duplicated: 1}},
		{FaultOrder, benchkit.Verdict{Delivered: 400, Reordered: 1}},
	}
	for _, tt := range tests {
		sequences := benchkit.NewSequences(4)
		s := saboteur{fault: tt.fault, check: func(p payload) { sequences.Observe(p.key, p.sequence) }}
		for i := range uint64(400) {
			s.pass(payload{key: uint32(i % 4), sequence: i / 4})
		}
		s.end()
		if got := sequences.Against([]uint64{100, 100, 100, 100}); got != tt.want {
			t.Errorf("fault %d: %+v; want %+v", tt.fault, got, tt.want)
		}
	}
}

func TestParseFault(t *testing.T) {
	names := map[string]Fault{"": FaultNone, "lost": FaultLost, "dup": FaultDup, "order": FaultOrder}
	for name, want := range names {
		if got, err := ParseFault(name); got != want || err != nil {
			t.Errorf("ParseFault(%q) = %d, %v; want %d", name, got, err, want)
		}
	}
	if _, err := ParseFault("LOST"); err == nil {
		t.Error("ParseFault(LOST) = nil; want an error")
	}
}

func TestBacklog(t *testing.T) {
	tests := []struct {
		part leat.PartitionInfo
		next int64
		want int64
	}{
		{leat.PartitionInfo{}, 0, 0},
		{leat.PartitionInfo{End: 100, Bytes: 6400}, 0, 6400},
		{leat.PartitionInfo{End: 100, Bytes: 6400}, 75, 1600},
		{leat.PartitionInfo{End: 100, Bytes: 6400}, 100, 0},
		{leat.PartitionInfo{Start: 50, End: 100, Bytes: 3200}, 75, 1600},
		{leat.PartitionInfo{Start: 50, End: 100, Bytes: 3200}, 20, 3200},
	}
	for _, tt := range tests {
		if got := backlog(&tt.part, tt.next); got != tt.want {
			t.Errorf("backlog(%+v, %d) = %d; want %d", tt.part, tt.next, got, tt.want)
		}
	}
}

func TestGuardHoldsWithHysteresis(t *testing.T) {
	s := &stage{slow: newAudience("slow", makeKeys(1), clock.System)}
	steps := []struct {
		bytes int64
		want  bool
	}{
		{0, false}, {backlogBytes - 1, false}, {backlogBytes, true}, {backlogBytes - 1, true},
		{backlogBytes / 10 * 8, false},
	}
	for i, step := range steps {
		s.guard(&leat.TopicInfo{Partitions: []leat.PartitionInfo{{End: 1}, {End: 100, Bytes: step.bytes}}})
		if got := s.hold.Load(); got != step.want {
			t.Errorf("step %d: with %d bytes behind hold = %v; want %v", i, step.bytes, got, step.want)
		}
	}
}

func TestBrake(t *testing.T) {
	published, pressed := int64(0), atomic.Bool{}
	b := brake{clock: clock.System, published: func() int64 { return published }, pressed: &pressed}
	ended, end := context.WithCancel(t.Context())
	end()
	pass := func() (n int64) {
		for b.open() && b.passed < published {
			b.hold(ended)
			n++
		}
		return n
	}
	for _, step := range []struct {
		published int64
		pressed   bool
		passed    int64 // what the audience reads from there on
	}{
		{0, false, 0},
		{80, false, 11}, // an eighth, and the one that is under way
		{800, false, 90},
		{brakeRecords * 2, false, brakeRecords - 100},
		{brakeRecords * 3, false, brakeRecords},
		{brakeRecords * 3, true, brakeRecords - 1}, // the guard waits: everything
	} {
		published = step.published
		pressed.Store(step.pressed)
		if got := pass(); got != step.passed {
			t.Errorf("with %d published and the guard waiting %v it read %d; want %d",
				published, step.pressed, got, step.passed)
		}
	}
}

func TestDiskBounds(t *testing.T) {
	if most := partitions * (retentionBytes + 2*segmentBytes); most > DiskBytes {
		t.Errorf("%d partitions take %d bytes; want at most %d", partitions, most, DiskBytes)
	}
	if err := topicConfig().WithDefaults().Validate("demo"); err != nil {
		t.Error(err)
	}
	if got := needBytes(&Config{For: time.Hour, Rate: RateMax}); got != DiskBytes {
		t.Errorf("needBytes of a long run = %d; want %d", got, DiskBytes)
	}
	if small := needBytes(&Config{For: time.Second, Rate: 1}); small >= DiskBytes/2 {
		t.Errorf("needBytes of a tiny run = %d; want little", small)
	}
}

func TestSharesAddUp(t *testing.T) {
	for _, rate := range []int64{1, 2, 3, 999_999, 1_000_000} {
		sum := int64(0)
		for i := range publishers {
			sum += (&publisher{index: i}).share(rate)
		}
		if sum != rate {
			t.Errorf("shares of %d add up to %d", rate, sum)
		}
	}
}

func needNode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no node on Windows yet")
	}
}

func TestRunShowsFigures(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	var shown atomic.Int64
	card, err := Run(t.Context(), Config{For: 700 * time.Millisecond, Rate: 20_000, Dir: dir,
		Live: func(f Figures) { shown.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := card.Err(); err != nil || card.Published == 0 || card.Delivered != 2*card.Published {
		t.Errorf("card = %+v, %v; want all delivered to both groups", card, err)
	}
	if n := shown.Load(); n < 1 || n > 10 {
		t.Errorf("figures shown %d times in 0.7 s; want at most 4 a second", n)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestRunRefusesAFullDisk(t *testing.T) {
	cfg := Config{For: time.Second, Rate: 1000, Dir: t.TempDir()}
	_, err := makeFolderWith(&cfg, func(string) uint64 { return 1 << 20 })
	if core.CodeOf(err) != core.CodeStorageFull || !strings.Contains(leat.HintFor(err), "TMPDIR") {
		t.Errorf("with 1 MiB free: %v, hint %q; want STORAGE_FULL", err, leat.HintFor(err))
	}
	if entries, err := os.ReadDir(cfg.Dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Config{For: time.Hour, Rate: 50_000, Dir: dir, Live: func(Figures) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v; want %v", err, context.Canceled)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

package mmaplog

import (
	"fmt"
	"maps"
	"math/rand"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// keyedRecord is one record as a compacting log has it.
type keyedRecord struct {
	offset     int64
	key, value string
	nilKey     bool
	tombstone  bool
	removed    bool
	time       int64
}

// keyedRun is a compacting log and what was appended to it.
type keyedRun struct {
	testing.TB
	fs       FS
	opts     LogOptions
	store    Options
	clock    *clock.Manual
	s        *Store
	log      *Log
	appended []keyedRecord
}

func newKeyedRun(t testing.TB, fs FS, level core.Ack, compactBytes int64) *keyedRun {
	r := &keyedRun{TB: t, fs: fs, clock: clock.NewManual(int64(1000 * day))}
	r.opts = LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes, Compact: true}
	r.store = Options{Clock: r.clock, CompactBytes: compactBytes}
	r.open()
	return r
}

func (r *keyedRun) open() {
	r.Helper()
	r.s = openTest(r.TB, r.fs, "data", r.store)
	var err error
	if r.log, err = r.s.OpenLog(16, 0, r.opts); err != nil {
		r.Fatal(err)
	}
}

func (r *keyedRun) reopen() {
	r.Helper()
	if err := r.s.Close(); err != nil {
		r.Fatal(err)
	}
	r.open()
}

// put appends records in one batch; a value of - is a tombstone, a key of - none.
func (r *keyedRun) put(producer int64, records ...[2]string) {
	r.Helper()
	var payload []byte
	base := int64(len(r.appended))
	for i, kv := range records {
		rec := keyedRecord{offset: base + int64(i), key: kv[0], value: kv[1], time: r.clock.Now()}
		key, value := []byte(kv[0]), []byte(kv[1])
		hash := xxhash.Sum64(key)
		if kv[0] == "-" {
			key, hash, rec.nilKey = nil, 0, true
		}
		if kv[1] == "-" {
			value, rec.tombstone = nil, true
		}
		n, err := core.EncodedRecordSize(key, value, nil)
		if err != nil {
			r.Fatal(err)
		}
		raw := make([]byte, n)
		core.PutRecord(raw, key, value, nil, hash, int32(i))
		payload = append(payload, raw...)
		r.appended = append(r.appended, rec)
	}
	r.log.Begin(r.clock.Now())
	var err error
	if producer != 0 {
		h := produced(producer, int32(base), payload, len(records))
		_, err = r.log.AddFrame(&h, payload)
	} else {
		_, err = r.log.Add(payload, len(records))
	}
	if err == nil {
		_, err = r.log.Publish()
	}
	if err != nil {
		r.Fatal(err)
	}
}

// compact leaves what is there and does a round.
func (r *keyedRun) compact() {
	r.Helper()
	syncNow(r.log)
	drainJanitor(r.s)
	r.log.compact()
	if r.log.compaction.failed.Load() {
		r.Fatal("the round met damage")
	}
}

// readKeyed reads a log from its start.
func readKeyed(l *Log) ([]keyedRecord, error) {
	reader := l.Reader(l.Start())
	defer reader.Close()
	var list []keyedRecord
	for {
		run, err := reader.Next(l.End())
		if err != nil || run == nil {
			return list, err
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			err := eachRecord(&h, run[core.FrameHeaderSize:h.Length], func(offset int64, r *core.Record, _ []byte) {
				list = append(list, keyedRecord{offset: offset, key: string(r.Key), value: string(r.Value),
					nilKey: r.Key == nil, tombstone: r.Value == nil && !r.Removed(), removed: r.Removed(), time: h.Time})
			})
			if err != nil {
				return list, err
			}
			run = run[h.Size():]
		}
	}
}

// newest is the state that a table of the keys has after all records.
func newest(list []keyedRecord) map[string]string {
	state := map[string]string{}
	for _, r := range list {
		switch {
		case r.removed || r.nilKey:
		case r.tombstone:
			delete(state, r.key)
		default:
			state[r.key] = fmt.Sprint(r.offset, " ", r.value)
		}
	}
	return state
}

// check compares the log with what was appended: offsets are all there, what is not removed is as it was,
// and the state of the keys is the same, also as seen from any offset on. It gives the records left.
func (r *keyedRun) check() int {
	r.Helper()
	got, err := readKeyed(r.log)
	if err != nil {
		r.Fatal(err)
	}
	if len(got) != len(r.appended) {
		r.Fatalf("%d records, %d were appended", len(got), len(r.appended))
	}
	left := 0
	for i, g := range got {
		want := r.appended[i]
		want.key, want.value = strings.TrimPrefix(want.key, "-"), strings.TrimPrefix(want.value, "-")
		if g.removed && !want.nilKey && g.offset == want.offset && g.time == want.time {
			continue
		}
		left++
		if g != want {
			r.Fatalf("record %d = %+v, was appended as %+v", i, g, want)
		}
	}
	if a, b := newest(got), newest(r.appended); !maps.Equal(a, b) {
		r.Fatalf("%d keys are live, want %d", len(a), len(b))
	}
	return left
}

// TestCompactionKeepsTheNewest: of each key the newest record stays, tombstones for a day, and segments take
// less room; a second round finds nothing to do.
func TestCompactionKeepsTheNewest(t *testing.T) {
	for _, level := range bothSinks {
		r := newKeyedRun(t, Heap(), level, 0)
		big := strings.Repeat("v", 1000)
		for i := range 2000 {
			r.put(0, [2]string{fmt.Sprint("k", i%50), big + fmt.Sprint(i)})
		}
		r.put(0, [2]string{"k7", "-"}, [2]string{"-", "no key"})
		for range 300 {
			r.put(0, [2]string{"filler", big})
		}
		before := r.log.Bytes()
		r.compact()
		if left := r.check(); left > 400 {
			t.Errorf("level %v: %d records are left", level, left)
		}
		if after := r.log.Bytes(); after > before/3 {
			t.Errorf("level %v: %d bytes of %d are left", level, after, before)
		}
		if got, _ := readKeyed(r.log); !got[2000].tombstone {
			t.Errorf("level %v: a young tombstone is gone", level)
		}
		if due := r.log.compactDue(r.clock.Now()); due {
			t.Errorf("level %v: another round is due at once", level)
		}
		r.reopen()
		r.check()
		r.clock.Advance(25 * time.Hour)
		for range 300 {
			r.put(0, [2]string{"filler", big})
		}
		r.compact()
		if got, _ := readKeyed(r.log); !got[2000].removed {
			t.Errorf("level %v: an old tombstone stays", level)
		}
		r.check()
	}
}

// TestTombstoneStaysForLastFrames: a tombstone must not go while an older record of its key is in the last
// frame of a segment, which compaction does not touch.
func TestTombstoneStaysForLastFrames(t *testing.T) {
	r := newKeyedRun(t, Heap(), core.AckPage, 0)
	r.put(0, [2]string{"other", "x"})
	r.put(0, [2]string{"k", "old"}) // the last frame of its segment
	if err := r.log.Roll(); err != nil {
		t.Fatal(err)
	}
	r.put(0, [2]string{"k", "-"})
	r.put(0, [2]string{"other", "y"})
	if err := r.log.Roll(); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(100 * time.Hour)
	for range 3 {
		r.put(0, [2]string{"filler", "z"})
		if err := r.log.Roll(); err != nil {
			t.Fatal(err)
		}
		r.compact()
		r.check()
	}
	if got, _ := readKeyed(r.log); got[0].removed != true || got[1].removed || got[2].removed {
		t.Errorf("records %+v", got[:3])
	}
}

// TestCompactionModel: random appends, rolls, rounds, reopenings and days against the list of what was
// appended, with room for all keys and for a few.
func TestCompactionModel(t *testing.T) {
	for seed := range int64(scaled(20)) {
		random := rand.New(rand.NewSource(seed))
		r := newKeyedRun(t, Heap(), bothSinks[seed%2], []int64{0, 100 << 10}[seed/2%2])
		reader := r.log.Reader(0)
		for range 40 {
			for range 1 + random.Intn(30) {
				batch := make([][2]string, 1+random.Intn(12))
				for i := range batch {
					batch[i] = [2]string{fmt.Sprint("key", random.Intn(40)), strings.Repeat("v", random.Intn(2000))}
					switch random.Intn(12) {
					case 0:
						batch[i][1] = "-"
					case 1:
						batch[i][0] = "-"
					case 2, 3:
						batch[i][0] = fmt.Sprint("rare", random.Intn(5000))
					}
				}
				r.put(int64(random.Intn(3)), batch...)
			}
			switch random.Intn(5) {
			case 0:
				if err := r.log.Roll(); err != nil {
					t.Fatal(err)
				}
			case 1:
				r.clock.Advance(time.Duration(random.Intn(40)) * time.Hour)
			case 2:
				_ = reader.Close()
				r.reopen()
				reader = r.log.Reader(0)
			case 3:
				r.compact()
			}
			for range random.Intn(20) { // a reader in flight, which rounds overtake
				if _, err := reader.Next(r.log.End()); err != nil {
					t.Fatalf("LEAT_SEED=%d: %v", seed, err)
				}
			}
		}
		r.compact()
		r.check()
		r.reopen()
		r.check()
		_ = reader.Close()
		_ = r.s.Close()
	}
}

// TestCompactionCrash cuts the power at every step of the disk during a round, a few times each, and at
// its failpoints: the log recovers with the same state, and compacts again.
func TestCompactionCrash(t *testing.T) {
	for _, level := range bothSinks {
		steps := 0
		for cut := 1; ; cut += 12 / scaled(12) {
			n, ended := crashInRound(t, level, cut)
			if steps = max(steps, n); ended {
				break
			}
		}
		if steps < 20 {
			t.Errorf("level %v: a round has %d steps", level, steps)
		}
	}
}

// crashInRound cuts the power at step cut of a round; ended tells that the round has fewer.
func crashInRound(t *testing.T, level core.Ack, cut int) (steps int, ended bool) {
	t.Helper()
	disk := Heap()
	r := newKeyedRun(t, disk, level, 0)
	var mu sync.Mutex // the janitor, the syncer and the round take steps
	armed := false
	var crashed []*MemFS
	step := func() {
		mu.Lock()
		defer mu.Unlock()
		if !armed {
			return
		}
		if steps++; steps == cut {
			for seed := range uint64(4) {
				crashed = append(crashed, disk.Crash(seed))
			}
		}
	}
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
	r.store.Point = func(string) { step() }
	r.open()
	for i := range 700 {
		r.put(int64(i%2), [2]string{fmt.Sprint("k", i%9), strings.Repeat("v", 1000)})
	}
	syncNow(r.log)
	drainJanitor(r.s)
	disk.Hook(func(string, string) { step() })
	arm := func(on bool) {
		mu.Lock()
		armed = on
		mu.Unlock()
	}
	arm(true)
	r.compact()
	arm(false)
	disk.Hook(nil)
	r.store.Point = nil
	for _, fs := range crashed {
		after := &keyedRun{TB: t, fs: fs, opts: r.opts, store: r.store, clock: r.clock, appended: r.appended}
		after.open()
		after.check()
		after.compact()
		if left := after.check(); left > 300 {
			t.Errorf("cut at step %d: %d records are left", cut, left)
		}
		names, err := fs.ReadDir(after.log.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if isSpareName(name) && len(after.log.prep.spares) == 0 {
				t.Errorf("cut at step %d: %s is left", cut, name)
			}
		}
		if err := after.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_ = r.s.Close()
	return steps, len(crashed) == 0
}

// TestCompactionMovesTheCheckpoint: a checkpoint within a segment that is then compacted must not send
// recovery to a place of the old file. Without the manifest, nothing else tells where to begin.
func TestCompactionMovesTheCheckpoint(t *testing.T) {
	for _, level := range bothSinks {
		disk := Heap()
		r := newKeyedRun(t, disk, level, 0)
		for i := range 100 {
			r.put(0, [2]string{fmt.Sprint("k", i%3), strings.Repeat("v", 1000)})
		}
		syncNow(r.log)
		done := make(chan struct{})
		r.s.janitor.do(func() {
			r.log.keepState("test", r.log.checkpointAtEnd)
			close(done)
		})
		<-done
		for i := range 30 {
			r.put(0, [2]string{fmt.Sprint("k", i%3), strings.Repeat("w", 1000)})
		}
		if err := r.log.Roll(); err != nil { // the next header tells of no more than was durable before
			t.Fatal(err)
		}
		r.compact()
		if left := r.check(); left > 60 {
			t.Fatalf("level %v: %d records are left", level, left)
		}
		fs := disk.Crash(1)
		if err := fs.Remove("data/MANIFEST"); err != nil {
			t.Fatal(err)
		}
		after := &keyedRun{TB: t, fs: fs, opts: r.opts, store: r.store, clock: r.clock, appended: r.appended}
		after.open()
		after.check()
		_ = after.s.Close()
		_ = r.s.Close()
	}
}

// TestTruncateDuringARound: a round that has read a segment when the log is truncated, within it or behind
// it, must not put in place what it wrote; and it is no damage.
func TestTruncateDuringARound(t *testing.T) {
	for _, level := range bothSinks {
		for _, from := range []int64{20, 100, 400} { // the first segment has room for 200 records
			disk := Heap()
			r := newKeyedRun(t, disk, level, 0)
			for i := range 900 {
				r.put(0, [2]string{fmt.Sprint("k", i), strings.Repeat("v", 1000)})
				r.put(0, [2]string{fmt.Sprint("k", (i+400)%900), strings.Repeat("v", 1000)})
			}
			settle(r.s, r.log)
			var once sync.Once
			written, cut := make(chan struct{}), make(chan struct{})
			disk.Hook(func(op, name string) {
				if op == "sync" && isSpareName(filepath.Base(name)) {
					once.Do(func() { // the first segment is written anew
						close(written)
						<-cut
					})
				}
			})
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.log.compact()
			}()
			<-written
			if err := r.log.TruncateSuffix(from, 3); err != nil {
				t.Fatal(err)
			}
			close(cut)
			<-done
			disk.Hook(nil)
			if r.log.compaction.failed.Load() {
				t.Errorf("level %v: the round took the truncation for damage", level)
			}
			r.appended = r.appended[:from]
			r.check()
			r.reopen()
			r.check()
			_ = r.s.Close()
		}
	}
}

// TestKeyTable compares the table with a map, and holds it to its budget.
func TestKeyTable(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for _, budget := range []int64{1, 200 << 10, 64 << 20} {
		table, model := newKeyTable(budget), map[string]int64{}
		for offset := range int64(6_000) {
			key := fmt.Sprint(random.Intn(4000), strings.Repeat("x", random.Intn(60)))
			hash := xxhash.Sum64String(key) % 1000 // many keys with one hash
			if _, known := model[key]; !table.put(hash, []byte(key), offset) {
				if known {
					t.Fatalf("no room for a key that is there")
				}
				break
			}
			model[key] = offset
		}
		if len(model) == 0 || budget > 1<<20 && len(model) < 2500 {
			t.Errorf("budget %d: %d keys", budget, len(model))
		}
		if got := int64(len(table.slots)*keySlotBytes + len(table.chunks)*keyChunk); got > max(budget, 100<<10) {
			t.Errorf("budget %d: %d bytes", budget, got)
		}
		for key, want := range model {
			if got, ok := table.newest(xxhash.Sum64String(key)%1000, []byte(key)); !ok || got != want {
				t.Fatalf("newest of %q = %d, %v; want %d", key, got, ok, want)
			}
		}
		if _, ok := table.newest(5, []byte("absent")); ok {
			t.Error("an absent key is found")
		}
	}
}

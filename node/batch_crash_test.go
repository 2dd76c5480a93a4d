package node

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// batchRun publishes batches of all sizes until the power is cut in the middle of one, and looks at what the
// disk has kept of them.
type batchRun struct {
	t      *testing.T
	random *rand.Rand
	seed   uint64
	level  leat.Ack
	dialed bool   // it publishes and reads over QUIC
	point  string // where the power is cut; "" for operations of the disk
	passes atomic.Int64

	part *partition
	cut  atomic.Pointer[batchCut]

	mu   sync.Mutex   // guards the following
	told map[int]bool // batches with a receipt
}

// batchCut is the disk after a cut, and which batches had a receipt before.
type batchCut struct {
	fs   *mmaplog.MemFS
	told map[int]bool
	at   string
}

// batchesMost ends a life in which the power is not cut before.
const batchesMost = 25

func (r *batchRun) config() leat.TopicConfig {
	return leat.TopicConfig{Ack: r.level, SegmentBytes: core.MinSegmentBytes}
}

// pass cuts the power when a point, or the disk, was come to as often as the run says.
func (r *batchRun) pass(fs *mmaplog.MemFS, point, at string) {
	if point != r.point || r.passes.Add(-1) > 0 || r.cut.Load() != nil {
		return
	}
	// The writer itself is at the points of a roll; elsewhere it may be storing into a map meanwhile.
	if raceEnabled && !strings.HasPrefix(point, "roll.") {
		s := r.part.shard
		if !s.tryLock() {
			return
		}
		defer s.wakeExecutor()
		defer s.unlock()
	}
	r.cutNow(fs, at)
}

func (r *batchRun) cutNow(fs *mmaplog.MemFS, at string) {
	r.mu.Lock()
	told := maps.Clone(r.told)
	r.mu.Unlock()
	r.cut.CompareAndSwap(nil, &batchCut{fs.Crash(r.seed), told, at})
}

// run gives the place of the cut.
func (r *batchRun) run() string {
	fs := mmaplog.Heap()
	r.told = map[int]bool{}
	after := r.passes.Swap(1 << 40) // not while the bus opens
	b := openBed(r.t, fs, WithTopic("t", r.config()), withLog(func(o *mmaplog.Options) {
		o.FlushEvery = 2 * time.Millisecond
		o.Point = func(name string) { r.pass(fs, name, name) }
	}))
	r.part = b.partition(0)
	bus, hangUp := r.reach(b)
	p := openProducer(r.t, bus, "t")
	publish(r.t, p, leat.Message{})
	r.passes.Store(after)
	fs.Hook(func(op, name string) { r.pass(fs, "", op+" "+name) })
	for number := 0; r.cut.Load() == nil && number < batchesMost; number++ {
		r.publish(p, number)
	}
	fs.Hook(nil)
	if r.cut.Load() == nil {
		resume := b.stall()
		r.cutNow(fs, "between calls")
		resume()
	}
	if err := p.Close(); err != nil {
		r.t.Error(err)
	}
	hangUp()
	b.close()
	r.check()
	return r.cut.Load().at
}

// reach gives the bus that publishes or reads, and what is to be called at its end.
func (r *batchRun) reach(b *bed) (*leat.Bus, func()) {
	if !r.dialed {
		return b.Bus, func() {}
	}
	s, err := Serve(soon(r.t), b.Bus, ServeConfig{Listen: "127.0.0.1:0"})
	if err != nil {
		r.t.Fatal(err)
	}
	bus, err := leat.Dial(soon(r.t), s.Addr().String(), leat.WithUnreachableAfter(patience))
	if err != nil {
		r.t.Fatal(err)
	}
	return bus, func() {
		if err := bus.Close(); err != nil {
			r.t.Error(err)
		}
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

// publish publishes a batch, behind some messages that may share its frame.
func (r *batchRun) publish(p *leat.Producer, number int) {
	for range r.random.IntN(3) {
		p.PublishAsync(leat.Message{}, nil)
	}
	n := []int{2, 7, 64, 400}[r.random.IntN(4)]
	size := 12 + r.random.IntN(600)
	batch := make([]leat.Message, n)
	for i := range batch {
		batch[i].Value = binary.LittleEndian.AppendUint32(make([]byte, 0, size), uint32(number))
		batch[i].Value = binary.LittleEndian.AppendUint32(batch[i].Value, uint32(i))
		batch[i].Value = binary.LittleEndian.AppendUint32(batch[i].Value, uint32(n))[:size]
		if number%4 == 3 { // these have a frame of their own
			batch[i].ID = fmt.Sprint(number, ".", i)
		}
	}
	if _, err := p.PublishBatch(soon(r.t), batch); err != nil {
		r.t.Fatalf("batch %d: %v", number, err)
	}
	r.mu.Lock()
	r.told[number] = true
	r.mu.Unlock()
}

// check reads what is left in the ways that there are.
func (r *batchRun) check() {
	cut := r.cut.Load()
	b := openBed(r.t, cut.fs, WithTopic("t", r.config()))
	n, err := countRecords(b.partition(0))
	if err != nil {
		r.t.Fatal(err)
	}
	bus, hangUp := r.reach(b)
	for how, options := range map[string][]leat.SubscribeOption{
		"stream": {leat.From(leat.Earliest)},
		"queue":  {leat.From(leat.Earliest), leat.Group("g"), leat.Queue(), leat.MaxHeld(int(n) + 1)},
	} {
		sub, err := bus.Subscribe("t", options...)
		if err != nil {
			r.t.Fatal(err)
		}
		seen := batchesSeen{}
		if n > 0 {
			for _, m := range take(r.t, sub, int(n)) {
				seen.add(m)
			}
		}
		if err := seen.whole(cut.told, r.level == leat.AckDisk); err != nil {
			r.t.Errorf("read by %s after a cut at %s: %v", how, cut.at, err)
		}
		if err := sub.Close(); err != nil {
			r.t.Error(err)
		}
	}
	hangUp()
	b.close()
}

// batchesSeen is where the messages of batches were found: 1 + the offset of each.
type batchesSeen map[int][]int64

func (s batchesSeen) add(m *leat.Message) {
	if len(m.Value) < 12 {
		return // it is of no batch
	}
	le := binary.LittleEndian
	number, i, n := int(le.Uint32(m.Value)), le.Uint32(m.Value[4:]), le.Uint32(m.Value[8:])
	if s[number] == nil {
		s[number] = make([]int64, n)
	}
	s[number][i] = m.Offset + 1
}

// whole says which batch is not there as a whole, or not at all although it was promised.
func (s batchesSeen) whole(told map[int]bool, kept bool) error {
	for number, places := range s {
		found := 0
		for i, at := range places {
			if at == 0 {
				continue
			}
			found++
			if at-int64(i) != places[0] {
				return fmt.Errorf("batch %d: message %d has offset %d, message 0 has %d", number, i, at-1, places[0]-1)
			}
		}
		if found < len(places) {
			return fmt.Errorf("batch %d: %d of %d messages are there", number, found, len(places))
		}
	}
	for number := range told {
		if kept && s[number] == nil {
			return fmt.Errorf("batch %d was on the disk and is not there", number)
		}
	}
	return nil
}

// TestBatchIsWholeAfterACrash: of a batch in the middle of which the power is cut, all is there or nothing.
func TestBatchIsWholeAfterACrash(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	reached := map[string]int{}
	for i, point := range []string{
		"roll.before", "roll.adopted", "sync.before", "sync.after", "seal.before-footer", "manifest.before-write",
		"state.before-rename", "",
	} {
		for seed := range uint64(cut(3, 1)) {
			t.Run(fmt.Sprint(point, " ", seed), func(t *testing.T) {
				r := &batchRun{t: t, seed: seed, level: leat.AckPage, point: point}
				r.random = rand.New(rand.NewPCG(seed, 0))
				r.passes.Store(int64(1 + r.random.IntN(3)))
				if point == "" {
					r.passes.Store(int64(1 + r.random.IntN(40)))
				}
				if (uint64(i)+seed)%2 == 1 {
					r.level = leat.AckDisk
				}
				r.dialed = seed == 0 && point == "roll.adopted"
				if r.run() == point {
					reached[point]++
				}
			})
		}
	}
	// Of the others it is not certain that a life comes to them, or that nobody writes just then.
	certain := []string{"roll.before", "roll.adopted", "sync.after"}
	if !testing.Short() { // a life at page may end before a sync begins by itself
		certain = append(certain, "sync.before")
	}
	for _, point := range certain {
		if reached[point] == 0 && (!raceEnabled || strings.HasPrefix(point, "roll.")) {
			t.Errorf("no life ended at %s: the test looks at nothing", point)
		}
	}
}

// watch keeps the values that the marks of a partition had: of readers at page, at disk, and of the log.
type watch struct {
	part atomic.Pointer[partition]

	mu    sync.Mutex // guards the following
	marks [3]map[int64]bool
}

func (w *watch) look() {
	p := w.part.Load()
	if p == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, mark := range []int64{p.highWater.Load(), p.log.DurableEnd(), p.log.End()} {
		w.marks[i][mark] = true
	}
}

// TestBatchIsNeverHalfVisible: no mark up to which anybody reads is ever within a batch. It looks all the
// time, and whenever the log is between two states, as where a batch begins a segment.
func TestBatchIsNeverHalfVisible(t *testing.T) {
	w := &watch{marks: [3]map[int64]bool{{}, {}, {}}}
	config := leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes}
	b := one(t, config, withLog(func(o *mmaplog.Options) {
		o.FlushEvery = 2 * time.Millisecond
		o.Point = func(string) { w.look() }
	}))
	w.part.Store(b.partition(0))
	b.fs.Hook(func(_, _ string) { w.look() })
	var stop atomic.Bool
	var watching, publishing sync.WaitGroup
	watching.Go(func() {
		for !stop.Load() {
			w.look()
		}
	})
	type span struct{ lo, hi int64 }
	var mu sync.Mutex
	var batches []span
	for worker := range 3 {
		level := leat.AckDefault
		if worker == 0 {
			level = leat.AckDisk // so that the mark of the disk moves with each batch
		}
		p := b.producer("t", leat.WithAck(level))
		publishing.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range cut(60, 15) {
				p.PublishAsync(leat.Message{}, nil)
				batch := make([]leat.Message, 1+random.IntN(300))
				for i := range batch {
					batch[i].Value = make([]byte, random.IntN(500))
				}
				r, err := p.PublishBatch(soon(t), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				batches = append(batches, span{r.Offset, r.Offset + int64(len(batch))})
				mu.Unlock()
			}
		})
	}
	publishing.Wait()
	stop.Store(true)
	watching.Wait()
	b.fs.Hook(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	for which, marks := range w.marks {
		for mark := range marks {
			for _, s := range batches {
				if s.lo < mark && mark < s.hi {
					t.Fatalf("mark %d was at %d, within the batch [%d, %d)", which, mark, s.lo, s.hi)
				}
			}
		}
		if len(marks) < 3 {
			t.Errorf("mark %d was seen at %v: the test looks at nothing", which, marks)
		}
	}
}

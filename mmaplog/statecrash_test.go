package mmaplog

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// stateCrashRun lets producers append to a log on a simulated disk, which reserves offsets at page, kills the
// process or cuts the power at some moment, often an early one, and opens the log again, for a few lives. The
// rules it checks after each: no offset that was shown is given again, a kill loses nothing that was
// published, and what was durable is there; a retry of one of the last five batches that a producer has in
// the log is a duplicate, with the right offset; no batch that is not in the log is one; and the first of
// those is taken.
type stateCrashRun struct {
	seed  uint64
	level core.Ack
	dice  dice
	fs    *MemFS

	life    uint64
	loaded  int // how often a saved state was used
	bare    int // how often a log without segments was known to have producers
	gaps    int // how often offsets were skipped
	batches []crashBatch
	policy  *core.Partition
	effects core.Effects

	log     atomic.Pointer[Log] // nil while it opens
	shown   atomic.Int64        // the end that was published last
	durable atomic.Int64        // the durable end when the log was opened
	mu      sync.Mutex
	// mu guards the following: any goroutine of the store may meet the end of a life.
	left  int // operations of the disk until then; 0 for none
	image *stateImage
}

// stateImage is what is left at the end of a life.
type stateImage struct {
	fs             *MemFS
	killed         bool
	shown, durable int64
}

type crashBatch struct {
	id      int64
	baseSeq int32
	records int32
	lo      int64
}

func (b *crashBatch) input(kind core.PartitionInputKind) *core.PartitionInput {
	return &core.PartitionInput{Kind: kind, ProducerID: b.id, BaseSeq: b.baseSeq, Records: b.records,
		Offset: b.lo + int64(b.records)}
}

func (c *stateCrashRun) run() error {
	for c.life = 1; c.life <= 6; c.life++ {
		if err := c.live(); err != nil {
			return fmt.Errorf("LEAT_SEED=%d, level %v, life %d: %w", c.seed, c.level, c.life, err)
		}
	}
	return nil
}

func (c *stateCrashRun) live() error {
	before := c.image
	c.image, c.left = nil, 0
	if before != nil { // what was said later was said by a dead process
		c.shown.Store(before.shown)
		c.durable.Store(before.durable)
	}
	noMap := c.seed%3 == 0
	// The race detector would see an image read what the writer is storing.
	if c.dice.next()%2 == 0 && (noMap || !raceEnabled) {
		c.left = int(1 + c.dice.next()%60)
	}
	c.fs.Hook(func(string, string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.left--; c.left == 0 {
			c.end()
		}
	})
	defer c.fs.Hook(nil)
	s, err := Open(c.fs, "data", Options{Clock: clock.NewManual(1), NoMap: noMap})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	l, err := s.OpenLog(16, 3, reserving(c.level))
	if err != nil {
		return err
	}
	if err := c.restore(l); err != nil {
		return err
	}
	lost, err := c.forgetLost(l, before)
	if err != nil {
		return err
	}
	if err := c.check(l, lost); err != nil {
		return err
	}
	c.shown.Store(l.End())
	c.durable.Store(l.DurableEnd())
	c.log.Store(l)
	if err := c.work(s, l); err != nil {
		return err
	}
	if c.dice.next()%4 == 0 {
		if err := s.Close(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.image == nil {
		c.end()
	}
	c.log.Store(nil)
	c.fs = c.image.fs
	return nil
}

// end takes the image that the next life goes on with. c.mu is held.
func (c *stateCrashRun) end() {
	image := &stateImage{shown: c.shown.Load(), durable: c.durable.Load()}
	if l := c.log.Load(); l != nil {
		image.durable = l.DurableEnd()
	}
	if d := dice(c.seed<<8 | c.life); d.next()%2 == 0 {
		image.fs, image.killed = c.fs.kill(), true
	} else {
		image.fs = c.fs.Crash(d.next())
	}
	c.image = image
}

func (c *stateCrashRun) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.image != nil
}

func (c *stateCrashRun) restore(l *Log) error {
	c.policy = core.NewPartition(c.level, l.End(), l.DurableEnd())
	if l.w.produced && l.Segments() == 0 {
		c.bare++
	}
	if gap := l.Recovery().Gap; gap.To > gap.From {
		c.gaps++
	}
	load := func(state []byte) error {
		c.loaded++
		return c.policy.LoadProducers(state)
	}
	if err := l.RestoreProducers(load, c.policy.Restore); err != nil {
		return err
	}
	c.policy.Resume(int64(c.life))
	return nil
}

func (c *stateCrashRun) work(s *Store, l *Log) error {
	for range 40 + c.dice.next()%200 {
		if c.ended() {
			break
		}
		if err := c.batch(l); err != nil {
			return err
		}
		switch c.dice.next() % 16 {
		case 0:
			syncNow(l)
		case 1:
			l.RequestSync()
		case 2:
			if c.dice.next()%8 == 0 && l.Segments() > 3 {
				_ = l.TrimTo(l.DurableEnd() / 2)
			}
		case 3:
			drainJanitor(s)
		}
	}
	return nil
}

// forgetLost drops the batches that did not survive, and gives them. Behind them there may be a gap.
func (c *stateCrashRun) forgetLost(l *Log, before *stateImage) ([]crashBatch, error) {
	if before == nil {
		return nil, nil
	}
	if c.level <= core.AckPage && l.End() < before.shown {
		return nil, fmt.Errorf("the log ends at %d, %d was shown: %+v", l.End(), before.shown, l.Recovery())
	}
	there := map[int64]bool{}
	err := eachFrame(l, func(h *core.FrameHeader) error {
		there[h.BaseOffset] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	kept := len(c.batches)
	for kept > 0 && c.batches[kept-1].lo >= l.Start() && !there[c.batches[kept-1].lo] {
		kept--
	}
	lost := c.batches[kept:]
	c.batches = c.batches[:kept:kept]
	if len(lost) > 0 && (lost[0].lo < before.durable || before.killed && lost[0].lo < before.shown) {
		return lost, fmt.Errorf("lost %+v: durable were %d, published %d, killed %t; the log is [%d, %d)",
			lost[0], before.durable, before.shown, before.killed, l.Start(), l.End())
	}
	return lost, nil
}

func (c *stateCrashRun) check(l *Log, lost []crashBatch) error {
	newest := map[int64]int{}
	for i := len(c.batches) - 1; i >= 0; i-- {
		b := &c.batches[i]
		if newest[b.id]++; newest[b.id] > core.ProducerBatchesKept || b.lo < l.Start() {
			continue
		}
		got := c.step(b.input(core.InputAppend))
		if got.Kind != core.EffectDuplicate || got.Lo != b.lo {
			return fmt.Errorf("retry of %+v, the last but %d in the log [%d, %d): %+v; lost %d",
				*b, newest[b.id]-1, l.Start(), l.End(), got, len(lost))
		}
	}
	first := map[int64]bool{}
	for i := range lost {
		got := c.step(lost[i].input(core.InputAppend))
		if got.Kind == core.EffectDuplicate || !first[lost[i].id] && got.Kind != core.EffectAppend {
			return fmt.Errorf("retry of %+v, which was lost: %+v", lost[i], got)
		}
		first[lost[i].id] = true
	}
	return nil
}

func (c *stateCrashRun) step(in *core.PartitionInput) core.Effect {
	c.effects.Reset()
	c.policy.Step(in, int64(c.life), &c.effects)
	if len(c.effects.List) == 0 {
		return core.Effect{}
	}
	return c.effects.List[0]
}

// batch is one write with the frames of a few producers and plain records between them.
func (c *stateCrashRun) batch(l *Log) error {
	l.Begin(int64(c.life))
	for range 1 + c.dice.next()%3 {
		record := encodeRecord(string(make([]byte, c.dice.next()%8000)))
		if c.dice.next()%4 == 0 {
			if _, err := l.Add(record, 1); err != nil {
				return err
			}
			continue
		}
		b := crashBatch{id: int64(1 + c.dice.next()%6), records: 1}
		if _, next, known := c.policy.Producer(b.id); known {
			b.baseSeq = next
		}
		h := produced(b.id, b.baseSeq, record, 1)
		h.ProducerEpoch = 0
		if got := c.step(b.input(core.InputAppend)); got.Kind != core.EffectAppend {
			return fmt.Errorf("batch %+v: %+v", b, got)
		}
		lo, err := l.AddFrame(&h, record)
		if err != nil {
			return err
		}
		b.lo = lo
		c.step(b.input(core.InputAdded))
		c.batches = append(c.batches, b)
	}
	end, err := l.Publish()
	if err != nil {
		return err
	}
	c.shown.Store(end)
	c.step(&core.PartitionInput{Kind: core.InputWritten, Offset: end})
	if l.StateDue() {
		l.SaveState(c.policy.EncodeProducers(nil))
	}
	return nil
}

func TestCrashKeepsProducers(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			loaded, bare, gaps := 0, 0, 0
			for seed := range uint64(scaled(150)) {
				c := &stateCrashRun{seed: seed, level: level, dice: dice(seed), fs: Heap()}
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
				loaded += c.loaded
				bare += c.bare
				gaps += c.gaps
			}
			if loaded == 0 || gaps == 0 && level <= core.AckPage {
				t.Error("no run used a saved state, or none skipped offsets")
			}
			t.Logf("%d openings used a saved state, %d skipped offsets, %d had producers and no segment",
				loaded, gaps, bare)
		})
	}
}

// TestKillThenCut kills a process at every operation of the disk as it begins a log, lets another one append
// to what there is, and cuts the power at once, so that nothing survives that was not synced: the offsets
// that the second one showed are not given again, though the first one reserved them.
func TestKillThenCut(t *testing.T) {
	for _, noMap := range []bool{true, false} {
		if raceEnabled && !noMap {
			break // it would see the copy of what the writer is storing
		}
		open := func(fs *MemFS) (*Store, *Log) {
			s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1), NoMap: noMap})
			l, err := s.OpenLog(16, 0, reserving(core.AckPage))
			if err != nil {
				t.Fatal(err)
			}
			return s, l
		}
		for at := 1; ; at++ {
			fs, steps := Heap(), 0
			var mu sync.Mutex
			var killed *MemFS
			fs.Hook(func(op, name string) {
				mu.Lock()
				defer mu.Unlock()
				if steps++; steps == at {
					killed = fs.kill()
				}
			})
			s, l := open(fs)
			appendValues(t, l, "a")
			mustClose(t, s)
			mu.Lock()
			passed := steps
			mu.Unlock()
			if passed < at {
				break
			}
			if killed == nil {
				continue
			}
			s, l = open(killed)
			appendValues(t, l, "b", "c")
			shown := l.End()
			cut := killed.crash(&chosenCut{})
			mustClose(t, s)
			s, l = open(cut)
			if l.End() < shown {
				t.Errorf("noMap %t: killed at step %d: offsets up to %d were shown, the log goes on at %d", noMap, at,
					shown, l.End())
			}
			mustClose(t, s)
		}
	}
}

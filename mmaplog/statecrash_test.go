package mmaplog

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// stateCrashRun lets producers append to a log on a simulated disk, cuts the power at some moment and
// opens it again, for a few lives. The rules it checks after each: a retry of one of the last five batches
// that a producer has in the log is a duplicate, with the right offset; no batch that is not in the log is
// one; and the first of those is taken.
type stateCrashRun struct {
	seed  uint64
	level core.Ack
	dice  dice
	fs    *MemFS

	life    uint64
	loaded  int // how often a saved state was used
	batches []crashBatch
	policy  *core.Partition
	effects core.Effects
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
	for c.life = 1; c.life <= 5; c.life++ {
		if err := c.live(); err != nil {
			return fmt.Errorf("LEAT_SEED=%d, level %v, life %d: %w", c.seed, c.level, c.life, err)
		}
	}
	return nil
}

func (c *stateCrashRun) live() error {
	s, err := Open(c.fs, "data", Options{Clock: clock.NewManual(1), NoMap: c.seed%3 == 0})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	l, err := s.OpenLog(16, 3, LogOptions{Level: c.level, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		return err
	}
	c.policy = core.NewPartition(c.level, l.End(), l.DurableEnd())
	load := func(state []byte) error {
		c.loaded++
		return c.policy.LoadProducers(state)
	}
	if err := l.RestoreProducers(load, c.policy.Restore); err != nil {
		return err
	}
	c.policy.Resume(int64(c.life))
	lost := c.forgetLost(l.End())
	if err := c.check(l, lost); err != nil {
		return err
	}
	for range 40 + c.dice.next()%200 {
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
	if c.dice.next()%4 == 0 {
		if err := s.Close(); err != nil {
			return err
		}
	}
	c.fs = c.fs.Crash(c.seed<<8 | c.life)
	return nil
}

// forgetLost drops the batches that did not survive, and gives them.
func (c *stateCrashRun) forgetLost(end int64) []crashBatch {
	kept := len(c.batches)
	for kept > 0 && c.batches[kept-1].lo >= end {
		kept--
	}
	lost := c.batches[kept:]
	c.batches = c.batches[:kept:kept]
	return lost
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
			loaded := 0
			for seed := range uint64(scaled(150)) {
				c := &stateCrashRun{seed: seed, level: level, dice: dice(seed), fs: Heap()}
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
				loaded += c.loaded
			}
			if loaded == 0 {
				t.Error("no run used a saved state")
			}
			t.Log(loaded, "openings used a saved state")
		})
	}
}

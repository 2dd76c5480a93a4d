package node

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// The redrives of these tests take few letters each, in one step.
const (
	crashLetters  = 20
	lettersOfStep = 3
)

// redriveCrash has letters in partition 1 of "t", and the power cut at a random operation of the disk while
// they are redriven, for a few lives.
type redriveCrash struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	fs     *mmaplog.MemFS
	cuts   int
	told   int64 // letters that progress has promised to be redriven
}

// redriven checks what redriving n letters has come to after a number of cuts: no letter is unaccounted for,
// no promise broken, nothing lost, and what comes twice is within one step for each cut. seen counts how
// often each letter is in its topic again.
func redriven(n int, counts [3]int64, told int64, cuts int, seen map[string]int) error {
	wrong := func(format string, args ...any) error {
		return core.Errorf(core.CodeInternal, "redrive", format, args...)
	}
	if counts[0]+counts[1] != int64(n) || counts[2] != 0 {
		return wrong("%v pending, redriven and dropped of %d letters", counts, n)
	}
	if counts[1] < told {
		return wrong("%d redriven, but %d were promised", counts[1], told)
	}
	again, missing := 0, 0
	for i := range n {
		switch times := seen[fmt.Sprint(i)]; {
		case times == 0:
			missing++
		default:
			again += times - 1
		}
	}
	if missing > int(counts[0]) {
		return wrong("%d letters are not in their topic, and %d are pending", missing, counts[0])
	}
	if again > cuts*lettersOfStep {
		return wrong("%d letters came twice in %d cuts, a step has %d", again, cuts, lettersOfStep)
	}
	if len(seen) > n {
		return wrong("letters that nobody buried: %v", seen)
	}
	return nil
}

// bury makes the letters.
func (c *redriveCrash) bury(n int) {
	b := openBed(c.t, c.fs, WithTopic("t", leat.TopicConfig{Partitions: 2}))
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	var all []int64
	for i := range n {
		publish(c.t, p, leat.Message{Partition: 1, Value: fmt.Append(nil, i)})
		all = append(all, int64(i))
	}
	b.mustBury(1, burials(all...))
	b.close()
}

// seen counts the letters that are in partition 1 of "t" again.
func (c *redriveCrash) seen(b *bed, n int) map[string]int {
	seen := map[string]int{}
	for _, m := range b.again(n) {
		seen[string(m.Value)]++
	}
	return seen
}

// live redrives until the power is cut, and checks what the disk has kept.
func (c *redriveCrash) live(life, n int) {
	b := openBed(c.t, c.fs)
	before := b.counts()[1]
	var promised, told atomic.Int64
	promised.Store(before)
	cut, crash := b.cutPowerAfter(1+c.random.IntN(60), func() *mmaplog.MemFS {
		told.Store(promised.Load()) // first: all of it must be kept
		return c.fs.Crash(c.seed<<8 | uint64(life))
	})
	for left := n; left > 0 && cut.Load() == nil; left -= lettersOfStep {
		done := b.redrive(leat.RedriveConfig{Limit: lettersOfStep})
		before += done.Done
		promised.Store(before)
	}
	crash()
	b.close()
	c.fs, c.told = cut.Load(), told.Load()
	c.cuts++
	b = openBed(c.t, c.fs)
	if err := redriven(n, b.counts(), c.told, c.cuts, c.seen(b, n)); err != nil {
		c.t.Fatalf("LEAT_SEED=%d, life %d: %v", c.seed, life, err)
	}
	b.close()
}

// cutPowerAfter has crash called at the n-th operation of the disk from now on, while nobody stores into a
// map. The disk that it gives is in the pointer then; calling what comes back makes sure of it.
func (b *bed) cutPowerAfter(n int, crash func() *mmaplog.MemFS) (*atomic.Pointer[mmaplog.MemFS], func()) {
	cut, countdown := &atomic.Pointer[mmaplog.MemFS]{}, atomic.Int64{}
	countdown.Store(int64(n))
	b.fs.Hook(func(string, string) {
		if countdown.Add(-1) > 0 || cut.Load() != nil {
			return
		}
		for i, s := range b.node.shards {
			if !s.tryLock() {
				for _, locked := range b.node.shards[:i] {
					locked.unlock()
				}
				return
			}
		}
		cut.CompareAndSwap(nil, crash())
		for _, s := range b.node.shards {
			s.unlock()
			s.wakeExecutor()
		}
	})
	return cut, func() {
		b.fs.Hook(nil)
		if cut.Load() == nil {
			resume := b.stall()
			cut.CompareAndSwap(nil, crash())
			resume()
		}
	}
}

// TestRedrivePowerCut: a redrive that a power cut ends goes on with what is left. No letter is lost, and
// those that come twice were published by the step that was cut.
func TestRedrivePowerCut(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	twice := 0
	for seed := range seeds {
		c := &redriveCrash{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 6)), fs: mmaplog.Heap()}
		c.bury(crashLetters)
		for life := range 3 {
			c.live(life, crashLetters)
		}
		b := openBed(t, c.fs)
		b.redrive(leat.RedriveConfig{})
		seen := c.seen(b, crashLetters)
		if err := redriven(crashLetters, b.counts(), crashLetters, c.cuts, seen); err != nil {
			t.Errorf("LEAT_SEED=%d: at the end: %v", seed, err)
		}
		for _, times := range seen {
			twice += times - 1
		}
		if done := b.redrive(leat.RedriveConfig{}); done.Done != 0 {
			t.Errorf("LEAT_SEED=%d: %d letters are redriven once more", seed, done.Done)
		}
		b.close()
	}
	t.Logf("%d letters came twice in %d cuts", twice, 3*seeds)
}

// TestRedrivenFindsMistakes: a letter that is settled and was never published, one that is published too
// often, one that is nowhere and a promise that is broken do not pass.
func TestRedrivenFindsMistakes(t *testing.T) {
	all := func(change func(seen map[string]int)) map[string]int {
		seen := map[string]int{"0": 1, "1": 1, "2": 1, "3": 1}
		change(seen)
		return seen
	}
	for _, tt := range []struct {
		what   string
		counts [3]int64
		told   int64
		cuts   int
		seen   map[string]int
		right  bool
	}{
		{"all", [3]int64{0, 4, 0}, 4, 0, all(func(map[string]int) {}), true},
		{"two to come", [3]int64{2, 2, 0}, 2, 1, map[string]int{"0": 1, "1": 1}, true},
		{"a step twice", [3]int64{0, 4, 0}, 4, 1, all(func(seen map[string]int) { seen["0"] += 3 }), true},
		{"twice without a cut", [3]int64{0, 4, 0}, 4, 0, all(func(seen map[string]int) { seen["0"]++ }), false},
		{"more than a step", [3]int64{0, 4, 0}, 4, 1, all(func(seen map[string]int) { seen["0"] += 4 }), false},
		{"settled, not published", [3]int64{1, 3, 0}, 3, 1, map[string]int{"0": 1, "1": 1}, false},
		{"neither settled nor pending", [3]int64{1, 2, 0}, 2, 1, all(func(map[string]int) {}), false},
		{"dropped", [3]int64{0, 4, 1}, 4, 0, all(func(map[string]int) {}), false},
		{"a promise", [3]int64{1, 3, 0}, 4, 1, all(func(map[string]int) {}), false},
		{"a stranger", [3]int64{0, 4, 0}, 4, 1, all(func(seen map[string]int) { seen["x"]++ }), false},
	} {
		if err := redriven(4, tt.counts, tt.told, tt.cuts, tt.seen); (err == nil) != tt.right {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

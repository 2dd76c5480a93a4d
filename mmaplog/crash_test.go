package mmaplog

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat/core"
)

// How many crashes there are at each level, at least: with those of TestCrashEverywhere a hundred thousand.
const (
	crashesAtRandom   = 32_000
	crashesEverywhere = 18_000
	crashesShort      = 500 // under the race detector, and in short runs
)

// run lives a few lives, each on what a power cut left of the one before, and answers the first broken rule.
func (c *crashScene) run() error {
	c.cutWhere(func(c *crashScene) []cut {
		c.tally.boundaries++
		if c.fate.next()%3 > 0 {
			return nil
		}
		return []cut{&randomCut{dice: dice(c.fate.next())}, &randomCut{dice: dice(c.fate.next())}}
	})
	lives := 3
	if raceEnabled || testing.Short() {
		lives = 1
	}
	for range lives {
		if err := c.live(); err != nil {
			return fmt.Errorf("LEAT_SEED=%d, level %v: %w", c.seed, c.level, err)
		}
	}
	return nil
}

func (c *crashScene) live() error {
	if err := c.open(); err != nil {
		return err
	}
	if err := c.prologue(); err != nil {
		_ = c.store.Close()
		return err
	}
	for range 10 + c.dice.next()%20 {
		if err := c.step(); err != nil {
			_ = c.store.Close()
			return err
		}
		if err := c.verifyImages(24); err != nil {
			_ = c.store.Close()
			return err
		}
	}
	closed := c.dice.next()%4 == 0
	if closed {
		if err := c.close(); err != nil {
			return err
		}
	}
	next, _ := c.cut(&randomCut{dice: dice(c.dice.next())}, "between calls")
	if !closed {
		if err := c.close(); err != nil {
			return err
		}
	}
	if err := c.verifyImages(24); err != nil {
		return err
	}
	c.fs = next.fs
	return c.check(&next)
}

// check verifies the image that the next life goes on with, and leaves it as it is.
func (c *crashScene) check(image *crashImage) error {
	kept := *image
	kept.fs = image.fs.Crash(0) // everything on it is durable
	if err := c.verify(&kept, false); err != nil {
		return c.failed(image, err)
	}
	return nil
}

func (c *crashScene) step() error {
	if c.style != plainStyle && c.dice.next()%2 == 0 {
		return c.styled()
	}
	if err := c.batch(int(1+c.dice.next()%8), 0); err != nil {
		return err
	}
	switch c.dice.next() % 6 {
	case 0:
		c.log.RequestSync()
	case 1:
		return c.sync()
	case 2:
		if c.dice.next()%4 == 0 {
			return c.fill()
		}
	case 3:
		if c.log.Segments() > 2 {
			return c.log.TrimTo(c.log.DurableEnd() / 2)
		}
	}
	return nil
}

func TestCrashLosesNothingDurable(t *testing.T) {
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			total, wanted := crashTally{}, crashesAtRandom
			if raceEnabled || testing.Short() {
				wanted = crashesShort
			}
			seed := uint64(0)
			for ; total.crashes < wanted || seed <= uint64(recycleStyle); seed++ {
				c := newCrashScene(seed, level).as(styleOf(seed))
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
				total.add(c.tally)
			}
			t.Logf("%d crashes in %d runs, %d of them with durable records, %d within a recovery; %d frames copied, "+
				"%d truncations, %d compacted segments, %d recycled files", total.crashes, seed, total.durable,
				total.nested, total.copied, total.truncated, total.compacted, total.recycled)
			if total.copied == 0 || total.truncated == 0 || total.compacted == 0 || total.recycled == 0 {
				t.Errorf("not all of it happened: %+v", total)
			}
			if total.durable < total.crashes/4 || total.nested < total.crashes/100 {
				t.Errorf("too few of the crashes say much: %+v", total)
			}
		})
	}
}

// TestCrashFindsMissingSync is the negative control: a disk that lies about syncs must be caught.
func TestCrashFindsMissingSync(t *testing.T) {
	for name, lie := range map[string]struct {
		level core.Ack
		tell  func(*MemFS)
	}{
		"page without sync":        {core.AckPage, func(m *MemFS) { m.IgnoreSync(true) }},
		"page with async map sync": {core.AckPage, func(m *MemFS) { m.IgnoreMapSync(true) }},
		"page without folder sync": {core.AckPage, func(m *MemFS) { m.IgnoreDirSync(true) }},
		"disk without sync":        {core.AckDisk, func(m *MemFS) { m.IgnoreSync(true) }},
		"disk without folder sync": {core.AckDisk, func(m *MemFS) { m.IgnoreDirSync(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(100) {
				c := newCrashScene(seed, lie.level).as(styleOf(seed))
				c.tell = lie.tell
				if err := c.run(); err != nil {
					t.Log("found:", err)
					return
				}
			}
			t.Fatal("a hundred runs passed on a disk that lies")
		})
	}
}

package mmaplog

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat/core"
)

// smallChanges is up to how many changes that were not synced every subset of them is tried.
const smallChanges = 3

// smallStep is one letter of a small run.
type smallStep struct {
	name string
	do   func(*crashScene) error
}

var smallSteps = []smallStep{
	{"append", func(c *crashScene) error { return c.batch(1, 0) }},
	{"batch", func(c *crashScene) error { return c.batch(3, 0) }},
	{"sync", (*crashScene).sync},
	{"fill", (*crashScene).fill},
	{"trim", func(c *crashScene) error {
		err := c.log.TrimTo(c.log.DurableEnd())
		drainJanitor(c.store)
		return err
	}},
	{"reopen", func(c *crashScene) error {
		if err := c.close(); err != nil {
			return err
		}
		return c.open()
	}},
}

// everySubset takes an image for every subset of few changes; of many, for none, for all and for some.
func everySubset(c *crashScene) []cut {
	c.tally.boundaries++
	count := &chosenCut{}
	c.fs.crash(count)
	if count.changes > smallChanges {
		c.tally.skipped++
		return []cut{&chosenCut{}, &randomCut{dice: dice(c.fate.next())}, &chosenCut{bits: ^uint64(0)}}
	}
	var cuts []cut
	for bits := range uint64(1) << count.changes {
		cuts = append(cuts, &chosenCut{bits: bits})
	}
	return cuts
}

// runSmall does a few steps, each a base-n digit of number, on a log whose first segment is nearly full, and
// cuts the power at every operation of the disk on the way.
func (c *crashScene) runSmall(number, steps int) error {
	err := c.open()
	if err == nil {
		err = c.fill()
	}
	name := ""
	c.cutWhere(everySubset)
	for range steps {
		if err != nil {
			break
		}
		step := smallSteps[number%len(smallSteps)]
		number /= len(smallSteps)
		name += " " + step.name
		if err = step.do(c); err == nil {
			err = c.verifyImages(0)
		}
	}
	if err == nil {
		err = c.close()
	}
	if err == nil {
		err = c.verifyImages(0)
	}
	if err != nil {
		return fmt.Errorf("steps%s: %w", name, err)
	}
	return nil
}

// TestCrashEverywhere does every sequence of a few steps and cuts the power at every operation of the disk,
// with every subset of what was not synced where that is little.
func TestCrashEverywhere(t *testing.T) {
	steps, sequences, wanted := 3, len(smallSteps)*len(smallSteps)*len(smallSteps), crashesEverywhere
	if raceEnabled || testing.Short() {
		steps, sequences, wanted = 1, len(smallSteps), 0
	}
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			total := crashTally{}
			for number := range sequences {
				c := newCrashScene(0, level)
				if err := c.runSmall(number, steps); err != nil {
					t.Fatal(err)
				}
				total.add(c.tally)
			}
			t.Logf("%d sequences: %d crashes at %d operations, all subsets at all but %d", sequences,
				total.crashes, total.boundaries, total.skipped)
			if total.crashes < wanted || total.skipped > total.boundaries*2/3 {
				t.Errorf("too few crashes say much: %+v", total)
			}
		})
	}
}

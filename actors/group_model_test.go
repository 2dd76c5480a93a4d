package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

// TestGroupChurn lets members come, go, die, stall and ack at random, over a log that is slow and
// fails, and asserts after each seed that
//   - a partition never had two owners before ack, leave or the end of a session (ownership.take),
//   - stored offsets never went back (memoryLog.stored),
//   - whoever stayed or left in good order has everything it acked stored, and nothing else is,
//   - a member starts where the acks of those before it end,
//   - in the end every partition has an owner that is alive.
//
// LEAT_SEED repeats one seed.
func TestGroupChurn(t *testing.T) {
	seeds := uint64(250)
	if testing.Short() {
		seeds = 50
	}
	first := uint64(0)
	if text := os.Getenv("LEAT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, seeds = seed, 1
	}
	total := churnTotals{}
	for seed := first; seed < first+seeds; seed++ {
		ok := t.Run(fmt.Sprintf("LEAT_SEED=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newChurn(t, seed).run(&total) })
		})
		if !ok {
			return
		}
	}
	t.Logf("over %d seeds: %+v", seeds, total)
	least := min(total.Fenced, total.Killed, total.Left, total.Failed, total.Moved)
	if seeds > 1 && least == 0 {
		t.Errorf("%+v: the churn reached too little", total)
	}
}

type churnTotals struct{ Joined, Left, Killed, Fenced, Acked, Moved, Stored, Failed int }

type churn struct {
	*groupBed
	random     *rand.Rand
	partitions int32
	alive      []*fakeSink // neither closed nor killed
	all        []*fakeSink
	left       []*fakeSink
}

func newChurn(t *testing.T, seed uint64) *churn {
	random := rand.New(rand.NewPCG(seed, 1))
	disk := rand.New(rand.NewPCG(seed, 2)) // used under the log's lock
	log := newMemoryLog(t)
	log.delay = func() time.Duration { return time.Duration(disk.IntN(80)) * time.Millisecond }
	log.fail = func() error {
		if disk.IntN(5) == 0 {
			return errors.New("no room")
		}
		return nil
	}
	return &churn{groupBed: newGroupBed(t, log), random: random, partitions: 1 + random.Int32N(6)}
}

func (c *churn) run(total *churnTotals) {
	c.join()
	for range 80 {
		c.step()
	}
	c.settle()
	c.check(total)
	c.close()
	c.checkStored()
}

func (c *churn) join() {
	s := c.sink(fmt.Sprintf("s%d", len(c.all)))
	c.all, c.alive = append(c.all, s), append(c.alive, s)
	c.joinAs(s, c.partitions)
}

func (c *churn) step() {
	switch dice := c.random.IntN(100); {
	case dice < 8 && len(c.alive) < 6:
		c.join()
	case dice < 10 && c.partitions < 8:
		c.partitions++ // seen at the next join
	case dice < 14 && len(c.alive) > 1:
		c.leave()
	case dice < 16 && len(c.alive) > 1:
		c.take().kill()
	case dice < 20:
		c.commit()
	case dice < 50:
		s := c.pick()
		for _, p := range s.owned() {
			s.deliver(p, c.random.Int64N(4))
		}
	case dice < 80:
		c.pick().ackAll()
	case dice < 82:
		pass(time.Duration(c.random.IntN(20_000)) * time.Millisecond) // long enough for zombies
	case dice < 84: // nothing settles before the next step
	default:
		pass(time.Duration(c.random.IntN(200)) * time.Millisecond)
	}
}

func (c *churn) pick() *fakeSink { return c.alive[c.random.IntN(len(c.alive))] }

func (c *churn) take() *fakeSink {
	i := c.random.IntN(len(c.alive))
	s := c.alive[i]
	c.alive = slices.Delete(c.alive, i, i+1)
	return s
}

func (c *churn) leave() {
	s := c.take()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.random.IntN(300))*time.Millisecond)
	defer cancel()
	if err := s.member.Close(ctx); err != nil && !expected(err) {
		c.t.Errorf("%s: Close = %v", s.name, err)
	}
	c.left = append(c.left, s)
}

func (c *churn) commit() {
	s := c.pick()
	want := s.ackedNow()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	switch err := s.member.Commit(ctx); {
	case err == nil:
		for p, offset := range want {
			if got := c.log.offset(testGroup, testTopic, p); got < offset {
				c.t.Errorf("%s: Commit answered while partition %d is stored at %d, acked to %d", s.name, p, got, offset)
			}
		}
	case !expected(err):
		c.t.Errorf("%s: Commit = %v", s.name, err)
	}
}

// expected is what a member may hear in the churn: the log is slow, and it may have been fenced.
func expected(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, core.ErrFenced)
}

// ackedNow is what the member acked of the partitions it still holds.
func (s *fakeSink) ackedNow() map[int32]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	acked := map[int32]int64{}
	for p, part := range s.parts {
		if offset, ok := s.acked[p]; ok && s.err == nil && part.acked == offset {
			acked[p] = offset
		}
	}
	return acked
}

// settle lets everybody finish: handlers ack, the log works, sessions of the dead end.
func (c *churn) settle() {
	c.log.mu.Lock()
	c.log.fail = nil
	c.log.mu.Unlock()
	for range 60 {
		for _, s := range c.alive {
			s.ackAll()
		}
		pass(time.Second)
	}
}

func (c *churn) check(total *churnTotals) {
	var living []*fakeSink
	for _, s := range c.alive {
		if s.fault() == nil {
			living = append(living, s)
		}
	}
	if len(living) > 0 {
		c.checkAssignment(living)
	}
	for _, s := range c.all {
		s.mu.Lock()
		total.Moved += len(s.released)
		for _, offset := range s.acked {
			total.Acked += int(min(offset, 1))
		}
		if errors.Is(s.err, core.ErrFenced) {
			total.Fenced++
		} else if s.err != nil && !(errors.Is(s.err, core.ErrClosed) && slices.Contains(c.left, s)) {
			c.t.Errorf("%s: fenced with %v", s.name, s.err)
		}
		if !s.killed.IsZero() {
			total.Killed++
		}
		s.mu.Unlock()
	}
	total.Joined += len(c.all)
	total.Left += len(c.left)
	stored, failed := c.log.count()
	total.Stored, total.Failed = total.Stored+stored, total.Failed+failed
}

// checkAssignment holds what the members believe against what the group says.
func (c *churn) checkAssignment(living []*fakeSink) {
	owners := map[int32]string{}
	for _, s := range living {
		for _, p := range s.owned() {
			owners[p] = s.member.ID()
		}
	}
	state := c.state()
	if len(state.Members) != len(living) || len(owners) != len(state.Partitions) {
		c.t.Errorf("%d members are alive and own %v; the group has %+v", len(living), owners, state)
	}
	for _, p := range state.Partitions {
		if owners[p.Partition] != p.Member || p.Member == "" {
			c.t.Errorf("partition %d: %q owns it, the group says %q", p.Partition, owners[p.Partition], p.Member)
		}
	}
}

// checkStored holds the log against what was acked.
func (c *churn) checkStored() {
	for p := range c.partitions {
		stored, most := c.log.offset(testGroup, testTopic, p), int64(-1)
		for _, s := range c.all {
			acked, ok := s.acked[p]
			if !ok {
				continue
			}
			most = max(most, acked)
			if stored < acked && s.err == nil && s.killed.IsZero() {
				c.t.Errorf("partition %d: %s acked to %d, stored is %d", p, s.name, acked, stored)
			}
		}
		if stored > most {
			c.t.Errorf("partition %d: stored %d, nobody acked more than %d", p, stored, most)
		}
	}
	for _, s := range c.all {
		for _, start := range s.starts {
			c.checkStart(s, start)
		}
	}
}

// checkStart: what a member released in good order before another one got it, is not delivered again.
func (c *churn) checkStart(s *fakeSink, start PartitionAck) {
	for _, before := range c.all {
		for _, earlier := range before.starts {
			if earlier.Partition == start.Partition && earlier.Generation < start.Generation &&
				earlier.Offset > start.Offset {
				c.t.Errorf("%s starts %+v, %s had started at %+v", s.name, start, before.name, earlier)
			}
		}
	}
}

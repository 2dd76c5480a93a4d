package node

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// delayCrash publishes delayed messages, cuts the power at a random operation of the disk while they are
// delivered, and opens the bus again, for a few lives.
type delayCrash struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	fs     *mmaplog.MemFS
	acked  map[string]bool // must be delivered once
	ended  map[string]bool // cancelled: must not be delivered
	maybe  map[string]bool // may be delivered, once
	number int
}

// live opens the bus, works until the power is cut, and gives the disk that is left.
func (c *delayCrash) live(life int) {
	c.liveWith(life, func(b *bed, over func() bool) {
		p := b.producer("t", leat.WithPartitioner(leat.Manual))
		for range 20 + c.random.IntN(30) {
			if over() {
				break
			}
			c.act(b, p, over)
		}
	})
}

// liveWith is live with other work, which may end once the power is cut.
func (c *delayCrash) liveWith(life int, work func(b *bed, over func() bool)) {
	node := atomic.Pointer[Node]{}
	countdown, cutDisk := atomic.Int64{}, atomic.Pointer[mmaplog.MemFS]{}
	countdown.Store(int64(1 + c.random.IntN(120)))
	often := withLog(func(o *mmaplog.Options) { o.FlushEvery = 2 * time.Millisecond })
	b := openBed(c.t, c.fs, often, WithTopic("t", leat.TopicConfig{Partitions: 2}))
	node.Store(b.node)
	crash := func() { cutDisk.CompareAndSwap(nil, c.fs.Crash(c.seed<<8|uint64(life))) }
	c.fs.Hook(func(op, name string) {
		if countdown.Add(-1) > 0 || cutDisk.Load() != nil {
			return
		}
		n := node.Load()
		for i, s := range n.shards {
			if !s.tryLock() {
				for _, locked := range n.shards[:i] {
					locked.unlock()
				}
				return
			}
		}
		crash()
		for _, s := range n.shards {
			s.unlock()
			s.wakeExecutor()
		}
	})
	work(b, func() bool { return cutDisk.Load() != nil })
	if cutDisk.Load() == nil {
		resume := b.stall()
		crash()
		resume()
	}
	c.fs.Hook(nil)
	b.close()
	c.fs = cutDisk.Load()
}

// act publishes or cancels a message, and notes what was promised before the cut.
func (c *delayCrash) act(b *bed, p *leat.Producer, over func() bool) {
	c.number++
	value := fmt.Sprint(c.number)
	m := leat.Message{Value: []byte(value), Partition: int32(c.number % 2),
		Delay: time.Millisecond * time.Duration(1+c.random.IntN(8))}
	cancel := c.random.IntN(5) == 0
	if cancel {
		m.Delay = time.Hour
	}
	c.maybe[value] = true
	r, err := p.Publish(soon(c.t), m)
	if err != nil {
		c.t.Fatalf("LEAT_SEED=%d: Publish: %v", c.seed, err)
	}
	if over() {
		return
	}
	if !cancel {
		c.acked[value] = true
		return
	}
	outcome, err := b.CancelDelayed(soon(c.t), r.Handle)
	if err != nil || outcome != leat.DelayCancelled {
		c.t.Fatalf("LEAT_SEED=%d: CancelDelayed = %v, %v", c.seed, outcome, err)
	}
	if !over() {
		c.ended[value] = true
	}
}

// check waits until everything due is delivered, reads it, and counts.
func (c *delayCrash) check() {
	b := openBed(c.t, c.fs, WithTopic("t", leat.TopicConfig{Partitions: 2}))
	eventually(c.t, "everything due is delivered", func() bool { return b.due() == 0 })
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for i := range int32(2) {
		publish(c.t, p, leat.Message{Partition: i, Value: []byte("end")})
	}
	seen, ends := map[string]int{}, 0
	sub := b.subscribe("t", leat.From(leat.Earliest))
	for m, err := range sub.Messages(soon(c.t)) {
		if err != nil {
			c.t.Fatalf("LEAT_SEED=%d: %v", c.seed, err)
		}
		if string(m.Value) != "end" {
			seen[string(m.Value)]++
		} else if ends++; ends == 2 {
			break
		}
	}
	if ends != 2 {
		c.t.Fatalf("LEAT_SEED=%d: not everything was read", c.seed)
	}
	for value := range c.acked {
		if seen[value] == 0 {
			c.t.Errorf("LEAT_SEED=%d: %s was acknowledged and is lost", c.seed, value)
		}
	}
	for value, times := range seen {
		if times > 1 || c.ended[value] {
			c.t.Errorf("LEAT_SEED=%d: %s was delivered %d times, cancelled %v", c.seed, value, times,
				c.ended[value])
		}
	}
	b.close()
}

// due gives the number of messages that are delivered right now or will be within a minute.
func (b *bed) due() int {
	b.t.Helper()
	page, err := b.Delayed(soon(b.t), leat.DelayFilter{To: time.Now().Add(time.Minute)})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(page.Messages)
}

// TestDelayedOnceThroughPowerCuts: what was acknowledged is delivered once, whenever the power goes.
func TestDelayedOnceThroughPowerCuts(t *testing.T) {
	for seed := range uint64(cut(24, 12)) {
		c := &delayCrash{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 7)), fs: mmaplog.Heap(),
			acked: map[string]bool{}, ended: map[string]bool{}, maybe: map[string]bool{}}
		for life := range 3 {
			c.live(life)
		}
		c.check()
		if t.Failed() {
			return
		}
	}
}

// deliver stores what the loop would store in topic "t" when a message is due.
func (b *bed) deliver(number int32, value, handle string) {
	b.t.Helper()
	size, err := core.EncodedRecordSize(nil, []byte(value), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	record := make([]byte, size)
	core.PutRecord(record, nil, []byte(value), nil, 0, 0)
	e := entry{part: b.partition(int(number)), records: 1, level: core.AckDisk}
	if err := b.node.commitRecord(soon(b.t), &e, core.AppendFired(nil, record, handle)); err != nil {
		b.t.Fatal(err)
	}
	e.part.shard.journalSoon(core.AckDisk)
}

// TestDelayedEndsThatWereCutOff: without the ends of what was delivered, as after a crash between the two,
// the next opening finds them in the targets.
func TestDelayedEndsThatWereCutOff(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2})
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for i := range 10 {
		publish(t, p, text("before"))
		m := delayed(fmt.Sprint(i), time.Hour)
		m.Partition = int32(i % 2)
		publish(t, p, m)
	}
	page, err := b.Delayed(soon(t), leat.DelayFilter{})
	if err != nil || len(page.Messages) != 10 {
		t.Fatalf("Delayed = %d messages, %v", len(page.Messages), err)
	}
	for i, m := range page.Messages[:5] { // what a node that was cut off has delivered
		b.deliver(m.Partition, fmt.Sprint("cut ", i), m.Handle)
	}
	b.deliver(0, "of another life", "d1.16.0.7.00000000")
	b = b.reopen()
	if n := b.waiting(); n != 5 {
		t.Errorf("%d messages wait, want 5", n)
	}
	for i, m := range page.Messages {
		want := leat.DelayCancelled
		if i < 5 {
			want = leat.DelayFired
		}
		if outcome, err := b.CancelDelayed(soon(t), m.Handle); outcome != want || err != nil {
			t.Errorf("message %d: CancelDelayed = %v, %v; want %v", i, outcome, err, want)
		}
	}
}

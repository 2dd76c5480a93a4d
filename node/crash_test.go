package node

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// crashRun uses a bus on a simulated disk, cuts the power at some moment, opens the bus again and
// compares, for a few lives. Topic "d" is at disk, topic "p" at page; both have two partitions.
type crashRun struct {
	seed   uint64
	random *rand.Rand
	fs     *mmaplog.MemFS
	life   int
	tell   func(*mmaplog.MemFS) // switches a lie of the disk on; nil for an honest one

	node      atomic.Pointer[Node]
	countdown atomic.Int64
	cut       atomic.Pointer[powerCut]

	mu   sync.Mutex // guards the following
	told promises
	sent map[string]place // every value ever published, with topic and partition

	// The following belongs to the driver.
	quiet   bool // this life is cut only between calls
	numbers int
	kept    map[place]map[int64]string // what the last check found, by topic and partition
}

// place is where a record may be: the partition of a topic.
type place struct {
	topic     string
	partition int32
}

// promises is what the bus has said so far and must keep.
type promises struct {
	acks    []ackedRecord
	topics  map[string]topicPromise
	commits map[int32]int64
	acked   map[int32]int64 // what commits may have reached at most
}

type ackedRecord struct {
	place
	offset int64
	value  string
	disk   bool
}

type topicPromise uint8

const (
	mayExist topicPromise = iota
	exists
	isGone
)

// powerCut is the disk after the cut, and what had been promised before.
type powerCut struct {
	fs    *mmaplog.MemFS
	told  promises
	where string
}

func newCrashRun(seed uint64) *crashRun {
	return &crashRun{
		seed: seed, random: rand.New(rand.NewPCG(seed, 0)), fs: mmaplog.Heap(), sent: map[string]place{},
		told: promises{topics: map[string]topicPromise{}, commits: map[int32]int64{}, acked: map[int32]int64{}},
		kept: map[place]map[int64]string{},
	}
}

// hook cuts the power when the countdown ends, if nobody is storing into a map meanwhile.
func (c *crashRun) hook(op, name string) {
	if c.countdown.Add(-1) > 0 || c.cut.Load() != nil {
		return
	}
	node := c.node.Load()
	if node == nil {
		if !raceEnabled { // while the bus opens its locks are not at hand
			c.cutPower(op + " " + name + " while opening")
		}
		return
	}
	for i, s := range node.shards {
		if !s.tryLock() {
			for _, locked := range node.shards[:i] {
				locked.unlock()
			}
			return
		}
	}
	c.cutPower(op + " " + name)
	for _, s := range node.shards {
		s.unlock()
		s.wakeExecutor()
	}
}

func (c *crashRun) cutPower(where string) {
	c.mu.Lock()
	told := promises{
		acks: c.told.acks[:len(c.told.acks):len(c.told.acks)], topics: maps.Clone(c.told.topics),
		commits: maps.Clone(c.told.commits), acked: maps.Clone(c.told.acked),
	}
	c.mu.Unlock()
	// The promises were read first: all of them must be kept.
	c.cut.CompareAndSwap(nil, &powerCut{c.fs.Crash(c.seed<<8 | uint64(c.life)), told, where})
}

// leaves reports whether the first life of the run leaves records that must survive in every partition.
func (c *crashRun) leaves() bool { return c.seed/2%2 == 0 }

// lives is how often a run opens the bus. In the last one it only checks what the others left.
const lives = 3

// run answers the first broken promise.
func (c *crashRun) run() error {
	for c.life = 1; c.life <= lives; c.life++ {
		if err := c.live(); err != nil {
			return fmt.Errorf("LEAT_SEED=%d, life %d: %w", c.seed, c.life, err)
		}
	}
	return nil
}

func (c *crashRun) live() error {
	before := c.cut.Swap(nil)
	if before != nil {
		c.told = before.told // what was said after the cut was said by a dead process
	}
	c.node.Store(nil)
	c.quiet = c.leaves() && c.life == 1
	if c.countdown.Store(int64(1 + c.random.IntN(250))); c.quiet {
		c.countdown.Store(math.MaxInt64)
	} else if c.random.IntN(6) == 0 {
		c.fs.Hook(c.hook) // the cut may come while the bus opens
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	often := withLog(func(o *mmaplog.Options) { o.FlushEvery = 2 * time.Millisecond })
	bus, err := Open(ctx, "data", withFS(c.fs), often,
		WithTopic("d", leat.TopicConfig{Partitions: 2}),
		WithTopic("p", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}))
	if err != nil {
		return fmt.Errorf("%s: open: %w", before.place(), err)
	}
	node := bus.Backend().(*Node)
	c.node.Store(node)
	c.fs.Hook(c.hook)
	if c.tell != nil {
		c.tell(c.fs)
	}
	err = c.check(ctx, bus, before)
	if err == nil && c.life < lives {
		err = c.work(ctx, bus)
	}
	if c.cut.Load() == nil {
		b := &bed{node: node}
		resume := b.stall()
		c.cutPower("between calls")
		resume()
	}
	c.fs.Hook(nil)
	if closeErr := bus.Close(); err == nil {
		err = closeErr
	}
	c.fs = c.cut.Load().fs
	return err
}

func (c *powerCut) place() string {
	if c == nil {
		return "first open"
	}
	return "cut at " + c.where
}

// work uses the bus until the power is cut.
func (c *crashRun) work(ctx context.Context, bus *leat.Bus) error {
	w := crashWork{crashRun: c, ctx: ctx, bus: bus}
	for _, topic := range []string{"d", "p"} {
		for _, level := range []leat.Ack{leat.AckDefault, leat.AckDisk} {
			p, err := bus.Producer(topic, leat.WithPartitioner(leat.Manual), leat.WithAck(level))
			if err != nil {
				return err
			}
			w.producers = append(w.producers, crashProducer{p, topic, topic == "d" || level == leat.AckDisk})
		}
	}
	var err error
	if w.sub, err = bus.Subscribe("d", leat.Group("g")); err != nil {
		return err
	}
	for range 10 + c.random.IntN(40) {
		if c.cut.Load() != nil {
			return nil
		}
		if err := w.act(); err != nil {
			return err
		}
	}
	if c.quiet {
		return w.leaveSome()
	}
	return nil
}

// leaveSome publishes a record to every partition that must survive, however fast the goroutines of the bus
// used up the operations of the disk before the cut in other lives.
func (w *crashWork) leaveSome() error {
	for _, p := range w.producers {
		for number := range int32(2) {
			if !p.disk {
				continue
			}
			m := w.message(p.topic, number, "")
			r, err := p.Publish(w.ctx, m)
			w.acknowledge(&p, r, err, m)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// crashWork is the driver of one life.
type crashWork struct {
	*crashRun
	ctx       context.Context
	bus       *leat.Bus
	producers []crashProducer
	sub       *leat.Subscription
}

type crashProducer struct {
	*leat.Producer
	topic string
	disk  bool // receipts promise the disk
}

func (w *crashWork) act() error {
	p := w.producers[w.random.IntN(len(w.producers))]
	number := int32(w.random.IntN(2))
	switch w.random.IntN(8) {
	case 0, 1:
		m := w.message(p.topic, number, "")
		r, err := p.Publish(w.ctx, m)
		w.acknowledge(&p, r, err, m)
		return err
	case 2, 3:
		for range 1 + w.random.IntN(6) {
			m := w.message(p.topic, number, "")
			p.PublishAsync(m, func(r leat.Receipt, err error) { w.acknowledge(&p, r, err, m) })
		}
		return nil
	case 4:
		return w.batch(p, number)
	case 5:
		return w.changeTopics()
	case 6:
		return p.Flush(w.ctx)
	}
	return w.readAndCommit()
}

// message makes a message with a value of its own; end marks the last of a batch.
func (w *crashWork) message(topic string, number int32, tag string) leat.Message {
	w.numbers++
	value := fmt.Sprintf("%d.%d%s %0*d", w.life, w.numbers, tag, w.random.IntN(400), 0)
	w.mu.Lock()
	w.sent[value] = place{topic, number}
	w.mu.Unlock()
	return leat.Message{Partition: number, Value: []byte(value)}
}

func (w *crashWork) acknowledge(p *crashProducer, r leat.Receipt, err error, list ...leat.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		return
	}
	for i, m := range list {
		w.told.acks = append(w.told.acks,
			ackedRecord{place{p.topic, r.Partition}, r.Offset + int64(i), string(m.Value), p.disk})
	}
}

// batch publishes a batch whose messages say how many there are: after a crash all or none is there.
func (w *crashWork) batch(p crashProducer, number int32) error {
	n := 2 + w.random.IntN(4)
	list := make([]leat.Message, n)
	for i := range list {
		list[i] = w.message(p.topic, number, fmt.Sprintf(" batch %d of %d", i, n))
	}
	r, err := p.PublishBatch(w.ctx, list)
	w.acknowledge(&p, r, err, list...)
	return err
}

func (w *crashWork) changeTopics() error {
	name := fmt.Sprint("extra", w.random.IntN(2))
	w.mu.Lock()
	now := w.told.topics[name]
	w.told.topics[name] = mayExist
	w.mu.Unlock()
	var err error
	after := exists
	if now == exists {
		after = isGone
		err = w.bus.DeleteTopic(w.ctx, name)
	} else {
		err = w.bus.CreateTopic(w.ctx, name, leat.TopicConfig{})
	}
	w.mu.Lock()
	w.told.topics[name] = after
	w.mu.Unlock()
	return err
}

// readAndCommit reads a few records that must be there and commits them.
func (w *crashWork) readAndCommit() error {
	p := w.producers[0]
	m := w.message("d", 0, "")
	r, err := p.Publish(w.ctx, m)
	w.acknowledge(&p, r, err, m)
	if err != nil {
		return err
	}
	reached := map[int32]int64{}
	for m, err := range w.sub.Messages(w.ctx) {
		if err != nil {
			return err
		}
		reached[m.Partition] = m.Offset + 1
		w.mu.Lock()
		w.told.acked[m.Partition] = max(w.told.acked[m.Partition], m.Offset+1)
		w.mu.Unlock()
		if err := m.Ack(); err != nil {
			return err
		}
		if m.Partition == r.Partition && m.Offset >= r.Offset {
			break
		}
	}
	if err := w.sub.Commit(w.ctx); err != nil {
		return err
	}
	w.mu.Lock()
	maps.Copy(w.told.commits, reached)
	w.mu.Unlock()
	return w.ctx.Err()
}

// check compares what a bus recovered with what had been promised before the cut.
func (c *crashRun) check(ctx context.Context, bus *leat.Bus, before *powerCut) error {
	if before == nil {
		return nil
	}
	topics, err := bus.Topics(ctx)
	if err != nil {
		return err
	}
	there := map[string]topicPromise{"extra0": isGone, "extra1": isGone}
	for _, info := range topics {
		there[info.Name] = exists
		for _, p := range info.Partitions {
			if p.Err != nil {
				return fmt.Errorf("%s: topic %s: %w", before.place(), info.Name, p.Err)
			}
		}
		if info.Name == "d" || info.Name == "p" {
			if err := c.checkTopic(ctx, bus, &info, before); err != nil {
				return fmt.Errorf("%s: %w", before.place(), err)
			}
		}
	}
	for name, promised := range before.told.topics {
		if promised != mayExist && there[name] != promised {
			return fmt.Errorf("%s: topic %s is in state %d, %d was promised", before.place(), name,
				there[name], promised)
		}
	}
	if err := c.checkCommits(ctx, bus, before); err != nil {
		return fmt.Errorf("%s: %w", before.place(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = promises{topics: there, commits: before.told.commits, acked: c.told.acked}
	return nil
}

// checkTopic reads a topic from its start.
func (c *crashRun) checkTopic(
	ctx context.Context, bus *leat.Bus, info *leat.TopicInfo, before *powerCut,
) error {
	found := map[place]map[int64]string{}
	left := int64(0)
	for _, p := range info.Partitions {
		if p.Start != 0 && p.Start < reserveStep || p.HighWater != p.End {
			return fmt.Errorf("partition %d of %s: %+v", p.Partition, info.Name, p)
		}
		found[place{info.Name, p.Partition}] = map[int64]string{}
		n, err := countRecords(bus.Backend().(*Node).topicNamed(info.Name).partitions[p.Partition])
		if err != nil {
			return err
		}
		left += n
	}
	sub, err := bus.Subscribe(info.Name, leat.From(leat.Earliest))
	if err != nil {
		return err
	}
	defer sub.Close()
	seen, due := map[string]bool{}, map[place]int64{}
	for ; left > 0; left-- {
		for m, err := range sub.Messages(ctx) {
			if err != nil {
				return err
			}
			at, value := place{info.Name, m.Partition}, string(m.Value)
			if gap := m.Offset - due[at]; gap < 0 || gap > 0 && (gap < reserveStep/2 || info.Name == "d") {
				return fmt.Errorf("%v: offset %d where %d is due", at, m.Offset, due[at])
			}
			due[at] = m.Offset + 1
			if seen[value] || c.sent[value] != at {
				return fmt.Errorf("%v, offset %d: %.30q was published to %v; seen before: %t", at, m.Offset, value,
					c.sent[value], seen[value])
			}
			seen[value] = true
			found[at][m.Offset] = value
			break
		}
	}
	if err := c.compare(info.Name, found, before); err != nil {
		return err
	}
	maps.Copy(c.kept, found)
	return ctx.Err()
}

// countRecords counts the records of a partition, which may have gaps behind a power cut.
func countRecords(p *partition) (int64, error) {
	r := p.log.Reader(p.log.Start())
	defer r.Close()
	n := int64(0)
	for {
		run, err := r.Next(p.log.End())
		if err != nil || run == nil {
			return n, err
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			n += int64(h.Records)
			run = run[h.Size():]
		}
	}
}

func (c *crashRun) compare(topic string, found map[place]map[int64]string, before *powerCut) error {
	for _, ack := range before.told.acks {
		if ack.topic != topic {
			continue
		}
		list := found[ack.place]
		if _, there := list[ack.offset]; !there {
			if ack.disk {
				return fmt.Errorf("%v: offset %d was acknowledged at disk and is not there", ack.place, ack.offset)
			}
		} else if list[ack.offset] != ack.value {
			return fmt.Errorf("%v: offset %d is %.30q, acknowledged was %.30q", ack.place, ack.offset,
				list[ack.offset], ack.value)
		}
	}
	for at, list := range found {
		for offset, value := range c.kept[at] {
			if list[offset] != value {
				return fmt.Errorf("%v: offset %d had survived a crash and is lost or changed after the next", at, offset)
			}
		}
		for i, value := range list {
			var id, number, n int
			var life int
			if k, _ := fmt.Sscanf(value, "%d.%d batch %d of %d", &life, &id, &number, &n); k != 4 || number != 0 {
				continue
			}
			for j := range int64(n) {
				if _, there := list[i+j]; !there {
					return fmt.Errorf("%v: %d of a batch of %d are there", at, j, n)
				}
			}
		}
	}
	return nil
}

func (c *crashRun) checkCommits(ctx context.Context, bus *leat.Bus, before *powerCut) error {
	groups, err := bus.Groups(ctx)
	if err != nil {
		return err
	}
	committed := map[int32]int64{}
	for _, g := range groups {
		for _, p := range g.Partitions {
			committed[p.Partition] = p.Committed
		}
	}
	for partition, offset := range before.told.commits {
		if committed[partition] < offset {
			return fmt.Errorf("partition %d of d: committed %d, after the crash %d", partition, offset,
				committed[partition])
		}
	}
	for partition, offset := range committed {
		if offset > before.told.acked[partition] {
			return fmt.Errorf("partition %d of d: commit %d, acked was only %d", partition, offset,
				before.told.acked[partition])
		}
	}
	return nil
}

const crashSeeds = 500

// TestCrash drops any subset of what was not synced, in 500 runs.
func TestCrash(t *testing.T) {
	seeds := uint64(cut(crashSeeds, 40))
	for half := range uint64(2) { // on two processors
		t.Run(fmt.Sprint("half ", half), func(t *testing.T) {
			t.Parallel()
			survived, quiet := map[place]int{}, 0
			for seed := half; seed < seeds; seed += 2 {
				c := newCrashRun(seed)
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
				if c.leaves() {
					quiet++
				}
				for at, list := range c.kept {
					survived[at] += len(list)
				}
			}
			for _, at := range []place{{"d", 0}, {"d", 1}, {"p", 0}, {"p", 1}} {
				if survived[at] < quiet || quiet < int(seeds/8) {
					t.Errorf("%d records of %v survived %d runs that left one: the test looks at nothing", survived[at],
						at, quiet)
				}
			}
		})
	}
}

// TestCrashFindsLies is the negative control: without syncs, of files or of folders, the same runs
// must find lost promises.
func TestCrashFindsLies(t *testing.T) {
	for name, tell := range map[string]func(*mmaplog.MemFS){
		"no sync":        func(m *mmaplog.MemFS) { m.IgnoreSync(true) },
		"no folder sync": func(m *mmaplog.MemFS) { m.IgnoreDirSync(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(crashSeeds) {
				c := newCrashRun(seed)
				c.tell = tell
				if err := c.run(); err != nil {
					t.Log("found:", err)
					return
				}
			}
			t.Fatalf("%d seeds passed on a disk that lies", crashSeeds)
		})
	}
}

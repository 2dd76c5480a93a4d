package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
)

// simSeeds are those to run: some, more with LEAT_LONG, or the one of LEAT_SEED.
func simSeeds(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv("LEAT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	n := cut(24, 6)
	if text := os.Getenv("LEAT_LONG"); text != "" {
		n = 1000
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i) + 1
	}
	return seeds
}

// TestSimSessions runs producers, subscriptions and members of a group on a simulated network and disk, in
// virtual time, through faults that follow from the seed, and checks what everybody was told against the log.
func TestSimSessions(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	seeds := simSeeds(t)
	var all simCounts
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("LEAT_SEED=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newSimRun(t, seed)
				r.run()
				c := r.server.net.counted()
				all.lost, all.cut, all.repeated = all.lost+c.lost, all.cut+c.cut, all.repeated+c.repeated
				if n := len(r.model.acked); n < 100 {
					t.Errorf("only %d messages were acknowledged", n)
				}
			})
		})
	}
	if len(seeds) > 1 && (all.lost == 0 || all.cut == 0 || all.repeated == 0) {
		t.Errorf("%d seeds without one of the faults: %+v", len(seeds), all)
	}
}

// simRun is one run of a seed.
type simRun struct {
	t          *testing.T
	random     *rand.Rand
	seed       uint64
	partitions int
	polite     bool // restarts are the only faults, and nothing comes twice
	server     *simServer
	model      *simModel

	publishing context.Context // ends when producers stop
	stop       context.CancelFunc
	reading    context.Context // ends when everything was read
	finish     context.CancelFunc
	producers  sync.WaitGroup
	readers    sync.WaitGroup
	began      time.Time
}

func newSimRun(t *testing.T, seed uint64) *simRun {
	r := &simRun{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 2)), began: time.Now()}
	r.partitions = 1 + r.random.IntN(4)
	r.polite = seed%4 == 0
	network := newSimNetwork(seed)
	network.latency = time.Duration(200+r.random.IntN(1+r.random.IntN(40_000))) * time.Microsecond
	network.jitter = time.Duration(r.random.Int64N(int64(network.latency)))
	network.loss = 0.05 * r.random.Float64() * r.random.Float64()
	network.duplicate = 0.02 * r.random.Float64()
	level := leat.AckDisk // a power cut may take what is acknowledged below that
	r.server = newSimServer(t, network,
		WithTopic("t", leat.TopicConfig{Partitions: r.partitions, Ack: level}))
	r.model = newSimModel(t, r.partitions)
	r.publishing, r.stop = context.WithCancel(context.Background())
	r.reading, r.finish = context.WithCancel(context.Background())
	return r
}

func (r *simRun) run() {
	for i := range 3 {
		r.startProducer(byte(10+i), rand.New(rand.NewPCG(r.seed, uint64(10+i))))
		r.startMember(byte(20+i), rand.New(rand.NewPCG(r.seed, uint64(20+i))))
	}
	for i := range 2 {
		r.startReader(byte(30 + i))
	}
	r.readers.Go(r.watchCommits)
	for range 5 {
		pause := r.between(300*time.Millisecond, 1500*time.Millisecond)
		if r.polite { // else two restarts may be a node that is away to a client that is not back between them
			pause += time.Second
		}
		pass(pause)
		r.fault()
	}
	pass(500 * time.Millisecond)
	r.stop()
	r.producers.Wait()
	ends := r.ends()
	r.await(ends)
	r.finish()
	r.readers.Wait()
	r.model.check(r.log(ends))
	if n := r.model.duplicates(); r.polite && n > 0 {
		r.t.Errorf("%d messages came twice because of polite restarts", n)
	}
	r.server.stop()
	c := r.server.net.counted()
	r.t.Logf("%v virtual, %d acknowledged, %d failed, %d came twice, packets %+v, latency %v",
		time.Since(r.began), len(r.model.acked), r.model.failed, r.model.duplicates(), c, r.server.net.latency)
}

func (r *simRun) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(r.random.Int64N(int64(hi-lo)))
}

// fault makes something go wrong for a while.
func (r *simRun) fault() {
	kind := r.random.IntN(6)
	if r.polite {
		kind = 4 + kind%2
	} else {
		r.model.troubleBegins()
		defer r.model.troubleEnds()
	}
	switch kind {
	case 0, 1:
		r.cutFor(r.between(100*time.Millisecond, 1800*time.Millisecond))
	case 2:
		r.cutFor(r.between(1800*time.Millisecond, 5*time.Second))
	case 3:
		r.server.powerCut(r.seed, r.between(0, 500*time.Millisecond))
	case 4:
		r.server.drain()
		r.server.serve()
	case 5:
		r.server.drain()
		r.server.restart(r.between(0, 500*time.Millisecond))
	}
}

func (r *simRun) cutFor(d time.Duration) {
	r.server.net.setCut(true)
	pass(d)
	r.server.net.setCut(false)
}

// startProducer publishes in all ways until publishing ends.
func (r *simRun) startProducer(host byte, random *rand.Rand) {
	bus := r.server.dial(host)
	name := fmt.Sprintf("p%d", host)
	var options []leat.ProducerOption
	if random.IntN(3) == 0 {
		options = append(options, leat.WithID(name))
	}
	p := openProducer(r.t, bus, "t", options...)
	r.producers.Go(func() {
		for n := 0; r.publishing.Err() == nil; {
			n += r.publishSome(p, name, n, random)
			pass(time.Duration(random.Int64N(int64(40 * time.Millisecond))))
		}
		if err := p.Flush(soon(r.t)); err != nil {
			r.t.Errorf("Flush of %s: %v", name, err)
		}
		if err := bus.Close(); err != nil {
			r.t.Errorf("Close of %s: %v", name, err)
		}
	})
}

// publishSome publishes once, in one of the ways, and gives how many messages it used.
func (r *simRun) publishSome(p *leat.Producer, name string, n int, random *rand.Rand) int {
	message := func(n int, key []byte) leat.Message {
		return leat.Message{Key: key, Value: simValue(name, n, random)}
	}
	key := fmt.Appendf(nil, "k%d", random.IntN(12))
	switch random.IntN(8) {
	case 0: // one that is waited for
		m := message(n, key)
		receipt, err := p.Publish(soon(r.t), m)
		r.model.answer(nameOf(m.Value), receipt, err)
		return 1
	case 1: // a batch
		var batch []leat.Message
		for i := range 1 + random.IntN(5) {
			batch = append(batch, message(n+i, key))
		}
		receipt, err := p.PublishBatch(soon(r.t), batch)
		for i := range batch {
			r.model.answer(nameOf(batch[i].Value), receipt, err)
			receipt.Offset++
		}
		return len(batch)
	default:
		count := 1 + random.IntN(4)
		for i := range count {
			m := message(n+i, fmt.Appendf(nil, "k%d", random.IntN(12)))
			id := nameOf(m.Value)
			p.PublishAsync(m, func(receipt leat.Receipt, err error) { r.model.answer(id, receipt, err) })
		}
		return count
	}
}

// startReader reads everything without a group.
func (r *simRun) startReader(host byte) {
	bus := r.server.dial(host)
	sub, err := bus.Subscribe("t", leat.From(leat.Earliest))
	if err != nil {
		r.t.Fatalf("Subscribe: %v", err)
	}
	reader := &plainReader{values: make([][]string, r.partitions)}
	r.model.plain = append(r.model.plain, reader)
	r.readers.Go(func() {
		for m, err := range sub.Messages(r.reading) {
			if err != nil {
				r.t.Errorf("a plain subscription: %v", err)
				break
			}
			r.model.read(reader, m)
		}
		if err := bus.Close(); err != nil {
			r.t.Errorf("Close of a reader: %v", err)
		}
	})
}

// startMember joins the group, reads for a while, leaves, and joins again.
func (r *simRun) startMember(host byte, random *rand.Rand) {
	bus := r.server.dial(host)
	r.readers.Go(func() {
		for r.reading.Err() == nil {
			r.beMember(bus, random)
			pass(time.Duration(random.Int64N(int64(time.Second))))
		}
		if err := bus.Close(); err != nil {
			r.t.Errorf("Close of a member's client: %v", err)
		}
	})
}

func (r *simRun) beMember(bus *leat.Bus, random *rand.Rand) {
	auto := r.polite || random.IntN(2) == 0
	options := []leat.SubscribeOption{leat.Group("g")}
	if auto {
		options = append(options, leat.AutoAck())
	}
	sub, err := bus.Subscribe("t", options...)
	if err != nil {
		if !unavailable(err) {
			r.t.Errorf("Subscribe in a group: %v", err)
		}
		return
	}
	life := time.Duration(1+random.IntN(8)) * time.Second
	ctx, cancel := context.WithTimeout(r.reading, life)
	defer cancel()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			r.memberError("read", err)
			break
		}
		r.model.deliver(m)
		if !auto && random.IntN(3) > 0 {
			r.memberError("ack", m.Ack())
		}
		if !auto && random.IntN(50) == 0 {
			commit, done := context.WithTimeout(ctx, time.Second)
			r.memberError("commit", sub.Commit(commit))
			done()
		}
	}
	r.memberError("close", sub.Close())
}

// memberError judges what a member was told.
func (r *simRun) memberError(what string, err error) {
	switch {
	case err == nil, leatEnded(err):
	case !r.polite && (unavailable(err) || leatFenced(err)):
	default:
		r.t.Errorf("%s of a member: %v", what, err)
	}
}

// watchCommits compares what the group has committed with what it was given, all the time.
func (r *simRun) watchCommits() {
	for r.reading.Err() == nil {
		if infos, err := r.server.now().Groups(soon(r.t)); err == nil { // else the node is down
			r.model.committed(infos)
		}
		pass(100 * time.Millisecond)
	}
}

// ends gives the ends of the partitions, where nobody publishes any more.
func (r *simRun) ends() []int64 {
	infos, err := r.server.now().Topics(soon(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	var ends []int64
	for _, p := range infos[0].Partitions {
		ends = append(ends, p.HighWater)
	}
	return ends
}

// await waits until everybody has read everything.
func (r *simRun) await(ends []int64) {
	const within = 25 * time.Second // a session of a member that was cut off, and its way back
	began := time.Now()
	for {
		err := r.model.readTo(ends)
		if err == nil {
			return
		}
		if time.Since(began) > within {
			r.t.Errorf("not within %v: %v", within, err)
			return
		}
		pass(10 * time.Millisecond)
	}
}

// log reads the log of every partition.
func (r *simRun) log(ends []int64) [][]string {
	sub := r.server.now().subscribe("t", leat.From(leat.Earliest))
	total := 0
	for _, end := range ends {
		total += int(end)
	}
	log := make([][]string, r.partitions)
	for _, m := range take(r.t, sub, total) {
		log[m.Partition] = append(log[m.Partition], nameOf(m.Value))
	}
	if err := sub.Close(); err != nil {
		r.t.Error(err)
	}
	return log
}

func leatEnded(err error) bool {
	return errors.Is(err, leat.ErrClosed) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled)
}

func leatFenced(err error) bool { return errors.Is(err, leat.ErrFenced) }

package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/node"
	"github.com/leatbus/leat/transport/certs"
)

// The cases of membership.
const (
	joinCase  = "join"
	leaveCase = "leave"
)

const (
	connections  = 10  // that members over QUIC share
	perMember    = 2   // partitions
	changesRate  = 100 // joins or leaves of a round, where For is a second
	membersTopic = "work"
	membersGroup = "workers"

	// The load that goes on meanwhile: so many messages each tick.
	loadTick = 10 * time.Millisecond
	loadSize = 10
)

// movedBy is the figure of how many partitions a change has moved.
func movedBy(of string) string { return "partitions moved by a " + of }

// membership has one member after the other join or leave a group. It has overQUIC connections, or none: then
// members are in the process of the node.
func (s *suite) membership(name string, overQUIC int) *benchkit.Scenario {
	place := "in the process of the node"
	if overQUIC > 0 {
		place = fmt.Sprintf("on %d connections to a server in this process", overQUIC)
	}
	parts := perMember * s.members
	var g *gathering
	scenario := &benchkit.Scenario{Name: name, Measure: benchkit.ByP99, Threads: 2,
		About: fmt.Sprintf("a stream group of %d members %s, %d partitions, %d msgs/s that are acked: from the "+
			"call of Subscribe or Close until OnAssign has told every member what it has",
			s.members, place, parts, int(time.Second/loadTick)*loadSize),
		Open: func(ctx context.Context) (func() error, error) {
			var err error
			g, err = gather(ctx, s.root, s.members, overQUIC)
			if err != nil {
				return nil, errors.Join(err, g.close())
			}
			return g.close, nil
		}}
	changes := max(int(s.length.Seconds()*changesRate), 4)
	for _, name := range []string{joinCase, leaveCase} {
		scenario.Cases = append(scenario.Cases, benchkit.Case{Name: name, Role: benchkit.Ours, Level: "page",
			Run: func(ctx context.Context, round int) (benchkit.Sample, error) {
				return g.measure(ctx, changes, name)
			}})
	}
	return scenario
}

// gathering is a node and a group of many members.
type gathering struct {
	dir     string
	bus     *leat.Bus
	server  *node.Server
	buses   []*leat.Bus // that members use, in turn
	watch   watch
	members []*member // the oldest first
	turn    int

	cancel context.CancelFunc
	ctx    context.Context // of the loops
	loops  sync.WaitGroup
	failed chan error // the first error of a loop
}

// gather opens a node, has members join, and waits until all have their partitions. What it gives is to be
// closed, also if it fails.
func gather(ctx context.Context, root string, members, overQUIC int) (*gathering, error) {
	g := &gathering{failed: make(chan error, 1)}
	g.watch.partitions, g.watch.settled = perMember*members, make(chan int64, 1)
	g.ctx, g.cancel = context.WithCancel(ctx)
	var err error
	if g.bus, g.dir, err = openBus(ctx, root); err != nil {
		return g, err
	}
	// Small segments: most partitions get a few messages.
	cfg := leat.TopicConfig{Partitions: g.watch.partitions, Ack: leat.AckPage, SegmentBytes: 256 << 10}
	if err := g.bus.CreateTopic(ctx, membersTopic, cfg); err != nil {
		return g, err
	}
	producer, err := g.bus.Producer(membersTopic, leat.WithPartitioner(leat.Manual))
	if err != nil {
		return g, err
	}
	// The first message of a partition makes its first file, which is durable and takes time.
	for i := range int32(g.watch.partitions) {
		producer.PublishAsync(leat.Message{Partition: i, Value: newValue()}, nil)
	}
	if err := producer.Flush(ctx); err != nil {
		return g, errors.Join(err, producer.Close())
	}
	g.loops.Go(func() { g.load(producer) })
	g.buses = []*leat.Bus{g.bus}
	if overQUIC > 0 {
		if err := g.dial(ctx, overQUIC); err != nil {
			return g, err
		}
	}
	for range members {
		if _, err := g.join(); err != nil {
			return g, err
		}
	}
	_, err = g.await(ctx)
	return g, err
}

// dial opens the door of the node, and connections to it that replace the bus in the process.
func (g *gathering) dial(ctx context.Context, n int) error {
	folder := filepath.Join(g.dir, "certs")
	client, err := certs.DevelopmentClient(folder)
	if err != nil {
		return err
	}
	shown, err := certs.DevelopmentServer(folder, "127.0.0.1")
	if err != nil {
		return err
	}
	g.server, err = node.Serve(ctx, g.bus, node.ServeConfig{Listen: "127.0.0.1:0", TLS: shown})
	if err != nil {
		return err
	}
	g.buses = nil
	for range n {
		bus, err := leat.Dial(ctx, g.server.Addr().String(), leat.WithTLS(client),
			leat.WithUnreachableAfter(patience))
		if err != nil {
			return err
		}
		g.buses = append(g.buses, bus)
	}
	return nil
}

func (g *gathering) close() (err error) {
	g.cancel()
	g.loops.Wait()
	for _, bus := range g.buses {
		if bus != g.bus {
			err = errors.Join(err, bus.Close())
		}
	}
	if g.server != nil {
		err = errors.Join(err, g.server.Close())
	}
	if g.bus != nil {
		err = errors.Join(err, g.bus.Close())
	}
	return errors.Join(err, os.RemoveAll(g.dir))
}

// load publishes to all partitions in turn until the end.
func (g *gathering) load(producer *leat.Producer) {
	ticker := time.NewTicker(loadTick)
	defer ticker.Stop()
	value := newValue()
	for next := int32(0); ; {
		select {
		case <-g.ctx.Done():
			g.fail(producer.Close())
			return
		case <-ticker.C:
		}
		for range loadSize {
			producer.PublishAsync(leat.Message{Partition: next, Value: value}, nil)
			next = (next + 1) % int32(g.watch.partitions)
		}
	}
}

func (g *gathering) fail(err error) {
	if err == nil {
		return
	}
	select {
	case g.failed <- err:
	default: // there was one before
	}
}

// join has one more member join and gives the time before that.
func (g *gathering) join() (began int64, err error) {
	m := &member{}
	bus := g.buses[g.turn%len(g.buses)]
	g.turn++
	g.watch.comes(m)
	began = clock.System.Mono()
	m.sub, err = bus.Subscribe(membersTopic, leat.Group(membersGroup), leat.AutoAck(),
		leat.OnAssign(func(assigned, revoked []int32) { g.watch.told(m, len(assigned), len(revoked)) }))
	if err != nil {
		return 0, err
	}
	g.members = append(g.members, m)
	g.loops.Go(func() {
		for _, err := range m.sub.Messages(g.ctx) {
			if err != nil {
				g.fail(err)
				return
			}
		}
	})
	return began, nil
}

// leave has the oldest member leave and gives the time before that.
func (g *gathering) leave() (began int64, err error) {
	m := g.members[0]
	g.members = g.members[1:]
	g.watch.goes(m)
	began = clock.System.Mono()
	return began, m.sub.Close()
}

// await waits until all have settled, and gives the time of that.
func (g *gathering) await(ctx context.Context) (int64, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case at := <-g.watch.settled:
		return at, nil
	case err := <-g.failed:
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-limit.C:
		return 0, fmt.Errorf("not settled within %v: %s", patience, g.watch.describe())
	}
}

// measure has members join, or leave, one by one, and does the opposite after each, which does not count.
func (g *gathering) measure(
	ctx context.Context, changes int, name string,
) (sample benchkit.Sample, err error) {
	change, undo := g.join, g.leave
	if name == leaveCase {
		change, undo = g.leave, g.join
	}
	h := benchkit.NewHistogram()
	moved := 0
	for range changes {
		began, err := change()
		if err != nil {
			return sample, err
		}
		at, err := g.await(ctx)
		if err != nil {
			return sample, err
		}
		h.Record(at - began)
		moved += g.watch.moves()
		if _, err = undo(); err == nil {
			_, err = g.await(ctx)
		}
		if err != nil {
			return sample, err
		}
	}
	sample.Measured(h)
	share := float64(moved) / float64(changes) / perMember
	sample.More = []benchkit.Figure{{Name: movedBy(name), Value: share, Unit: "shares of a member",
		Better: "lower", Note: fmt.Sprintf("1 is 1/%d of all partitions; the mean of the round", len(g.members))}}
	return sample, nil
}

package node

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/routing"
)

// Node is an embedded node: the whole bus inside this process. It implements leat.Backend; programs
// hold the leat.Bus that Open returns.
type Node struct {
	clock    clock.Clock
	logger   *slog.Logger
	store    *mmaplog.Store
	onDamage mmaplog.OnDamage // of users' topics
	system   *actors.System
	self     *actors.PID // the node's actor
	groups   *actors.Coordinator

	shards   []*shard
	notifier notifier
	bodies   *bodies
	waiters  waiters

	gateBytes int64         // unsynced bytes of a partition from which publishers wait
	closing   chan struct{} // closed when Close begins
	done      chan struct{} // closed when Close ends
	closeOnce sync.Once
	closeErr  error

	// Tables by index, copied on write: the journal reads them without a lock.
	partitions atomic.Pointer[[]*partition]
	producers  atomic.Pointer[[]completer]

	meta       *topic
	metaWriter *producer
	commits    *commitWriter
	names      names
	letters    letterboxes
	queues     queues
	calls      calls
	delays     *delays
	cluster    *clustering // nil for a node that is alone

	nodes clusterMap // what clients are told

	syncs    syncStats
	recovery recoveryStats // set once, by start
	oldest   oldestStats

	mu       sync.Mutex // guards the following and writes to the tables
	topics   map[string]*topic
	byID     map[uint64]*topic
	subs     map[uint64]*subscription
	server   *Server // nil while there is none
	unserved bool    // the bus closes: there will be none
	counter  uint64  // names producers, subscriptions and their actors
}

var (
	_ leat.Backend     = (*Node)(nil)
	_ actors.NodeShell = (*Node)(nil)
)

func newNode(o options) (*Node, error) {
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		clock:    o.clock,
		logger:   o.logger,
		closing:  make(chan struct{}),
		done:     make(chan struct{}),
		topics:   make(map[string]*topic),
		byID:     make(map[uint64]*topic),
		subs:     make(map[uint64]*subscription),
		syncs:    o.syncs,
		onDamage: o.onDamage,
	}
	// What was let in and is not journaled yet counts: it sits in the ring and in buffers.
	inBuffers := min(maxBodyBytes, o.log.UnsyncedMax/4)
	n.gateBytes = o.log.UnsyncedMax - slabBytes - inBuffers - o.log.UnsyncedMax/16 // the last for frame headers
	n.bodies = newBodies(n.closing, int(inBuffers))
	n.partitions.Store(&[]*partition{})
	n.producers.Store(new(make([]completer, firstProducer)))
	if o.cluster != nil {
		n.cluster = newClustering(*o.cluster)
	}
	for i := range max(runtime.GOMAXPROCS(0), 1) {
		s, err := newShard(n, i)
		if err != nil {
			return nil, err
		}
		n.shards = append(n.shards, s)
	}
	return n, nil
}

// ActorSystem gives user actors the node's actor system.
func (n *Node) ActorSystem() *actors.System { return n.system }

// Done implements leat.Backend.
func (n *Node) Done() <-chan struct{} { return n.done }

// Now implements actors.NodeShell.
func (n *Node) Now() int64 { return n.clock.Now() }

func (n *Node) partitionAt(id uint32) *partition { return (*n.partitions.Load())[id] }

// AddTopic implements actors.NodeShell: it makes the data plane of a topic, with no file yet.
func (n *Node) AddTopic(info core.Topic) actors.TopicShell {
	cfg := info.Config
	table, err := routing.NewTable(int32(cfg.Partitions))
	if err != nil {
		panic("node: topic with partitions that the catalogue must refuse: " + err.Error())
	}
	t := newTopic(&info, table)
	n.mu.Lock()
	defer n.mu.Unlock()
	all := *n.partitions.Load()
	grown := append(make([]*partition, 0, len(all)+cfg.Partitions), all...)
	for number := range int32(cfg.Partitions) {
		p := &partition{
			topic: t, number: number, id: uint32(len(grown)), store: n.store,
			shard: n.shards[(int(t.id)+int(number))%len(n.shards)],
		}
		n.lead(p, info.Placement.Node(number))
		t.partitions = append(t.partitions, p)
		if p.here {
			t.local = append(t.local, p)
		}
		grown = append(grown, p)
	}
	n.partitions.Store(&grown)
	t.opening.Store(int32(len(t.partitions)))
	n.topics[t.name], n.byID[t.id] = t, t
	return t
}

// RemoveTopic implements actors.NodeShell.
func (n *Node) RemoveTopic(shell actors.TopicShell) error {
	t := n.topicNamed(shell.Name())
	if t == nil {
		return nil
	}
	t.deleted.Store(true)
	n.mu.Lock()
	delete(n.topics, t.name)
	delete(n.byID, t.id)
	n.mu.Unlock()
	n.names.forget(t.id)
	n.letters.forget(t.id)
	n.queues.forgetTopic(t)
	n.calls.forget(t.id, core.NewError(core.CodeTopicNotFound, t.op("respond on"), nil))
	for _, s := range n.subscriptions(t) {
		s.Fenced(core.NewError(core.CodeTopicNotFound, t.op("read"), nil))
	}
	if n.delays != nil {
		n.delays.forget(t.id)
	}
	for _, p := range t.partitions {
		p.readers.forceAll() // remote subscriptions look whether the topic is there
	}
	if s := n.serverNow(); s != nil {
		s.stats.forget(t.name)
	}
	return n.store.RemoveTopic(t.id)
}

func (n *Node) topicNamed(name string) *topic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.topics[name]
}

func (n *Node) topicWithID(id uint64) *topic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byID[id]
}

// topicFor finds a user's topic, or says that there is none.
func (n *Node) topicFor(op, name string) (*topic, error) {
	if err := core.ValidateName("topic", name); err != nil {
		return nil, err
	}
	select {
	case <-n.closing:
		return nil, core.NewError(core.CodeClosed, op, nil)
	default:
	}
	if t := n.topicNamed(name); t != nil && t.opening.Load() == 0 {
		return t, nil
	}
	return nil, core.NewError(core.CodeTopicNotFound, op+" topic "+core.Quote(name), nil)
}

func (n *Node) subscriptions(of *topic) []*subscription {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*subscription
	for _, s := range n.subs {
		if of == nil || s.topic == of {
			list = append(list, s)
		}
	}
	return list
}

func (n *Node) forgetSubscription(s *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.subs, s.id)
}

// SyncRounds is how many syncs have moved the durable end of a partition since the node was opened,
// for benchmarks: records per round tell how well durable publishes share them.
func (n *Node) SyncRounds() int64 {
	total := int64(0)
	for _, p := range *n.partitions.Load() {
		total += p.rounds.Load()
	}
	return total
}

// nextID numbers producers and subscriptions.
func (n *Node) nextID() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counter++
	return n.counter
}

// report logs a change of state of a partition.
func (n *Node) report(text string, p *partition, err error) {
	n.logger.Error(text, "topic", p.topic.name, "partition", p.number, "err", err)
}

// closeContext bounds the waits of closing something.
func (n *Node) closeContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), closeWait)
}

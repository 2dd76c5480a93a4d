package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// three is the cluster of most tests, as node sees it.
func three(node uint16) ClusterConfig {
	return ClusterConfig{Node: node, Name: "prod", Peers: map[uint16]string{1: "a:1", 2: "b:1", 3: "c:1"}}
}

func as(node uint16) Option { return WithCluster(three(node)) }

// catalogue gives the snapshot of a node's catalogue.
func (b *bed) catalogue() []core.CatalogueRecord {
	b.t.Helper()
	records, err := actors.Call(soon(b.t), b.node.system, b.node.self,
		func(r actors.Reply[[]core.CatalogueRecord]) any { return actors.ReadCatalogue{Reply: r} })
	if err != nil {
		b.t.Fatal(err)
	}
	return records
}

// follow hands a node records of the meta node.
func (b *bed) follow(records []core.CatalogueRecord, snapshot bool) error {
	b.t.Helper()
	_, err := b.node.follow(soon(b.t), records, snapshot)
	return err
}

// folders lists the partitions of topics that have a file in the folder, as topic/partition.
func folders(t testing.TB, fs *mmaplog.MemFS) []string {
	t.Helper()
	var found []string
	topics, err := fs.ReadDir("data/t")
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		if id, err := strconv.Atoi(topic); err != nil || id < int(core.FirstTopicID) {
			continue
		}
		partitions, err := fs.ReadDir(filepath.Join("data/t", topic))
		if err != nil {
			t.Fatal(err)
		}
		for _, partition := range partitions {
			found = append(found, topic+"/"+partition)
		}
	}
	return found
}

// wantNode fails unless err says that another node is to be asked.
func wantNode(t testing.TB, what string, err error, node uint16) {
	t.Helper()
	wantError(t, what, err, leat.ErrNotLeader)
	if ours, ok := err.(*core.Error); !ok || ours.Node != node || !core.Retryable(err) {
		t.Errorf("%s: %v does not name node %d", what, err, node)
	}
}

// TestPartitionsOfACluster: every node has the topic, and each partition is used on the node that leads it
// and refused on the others, which have no file of it.
func TestPartitionsOfACluster(t *testing.T) {
	cfg := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	meta := newBed(t, as(1), WithTopic("t", cfg))
	beds := []*bed{meta, newBed(t, as(2)), newBed(t, as(3))}
	for _, b := range beds[1:] {
		if err := b.follow(meta.catalogue(), true); err != nil {
			t.Fatal(err)
		}
	}
	leaders := []uint16{1, 2, 3, 1}
	for i, b := range beds {
		self := uint16(i + 1)
		p := b.producer("t", leat.WithPartitioner(leat.Manual))
		for number, leader := range leaders {
			m := leat.Message{Partition: int32(number), Value: fmt.Append(nil, "on ", number)}
			if leader == self {
				publish(t, p, m)
				continue
			}
			_, err := p.Publish(soon(t), m)
			wantNode(t, "Publish", err, leader)
			wantNode(t, "TryPublish", p.TryPublish(m), leader)
			_, err = p.PublishBatch(soon(t), []leat.Message{m})
			wantNode(t, "PublishBatch", err, leader)
			answer := make(chan error, 1)
			p.PublishAsync(m, func(_ leat.Receipt, err error) { answer <- err })
			wantNode(t, "PublishAsync", receive(t, "the answer", answer), leader)
		}
		list, err := b.Topics(soon(t))
		if err != nil || len(list) != 1 {
			t.Fatalf("topics of node %d: %+v, %v", self, list, err)
		}
		for number, info := range list[0].Partitions {
			if info.Node != leaders[number] || (info.End == 1) != (info.Node == self) ||
				(info.Err == nil) != (info.Node == self) {
				t.Errorf("node %d: partition %+v", self, info)
			}
		}
	}
	for i, want := range [][]string{{"16/0", "16/3"}, {"16/1"}, {"16/2"}} {
		if got := folders(t, beds[i].fs); !slices.Equal(got, want) {
			t.Errorf("folders of node %d: %q, want %q", i+1, got, want)
		}
	}
	for i, want := range []string{"on 0 on 3", "on 1", "on 2"} {
		b := beds[i].reopen(as(uint16(i + 1)))
		sub := b.subscribe("t", leat.From(leat.Earliest))
		got := take(t, sub, strings.Count(want, "on"))
		slices.SortFunc(got, func(a, b *leat.Message) int { return int(a.Partition - b.Partition) })
		if values(got) != want {
			t.Errorf("node %d reads %q, want %q", i+1, values(got), want)
		}
	}
}

// TestNullKeysStayHere: messages without a key go to partitions of this node, those with one where they
// belong.
func TestNullKeysStayHere(t *testing.T) {
	meta := newBed(t, as(1), WithTopic("t", leat.TopicConfig{Partitions: 5, Ack: leat.AckPage}))
	b := newBed(t, as(2))
	if err := b.follow(meta.catalogue(), true); err != nil {
		t.Fatal(err)
	}
	p := b.producer("t")
	seen := map[int32]bool{}
	for range 8 {
		seen[publish(t, p, text(strings.Repeat("x", 40<<10))).Partition] = true
	}
	if len(seen) != 2 || !seen[1] || !seen[4] {
		t.Errorf("null keys went to %v, want the partitions of node 2", seen)
	}
	refused := 0
	for i := range 20 {
		_, err := p.Publish(soon(t), keyed(fmt.Sprint(i), "v"))
		if err != nil {
			wantError(t, "a key of another node", err, leat.ErrNotLeader)
			refused++
		}
	}
	if refused == 0 || refused == 20 {
		t.Errorf("%d of 20 keys were refused", refused)
	}
}

// TestSingleTopicElsewhere: a node that leads nothing of a topic names one that does.
func TestSingleTopicElsewhere(t *testing.T) {
	meta := newBed(t, as(1), WithTopic("t", leat.TopicConfig{}))
	b := newBed(t, as(3))
	if err := b.follow(meta.catalogue(), true); err != nil {
		t.Fatal(err)
	}
	_, err := b.Subscribe("t")
	wantNode(t, "Subscribe", err, 1)
	_, err = b.producer("t").Publish(soon(t), text("v"))
	wantNode(t, "Publish of a null key", err, 1)
	_, err = b.Subscribe("t", leat.Group("g"))
	wantError(t, "Subscribe in a group", err, leat.ErrNotLeader)
	if hint := leat.HintFor(err); !strings.Contains(hint, "leat.Dial") {
		t.Errorf("hint %q does not say how", hint)
	}
	_, err = meta.Subscribe("t", leat.Group("g"))
	wantError(t, "Subscribe in a group on the meta node", err, leat.ErrNotLeader)
}

// TestOnlyTheMetaNodeChangesTopics, wherever the others stand.
func TestOnlyTheMetaNodeChangesTopics(t *testing.T) {
	b := newBed(t, as(2))
	wantNode(t, "CreateTopic", b.CreateTopic(soon(t), "t", leat.TopicConfig{}), 1)
	wantNode(t, "DeleteTopic", b.DeleteTopic(soon(t), "t"), 1)
	wantNode(t, "AlterTopic", b.AlterTopic(soon(t), "t", leat.TopicChange{}), 1)
	wantError(t, "a bad name", b.CreateTopic(soon(t), "../t", leat.TopicConfig{}), leat.ErrInvalidName)
	info, err := b.Cluster(soon(t))
	if err != nil || info.Name != "prod" || info.Answer != 2 || info.Meta != 1 || len(info.Nodes) != 3 ||
		info.Nodes[0].Up || !info.Nodes[1].Up || info.Nodes[1].Address != "b:1" {
		t.Errorf("Cluster = %+v, %v", info, err)
	}
	_, err = Open(soon(t), "data", withFS(mmaplog.Heap()), as(3), WithTopic("t", leat.TopicConfig{}))
	wantNode(t, "WithTopic on another node", err, 1)
}

// TestTopicsSpread: topics of one partition go to the nodes in turn.
func TestTopicsSpread(t *testing.T) {
	b := newBed(t, as(1))
	shares := map[uint16]int{}
	for i := range 9 {
		name := fmt.Sprint("t", i)
		if err := b.CreateTopic(soon(t), name, leat.TopicConfig{}); err != nil {
			t.Fatal(err)
		}
		shares[b.node.topicNamed(name).placement.Node(0)]++
	}
	if shares[1] != 3 || shares[2] != 3 || shares[3] != 3 {
		t.Errorf("shares of nine topics: %v", shares)
	}
}

func TestFolderBelongsToANode(t *testing.T) {
	b := newBed(t, as(2))
	if line, err := b.node.store.Note("NODE"); err != nil || line != "node 2 of cluster prod\n" {
		t.Errorf("NODE is %q, %v", line, err)
	}
	b = b.reopen(as(2))
	b.close()
	other := three(2)
	other.Name = "test"
	for what, opts := range map[string][]Option{
		"as another node": {as(3)}, "in another cluster": {WithCluster(other)}, "alone": nil,
	} {
		_, err := Open(soon(t), "data", append(opts, withFS(b.fs))...)
		wantError(t, what, err, leat.ErrWrongNode)
	}
	openBed(t, b.fs, as(2))
}

func TestClusterConfigIsChecked(t *testing.T) {
	tests := map[string]func(*ClusterConfig){
		"node 0":           func(c *ClusterConfig) { c.Node = 0; c.Peers[0] = "x:1" },
		"not in the list":  func(c *ClusterConfig) { c.Node = 9 },
		"a peer 0":         func(c *ClusterConfig) { c.Peers[0] = "x:1" },
		"a peer elsewhere": func(c *ClusterConfig) { c.Peers[3] = "" },
	}
	for what, change := range tests {
		cfg := three(1)
		change(&cfg)
		_, err := Open(soon(t), "data", withFS(mmaplog.Heap()), WithCluster(cfg))
		wantError(t, what, err, leat.ErrInvalidConfig)
	}
	cfg := three(1)
	cfg.Name = "no/name"
	_, err := Open(soon(t), "data", withFS(mmaplog.Heap()), WithCluster(cfg))
	wantError(t, "a name with a slash", err, leat.ErrInvalidName)
}

// TestFolderBecomesThatOfTheMetaNode: topics, records and commits of before stay on it; topics created
// later are spread.
func TestFolderBecomesThatOfTheMetaNode(t *testing.T) {
	cfg := leat.TopicConfig{Partitions: 3, Ack: leat.AckPage}
	alone := one(t, cfg)
	alone.fill(4)
	sub := alone.subscribe("t", leat.Group("g"))
	for _, m := range take(t, sub, 12) {
		ack(t)(m)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	alone.close()
	_, err := Open(soon(t), "data", withFS(alone.fs), as(2))
	wantError(t, "as another than the meta node", err, leat.ErrWrongNode)

	meta := openBed(t, alone.fs, as(1), WithTopic("t", cfg), WithTopic("later", cfg))
	take(t, meta.subscribe("t", leat.From(leat.Earliest)), 12)
	groups, err := meta.Groups(soon(t))
	if err != nil || len(groups) != 1 || groups[0].Partitions[0].Committed != 4 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	if err := meta.node.coordinates("join", "g"); err != nil {
		t.Errorf("the meta node gave its groups away: %v", err)
	}
	b := newBed(t, as(2))
	if err := b.follow(meta.catalogue(), true); err != nil {
		t.Fatal(err)
	}
	list, err := b.Topics(soon(t))
	if err != nil || len(list) != 2 || list[0].Partitions[0].Node != 2 || list[1].Partitions[1].Node != 1 {
		t.Errorf("topics as node 2 sees them: %+v, %v", list, err)
	}
	meta = meta.reopen(as(1))
	if version := meta.node.cluster.version.Load(); version != 3 {
		t.Errorf("version %d after three changes", version)
	}
}

// TestGroupsArePlaced: each group is coordinated by one node, which refuses it until it knows where groups
// are.
func TestGroupsArePlaced(t *testing.T) {
	meta := newBed(t, as(1))
	late := newBed(t, as(2))
	wantError(t, "before the catalogue came", late.node.coordinates("join", "g"), leat.ErrUnavailable)
	if err := late.follow(meta.catalogue(), true); err != nil {
		t.Fatal(err)
	}
	check := func(b *bed) {
		t.Helper()
		here := 0
		for i := range 60 {
			group := fmt.Sprint("g", i)
			leader := core.Place([]uint16{1, 2, 3}, core.GroupsPartitions, 0).Node(core.GroupsPartition(group))
			err := b.node.coordinates("join", group)
			if leader != 2 {
				wantNode(t, "coordinates", err, leader)
				continue
			}
			here++
			if err != nil {
				t.Errorf("group %s: %v", group, err)
			}
			c := core.Commit{Group: group, TopicID: 99, Offset: 1}
			stored := make(chan error, 1)
			b.node.commits.Append([]core.Commit{c}, func(err error) { stored <- err })
			if err := receive(t, "the commit is stored", stored); err != nil {
				t.Error(err)
			}
		}
		if here == 0 {
			t.Error("no group is coordinated here")
		}
	}
	check(late)
	check(late.reopen(as(2)))
}

// TestFollowing: creations and deletions arrive one by one or with a snapshot; what was deleted loses its
// data, and its subscriptions end.
func TestFollowing(t *testing.T) {
	cfg := leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}
	meta, b := newBed(t, as(1)), newBed(t, as(2))
	if err := b.follow(meta.catalogue(), true); err != nil {
		t.Fatal(err)
	}
	create := func(name string) core.CatalogueRecord {
		t.Helper()
		if err := meta.CreateTopic(soon(t), name, cfg); err != nil {
			t.Fatal(err)
		}
		list := meta.catalogue()
		r := list[len(list)-2] // before the mark
		r.Version = list[len(list)-1].Version
		return r
	}
	first := create("first")
	if err := b.follow([]core.CatalogueRecord{first, create("second")}, false); err != nil {
		t.Fatal(err)
	}
	if err := b.follow([]core.CatalogueRecord{first}, false); err != nil {
		t.Errorf("a change that is known: %v", err)
	}
	create("third")
	err := b.follow([]core.CatalogueRecord{create("fourth")}, false)
	wantError(t, "a change that skips one", err, core.ErrOutOfSequence)
	publish(t, b.producer("first", leat.WithPartitioner(leat.Manual)), leat.Message{Partition: 1})
	sub := b.subscribe("first")
	ended := loop(soon(t), sub)
	if err := meta.DeleteTopic(soon(t), "first"); err != nil {
		t.Fatal(err)
	}
	if err := b.follow(meta.catalogue(), true); err != nil {
		t.Fatal(err)
	}
	wantError(t, "the loop", receive(t, "the loop ends", ended), leat.ErrTopicNotFound)
	if got := folders(t, b.fs); len(got) != 0 {
		t.Errorf("folders of a deleted topic: %q", got)
	}
	if err := meta.AlterTopic(soon(t), "second", leat.TopicChange{MaxRecordBytes: new(1 << 10)}); err != nil {
		t.Fatal(err)
	}
	if err := b.follow(meta.catalogue(), true); err != nil {
		t.Fatal(err)
	}
	_, err = b.producer("second", leat.WithPartitioner(leat.Manual)).
		Publish(soon(t), leat.Message{Partition: 1, Value: make([]byte, 2<<10)})
	wantError(t, "a record over the altered limit", err, leat.ErrRecordTooLarge)
	b = b.reopen(as(2))
	if got, want := b.catalogue(), meta.catalogue(); !slices.Equal(got, want) {
		t.Errorf("node 2 has %+v, want %+v", got, want)
	}
	stale := newBed(t, as(1))
	wantError(t, "a meta node with a new folder", b.follow(stale.catalogue(), true), leat.ErrWrongNode)
	if list, err := b.Topics(soon(t)); err != nil || len(list) != 3 {
		t.Errorf("topics after it: %+v, %v", list, err)
	}
}

// TestFollowingSurvivesACrash cuts the power while a snapshot is carried out: the node opens again, and the
// next snapshot brings it to where the meta node is.
func TestFollowingSurvivesACrash(t *testing.T) {
	cfg := leat.TopicConfig{Partitions: 3, Ack: leat.AckPage}
	meta := newBed(t, as(1), WithTopic("a", cfg), WithTopic("b", cfg))
	before := meta.catalogue()
	if err := meta.DeleteTopic(soon(t), "a"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c", "a", "d"} {
		if err := meta.CreateTopic(soon(t), name, cfg); err != nil {
			t.Fatal(err)
		}
	}
	after := meta.catalogue()
	cuts := 0
	for step := 1; ; step++ {
		b := newBed(t, as(3))
		if err := b.follow(before, true); err != nil {
			t.Fatal(err)
		}
		publish(t, b.producer("a", leat.WithPartitioner(leat.Manual)), leat.Message{Partition: 2})
		fs := b.cutPowerAt(step, func() { _ = b.follow(after, true) })
		if fs == nil {
			break // it was done before
		}
		cuts++
		b.close()
		again := openBed(t, fs, as(3))
		if err := again.follow(after, true); err != nil {
			t.Fatalf("power cut at step %d: %v", step, err)
		}
		if got := again.catalogue(); !slices.Equal(got, after) {
			t.Fatalf("power cut at step %d: catalogue %+v, want %+v", step, got, after)
		}
		publish(t, again.producer("a"), text("v"))
		again.close()
	}
	if cuts < 5 {
		t.Errorf("only %d power cuts", cuts)
	}
}

// cutPowerAt gives the disk as a power cut leaves it at a step of the file system while do runs; nil if do
// takes fewer steps.
func (b *bed) cutPowerAt(step int, do func()) *mmaplog.MemFS {
	var left atomic.Int64
	var after atomic.Pointer[mmaplog.MemFS]
	left.Store(int64(step))
	b.fs.Hook(func(string, string) {
		if left.Add(-1) > 0 || after.Load() != nil {
			return
		}
		for i, s := range b.node.shards {
			if !s.tryLock() { // somebody may be storing into a map: at the next step
				for _, locked := range b.node.shards[:i] {
					locked.unlock()
				}
				return
			}
		}
		after.CompareAndSwap(nil, b.fs.Crash(uint64(step)))
		for _, s := range b.node.shards {
			s.unlock()
			s.wakeExecutor()
		}
	})
	do()
	b.fs.Hook(nil)
	return after.Load()
}

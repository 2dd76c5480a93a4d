package core

import (
	"bytes"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"
)

func TestPlace(t *testing.T) {
	tests := []struct {
		nodes      []uint16
		partitions int
		after      uint16
		want       []uint16
	}{
		{[]uint16{7}, 3, 0, []uint16{7, 7, 7}},
		{[]uint16{1, 2, 3}, 4, 0, []uint16{1, 2, 3, 1}},
		{[]uint16{3, 1, 2}, 4, 1, []uint16{2, 3, 1, 2}},
		{[]uint16{1, 2, 3}, 2, 3, []uint16{1, 2}},
		{[]uint16{1, 5, 9}, 3, 4, []uint16{5, 9, 1}},
		{[]uint16{1, 5, 9}, 3, 60000, []uint16{1, 5, 9}},
		{[]uint16{2, 2, 65535}, 3, 2, []uint16{65535, 2, 65535}},
	}
	for _, tt := range tests {
		if got := Place(tt.nodes, tt.partitions, tt.after).Nodes(); !slices.Equal(got, tt.want) {
			t.Errorf("Place(%v, %d, %d) = %v, want %v", tt.nodes, tt.partitions, tt.after, got, tt.want)
		}
	}
	wantPanic(t, "core: nowhere to place a topic", func() { Place(nil, 1, 0) })
}

// TestPlaceIsFair: whatever topics are created one after the other, every partition is on one of the nodes
// and their shares differ by at most one; the order in which nodes are given does not count.
func TestPlaceIsFair(t *testing.T) {
	for seed := range int64(500) {
		random := rand.New(rand.NewSource(seed))
		var nodes []uint16
		for range 1 + random.Intn(9) {
			if node := uint16(1 + random.Intn(60)); !slices.Contains(nodes, node) {
				nodes = append(nodes, node)
			}
		}
		shares := map[uint16]int{}
		after := uint16(0)
		for range 30 {
			partitions := 1 + random.Intn(20)
			placed := Place(nodes, partitions, after)
			random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
			if again := Place(nodes, partitions, after); again != placed || placed.Partitions() != partitions {
				t.Fatalf("LEAT_SEED=%d: Place(%v, %d, %d) = %v, then %v", seed, nodes, partitions, after,
					placed.Nodes(), again.Nodes())
			}
			for _, node := range placed.Nodes() {
				shares[node]++
			}
			after = placed.Node(int32(partitions) - 1)
		}
		least, most := 1<<30, 0
		for _, node := range nodes {
			least, most = min(least, shares[node]), max(most, shares[node])
		}
		if most-least > 1 || len(shares) > len(nodes) {
			t.Fatalf("LEAT_SEED=%d: shares %v of nodes %v", seed, shares, nodes)
		}
	}
}

func TestPlacement(t *testing.T) {
	p := NewPlacement([]uint16{3, 0x0102})
	if p.Partitions() != 2 || p.Node(0) != 3 || p.Node(1) != 0x0102 {
		t.Errorf("placement %v of %d", p.Nodes(), p.Partitions())
	}
	if p.Node(-1) != 0 || p.Node(2) != 0 || Placement("").Node(0) != 0 || Placement("").Nodes() != nil {
		t.Error("a partition that is not placed has a node")
	}
}

// clustered gives the catalogue of a meta node with three nodes.
func clustered(t *testing.T) *Catalogue {
	t.Helper()
	c := NewCatalogue()
	apply(t, c, c.Adopt([]uint16{1, 2, 3}, 1, 77)...)
	return c
}

// change plans and applies a change of a cluster.
func change(t *testing.T, c *Catalogue, planned CatalogueRecord, err error) CatalogueRecord {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	r := c.InCluster(planned, []uint16{1, 2, 3})
	if err := c.Next(&r); err != nil {
		t.Fatal(err)
	}
	apply(t, c, r)
	return r
}

func makeTopic(t *testing.T, c *Catalogue, name string, partitions int) CatalogueRecord {
	t.Helper()
	r, err := c.Create(name, TopicConfig{Partitions: partitions}, 99)
	return change(t, c, r, err)
}

func removeTopic(t *testing.T, c *Catalogue, name string) CatalogueRecord {
	t.Helper()
	r, err := c.Delete(name)
	return change(t, c, r, err)
}

func TestCatalogueOfACluster(t *testing.T) {
	c := clustered(t)
	groups, began := c.Groups()
	if began != 77 || groups != Place([]uint16{1, 2, 3}, GroupsPartitions, 0) || c.Version() != 1 {
		t.Fatalf("groups %v since %d, version %d", groups.Nodes(), began, c.Version())
	}
	if again := c.Adopt([]uint16{1, 2}, 2, 78); again != nil {
		t.Errorf("Adopt of a cluster's catalogue plans %+v", again)
	}
	makeTopic(t, c, "a", 4)
	makeTopic(t, c, "b", 2)
	removeTopic(t, c, "a")
	makeTopic(t, c, "c", 1)
	for name, want := range map[string][]uint16{"b": {2, 3}, "c": {1}} {
		if topic, _ := c.ByName(name); !slices.Equal(topic.Placement.Nodes(), want) {
			t.Errorf("%s is on %v, want %v", name, topic.Placement.Nodes(), want)
		}
	}
	if c.Version() != 5 {
		t.Errorf("version %d after five changes", c.Version())
	}
	again := NewCatalogue()
	apply(t, again, c.Snapshot()...)
	if !reflect.DeepEqual(again, c) {
		t.Errorf("replayed %+v, want %+v", again.Snapshot(), c.Snapshot())
	}
	r := CatalogueRecord{Kind: CatalogueDeleted, ID: 20, Version: 7}
	wantCode(t, "a change that skips one", c.Next(&r), CodeOutOfSequence)
	r.Version = 5
	wantCode(t, "a change that is there already", c.Next(&r), CodeOutOfSequence)
	r.Version = 1
	wantCode(t, "a change before any snapshot", NewCatalogue().Next(&r), CodeOutOfSequence)
	r = CatalogueRecord{Kind: CatalogueCreated, ID: 20, Version: 6, Name: "n"}
	wantCode(t, "a topic without placement", c.Next(&r), CodeCorrupt)
	r = CatalogueRecord{Kind: CataloguePlaced, ID: 17, Version: 6, Placement: everywhere(1, 2)}
	wantCode(t, "a topic placed later", c.Next(&r), CodeCorrupt)
}

// TestAdopt: a folder with topics becomes that of a meta node. Topics and groups stay where they are,
// wherever a crash cuts the changes.
func TestAdopt(t *testing.T) {
	for crash := range 4 {
		c := NewCatalogue()
		create(t, c, "a", TopicConfig{Partitions: 2})
		create(t, c, "b", TopicConfig{})
		before := c.Snapshot()
		records := c.Adopt([]uint16{1, 2, 3}, 1, 77)
		if len(records) != 3 {
			t.Fatalf("plans %+v", records)
		}
		log := append(before, records[:crash]...)
		again := NewCatalogue()
		apply(t, again, log...)
		apply(t, again, again.Adopt([]uint16{1, 2, 3}, 1, 78)...)
		for _, name := range []string{"a", "b", GroupsTopic} {
			topic, _ := again.ByName(name)
			if topic.Placement != everywhere(1, topic.Config.Partitions) {
				t.Errorf("crash at %d: %s is on %v", crash, name, topic.Placement.Nodes())
			}
		}
		if again.Version() != 3 {
			t.Errorf("crash at %d: version %d, want 3", crash, again.Version())
		}
		apply(t, again, log...) // replayed once more: nothing changes
		if topic, _ := again.ByName("a"); topic.Placement == "" {
			t.Errorf("crash at %d: a record without placement took the placement away", crash)
		}
	}
}

// TestFollow: a catalogue that follows the meta node's, by snapshots and single changes, with crashes
// between any two records, ends as the same.
func TestFollow(t *testing.T) {
	for seed := range int64(200) {
		random := rand.New(rand.NewSource(seed))
		meta := clustered(t)
		follower := NewCatalogue()
		var log []CatalogueRecord // of the follower
		store := func(records ...CatalogueRecord) {
			for _, r := range records {
				decoded, err := DecodeCatalogueRecord(r.Encode(nil))
				if err != nil || decoded != r {
					t.Fatalf("LEAT_SEED=%d: decoded %+v, %v; want %+v", seed, decoded, err, r)
				}
				log = append(log, r)
				apply(t, follower, r)
			}
		}
		for range 40 {
			name := fmt.Sprint("t", random.Intn(6))
			r, err := meta.Create(name, TopicConfig{Partitions: 1 + random.Intn(3)}, random.Int63())
			if err != nil && random.Intn(2) == 0 {
				r, err = meta.Alter(name, TopicChange{RetentionBytes: new(random.Int63()), MaxRecordBytes: new(1 << 10)})
			} else if err != nil {
				r, err = meta.Delete(name)
			}
			r = change(t, meta, r, err)
			switch random.Intn(4) {
			case 0: // away
			case 1, 2:
				if follower.Next(&r) == nil {
					store(r)
					continue
				}
				fallthrough
			case 3:
				records, err := follower.Follow(meta.Snapshot())
				if err != nil {
					t.Fatalf("LEAT_SEED=%d: %v", seed, err)
				}
				store(records[:random.Intn(len(records)+1)]...) // then it crashes
				follower = NewCatalogue()
				apply(t, follower, log...)
			}
		}
		records, err := follower.Follow(meta.Snapshot())
		if err != nil {
			t.Fatalf("LEAT_SEED=%d: %v", seed, err)
		}
		store(records...)
		if !reflect.DeepEqual(follower, meta) {
			t.Fatalf("LEAT_SEED=%d: follower %+v, want %+v", seed, follower.Snapshot(), meta.Snapshot())
		}
		if records, err := follower.Follow(meta.Snapshot()); err != nil || len(records) > 0 {
			t.Fatalf("LEAT_SEED=%d: the same snapshot again plans %+v, %v", seed, records, err)
		}
	}
}

// TestFollowRefuses: what could delete topics by mistake is refused, and nothing is planned.
func TestFollowRefuses(t *testing.T) {
	old := clustered(t)
	makeTopic(t, old, "a", 2)
	current := NewCatalogue()
	apply(t, current, old.Snapshot()...)
	makeTopic(t, current, "b", 1)
	other := NewCatalogue()
	apply(t, other, other.Adopt([]uint16{1, 2, 3}, 1, 78)...)
	for range 20 {
		makeTopic(t, other, "x", 1)
		removeTopic(t, other, "x")
	}
	own := NewCatalogue()
	create(t, own, "mine", TopicConfig{})
	another := clustered(t)
	makeTopic(t, another, "z", 2)
	makeTopic(t, another, "y", 1)
	unplaced := append(clustered(t).Snapshot(), CatalogueRecord{Kind: CatalogueCreated, ID: 16, Name: "u",
		Config: TopicConfig{}.WithDefaults()})
	torn := append(old.Snapshot(), CatalogueRecord{Kind: CatalogueCreated, ID: 40, Name: "a",
		Config: TopicConfig{}.WithDefaults(), Placement: everywhere(1, 1)})
	tests := []struct {
		what     string
		follower *Catalogue
		snapshot []CatalogueRecord
		want     Code
	}{
		{"an older state", current, old.Snapshot(), CodeWrongNode},
		{"a cluster begun again", current, other.Snapshot(), CodeWrongNode},
		{"a node that is alone", current, NewCatalogue().Snapshot(), CodeWrongNode},
		{"nothing", NewCatalogue(), nil, CodeWrongNode},
		{"a folder with topics of its own", own, current.Snapshot(), CodeWrongNode},
		{"another topic under an id", current, another.Snapshot(), CodeWrongNode},
		{"a topic without placement", NewCatalogue(), unplaced, CodeCorrupt},
		{"two topics of one name", NewCatalogue(), torn, CodeCorrupt},
	}
	for _, tt := range tests {
		before := tt.follower.Snapshot()
		records, err := tt.follower.Follow(tt.snapshot)
		wantCode(t, tt.what, err, tt.want)
		if len(records) > 0 || !reflect.DeepEqual(before, tt.follower.Snapshot()) {
			t.Errorf("%s: planned %+v", tt.what, records)
		}
	}
}

func TestPlacedRefusesContradictions(t *testing.T) {
	c := clustered(t)
	makeTopic(t, c, "a", 2)
	placed := CatalogueRecord{Kind: CataloguePlaced, ID: 16, Config: TopicConfig{Partitions: 2},
		Placement: NewPlacement([]uint16{1, 2})}
	groups := c.Snapshot()[0]
	with := func(change func(*CatalogueRecord)) CatalogueRecord {
		r := placed
		change(&r)
		return r
	}
	tests := map[string]CatalogueRecord{
		"another placement": with(func(r *CatalogueRecord) { r.Placement = everywhere(9, 2) }),
		"fewer partitions": with(func(r *CatalogueRecord) {
			r.Config.Partitions, r.Placement = 1, everywhere(1, 1)
		}),
		"no placement":   with(func(r *CatalogueRecord) { r.Config.Partitions, r.Placement = 0, "" }),
		"a node 0":       with(func(r *CatalogueRecord) { r.Placement = NewPlacement([]uint16{1, 0}) }),
		"another number": with(func(r *CatalogueRecord) { r.Config.Partitions = 3 }),
		"a name":         with(func(r *CatalogueRecord) { r.Name = "a" }),
		"a time":         with(func(r *CatalogueRecord) { r.Time = 1 }),
		"the catalogue itself": with(func(r *CatalogueRecord) {
			r.ID, r.Config.Partitions, r.Placement = MetaTopicID, 1, everywhere(1, 1)
		}),
		"groups of another time": {Kind: CataloguePlaced, ID: GroupTopicID, Config: groups.Config,
			Placement: groups.Placement, Time: 1},
		"a created one, half placed": {Kind: CatalogueCreated, ID: 30, Name: "n",
			Config: TopicConfig{Partitions: 2}.WithDefaults(), Placement: everywhere(1, 1)},
	}
	before := c.Snapshot()
	for what, r := range tests {
		wantCode(t, what, c.Apply(r), CodeCorrupt)
	}
	if after := c.Snapshot(); !reflect.DeepEqual(after, before) {
		t.Errorf("the catalogue changed to %+v", after)
	}
	apply(t, c, placed, with(func(r *CatalogueRecord) { r.ID = 99 }))
	if r, err := c.Create("next", TopicConfig{}, 1); err != nil || r.ID != 100 {
		t.Errorf("behind a placed id 99 comes %d, %v", r.ID, err)
	}
}

func TestDecodeClusterRecordRefuses(t *testing.T) {
	created := sampleCatalogueRecords()["catalogue-created-in-cluster.hex"]
	good := created.Encode(nil)
	set := func(at int, v ...byte) func([]byte) []byte {
		return func(p []byte) []byte { copy(p[at:], v); return p }
	}
	tests := []struct {
		what   string
		change func([]byte) []byte
		want   Code
	}{
		{"as it is", set(0), 0},
		{"version 1", set(0, 1), CodeCorrupt},
		{"version 5", set(0, 5), CodeVersionTooNew},
		{"version 3", set(0, 3), CodeCorrupt},
		{"unknown flag", set(45, 5), CodeCorrupt},
		{"no age behind the flag", set(45, 3), CodeCorrupt},
		{"reserved byte", set(46, 1), CodeCorrupt},
		{"longer name", set(2, 8), CodeCorrupt},
		{"name beyond the end", set(2, 255, 255), CodeCorrupt},
		{"more partitions", set(4, 4), CodeCorrupt},
		{"half a node", func(p []byte) []byte { return append(p, 1) }, CodeCorrupt},
		{"a node more", func(p []byte) []byte { return append(p, 1, 0) }, CodeCorrupt},
		{"node 0", set(len(good)-2, 0, 0), CodeCorrupt},
	}
	for _, tt := range tests {
		_, err := DecodeCatalogueRecord(tt.change(bytes.Clone(good)))
		wantCode(t, tt.what, err, tt.want)
	}
	for n := range len(good) {
		if n == len(good)-2*3 {
			continue // a topic of a cluster that is placed by a record of its own
		}
		_, err := DecodeCatalogueRecord(good[:n])
		wantCode(t, fmt.Sprintf("cut to %d bytes", n), err, CodeCorrupt)
	}
}

package core

import (
	"bytes"
	"fmt"
	"math"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// create plans and applies a topic, as the shell does once the record is stored.
func create(t *testing.T, c *Catalogue, name string, cfg TopicConfig) uint64 {
	t.Helper()
	r, err := c.Create(name, cfg, 99)
	if err != nil {
		t.Fatalf("Create(%q) = %v", name, err)
	}
	apply(t, c, r)
	return r.ID
}

func drop(t *testing.T, c *Catalogue, name string) {
	t.Helper()
	r, err := c.Delete(name)
	if err != nil {
		t.Fatalf("Delete(%q) = %v", name, err)
	}
	apply(t, c, r)
}

func apply(t *testing.T, c *Catalogue, records ...CatalogueRecord) {
	t.Helper()
	for _, r := range records {
		if err := c.Apply(r); err != nil {
			t.Fatalf("Apply(%+v) = %v", r, err)
		}
	}
}

func names(c *Catalogue) []string {
	var list []string
	for _, topic := range c.List() {
		list = append(list, topic.Name)
	}
	return list
}

func TestCatalogueInternalTopics(t *testing.T) {
	c := NewCatalogue()
	for name, want := range map[string]struct {
		id         uint64
		partitions int
		level      Ack // as docs/format.md says
	}{"__meta": {1, 1, AckDisk}, "__groups": {2, 16, AckPage}, "__delay": {3, 1, AckPage}} {
		topic, ok := c.ByName(name)
		if !ok || topic.ID != want.id || topic.Config.Partitions != want.partitions || !topic.Internal() {
			t.Errorf("ByName(%q) = %+v, %v", name, topic, ok)
		}
		if topic.Config.Ack != want.level || topic.Config.Retention != KeepForever ||
			topic.Config.RetentionBytes != 0 || topic.Config.RetentionRecords != 0 ||
			topic.Config.Validate(name) != nil {
			t.Errorf("%s: config %+v", name, topic.Config)
		}
		_, err := c.Delete(name)
		wantCode(t, "Delete "+name, err, CodeInvalidName)
		_, err = c.Create(name, TopicConfig{}, 1)
		wantCode(t, "Create "+name, err, CodeInvalidName)
	}
	if got := c.Snapshot(); !reflect.DeepEqual(got, []CatalogueRecord{{Kind: CatalogueMark, ID: FirstTopicID}}) {
		t.Errorf("Snapshot of an empty catalogue = %+v", got)
	}
}

func TestCatalogueLife(t *testing.T) {
	c := NewCatalogue()
	planned, err := c.Create("trades", TopicConfig{Partitions: 4}, 99)
	if err != nil || planned.ID != FirstTopicID {
		t.Fatalf("Create = %+v, %v", planned, err)
	}
	if _, ok := c.ByName("trades"); ok {
		t.Error("Create changed the catalogue before Apply")
	}
	apply(t, c, planned, planned)
	want := Topic{ID: 16, Name: "trades", Config: TopicConfig{Partitions: 4}.WithDefaults(), Created: 99}
	if got, ok := c.ByID(16); !ok || got != want || got.Internal() {
		t.Errorf("ByID(16) = %+v, %v; want %+v", got, ok, want)
	}
	create(t, c, "Alpha", TopicConfig{})
	if got := names(c); !slices.Equal(got, []string{"Alpha", "__delay", "__groups", "__meta", "trades"}) {
		t.Errorf("List = %v", got)
	}
	drop(t, c, "trades")
	for _, ok := range []bool{has(c.ByName("trades")), has(c.ByID(16))} {
		if ok {
			t.Error("a deleted topic is found")
		}
	}
	if id := create(t, c, "trades", TopicConfig{}); id != 18 {
		t.Errorf("id of the second trades = %d, want 18", id)
	}
}

func has(_ Topic, ok bool) bool { return ok }

func TestCatalogueRefuses(t *testing.T) {
	c := NewCatalogue()
	create(t, c, "trades", TopicConfig{})
	tests := []struct {
		name string
		cfg  TopicConfig
		want Code
	}{
		{"trades", TopicConfig{}, CodeTopicExists},
		{"trades", TopicConfig{Partitions: 9}, CodeTopicExists},
		{"../x", TopicConfig{}, CodeInvalidName},
		{"", TopicConfig{}, CodeInvalidName},
		{"x", TopicConfig{Partitions: -1}, CodeInvalidConfig},
		{"x", TopicConfig{Ack: AckQuorum}, CodeLevelUnavailable},
	}
	for _, tt := range tests {
		_, err := c.Create(tt.name, tt.cfg, 1)
		wantCode(t, fmt.Sprintf("Create(%q, %+v)", tt.name, tt.cfg), err, tt.want)
		if HintFor(err) == "" {
			t.Errorf("Create(%q, %+v): no hint", tt.name, tt.cfg)
		}
	}
	_, err := c.Delete("nothing")
	wantCode(t, "Delete", err, CodeTopicNotFound)
	if id := create(t, c, "y", TopicConfig{}); id != 17 {
		t.Errorf("id after refusals = %d, want 17", id)
	}
}

// TestSnapshotKeepsIDsUsed: the highest id is deleted before the snapshot, and stays used after it.
func TestSnapshotKeepsIDsUsed(t *testing.T) {
	c := NewCatalogue()
	for _, name := range []string{"a", "b", "c"} {
		create(t, c, name, TopicConfig{})
	}
	drop(t, c, "c")
	drop(t, c, "a")
	again := NewCatalogue()
	apply(t, again, c.Snapshot()...)
	if !reflect.DeepEqual(again, c) {
		t.Errorf("replayed %+v, want %+v", again.List(), c.List())
	}
	if id := create(t, again, "d", TopicConfig{}); id != 19 {
		t.Errorf("id after the snapshot = %d, want 19", id)
	}
}

func TestApplyRefusesContradictions(t *testing.T) {
	c := NewCatalogue()
	create(t, c, "a", TopicConfig{})
	good, err := c.Create("b", TopicConfig{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*CatalogueRecord){
		"another topic's id":   func(r *CatalogueRecord) { r.ID = FirstTopicID },
		"another topic's name": func(r *CatalogueRecord) { r.Name = "a" },
		"internal id":          func(r *CatalogueRecord) { r.ID = 2 },
		"last id":              func(r *CatalogueRecord) { r.ID = math.MaxUint64 },
		"reserved name":        func(r *CatalogueRecord) { r.Name = "__x" },
		"bad configuration":    func(r *CatalogueRecord) { r.Config.Partitions = 0 },
		"no level":             func(r *CatalogueRecord) { r.Config.Ack = AckDefault },
		"unknown level":        func(r *CatalogueRecord) { r.Config.Ack = ackEnd },
		"unknown kind":         func(r *CatalogueRecord) { r.Kind = 9 },
		"no kind":              func(r *CatalogueRecord) { r.Kind = 0 },
		"a deletion with more": func(r *CatalogueRecord) { r.Kind = CatalogueDeleted },
		"a mark with more":     func(r *CatalogueRecord) { r.Kind = CatalogueMark },
		"deletion of internal": func(r *CatalogueRecord) { *r = CatalogueRecord{Kind: CatalogueDeleted, ID: 1} },
	}
	before := c.Snapshot()
	for what, change := range tests {
		r := good
		change(&r)
		wantCode(t, what, c.Apply(r), CodeCorrupt)
		if after := c.Snapshot(); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the catalogue changed to %+v", what, after)
		}
	}
	apply(t, c, good)
}

// TestCatalogueAlter: what is nil stays, 0 is the default, and what cannot be is refused by field.
func TestCatalogueAlter(t *testing.T) {
	c := NewCatalogue()
	cfg := TopicConfig{Partitions: 4, RetentionBytes: 5, MaxRecordBytes: 6}
	id := create(t, c, "a", cfg)
	cfg = cfg.WithDefaults()
	steps := []struct {
		change TopicChange
		age    time.Duration
		retain int64
		count  int64
		most   int
	}{
		{TopicChange{}, DefaultRetention, 5, 0, 6},
		{TopicChange{RetentionBytes: new(int64(7))}, DefaultRetention, 7, 0, 6},
		{TopicChange{MaxRecordBytes: new(8)}, DefaultRetention, 7, 0, 8},
		{TopicChange{RetentionBytes: new(int64(0)), MaxRecordBytes: new(0)}, DefaultRetention, 0, 0,
			DefaultRecordBytes},
		{TopicChange{Retention: new(time.Hour), RetentionRecords: new(int64(9))}, time.Hour, 0, 9,
			DefaultRecordBytes},
		{TopicChange{Retention: new(KeepForever)}, KeepForever, 0, 9, DefaultRecordBytes},
		{TopicChange{RetentionRecords: new(int64(0))}, KeepForever, 0, 0, DefaultRecordBytes},
		{TopicChange{Retention: new(time.Duration(0))}, DefaultRetention, 0, 0, DefaultRecordBytes},
	}
	for _, step := range steps {
		before, _ := c.ByID(id)
		r, err := c.Alter("a", step.change)
		if err != nil {
			t.Fatal(err)
		}
		if now, _ := c.ByID(id); now != before {
			t.Fatalf("Alter changed the catalogue to %+v before Apply", now)
		}
		apply(t, c, r, r)
		cfg.RetentionBytes, cfg.MaxRecordBytes = step.retain, step.most
		cfg.Retention, cfg.RetentionRecords = step.age, step.count
		if got, _ := c.ByName("a"); got.Config != cfg {
			t.Errorf("after %+v: %+v, want %+v", step.change, got.Config, cfg)
		}
	}
	for want, change := range map[string]TopicChange{
		"RetentionBytes -1: want 0 or more":           {RetentionBytes: new(int64(-1))},
		"RetentionRecords -1: want 0 or more":         {RetentionRecords: new(int64(-1))},
		"Retention 1ms: want 1s or more":              {Retention: new(time.Millisecond)},
		"MaxRecordBytes 16777217: want 1 to 16777216": {MaxRecordBytes: new(MaxRecordBytes + 1)},
	} {
		_, err := c.Alter("a", change)
		wantCode(t, want, err, CodeInvalidConfig)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	_, err := c.Alter("b", TopicChange{})
	wantCode(t, "Alter of an unknown topic", err, CodeTopicNotFound)
	_, err = c.Alter("__meta", TopicChange{})
	wantCode(t, "Alter of an internal topic", err, CodeInvalidName)
}

// TestAlteredRecords: a change of a topic that is gone counts for the ids only, and one that cannot be is
// damage.
func TestAlteredRecords(t *testing.T) {
	c := NewCatalogue()
	id := create(t, c, "a", TopicConfig{})
	drop(t, c, "a")
	late := CatalogueRecord{Kind: CatalogueAltered, ID: id + 5,
		Config: TopicConfig{Retention: KeepForever, MaxRecordBytes: 1}}
	apply(t, c, late)
	if next := create(t, c, "b", TopicConfig{}); next != id+6 {
		t.Errorf("the next id is %d: a change of %d was seen", next, id+5)
	}
	for what, config := range map[string]TopicConfig{
		"no record limit":         {},
		"a record limit too high": {MaxRecordBytes: MaxRecordBytes + 1},
		"partitions":              {MaxRecordBytes: 1, Partitions: 1},
		"a level":                 {MaxRecordBytes: 1, Ack: AckDisk},
		"negative retention":      {MaxRecordBytes: 1, RetentionBytes: -1},
		"negative count":          {MaxRecordBytes: 1, RetentionRecords: -1},
		"no age":                  {MaxRecordBytes: 1, Retention: -KeepForever},
	} {
		config.Retention += KeepForever
		late.Config = config
		wantCode(t, "altered with "+what, c.Apply(late), CodeCorrupt)
	}
}

// TestCatalogueReplay: random lives are logged with snapshots in between; replay from the start,
// and from shortly before any snapshot, gives the same catalogue, also with a level of the future.
func TestCatalogueReplay(t *testing.T) {
	for seed := range int64(300) {
		random := rand.New(rand.NewSource(seed))
		c := NewCatalogue()
		var log []CatalogueRecord
		starts := []int{0}
		for range 60 {
			name := fmt.Sprint("t", random.Intn(8))
			r, err := c.Create(name, TopicConfig{Partitions: 1 + random.Intn(3)}, random.Int63())
			if err != nil && random.Intn(2) == 0 {
				r, err = c.Alter(name, randomChange(random))
			} else if err != nil {
				r, err = c.Delete(name)
			}
			if err != nil {
				t.Fatal(err)
			}
			apply(t, c, r)
			log = append(log, r)
			if random.Intn(10) == 0 {
				starts = append(starts, max(0, len(log)-random.Intn(5)))
				log = append(log, c.Snapshot()...)
			}
		}
		for _, start := range starts {
			again := NewCatalogue()
			for _, r := range log[start:] {
				decoded, err := DecodeCatalogueRecord(r.Encode(nil))
				if err != nil || decoded != r {
					t.Fatalf("LEAT_SEED=%d: decoded %+v, %v; want %+v", seed, decoded, err, r)
				}
				apply(t, again, decoded)
			}
			if !reflect.DeepEqual(again, c) {
				t.Fatalf("LEAT_SEED=%d: from %d: %+v, want %+v", seed, start, again.Snapshot(), c.Snapshot())
			}
		}
	}
}

func randomChange(random *rand.Rand) TopicChange {
	var change TopicChange
	if random.Intn(2) == 0 {
		change.RetentionBytes = new(random.Int63n(1 << 30))
	}
	if random.Intn(2) == 0 {
		change.Retention = new(time.Duration(random.Intn(4)-1) * time.Hour)
		if *change.Retention < 0 {
			*change.Retention = KeepForever
		}
	}
	if random.Intn(2) == 0 {
		change.RetentionRecords = new(random.Int63n(3))
	}
	if random.Intn(2) == 0 {
		change.MaxRecordBytes = new(random.Intn(MaxRecordBytes + 1))
	}
	if random.Intn(2) == 0 {
		change.TTL = new(time.Duration(random.Intn(3)) * MinTTL)
	}
	if random.Intn(2) == 0 {
		change.DedupWindow = new(time.Duration(random.Intn(3)) * MinDedupWindow)
	}
	return change
}

func sampleCatalogueRecords() map[string]CatalogueRecord {
	return map[string]CatalogueRecord{
		"catalogue-created.hex": {Kind: CatalogueCreated, ID: 0x0102030405060708, Time: 0x1112131415161718,
			Name: "trades", Config: TopicConfig{Partitions: 0x2122, Ack: AckPage, Retention: KeepForever,
				RetentionBytes: 0x3132333435363738, SegmentBytes: 1 << 20, MaxRecordBytes: 0x414243}},
		"catalogue-deleted.hex": {Kind: CatalogueDeleted, ID: 17},
		"catalogue-mark.hex":    {Kind: CatalogueMark, ID: 18},
		"catalogue-altered.hex": {Kind: CatalogueAltered, ID: 19,
			Config: TopicConfig{Retention: KeepForever, RetentionBytes: 0x5152535455565758, MaxRecordBytes: 0x616263}},
		"catalogue-created-keeps.hex": {Kind: CatalogueCreated, ID: 0x0102030405060708,
			Time: 0x1112131415161718, Name: "trades", Version: 0x5152535455565758,
			Config: TopicConfig{Partitions: 3, Ack: AckPage, Cleanup: CleanupCompact, Retention: 0x7172737475767778,
				RetentionBytes: 0x3132333435363738, RetentionRecords: 0x0182838485868788,
				SegmentBytes: 1 << 20, MaxRecordBytes: 0x414243},
			Placement: NewPlacement([]uint16{2, 0x6162, 65535})},
		"catalogue-created-ttl.hex": {Kind: CatalogueCreated, ID: 0x0102030405060708, Time: 0x1112131415161718,
			Name: "ticks", Version: 0x5152535455565758,
			Config: TopicConfig{Partitions: 3, Ack: AckPage, Retention: DefaultRetention, TTL: 0x0172737475767778,
				DedupWindow: MaxDedupWindow, SegmentBytes: 1 << 20, MaxRecordBytes: 0x414243},
			Placement: NewPlacement([]uint16{2, 0x6162, 65535})},
		"catalogue-altered-ttl.hex": {Kind: CatalogueAltered, ID: 19, Config: TopicConfig{
			Retention: KeepForever, TTL: MinTTL, MaxRecordBytes: 0x616263}},
		"catalogue-altered-keeps.hex": {Kind: CatalogueAltered, ID: 19, Config: TopicConfig{
			Retention: DefaultRetention, RetentionRecords: 0x0182838485868788, MaxRecordBytes: 0x616263}},
		"catalogue-created-in-cluster.hex": {Kind: CatalogueCreated, ID: 0x0102030405060708,
			Time: 0x1112131415161718, Name: "trades", Version: 0x5152535455565758,
			Config: TopicConfig{Partitions: 3, Ack: AckPage, Retention: KeepForever,
				RetentionBytes: 0x3132333435363738, SegmentBytes: 1 << 20, MaxRecordBytes: 0x414243},
			Placement: NewPlacement([]uint16{2, 0x6162, 65535})},
		"catalogue-deleted-in-cluster.hex": {Kind: CatalogueDeleted, ID: 17, Version: 0x5152535455565758},
		"catalogue-mark-in-cluster.hex":    {Kind: CatalogueMark, ID: 18, Version: 0x5152535455565758},
		"catalogue-placed.hex": {Kind: CataloguePlaced, ID: 16, Version: 0x5152535455565758,
			Config: TopicConfig{Partitions: 2}, Placement: NewPlacement([]uint16{1, 2})},
		"catalogue-placed-groups.hex": {Kind: CataloguePlaced, ID: GroupTopicID, Time: 0x1112131415161718,
			Config:    TopicConfig{Partitions: GroupsPartitions},
			Placement: Place([]uint16{1, 2, 3}, GroupsPartitions, 0)},
	}
}

func TestCatalogueRecordGolden(t *testing.T) {
	for file, r := range sampleCatalogueRecords() {
		src := r.Encode(nil)
		goldenHex(t, file, src)
		if got, err := DecodeCatalogueRecord(src); err != nil || got != r {
			t.Errorf("%s: decoded %+v, %v; want %+v", file, got, err, r)
		}
		if got := r.Encode([]byte("before")); string(got) != "before"+string(src) {
			t.Errorf("%s: Encode does not append: %x", file, got)
		}
	}
}

func TestDecodeCatalogueRecordRefuses(t *testing.T) {
	created := sampleCatalogueRecords()["catalogue-created.hex"]
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
		{"a level of a newer version", set(44, byte(AckQuorum)), 0},
		{"version 0", set(0, 0), CodeCorrupt},
		{"version 5", set(0, 5), CodeVersionTooNew},
		{"version 5, shorter", func([]byte) []byte { return []byte{5} }, CodeVersionTooNew},
		{"version 4 with nothing of it", set(0, 4), CodeCorrupt},
		{"a time to live and no room for it", set(45, 4), CodeCorrupt},
		{"version 3 with nothing of it", set(0, 3), CodeCorrupt},
		{"an age and no room for it", set(45, 2), CodeCorrupt},
		{"in a cluster, without more", set(45, 1), CodeCorrupt},
		{"a kind of version 1 in version 2", set(0, 2), CodeCorrupt},
		{"kind 4 in version 1", set(1, 4), CodeCorrupt},
		{"kind 5", set(1, 5), CodeCorrupt},
		{"kind 4 with more", set(0, 2, 4), CodeCorrupt},
		{"shorter name", set(2, 5), CodeCorrupt},
		{"longer name", set(2, 7), CodeCorrupt},
		{"more bytes", func(p []byte) []byte { return append(p, 0) }, CodeCorrupt},
		{"no partitions", set(4, 0, 0), CodeCorrupt},
		{"negative partitions", set(4, 255, 255, 255, 255), CodeCorrupt},
		{"internal id", set(8, 15, 0, 0, 0, 0, 0, 0, 0), CodeCorrupt},
		{"negative retention", set(31, 0xff), CodeCorrupt},
		{"odd segment", set(32, 1), CodeCorrupt},
		{"negative record limit", set(40, 255, 255, 255, 255), CodeCorrupt},
		{"level 0", set(44, 0), CodeCorrupt},
		{"level 7", set(44, 7), CodeCorrupt},
		{"reserved byte", set(47, 1), CodeCorrupt},
		{"bad name", set(48, '/'), CodeCorrupt},
		{"reserved name", set(48, '_', '_'), CodeCorrupt},
	}
	for _, tt := range tests {
		_, err := DecodeCatalogueRecord(tt.change(bytes.Clone(good)))
		wantCode(t, tt.what, err, tt.want)
	}
	for n := range len(good) {
		_, err := DecodeCatalogueRecord(good[:n])
		wantCode(t, fmt.Sprintf("cut to %d bytes", n), err, CodeCorrupt)
	}
	long := created
	long.Name = strings.Repeat("x", MaxNameBytes)
	if got, err := DecodeCatalogueRecord(long.Encode(nil)); err != nil || got != long {
		t.Errorf("longest name: %+v, %v", got, err)
	}
}

// FuzzCatalogueRecord: no input panics; what decodes encodes to the same bytes and can be applied
// to an empty catalogue; refusals are corrupt or too new.
func FuzzCatalogueRecord(f *testing.F) {
	for _, r := range sampleCatalogueRecords() {
		f.Add(r.Encode(nil))
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1}, 60))
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := DecodeCatalogueRecord(src)
		if err != nil {
			if c := CodeOf(err); c != CodeCorrupt && c != CodeVersionTooNew {
				t.Fatalf("DecodeCatalogueRecord(%x) = %v", src, err)
			}
			return
		}
		if again := r.Encode(nil); !bytes.Equal(again, src) {
			t.Fatalf("encoded again: %x, want %x", again, src)
		}
		if err := NewCatalogue().Apply(r); err != nil {
			t.Fatalf("Apply(%+v) = %v", r, err)
		}
	})
}

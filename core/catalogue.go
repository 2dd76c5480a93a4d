package core

import (
	"maps"
	"slices"
	"strings"
)

// Topic is one topic of the catalogue.
type Topic struct {
	ID      uint64 // names the topic's folder; never reused
	Name    string
	Config  TopicConfig // without defaults
	Created int64       // nanoseconds since 1970, 0 for internal topics of a node that is alone
	// Placement is empty on a node that is alone, and for __meta, which every node has.
	Placement Placement
}

// Internal reports whether the topic is one of Leat's own.
func (t *Topic) Internal() bool { return t.ID < FirstTopicID }

// internalSegmentBytes keeps the internal topics small: their owners write a snapshot at each roll.
const internalSegmentBytes = 1 << 20

// delaySegmentBytes are larger: what waits may be gigabytes.
const delaySegmentBytes = 16 << 20

// Commits are published at the level of their data topic, so their own topic asks for the least.
func internalTopic(id uint64, name string, partitions int, level Ack) *Topic {
	config := TopicConfig{Partitions: partitions, Ack: level, SegmentBytes: internalSegmentBytes,
		Retention: KeepForever} // their owners cut them behind a snapshot, and nothing else does
	return &Topic{ID: id, Name: name, Config: config.WithDefaults()}
}

// Catalogue is the state machine of topics. Create, Alter and Delete only plan: they check and give the
// record of the change. The change happens in Apply, which the shell calls once the record is
// stored in __meta, one change after the other, and for every stored record when it opens.
//
// Invariant: names and ids are unique; an id is never given to a second topic, because the next id
// survives deletions and snapshots. The internal topics are always there, with fixed ids.
type Catalogue struct {
	byID   map[uint64]*Topic
	byName map[string]*Topic
	nextID uint64

	version uint64 // of a cluster's catalogue
}

// NewCatalogue holds the internal topics only.
func NewCatalogue() *Catalogue {
	c := &Catalogue{byID: make(map[uint64]*Topic), byName: make(map[string]*Topic), nextID: FirstTopicID}
	c.put(internalTopic(MetaTopicID, MetaTopic, 1, AckDisk))
	c.put(internalTopic(GroupTopicID, GroupsTopic, GroupsPartitions, AckPage))
	delay := internalTopic(DelayTopicID, DelayTopic, 1, AckPage)
	delay.Config.Cleanup, delay.Config.SegmentBytes, delay.Config.MaxRecordBytes = CleanupCompact,
		delaySegmentBytes, MaxRecordBytes
	c.put(delay)
	return c
}

func (c *Catalogue) put(t *Topic) { c.byID[t.ID], c.byName[t.Name] = t, t }

// Create plans a topic; what is zero in cfg gets its default. It changes nothing: store the record,
// then Apply it. Errors: CodeInvalidName, CodeInvalidConfig, CodeLevelUnavailable and, whatever the
// configuration, CodeTopicExists.
func (c *Catalogue) Create(name string, cfg TopicConfig, now int64) (CatalogueRecord, error) {
	cfg = cfg.WithDefaults()
	if err := ValidateName("topic", name); err != nil {
		return CatalogueRecord{}, err
	}
	if err := cfg.Validate(name); err != nil {
		return CatalogueRecord{}, err
	}
	if known, ok := c.byName[name]; ok {
		return CatalogueRecord{}, Errorf(CodeTopicExists, "create topic "+Quote(name), "its id is %d", known.ID)
	}
	return CatalogueRecord{Kind: CatalogueCreated, ID: c.nextID, Name: name, Config: cfg, Time: now}, nil
}

// Alter plans a change of what can change of a topic. It changes nothing: store the record, then Apply
// it. Errors: CodeInvalidName for internal topics, CodeTopicNotFound, CodeInvalidConfig.
func (c *Catalogue) Alter(name string, change TopicChange) (CatalogueRecord, error) {
	if err := ValidateName("topic", name); err != nil {
		return CatalogueRecord{}, err
	}
	known, ok := c.byName[name]
	if !ok {
		return CatalogueRecord{}, NewError(CodeTopicNotFound, "alter topic "+Quote(name), nil)
	}
	cfg := known.Config.Changed(change)
	if err := cfg.Validate(name); err != nil && CodeOf(err) != CodeLevelUnavailable {
		return CatalogueRecord{}, err
	}
	return CatalogueRecord{Kind: CatalogueAltered, ID: known.ID, Config: TopicConfig{}.withChangeable(cfg)}, nil
}

// Delete plans the end of a topic. It changes nothing: store the record, then Apply it. Errors:
// CodeInvalidName for internal topics, CodeTopicNotFound.
func (c *Catalogue) Delete(name string) (CatalogueRecord, error) {
	if err := ValidateName("topic", name); err != nil {
		return CatalogueRecord{}, err
	}
	known, ok := c.byName[name]
	if !ok {
		return CatalogueRecord{}, NewError(CodeTopicNotFound, "delete topic "+Quote(name), nil)
	}
	return CatalogueRecord{Kind: CatalogueDeleted, ID: known.ID}, nil
}

// Gone reports whether id was given to a topic that is deleted.
func (c *Catalogue) Gone(id uint64) bool {
	return id >= FirstTopicID && id < c.nextID && c.byID[id] == nil
}

// Apply makes a stored change. Applying a record again changes nothing, so that a log whose older
// part was replaced by a snapshot replays to the same catalogue. An error, CodeCorrupt, means that
// the records contradict each other; nothing was changed then.
func (c *Catalogue) Apply(r CatalogueRecord) error {
	if err := r.validate(); err != nil {
		return err
	}
	switch r.Kind {
	case CatalogueCreated:
		if err := c.applyCreated(&r); err != nil {
			return err
		}
	case CataloguePlaced:
		if err := c.applyPlaced(&r); err != nil {
			return err
		}
	case CatalogueDeleted:
		if t, ok := c.byID[r.ID]; ok {
			delete(c.byID, t.ID)
			delete(c.byName, t.Name)
		}
	case CatalogueAltered:
		if t, ok := c.byID[r.ID]; ok {
			t.Config = t.Config.withChangeable(r.Config)
		}
	case CatalogueMark:
		r.ID-- // it names the first id not given
	}
	c.nextID = max(c.nextID, r.ID+1)
	c.version = max(c.version, r.Version)
	return nil
}

func (c *Catalogue) applyCreated(r *CatalogueRecord) error {
	t := Topic{ID: r.ID, Name: r.Name, Config: r.Config, Created: r.Time, Placement: r.Placement}
	if known, ok := c.byID[r.ID]; ok {
		same := t
		same.Config = t.Config.withChangeable(known.Config)
		if t.Placement == "" || known.Placement == "" { // placed after it was created
			t.Placement = max(t.Placement, known.Placement)
			same.Placement = known.Placement
		}
		if *known != same {
			return corruptCatalogue("id %d is %s and again %s", r.ID, Quote(known.Name), Quote(r.Name))
		}
		*known = t // the last record counts for what can change
		return nil
	}
	if known, ok := c.byName[r.Name]; ok {
		return corruptCatalogue("topic %s has id %d and again %d", Quote(r.Name), known.ID, r.ID)
	}
	c.put(&t)
	return nil
}

// ByName finds a topic, internal ones too.
func (c *Catalogue) ByName(name string) (Topic, bool) { return found(c.byName[name]) }

// ByID finds a topic, internal ones too.
func (c *Catalogue) ByID(id uint64) (Topic, bool) { return found(c.byID[id]) }

func found(t *Topic) (Topic, bool) {
	if t == nil {
		return Topic{}, false
	}
	return *t, true
}

// List gives all topics, internal ones too, sorted by name.
func (c *Catalogue) List() []Topic {
	return c.sorted(func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
}

func (c *Catalogue) sorted(order func(a, b Topic) int) []Topic {
	list := make([]Topic, 0, len(c.byID))
	for t := range maps.Values(c.byID) {
		list = append(list, *t)
	}
	slices.SortFunc(list, order)
	return list
}

// Snapshot gives the records from which an empty catalogue becomes this one: the topics by id,
// then the mark that keeps the ids of deleted topics from being given again, and the version. Of the
// internal topics it has the placement of __groups, first.
func (c *Catalogue) Snapshot() []CatalogueRecord {
	var records []CatalogueRecord
	for _, t := range c.byAge() {
		switch {
		case !t.Internal():
			records = append(records, CatalogueRecord{Kind: CatalogueCreated, ID: t.ID, Name: t.Name,
				Config: t.Config, Time: t.Created, Placement: t.Placement})
		case t.Placement != "":
			records = append(records, CatalogueRecord{Kind: CataloguePlaced, ID: t.ID, Time: t.Created,
				Config: TopicConfig{Partitions: t.Config.Partitions}, Placement: t.Placement})
		}
	}
	return append(records, c.mark())
}

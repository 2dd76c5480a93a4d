package core

import "cmp"

// The methods of this file are what a catalogue does in a cluster. Node alone: version 0, no placement.

// Version numbers the catalogue of a cluster: it rises by one with each change, on all nodes alike. It is 0
// on a node that is alone.
func (c *Catalogue) Version() uint64 { return c.version }

// Groups gives the placement of __groups, which says where groups are coordinated, and when the cluster
// began, in nanoseconds since 1970. It is empty before that.
func (c *Catalogue) Groups() (placement Placement, began int64) {
	t := c.byID[GroupTopicID]
	return t.Placement, t.Created
}

// InCluster completes a planned change of a cluster: it gets the next version and, if it creates a topic,
// a placement over nodes. Dead letters are placed as the topic they are of, so that a record is buried on the
// node that has it.
func (c *Catalogue) InCluster(r CatalogueRecord, nodes []uint16) CatalogueRecord {
	r.Version = c.version + 1
	if r.Kind == CatalogueCreated {
		r.Placement = Place(nodes, r.Config.Partitions, c.lastPlaced())
		if t := c.deadLetterSource(r.Name, r.Config.Partitions); t != nil {
			r.Placement = t.Placement
		}
	}
	return r
}

// deadLetterSource finds the topic with so many partitions that a name is a dead-letter topic of.
func (c *Catalogue) deadLetterSource(name string, partitions int) *Topic {
	topic, _, ok := SplitDeadLetterName(name)
	for ; ok; topic, _, ok = SplitDeadLetterName(topic) {
		if t := c.byName[topic]; t != nil && t.Config.Partitions == partitions && t.Placement != "" {
			return t
		}
	}
	return nil
}

// lastPlaced is the node of the last partition of the youngest topic, 0 for none.
func (c *Catalogue) lastPlaced() uint16 {
	var youngest *Topic
	for _, t := range c.byID {
		if !t.Internal() && t.Placement != "" && (youngest == nil || t.ID > youngest.ID) {
			youngest = t
		}
	}
	if youngest == nil {
		return 0
	}
	return youngest.Placement.Node(int32(youngest.Config.Partitions) - 1)
}

// Adopt plans the changes by which the catalogue becomes that of a cluster whose meta node is self: its
// topics stay where they are, on self, and so do the commits of their groups; without topics, groups are
// spread over nodes. The changes are to be stored and applied in order; what a crash left out, the next call
// plans. It gives nothing for the catalogue of a cluster.
func (c *Catalogue) Adopt(nodes []uint16, self uint16, now int64) []CatalogueRecord {
	var records []CatalogueRecord
	version := c.version
	add := func(r CatalogueRecord) {
		version++
		r.Kind, r.Version = CataloguePlaced, version
		r.Config.Partitions = r.Placement.Partitions()
		records = append(records, r)
	}
	groups := Place(nodes, GroupsPartitions, 0)
	for _, t := range c.byAge() {
		if t.Internal() {
			continue
		}
		groups = everywhere(self, GroupsPartitions)
		if t.Placement == "" {
			add(CatalogueRecord{ID: t.ID, Placement: everywhere(self, t.Config.Partitions)})
		}
	}
	if placed, _ := c.Groups(); placed == "" {
		// Last, so that all topics are known to be of before.
		add(CatalogueRecord{ID: GroupTopicID, Placement: groups, Time: now})
	}
	return records
}

// Follow plans the changes that make the catalogue that of a snapshot, which the meta node took of its own.
// They are to be stored and applied in order; the version changes with the last, so what a crash left out
// comes again with the next snapshot. Topics that the snapshot does not have are deleted.
//
// Errors: CodeCorrupt if the snapshot contradicts itself, CodeWrongNode if it is that of another cluster or
// older than what is here: a meta node with an empty folder must not delete what the others have.
func (c *Catalogue) Follow(snapshot []CatalogueRecord) ([]CatalogueRecord, error) {
	want := NewCatalogue()
	for _, r := range snapshot {
		if err := want.Apply(r); err != nil {
			return nil, err
		}
	}
	if err := c.descends(want); err != nil {
		return nil, err
	}
	var records []CatalogueRecord
	for _, t := range c.byAge() {
		if _, kept := want.byID[t.ID]; !kept {
			records = append(records, CatalogueRecord{Kind: CatalogueDeleted, ID: t.ID})
		}
	}
	for _, r := range want.Snapshot() {
		known, ok := c.byID[r.ID]
		switch {
		case r.Kind == CatalogueMark:
		case !ok, r.Kind == CataloguePlaced && known.Placement == "":
			records = append(records, r)
		case r.Kind == CatalogueCreated && !known.sameAs(want.byID[r.ID]):
			return nil, Errorf(CodeWrongNode, "follow catalogue", "topic id %d is %s here and %s on the meta node",
				r.ID, Quote(known.Name), Quote(r.Name))
		case r.Kind == CatalogueCreated && known.Config != r.Config: // altered
			records = append(records, r)
		}
	}
	if len(records) > 0 || c.version != want.version || c.nextID != want.nextID {
		records = append(records, want.mark())
	}
	return records, nil
}

// sameAs reports whether two topics are one but for what can change.
func (t *Topic) sameAs(other *Topic) bool {
	same := *other
	same.Config = other.Config.withChangeable(t.Config)
	return *t == same
}

// descends checks that want is a later state of the same cluster's catalogue.
func (c *Catalogue) descends(want *Catalogue) error {
	const op = "follow catalogue"
	theirs, began := want.Groups()
	ours, since := c.Groups()
	switch {
	case theirs == "":
		return Errorf(CodeWrongNode, op, "the meta node is part of no cluster")
	case ours != "" && (ours != theirs || since != began):
		return Errorf(CodeWrongNode, op, "the cluster of the meta node began at %d, that of this folder at %d",
			began, since)
	case want.version < c.version:
		return Errorf(CodeWrongNode, op, "the meta node has version %d and this folder %d: was its folder "+
			"replaced by an older one?", want.version, c.version)
	case ours == "" && len(c.byID) > len(NewCatalogue().byID):
		return Errorf(CodeWrongNode, op, "this folder has topics of before the cluster")
	}
	for _, t := range want.byID {
		if !t.Internal() && t.Placement == "" {
			return corruptCatalogue("topic %s of a cluster without a placement", Quote(t.Name))
		}
	}
	return nil
}

// Next checks that a single change of the meta node is the one that follows: CodeOutOfSequence if not. A
// catalogue that has not followed a snapshot yet takes none.
func (c *Catalogue) Next(r *CatalogueRecord) error {
	placed, _ := c.Groups()
	switch {
	case placed == "" || r.Version != c.version+1:
		return Errorf(CodeOutOfSequence, "follow catalogue", "version %d behind %d", r.Version, c.version)
	case r.Kind == CataloguePlaced || r.Kind == CatalogueCreated && r.Placement == "":
		return corruptCatalogue("a change of kind %d without a placement from the start", r.Kind)
	}
	return nil
}

// byAge gives the topics by id, internal ones first.
func (c *Catalogue) byAge() []Topic {
	return c.sorted(func(a, b Topic) int { return cmp.Compare(a.ID, b.ID) })
}

func (c *Catalogue) mark() CatalogueRecord {
	return CatalogueRecord{Kind: CatalogueMark, ID: c.nextID, Version: c.version}
}

// applyPlaced places a topic that was created without. Of an unknown one nothing is left to place.
func (c *Catalogue) applyPlaced(r *CatalogueRecord) error {
	t, ok := c.byID[r.ID]
	switch {
	case !ok:
		return nil
	case t.Config.Partitions != r.Placement.Partitions():
		return corruptCatalogue("topic %d of %d partitions, placed %d",
			t.ID, t.Config.Partitions, r.Placement.Partitions())
	case t.Placement != "" && (t.Placement != r.Placement || t.Internal() && t.Created != r.Time):
		return corruptCatalogue("topic %d is placed again", t.ID)
	}
	placed := *t
	placed.Placement = r.Placement
	if t.Internal() {
		placed.Created = r.Time
	}
	c.put(&placed)
	return nil
}

// validatePlaced checks a record of kind placed.
func (r *CatalogueRecord) validatePlaced() error {
	plain := CatalogueRecord{Kind: CataloguePlaced, ID: r.ID, Version: r.Version, Placement: r.Placement,
		Config: TopicConfig{Partitions: r.Placement.Partitions()}}
	if r.ID == GroupTopicID {
		plain.Time = r.Time
	}
	wrong := r.ID == GroupTopicID && r.Config.Partitions != GroupsPartitions
	if *r != plain || wrong || !r.Placement.valid(r.Config.Partitions) {
		return corruptCatalogue("topic %d with a placement of %d partitions", r.ID, r.Placement.Partitions())
	}
	return nil
}

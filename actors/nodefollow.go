package actors

import "github.com/leatbus/leat/core"

// FollowCatalogue asks the node's actor to store and carry out what the meta node of the cluster has
// changed. With Snapshot, Records are its whole catalogue: topics that are not in it are deleted. Changes
// that are known already are passed over; one that skips a version is core.CodeOutOfSequence.
type FollowCatalogue struct {
	Records  []core.CatalogueRecord
	Snapshot bool
	Reply    Reply[Followed]
}

// Abandoned tells the caller that the actor stopped first.
func (m FollowCatalogue) Abandoned(err error) { m.Reply.Abandoned(err) }

// Followed is how far a node has followed.
type Followed struct {
	Version uint64
	Deleted []uint64 // ids of topics that went on the way
}

// ReadCatalogue asks the node's actor for records that rebuild its catalogue; the last is a mark, which
// has the version.
type ReadCatalogue struct {
	Reply Reply[[]core.CatalogueRecord]
}

// Abandoned tells the caller that the actor stopped first.
func (m ReadCatalogue) Abandoned(err error) { m.Reply.Abandoned(err) }

func (a *nodeActor) follow(records []core.CatalogueRecord, snapshot bool) (Followed, error) {
	var f Followed
	var err error
	if snapshot {
		if records, err = a.catalogue.Follow(records); err != nil {
			return f, err
		}
	}
	for i := range records {
		r := &records[i]
		if !snapshot {
			if r.Version <= a.catalogue.Version() {
				continue
			}
			if err := a.catalogue.Next(r); err != nil {
				return f, err
			}
		}
		if err := a.followOne(r, &f); err != nil {
			return f, err
		}
	}
	f.Version = a.catalogue.Version()
	return f, nil
}

// followOne stores one change and carries it out. What a partition or folder cannot do is reported and
// does not stop the others: the change itself is stored.
func (a *nodeActor) followOne(r *core.CatalogueRecord, f *Followed) error {
	_, known := a.catalogue.ByID(r.ID)
	if err := a.store(*r); err != nil {
		return err
	}
	a.shell.Changed(*r)
	topic, exists := a.catalogue.ByID(r.ID)
	switch {
	case r.Kind == core.CatalogueDeleted && known:
		f.Deleted = append(f.Deleted, r.ID)
		if err := a.remove(r.ID); err != nil {
			a.system.logger.Error("topic deleted in part", "id", r.ID, "err", err)
		}
	case r.Kind == core.CataloguePlaced && topic.Internal():
		if err := a.shell.PlaceGroups(topic.Placement); err != nil {
			a.system.logger.Error("groups opened in part", "err", err)
		}
	case r.Kind == core.CatalogueCreated && exists && !known:
		a.openInPart(topic)
	case r.Kind == core.CatalogueCreated && exists, r.Kind == core.CatalogueAltered:
		a.reconfigure(r.ID)
	}
	return nil
}

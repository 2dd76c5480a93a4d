package node

import (
	"context"
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// nameHolder is the producer that has a name. fence makes everything it publishes from then on fail with
// CodeProducerFenced, and waits until what it has in flight is answered or ctx ends. It may be called more
// than once.
type nameHolder interface{ fence(ctx context.Context) }

// names is who has which name (WithID) of which topic on this node. What must survive is stored in __groups,
// beside the commits: the instance that has the name and the epoch that fences those before it.
//
//	claim: turn taken ─▶ higher epoch stored on the disk ─▶ older holder fenced ─▶ holder set ─▶ turn given
//
// A name is kept until its topic is deleted, because an instance that comes back after a year must still
// be told that it was replaced. Their number is bounded by MaxProducerNames.
type names struct {
	mu      sync.Mutex // guards the following and what entries say
	entries map[nameKey]*nameEntry
}

type nameKey struct {
	topic uint64
	name  string
}

// nameEntry is one name. The turn belongs to whoever claims it, and is held across the disk and the fence;
// everything else is guarded by names.mu.
type nameEntry struct {
	turn     chan struct{} // capacity 1
	stored   core.ProducerName
	known    bool       // stored is on the disk
	part     *partition // of __groups, where it is stored
	holder   nameHolder // nil while nobody is there
	instance uint64     // of the holder
}

// claimName makes holder the producer of a name of a topic, and gives the epoch that it writes with on this
// node. instance names the producer over reconnects, 0 is a producer of this process, which never comes
// back; resume says that this node has answered the instance before. A new instance gets a new epoch, which
// is on the disk before it is answered, and an older holder is fenced; the newest instance, asking again,
// gets the same. A holder of the same instance is replaced and not called. A name that is not known here is
// new, whatever resume says.
//
// Errors: CodeProducerFenced if a newer instance has the name, CodeInvalidName, CodeLimited, CodeUnavailable
// while no partition of __groups is here, those of storing, and ctx's. After an error the holder has nothing.
func (n *Node) claimName(
	ctx context.Context, t *topic, name string, instance uint64, resume bool, holder nameHolder,
) (producerID int64, epoch int16, err error) {
	e, err := n.takeName(ctx, t, name)
	if err != nil {
		return 0, 0, err
	}
	defer e.giveTurn()
	now, known := n.names.get(e)
	switch {
	case known && instance != 0 && now.Instance == instance:
	case known && resume:
		return 0, 0, fencedName(t, name)
	default:
		next := core.ProducerName{Name: name, TopicID: t.id, Instance: instance,
			ProducerID: core.NamedProducerID(name)}
		if known {
			next.Epoch = core.NextProducerEpoch(now.Epoch)
		}
		if err := n.storeName(ctx, e, &next); err != nil {
			return 0, 0, err
		}
		now = next
	}
	if err := n.names.replace(ctx, e, instance, holder); err != nil {
		return 0, 0, err
	}
	if t.deleted.Load() {
		n.names.forget(t.id)
		return 0, 0, core.NewError(core.CodeTopicNotFound, t.op("publish to"), nil)
	}
	return now.ProducerID, now.Epoch, nil
}

// bumpName gives the instance that has a name a higher epoch, on the disk when it returns: for one whose
// records a power cut took, and which numbers anew. Errors: CodeProducerFenced if another instance has the
// name, those of storing, and ctx's.
func (n *Node) bumpName(
	ctx context.Context, t *topic, name string, instance uint64,
) (epoch int16, err error) {
	e, err := n.takeName(ctx, t, name)
	if err != nil {
		return 0, err
	}
	defer e.giveTurn()
	now, known := n.names.get(e)
	if !known || now.Instance != instance {
		return 0, fencedName(t, name)
	}
	now.Epoch = core.NextProducerEpoch(now.Epoch)
	if err := n.storeName(ctx, e, &now); err != nil {
		return 0, err
	}
	return now.Epoch, nil
}

// releaseName says that holder is gone: nobody needs to fence it. The name stays with its instance. It does
// not wait.
func (n *Node) releaseName(t *topic, name string, holder nameHolder) {
	n.names.mu.Lock()
	defer n.names.mu.Unlock()
	if e := n.names.entries[nameKey{t.id, name}]; e != nil && e.holder == holder {
		e.holder = nil
	}
}

func fencedName(t *topic, name string) error {
	return core.Errorf(core.CodeProducerFenced, t.op("publish to"), "another instance has the name %s",
		core.Quote(name))
}

// takeName finds the entry of a name, or makes one, and takes its turn.
func (n *Node) takeName(ctx context.Context, t *topic, name string) (*nameEntry, error) {
	if err := core.ValidateName("producer", name); err != nil {
		return nil, err
	}
	e, err := n.nameEntry(t, name)
	if err != nil {
		return nil, err
	}
	select {
	case e.turn <- struct{}{}:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.closing:
		return nil, core.NewError(core.CodeClosed, t.op("publish to"), nil)
	}
}

func (e *nameEntry) giveTurn() { <-e.turn }

func (n *Node) nameEntry(t *topic, name string) (*nameEntry, error) {
	s, key := &n.names, nameKey{t.id, name}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		return e, nil
	}
	if len(s.entries) >= core.MaxProducerNames {
		return nil, core.Errorf(core.CodeLimited, t.op("publish to"), "%d names of producers (WithID), at most %d",
			len(s.entries), core.MaxProducerNames)
	}
	part := n.partitionForName(name)
	if part == nil {
		return nil, core.Errorf(core.CodeUnavailable, t.op("publish to"),
			"no partition of %s is on this node, where the name %s could be stored", core.GroupsTopic,
			core.Quote(name))
	}
	return s.addLocked(key, part), nil
}

// partitionForName is where the record of a new name goes: one of the partitions of __groups that are here.
func (n *Node) partitionForName(name string) *partition {
	var here []*partition
	for _, p := range n.commits.topic.partitions {
		if p.here && p.log != nil {
			here = append(here, p)
		}
	}
	if len(here) == 0 {
		return nil
	}
	return here[routing.Hash([]byte(name))%uint64(len(here))]
}

func (s *names) addLocked(key nameKey, part *partition) *nameEntry {
	if s.entries == nil {
		s.entries = make(map[nameKey]*nameEntry)
	}
	e := &nameEntry{turn: make(chan struct{}, 1), part: part}
	s.entries[key] = e
	return e
}

func (s *names) get(e *nameEntry) (stored core.ProducerName, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.stored, e.known
}

// storeName makes next durable and then known. No snapshot of the partition may be under way between the
// two: it would hold the record from before, and cut away the new one.
func (n *Node) storeName(ctx context.Context, e *nameEntry, next *core.ProducerName) error {
	err := n.commits.whileNoCut(ctx, e.part.number, func() error {
		if err := n.commits.storeName(ctx, e.part, next); err != nil {
			return err
		}
		n.names.mu.Lock()
		defer n.names.mu.Unlock()
		e.stored, e.known = *next, true
		return nil
	})
	n.commits.cutIfRolled(e.part.number)
	return err
}

// replace fences the holder of another instance and puts holder in its place.
func (s *names) replace(ctx context.Context, e *nameEntry, instance uint64, holder nameHolder) error {
	s.mu.Lock()
	old := e.holder
	if instance != 0 && e.instance == instance {
		old = nil
	}
	s.mu.Unlock()
	if old != nil && old != holder {
		old.fence(ctx)
		if err := ctx.Err(); err != nil {
			return err // the old one stays, so that the next claim waits for it again
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.holder, e.instance = holder, instance
	return nil
}

// restoreName takes over a record stored in a partition of __groups, if its topic is still there.
func (n *Node) restoreName(p *partition, r *core.Record) error {
	stored, err := core.DecodeProducerName(r.Key, r.Value)
	if err != nil || n.topicWithID(stored.TopicID) == nil {
		return err
	}
	s := &n.names
	s.mu.Lock()
	defer s.mu.Unlock()
	key := nameKey{stored.TopicID, stored.Name}
	e := s.entries[key]
	if stored.Removed {
		if e != nil {
			delete(s.entries, key)
		}
		return nil
	}
	if e == nil {
		e = s.addLocked(key, p)
	}
	if !e.known || stored.Supersedes(&e.stored) {
		e.stored, e.known, e.part = stored, true, p
	}
	return nil
}

// live gives the names that are stored in a partition of __groups, for a snapshot.
func (s *names) live(p *partition) []core.ProducerName {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []core.ProducerName
	for _, e := range s.entries {
		if e.known && e.part == p {
			list = append(list, e.stored)
		}
	}
	return list
}

// forget drops the names of a deleted topic. The next snapshot leaves them out, and until then nobody
// looks at records of a topic that is not there: its id is never given again.
func (s *names) forget(topic uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.entries {
		if key.topic == topic {
			delete(s.entries, key)
		}
	}
}

package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
)

// queues is the queue groups of a node: those with members, and those of which __groups knows.
type queues struct {
	mu     sync.Mutex // guards the following
	groups map[queueKey]*queueGroup
	stored map[queueKey]*storedGroup // read from __groups, and not made a group yet
	closed bool
	tasks  sync.WaitGroup // groups that are ending
}

type queueKey struct {
	topic uint64
	name  string
}

// storedGroup is what a partition of __groups has of a group.
type storedGroup struct {
	part  *partition
	parts map[int32]*queueStored
}

// restoreQueue takes over a record of a partition of __groups, if its topic is still there.
func (n *Node) restoreQueue(p *partition, r *core.Record) error {
	record, err := core.DecodeQueueRecord(r.Key, r.Value)
	if err != nil {
		return err
	}
	t := n.topicWithID(record.TopicID)
	if t == nil || int(record.Partition) >= len(t.partitions) {
		return nil
	}
	s := &n.queues
	s.mu.Lock()
	defer s.mu.Unlock()
	key := queueKey{record.TopicID, record.Group}
	if s.stored == nil {
		s.stored = make(map[queueKey]*storedGroup)
	}
	g := s.stored[key]
	if g == nil {
		g = &storedGroup{part: p, parts: map[int32]*queueStored{}}
		s.stored[key] = g
	}
	part := g.parts[record.Partition]
	if part == nil {
		part = &queueStored{failed: map[int64]core.QueueRecord{}}
		g.parts[record.Partition] = part
	}
	part.apply(&record)
	return nil
}

// restored makes groups of what was read. It is called when a partition of __groups was read to its end.
func (s *queues) restored(n *Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for key, stored := range s.stored {
		g := n.newQueueGroup(n.topicWithID(key.topic), key.name, stored.part)
		for number, part := range stored.parts {
			if part.progress == nil && len(part.failed) == 0 {
				continue
			}
			p := g.topic.partitions[number]
			q, err := part.restore(p, core.QueueConfig{}, g.now())
			if err != nil {
				errs = append(errs, err)
				continue
			}
			g.parts = append(g.parts, &queuePart{part: p, q: q, written: true})
			g.restoreReasons(part.failed)
		}
		g.sortParts()
		if len(g.parts) > 0 {
			s.addLocked(key, g)
		}
	}
	s.stored = nil
	return errors.Join(errs...)
}

// restoreReasons brings back why records of the last partition are to become dead letters.
func (g *queueGroup) restoreReasons(failed map[int64]core.QueueRecord) {
	p := g.parts[len(g.parts)-1]
	p.q.Failures(func(offset, _ int64, _ int32, _ core.Code) { // others are settled, or not the record any more
		if r := failed[offset]; r.Reason != "" {
			g.reasons[recordRef{p, offset}] = r.Reason
		}
	})
}

func (s *queues) addLocked(key queueKey, g *queueGroup) {
	if s.groups == nil {
		s.groups = make(map[queueKey]*queueGroup)
	}
	s.groups[key] = g
}

func (g *queueGroup) sortParts() {
	slices.SortFunc(g.parts, func(a, b *queuePart) int { return cmp.Compare(a.part.number, b.part.number) })
}

func (n *Node) newQueueGroup(t *topic, name string, part *partition) *queueGroup {
	ctx, cancel := context.WithCancel(context.Background())
	return &queueGroup{ctx: ctx, cancel: cancel, node: n, topic: t, name: name, part: part,
		startAt: n.clock.Now() - n.clock.Mono(),
		sleeper: newSleeper(), turn: make(chan struct{}, 1), stop: make(chan struct{}),
		members: map[int64]*queueMember{}, reasons: map[recordRef]string{}, log: queueLog{round: 1}}
}

// queueGroup gives a group of a topic, or nil.
func (n *Node) queueGroup(t *topic, name string) *queueGroup {
	n.queues.mu.Lock()
	defer n.queues.mu.Unlock()
	return n.queues.groups[queueKey{t.id, name}]
}

// makeQueueGroup gives a group of a topic, and makes it if there is none.
func (n *Node) makeQueueGroup(t *topic, name string) (*queueGroup, error) {
	s, op := &n.queues, "join queue group "+core.Quote(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := queueKey{t.id, name}
	if s.closed {
		return nil, core.NewError(core.CodeClosed, op, nil)
	}
	if g := s.groups[key]; g != nil {
		return g, nil
	}
	if len(s.groups) >= core.MaxGroups {
		return nil, core.Errorf(core.CodeLimited, op, "%d queue groups, at most %d", len(s.groups), core.MaxGroups)
	}
	part := n.partitionForName(name)
	if part == nil {
		return nil, core.Errorf(core.CodeUnavailable, op, "no partition of %s is on this node, where its progress "+
			"could be stored", core.GroupsTopic)
	}
	g := n.newQueueGroup(t, name, part)
	s.addLocked(key, g)
	return g, nil
}

// joinQueue makes a member of a queue group on what this node has of a topic. The options have been checked.
// sleeper is woken when there is something to take.
//
// Errors: CodeConfigMismatch if the group has members that set something else, or is a stream group;
// CodeUnavailable, CodeLimited, those of the position to start at, and ctx's.
func (n *Node) joinQueue(
	ctx context.Context, t *topic, o *leat.SubscribeOptions, sleeper *sleeper,
) (*queueMember, error) {
	if _, err := core.DeadLetterName(t.name, o.Group); err != nil {
		return nil, err
	}
	if n.groups.Uses(o.Group, t.id) {
		return nil, modeMismatch(o.Group, t, core.GroupStream, o.Mode)
	}
	filter, err := readFilter(o.Filter)
	if err != nil {
		return nil, err
	}
	g, err := n.makeQueueGroup(t, o.Group)
	if err != nil {
		return nil, err
	}
	select { // nobody else begins the group, or writes about it
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	starts, err := g.startsAt(o.From)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.unlock()
	switch {
	case g.over != nil:
		return nil, g.over
	case len(g.members) > 0:
		if err := g.agrees(o); err != nil {
			return nil, err
		}
	default:
		if err := g.begin(o, filter, starts); err != nil {
			return nil, err
		}
	}
	g.ids++
	m := &queueMember{group: g, id: g.ids, name: fmt.Sprint("q", g.ids), max: int32(o.MaxHeld), sleeper: sleeper}
	g.members[m.id] = m
	g.nudge = true
	return m, nil
}

func modeMismatch(group string, t *topic, is, asked core.GroupMode) error {
	return core.Errorf(core.CodeConfigMismatch, t.op("join group "+core.Quote(group)+" on"),
		"it is a %v group, not a %v group: take another name, or delete the group first", is, asked)
}

// refuseStream says why a stream group cannot have a name: a queue group of the topic has it.
func (n *Node) refuseStream(t *topic, group string) error {
	if g := n.queueGroup(t, group); g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		return modeMismatch(group, t, max(g.mode, core.GroupQueue), core.GroupStream)
	}
	return nil
}

// startsAt resolves where partitions begin of which nothing is stored. The turn must be held.
func (g *queueGroup) startsAt(at leat.Position) (map[*partition]int64, error) {
	if at.Kind == core.PositionDefault {
		at = core.Earliest
	}
	starts := map[*partition]int64{}
	for _, p := range g.topic.local {
		if p.log == nil || slices.ContainsFunc(g.parts, func(q *queuePart) bool { return q.part == p }) {
			continue
		}
		from, err := p.resolve(at)
		if err != nil {
			return nil, err
		}
		starts[p] = from
	}
	return starts, nil
}

// agrees says why a member cannot join those that are there. The lock must be held.
func (g *queueGroup) agrees(o *leat.SubscribeOptions) error {
	if g.mode != o.Mode {
		return modeMismatch(g.name, g.topic, g.mode, o.Mode)
	}
	if field := g.cfg.Differs(&o.Queue); field != "" {
		return core.Errorf(core.CodeConfigMismatch, g.op("join"), "%s differs from that of its members", field)
	}
	return g.agreesOn(o.Filter)
}

// begin gives the group the configuration and filter of its first member. The lock must be held.
func (g *queueGroup) begin(o *leat.SubscribeOptions, f *filter.Filter, starts map[*partition]int64) error {
	g.mode, g.cfg, g.filter = o.Mode, o.Queue, f
	g.cfg.Ordered, g.cfg.Filtered = o.Mode == core.GroupKeyShared, f != nil
	g.cfg = g.cfg.WithDefaults()
	cfg, now := g.cfg, g.now()
	if cfg.Rate > 0 { // of this node
		local, all := int64(len(g.topic.local)), int64(len(g.topic.partitions))
		cfg.Rate = max((cfg.Rate*local+all-1)/all, 1)
	}
	for _, p := range g.parts {
		stored := queueStored{progress: p.q.EncodeProgress(nil), failed: map[int64]core.QueueRecord{}}
		p.q.Failures(func(offset, due int64, attempts int32, code core.Code) {
			stored.failed[offset] = core.QueueRecord{Offset: offset, Attempts: attempts, Due: due, Code: code}
		})
		q, err := stored.restore(p.part, cfg, now)
		if err != nil {
			return err
		}
		p.begin(q, now)
		p.written = false
	}
	for part, from := range starts {
		q := core.NewQueue(cfg, from, now, seedOf(part, now))
		p := &queuePart{part: part}
		p.begin(q, now)
		g.parts = append(g.parts, p)
		if g.running {
			part.readers.add(g.sleeper)
		}
	}
	if len(starts) > 0 {
		g.sortParts()
	}
	for _, p := range g.parts {
		p.q.ShareRate(g.parts[0].q)
	}
	if len(g.parts) == 0 {
		return g.topic.partitions[0].refusal()
	}
	g.start()
	g.foldSoon() // the group is there from now on
	return nil
}

// begin takes a queue that nobody was handed anything of.
func (p *queuePart) begin(q *core.Queue, now int64) {
	p.q, p.grants, p.want = q, nil, core.QueueEffect{}
	p.start, p.last, p.deadline, p.finding = 0, now, now, false
	p.seen.Store(0)
}

// Describe gives the state of the queue groups on this node.
func (s *queues) describe() []leat.GroupInfo {
	var infos []leat.GroupInfo
	for _, g := range s.find(func(*queueGroup) bool { return true }) {
		g.mu.Lock()
		if len(g.parts) == 0 { // its first member is about to begin it: a lag of nothing would be taken for done
			g.mu.Unlock()
			continue
		}
		info := leat.GroupInfo{Group: g.name, Topic: g.topic.name, Mode: max(g.mode, core.GroupQueue)}
		for _, m := range g.members {
			info.Members = append(info.Members, m.name)
		}
		slices.Sort(info.Members)
		for _, p := range g.parts {
			gp := leat.GroupPartition{Partition: p.part.number, Committed: p.q.Next(), LagRecords: p.q.Unsettled()}
			if p.part.log != nil {
				gp.LagRecords += max(p.part.highWater.Load()-max(p.q.Next(), p.part.log.Start()), 0)
			}
			counts := p.q.Counts()
			gp.Oldest = counts.Oldest
			gp.Queue = leat.QueueCounts{Ready: gp.LagRecords - counts.Held - counts.Failed, Leased: counts.Held,
				Delayed: counts.Failed}
			info.Partitions = append(info.Partitions, gp)
		}
		g.mu.Unlock()
		infos = append(infos, info)
	}
	return infos
}

func (s *queues) find(match func(*queueGroup) bool) []*queueGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*queueGroup
	for _, g := range s.groups {
		if match(g) {
			list = append(list, g)
		}
	}
	return list
}

// snapshot writes what groups have in a partition of __groups anew.
func (s *queues) snapshot(ctx context.Context, p *partition) error {
	for _, g := range s.find(func(g *queueGroup) bool { return g.part == p }) {
		if err := g.snapshot(ctx); err != nil {
			return err
		}
	}
	return nil
}

// forgetTopic ends the groups of a deleted topic. What is stored of them goes with the next snapshot.
func (s *queues) forgetTopic(t *topic) {
	gone := core.NewError(core.CodeTopicNotFound, t.op("read"), nil)
	for _, g := range s.find(func(g *queueGroup) bool { return g.topic == t }) {
		g.end(gone)
		s.remove(g)
	}
}

// remove forgets a group that has ended.
func (s *queues) remove(g *queueGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, queueKey{g.topic.id, g.name})
	s.tasks.Go(g.ended.Wait)
}

// end tells the members why the group is over, and stops the owner. What was not stored is lost.
func (g *queueGroup) end(err error) {
	g.mu.Lock()
	if g.over == nil {
		g.over = err
		close(g.stop)
		g.cancel()
	}
	for _, m := range g.members {
		m.err = err
		m.closed.Store(true)
		for _, grant := range m.out {
			grant.left.Store(0)
		}
		g.rouse = append(g.rouse, m)
		g.spend(m)
	}
	g.unlock()
}

// close has all members leave in order, stores what they acked, and stops the groups.
func (s *queues) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var errs []error
	for _, g := range s.find(func(*queueGroup) bool { return true }) {
		g.mu.Lock()
		running := g.running
		closed := core.NewError(core.CodeClosed, g.topic.op("subscription to"), nil)
		for _, m := range g.members {
			m.err = closed
			g.rouse = append(g.rouse, m)
			g.drop(m, core.QueueLeave)
		}
		g.unlock()
		if running {
			errs = append(errs, g.commit(ctx))
		}
		g.end(closed)
		s.remove(g)
	}
	return errors.Join(append(errs, s.ended(ctx))...)
}

// ended waits until the goroutines of all groups have ended, which a disk that hangs may hold up.
func (s *queues) ended(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reset makes a group without members go on at other offsets. It is stored when it returns.
func (g *queueGroup) reset(ctx context.Context, offsets map[int32]int64) error {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := g.moveTo(offsets)
	<-g.turn
	if err != nil {
		return err
	}
	return g.commit(ctx)
}

func (g *queueGroup) moveTo(offsets map[int32]int64) error {
	g.mu.Lock()
	defer g.unlock()
	switch {
	case g.over != nil:
		return g.over
	case len(g.members) > 0:
		return core.Errorf(core.CodeGroupActive, g.op("reset"), "it has %d members", len(g.members))
	}
	now := g.now()
	for _, p := range g.parts {
		to, ok := offsets[p.part.number]
		if !ok {
			continue
		}
		p.q.Failures(func(offset, _ int64, _ int32, _ core.Code) {
			g.log.change(p, &core.QueueEffect{Kind: core.QueueErase, Offset: offset}, "")
			delete(g.reasons, recordRef{p, offset})
		})
		p.begin(core.NewQueue(core.QueueConfig{}, to, now, seedOf(p.part, now)), now)
		p.written = false
	}
	g.foldSoon()
	g.start()
	return nil
}

// erase removes what is stored of a group without members.
func (g *queueGroup) erase(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	if n := len(g.members); n > 0 {
		g.mu.Unlock()
		return core.Errorf(core.CodeGroupActive, g.op("delete"), "it has %d members", n)
	}
	var list []leat.Message
	for _, p := range g.parts {
		p.q.Failures(func(offset, _ int64, _ int32, _ core.Code) {
			list = append(list, g.message(&core.QueueRecord{Partition: p.part.number, Offset: offset, Removed: true}))
		})
		list = append(list, g.message(&core.QueueRecord{Partition: p.part.number, Offset: -1, Removed: true}))
	}
	for ref := range g.log.erased {
		r := core.QueueRecord{Partition: ref.part.part.number, Offset: ref.offset, Removed: true}
		list = append(list, g.message(&r))
	}
	g.mu.Unlock()
	for i := range list {
		if _, err := g.node.commits.disk.Publish(ctx, list[i]); err != nil {
			return err
		}
	}
	g.end(core.NewError(core.CodeGroupNotFound, g.op("read"), nil))
	g.node.queues.remove(g)
	return nil
}

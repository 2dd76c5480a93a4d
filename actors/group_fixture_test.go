package actors

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// memoryLog is a CommitLog that takes its time and fails when told to.
type memoryLog struct {
	t *testing.T

	mu sync.Mutex
	// mu guards the following.
	delay   func() time.Duration
	fail    func() error
	running map[groupKey]bool
	history []core.Commit // as appended
	appends int
	failed  int
}

func newMemoryLog(t *testing.T) *memoryLog {
	return &memoryLog{t: t, running: map[groupKey]bool{}}
}

// Append answers from another goroutine, as the node's log does.
func (l *memoryLog) Append(commits []core.Commit, done func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := groupKey{commits[0].Group, commits[0].TopicID}
	if l.running[key] {
		l.t.Errorf("append of %v while another one runs", commits)
	}
	l.running[key] = true
	l.appends++
	var delay time.Duration
	var err error
	if l.delay != nil {
		delay = l.delay()
	}
	if l.fail != nil {
		err = l.fail()
	}
	go func() {
		<-time.After(delay)
		l.stored(key, commits, err)
		done(err)
	}()
}

func (l *memoryLog) stored(key groupKey, commits []core.Commit, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[key] = false
	if err != nil {
		l.failed++
		return
	}
	for _, c := range commits {
		if old, ok := l.lastLocked(key, c.Partition); ok && !c.Removed && !c.Supersedes(&old) {
			l.t.Errorf("commit of partition %d went from %+v to %+v", c.Partition, old, c)
		}
		l.history = append(l.history, c)
	}
}

func (l *memoryLog) lastLocked(key groupKey, partition int32) (core.Commit, bool) {
	for _, c := range slices.Backward(l.history) {
		if c.Group == key.group && c.TopicID == key.topicID && c.Partition == partition {
			return c, true
		}
	}
	return core.Commit{}, false
}

// offset is what a restart would find, -1 for nothing.
func (l *memoryLog) offset(group string, topicID uint64, partition int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.lastLocked(groupKey{group, topicID}, partition); ok && !c.Removed {
		return c.Offset
	}
	return -1
}

func (l *memoryLog) count() (appends, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appends, l.failed
}

func (l *memoryLog) failWith(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = func() error { return err }
}

// ownership asserts over all sinks of a group that a partition has one owner.
type ownership struct {
	t *testing.T

	mu sync.Mutex
	// mu guards the following.
	held map[int32]*fakeSink
}

// fakeSink is a subscription whose handler is moved by hand.
type fakeSink struct {
	t      *testing.T
	name   string
	owners *ownership // nil for no check
	member *Member

	mu sync.Mutex
	// mu guards the following.
	parts    map[int32]*fakePart
	acked    map[int32]int64 // of every partition it ever had: first offset not acked
	starts   []PartitionAck  // as assigned
	released []int32
	err      error
	killed   time.Time
}

type fakePart struct {
	generation int32
	next       int64 // to be delivered
	acked      int64 // to be acked: below it everything is
	reported   int64
	revoked    time.Time // when asked to release it; zero for not
}

func (s *fakeSink) Assigned(partition int32, offset int64, generation int32) {
	s.mu.Lock()
	at := max(offset, 0)
	if s.parts[partition] != nil {
		s.t.Errorf("%s: partition %d assigned twice", s.name, partition)
	}
	s.parts[partition] = &fakePart{generation: generation, next: at, acked: at, reported: at}
	s.starts = append(s.starts, PartitionAck{partition, offset, generation})
	s.mu.Unlock()
	if s.owners != nil {
		s.owners.take(partition, s)
	}
}

func (o *ownership) take(partition int32, s *fakeSink) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if old := o.held[partition]; old != nil && old != s && !old.mayLose(partition) {
		o.t.Errorf("partition %d given to %s while %s owns it", partition, s.name, old.name)
	}
	o.held[partition] = s
}

func (o *ownership) drop(partition int32, s *fakeSink) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held[partition] == s {
		delete(o.held, partition)
	}
}

// mayLose reports whether the session of a member that holds a partition may have ended: it was killed,
// or asked for the partition, a session ago. The last heartbeat was up to 3 s before the kill.
func (s *fakeSink) mayLose(partition int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || !s.killed.IsZero() && time.Since(s.killed) >= 7*time.Second {
		return true
	}
	for _, p := range s.parts {
		if !p.revoked.IsZero() && time.Since(p.revoked) >= 10*time.Second {
			return true
		}
	}
	return s.parts[partition] == nil
}

func (s *fakeSink) Revoking(partition int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[partition].revoked = time.Now()
}

func (s *fakeSink) Released(partition int32) {
	s.mu.Lock()
	delete(s.parts, partition)
	s.released = append(s.released, partition)
	s.mu.Unlock()
	if s.owners != nil {
		s.owners.drop(partition, s)
	}
}

func (s *fakeSink) Fenced(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		s.t.Errorf("%s: fenced twice: %v, %v", s.name, s.err, err)
	}
	s.err = err
}

func (s *fakeSink) Acks(into []PartitionAck) []PartitionAck {
	s.mu.Lock()
	defer s.mu.Unlock()
	for partition, p := range s.parts {
		if p.acked > p.reported {
			p.reported = p.acked
			into = append(into, PartitionAck{partition, p.acked, p.generation})
		}
	}
	slices.SortFunc(into, func(a, b PartitionAck) int { return cmp.Compare(a.Partition, b.Partition) })
	return into
}

func (s *fakeSink) InFlight(partition int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partition]
	return p != nil && p.next > p.acked
}

// deliver hands the next n messages of a partition to the handler, unless they are not the member's.
func (s *fakeSink) deliver(partition int32, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partition]
	if p == nil || s.err != nil || !p.revoked.IsZero() {
		return false
	}
	p.next += n
	return true
}

// ack acknowledges everything delivered in a partition.
func (s *fakeSink) ack(partition int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partition]
	switch {
	case s.err != nil:
		return s.err
	case p == nil:
		return core.ErrFenced
	}
	if p.next > p.acked {
		p.acked = p.next
		s.acked[partition] = p.acked
		s.member.Touch()
	}
	return nil
}

func (s *fakeSink) ackAll() {
	for _, partition := range s.owned() {
		_ = s.ack(partition)
	}
}

func (s *fakeSink) owned() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owned []int32
	for partition := range s.parts {
		owned = append(owned, partition)
	}
	slices.Sort(owned)
	return owned
}

func (s *fakeSink) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *fakeSink) kill() {
	s.mu.Lock()
	s.killed = time.Now()
	s.mu.Unlock()
	s.member.Kill()
}

const (
	testGroup = "risk"
	testTopic = uint64(17)
)

// groupBed is a coordinator with everything around it.
type groupBed struct {
	t           *testing.T
	system      *System
	log         *memoryLog
	coordinator *Coordinator
	owners      *ownership
}

// inGroupBed runs a test in virtual time, on a coordinator that is closed afterwards.
func inGroupBed(t *testing.T, run func(t *testing.T, b *groupBed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newGroupBed(t, newMemoryLog(t))
		run(t, b)
		b.close()
	})
}

func newGroupBed(t *testing.T, log *memoryLog) *groupBed {
	system := NewSystem(SystemOptions{})
	return &groupBed{t: t, system: system, log: log,
		coordinator: NewCoordinator(system, clock.System, log),
		owners:      &ownership{t: t, held: map[int32]*fakeSink{}}}
}

func (b *groupBed) close() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.coordinator.Close(ctx); err != nil {
		b.t.Errorf("Coordinator.Close = %v", err)
	}
	if err := b.system.Close(ctx); err != nil {
		b.t.Errorf("System.Close = %v", err)
	}
}

func (b *groupBed) sink(name string) *fakeSink {
	return &fakeSink{t: b.t, name: name, owners: b.owners,
		parts: map[int32]*fakePart{}, acked: map[int32]int64{}}
}

// join makes a member and waits until everything has settled.
func (b *groupBed) join(name string, partitions int32) *fakeSink {
	b.t.Helper()
	s := b.sink(name)
	b.joinAs(s, partitions)
	synctest.Wait()
	return s
}

func (b *groupBed) joinAs(s *fakeSink, partitions int32) {
	b.t.Helper()
	m, err := b.coordinator.Join(testGroup, testTopic, partitions, s)
	if err != nil {
		b.t.Fatalf("Join = %v", err)
	}
	s.mu.Lock()
	s.member = m
	s.mu.Unlock()
}

func (b *groupBed) state() GroupState {
	b.t.Helper()
	states := b.coordinator.Describe()
	if len(states) != 1 {
		b.t.Fatalf("Describe() = %d groups, want 1", len(states))
	}
	return states[0]
}

// pass lets virtual time pass, and everything that happens meanwhile.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func wantOwned(t *testing.T, s *fakeSink, want ...int32) {
	t.Helper()
	if got := s.owned(); !slices.Equal(got, want) {
		t.Errorf("%s owns %v, want %v", s.name, got, want)
	}
}

package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/leatbus/leat"
)

// fakeBackend is a bus in memory: topics of partitions, one member per group, commits in memory.
type fakeBackend struct {
	leat.Backend // what the fake leaves out would crash the test
	system       *System
	done         chan struct{}

	mu      sync.Mutex
	topics  map[string][][]leat.Message
	commits map[string]int64 // group/topic/partition → next offset
	members map[string]*fakeSubscription
	subs    []*fakeSubscription
	refuse  error // of OpenSubscription
	arrived chan struct{}
}

// ownBackend brings its actor system along, as a node does.
type ownBackend struct{ *fakeBackend }

func (b ownBackend) ActorSystem() *System { return b.system }

func newFakeBus(t testing.TB, o SystemOptions, topic string, partitions int) (*leat.Bus, *fakeBackend) {
	t.Helper()
	b := &fakeBackend{system: newTestSystem(t, o), done: make(chan struct{}),
		topics:  map[string][][]leat.Message{topic: make([][]leat.Message, partitions)},
		commits: map[string]int64{}, members: map[string]*fakeSubscription{}, arrived: make(chan struct{})}
	return leat.NewBus(ownBackend{b}), b
}

func (b *fakeBackend) Done() <-chan struct{} { return b.done }

func (b *fakeBackend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.done)
	for _, s := range b.subs {
		s.closed = true
	}
	b.announce()
	return nil
}

// announce wakes everybody in Next; mu must be held.
func (b *fakeBackend) announce() {
	close(b.arrived)
	b.arrived = make(chan struct{})
}

func (b *fakeBackend) publish(topic string, m leat.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	log := &b.topics[topic][m.Partition]
	m.Topic, m.Offset = topic, int64(len(*log))
	*log = append(*log, m)
	b.announce()
}

func (b *fakeBackend) committed(group, topic string, partition int32) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commits[fmt.Sprint(group, "/", topic, "/", partition)]
}

// last returns the subscription opened last.
func (b *fakeBackend) last() *fakeSubscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subs[len(b.subs)-1]
}

// fail makes Next of a subscription answer err once and then for ever.
func (s *fakeSubscription) fail(err error) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.err = err
	s.bus.announce()
}

func (b *fakeBackend) OpenSubscription(
	topic string, o leat.SubscribeOptions,
) (leat.SubscriptionBackend, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	logs, ok := b.topics[topic]
	switch {
	case b.refuse != nil:
		return nil, b.refuse
	case !ok:
		return nil, leat.ErrTopicNotFound
	}
	s := &fakeSubscription{bus: b, topic: topic, group: o.Group, options: o,
		next: make([]int64, len(logs)), paused: make([]bool, len(logs))}
	for p := range logs {
		switch {
		case o.Group != "":
			s.next[p] = b.commits[fmt.Sprint(o.Group, "/", topic, "/", p)]
		case o.From != leat.Earliest:
			s.next[p] = int64(len(logs[p]))
		}
	}
	if o.Group != "" {
		b.members[o.Group] = s
	}
	b.subs = append(b.subs, s)
	return s, nil
}

type fakeSubscription struct {
	bus     *fakeBackend
	topic   string
	group   string
	options leat.SubscribeOptions
	buf     []byte // what the last message points into: reused, to catch who keeps it

	// Guarded by bus.mu:
	next      []int64
	paused    []bool
	pauses    int
	resumes   int
	delivered int
	turn      int
	err       error
	closed    bool
}

func (s *fakeSubscription) NextBatch(context.Context, *leat.BatchRun) error {
	panic("actors read message by message")
}

func (s *fakeSubscription) Next(ctx context.Context, m *leat.Message) error {
	for {
		s.bus.mu.Lock()
		arrived := s.bus.arrived
		err := s.take(m)
		s.bus.mu.Unlock()
		if err != errNothing {
			return err
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errNothing = errors.New("nothing there")

// take fills m with the next message of some partition, in turn; bus.mu must be held.
func (s *fakeSubscription) take(m *leat.Message) error {
	if s.closed {
		return leat.ErrClosed
	}
	if s.err != nil {
		return s.err
	}
	logs := s.bus.topics[s.topic]
	for range logs {
		s.turn = (s.turn + 1) % len(logs)
		p := s.turn
		if s.paused[p] || s.next[p] >= int64(len(logs[p])) {
			continue
		}
		from := &logs[p][s.next[p]]
		s.next[p]++
		s.delivered++
		for i := range s.buf {
			s.buf[i] = 0xee
		}
		s.buf = append(append(s.buf[:0], from.Key...), from.Value...)
		m.Key, m.Value = s.buf[:len(from.Key):len(from.Key)], s.buf[len(from.Key):]
		if from.Key == nil {
			m.Key = nil
		}
		if from.Value == nil {
			m.Value = nil
		}
		m.Headers = from.Headers
		m.Topic, m.Partition, m.Offset = from.Topic, from.Partition, from.Offset
		return nil
	}
	return errNothing
}

func (s *fakeSubscription) Ack(partition int32, offset int64) error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	switch {
	case s.group == "":
		return nil
	case s.bus.members[s.group] != s:
		return leat.ErrFenced
	case s.closed:
		return leat.ErrClosed
	}
	s.bus.commits[fmt.Sprint(s.group, "/", s.topic, "/", partition)] = offset + 1
	return nil
}

func (s *fakeSubscription) Commit(context.Context) error { return nil }

func (s *fakeSubscription) Pause(partition int32) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.paused[partition] = true
	s.pauses++
}

func (s *fakeSubscription) Resume(partition int32) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.paused[partition] = false
	s.resumes++
	s.bus.announce()
}

func (s *fakeSubscription) Close() error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.closed = true
	if s.bus.members[s.group] == s {
		delete(s.bus.members, s.group)
	}
	s.bus.announce()
	return nil
}

func (s *fakeSubscription) counts() (pauses, resumes, delivered int) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.pauses, s.resumes, s.delivered
}

func (s *fakeSubscription) isClosed() bool {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.closed
}

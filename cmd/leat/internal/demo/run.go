package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/node"
)

// Run opens a node in a temporary folder, plays the load and removes the folder. It blocks for about
// cfg.For, and returns ctx's error soon after ctx ends.
func Run(ctx context.Context, cfg Config) (card Card, err error) {
	dir, err := makeFolder(&cfg)
	if err != nil {
		return Card{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bus, err := node.Open(ctx, dir, node.WithTopic(topicName, topicConfig()))
	if err != nil {
		return Card{}, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	return play(ctx, bus, &cfg)
}

// stage is one run.
type stage struct {
	cfg   *Config
	bus   *leat.Bus
	clock clock.Clock
	keys  [][]byte

	plain, shared, slow *audience
	publishers          []*publisher
	hold                atomic.Bool
	start               int64 // Mono

	readers    sync.WaitGroup
	stop       context.CancelFunc
	readFailed chan error // the first error of a reader
}

func play(ctx context.Context, bus *leat.Bus, cfg *Config) (Card, error) {
	s := &stage{
		cfg: cfg, bus: bus, clock: clock.System, keys: makeKeys(keyCount), readFailed: make(chan error, 1),
	}
	if err := s.openAudiences(); err != nil {
		return Card{}, err
	}
	if err := s.openPublishers(); err != nil {
		return Card{}, err
	}
	reading, stop := context.WithCancel(ctx)
	s.stop = stop
	s.startReaders(reading)
	seconds, err := s.perform(ctx)
	s.stop()
	s.readers.Wait()
	if err != nil {
		return Card{}, err
	}
	for _, a := range []*audience{s.plain, s.shared, s.slow} {
		if err := a.leave(); err != nil {
			return Card{}, err
		}
	}
	return s.card(seconds), nil
}

func (s *stage) openAudiences() error {
	s.plain = newAudience("plain", s.keys, s.clock)
	s.plain.latency = benchkit.NewHistogram()
	s.shared = newAudience("shared", s.keys, s.clock)
	s.slow = newAudience("slow", s.keys, s.clock)
	return errors.Join(
		s.plain.join(s.bus, 1, leat.Group("plain"), leat.AutoAck()),
		s.shared.join(s.bus, sharedMembers, leat.Group("shared"), leat.AutoAck()),
		s.slow.join(s.bus, 1),
	)
}

func (s *stage) openPublishers() error {
	for i := range publishers {
		producer, err := s.bus.Producer(topicName)
		if err != nil {
			return fmt.Errorf("demo: open a producer: %w", err)
		}
		s.publishers = append(s.publishers, newPublisher(i, s.keys, s.clock, producer, &s.hold))
	}
	return nil
}

func (s *stage) startReaders(ctx context.Context) {
	read := func(a *audience, sub *leat.Subscription, fault Fault, pause func()) {
		s.readers.Go(func() {
			if err := a.read(ctx, sub, fault, pause); err != nil {
				select {
				case s.readFailed <- err:
				default: // one is enough
				}
			}
		})
	}
	read(s.plain, s.plain.subs[0], s.cfg.Break, nil)
	for _, sub := range s.shared.subs {
		read(s.shared, sub, FaultNone, nil)
	}
	slow := brake{clock: s.clock, published: s.published, pressed: &s.hold}
	read(s.slow, s.slow.subs[0], FaultNone, func() { slow.hold(ctx) })
}

// perform publishes and waits until both groups are done. It returns the seconds from the first
// publish to the last acknowledgement.
func (s *stage) perform(ctx context.Context) (seconds float64, err error) {
	if err := s.awaitMembers(ctx); err != nil {
		return 0, err
	}
	publishing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watching, endWatch := context.WithCancel(ctx)
	watched := make(chan error, 1)
	s.start = s.clock.Mono()
	go func() {
		err := s.watch(watching)
		if err != nil {
			stop(err)
		}
		watched <- err
	}()
	err = s.publish(publishing)
	seconds = float64(s.clock.Mono()-s.start) / 1e9
	if err == nil {
		err = s.awaitGroups(publishing)
	}
	endWatch()
	// An error that stopped the publishers explains theirs.
	if cause := <-watched; cause != nil {
		err = cause
	}
	return seconds, err
}

func (s *stage) publish(ctx context.Context) error {
	end := s.start + int64(s.cfg.For)
	failures := make([]error, len(s.publishers))
	var sending sync.WaitGroup
	for i, p := range s.publishers {
		sending.Go(func() { failures[i] = p.run(ctx, s.cfg.Rate, end) })
	}
	sending.Wait()
	return errors.Join(failures...)
}

// awaitMembers waits until the shared group has spread its partitions, so that none changes hands
// under load.
func (s *stage) awaitMembers(ctx context.Context) error {
	const limit, step = 10 * time.Second, 2 * time.Millisecond
	for deadline := s.clock.Mono() + int64(limit); s.clock.Mono() < deadline; {
		groups, err := s.bus.Groups(ctx)
		if err != nil {
			return fmt.Errorf("demo: list the groups: %w", err)
		}
		complete := 0
		for i := range groups {
			if spread(&groups[i]) {
				complete++
			}
		}
		if complete == 2 {
			return nil
		}
		if err := clock.Sleep(ctx, s.clock, step); err != nil {
			return err
		}
	}
	return fmt.Errorf("demo: the groups did not spread their partitions within %v", limit)
}

// spread reports whether every partition of a group has an owner and every member a partition.
func spread(g *leat.GroupInfo) bool {
	members := 1
	if g.Group == "shared" {
		members = sharedMembers
	}
	owners := make(map[string]bool)
	for i := range g.Partitions {
		owners[g.Partitions[i].Member] = true
	}
	return len(g.Members) == members && len(owners) == members && !owners[""] && len(g.Partitions) == partitions
}

// awaitGroups waits until both groups have handled everything below the high-water marks, and gives
// up when nothing moves for a while: what is missing then is lost.
func (s *stage) awaitGroups(ctx context.Context) error {
	const patience, step = 10 * time.Second, time.Millisecond
	topic, err := s.topic(ctx)
	if err != nil {
		return err
	}
	var marks [partitions]int64
	for i := range topic.Partitions {
		marks[topic.Partitions[i].Partition] = topic.Partitions[i].HighWater
	}
	last, since := int64(-1), s.clock.Mono()
	for !s.plain.reached(marks) || !s.shared.reached(marks) {
		if handled := s.plain.handled() + s.shared.handled(); handled != last {
			last, since = handled, s.clock.Mono()
		}
		if s.clock.Mono()-since > int64(patience) {
			return nil
		}
		if err := clock.Sleep(ctx, s.clock, step); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) topic(ctx context.Context) (*leat.TopicInfo, error) {
	topics, err := s.bus.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("demo: list the topics: %w", err)
	}
	for i := range topics {
		if topics[i].Name == topicName && len(topics[i].Partitions) == partitions {
			return &topics[i], nil
		}
	}
	return nil, fmt.Errorf("demo: no topic %q with %d partitions among %d", topicName, partitions, len(topics))
}

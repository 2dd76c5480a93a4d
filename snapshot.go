package leat

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
)

// Bounds of LastPerKeyConfig.MaxKeys.
const (
	DefaultSnapshotKeys = 1_000_000
	MaxSnapshotKeys     = 100_000_000
)

// LastPerKeyConfig is how a subscription with LastPerKey begins. The zero value is complete.
type LastPerKeyConfig struct {
	// MaxKeys bounds the keys of the snapshot, each of which takes about 100 bytes while it is made; with more
	// the loop yields ErrLimited. 0: DefaultSnapshotKeys. At most MaxSnapshotKeys.
	MaxKeys int
	// Done, if not nil, is called once, by the loop, when it has delivered the whole snapshot; at once, if that
	// is empty. It must not close the subscription.
	Done func()
}

// LastPerKey begins with a snapshot: the newest message of each key, as of Subscribe, in the order of offsets
// within a partition; then comes everything published since, without a gap and nothing twice. Messages of the
// snapshot have Message.Snapshot set. A key whose newest message is a tombstone is not in it, and neither are
// messages without a key. What has expired counts as not there. The topic need not be compacted. The loop
// reads the whole topic twice before it is live. A key that is published again meanwhile may be missing in
// the snapshot, as its newer message follows.
//
// It is without Group, From, FromEach, Filter, ReplaySpeed and Batches.
func LastPerKey(cfg ...LastPerKeyConfig) SubscribeOption {
	return func(o *SubscribeOptions) {
		o.LastPerKey = &LastPerKeyConfig{}
		for i := range cfg {
			*o.LastPerKey = cfg[i]
		}
	}
}

func (o *SubscribeOptions) validateSnapshot() error {
	switch s := o.LastPerKey; {
	case s == nil:
		return nil
	case o.Group != "" || o.Each != nil || o.From.Kind != core.PositionDefault || o.Filter != "" ||
		o.ReplaySpeed != 0:
		return core.Errorf(core.CodeInvalidConfig, "subscribe",
			"LastPerKey begins with what every partition has: want no Group, From, FromEach, Filter or ReplaySpeed")
	case s.MaxKeys < 0 || s.MaxKeys > MaxSnapshotKeys:
		return core.Errorf(core.CodeInvalidConfig, "subscribe", "LastPerKey: MaxKeys %d: want 1 to %d", s.MaxKeys,
			MaxSnapshotKeys)
	}
	return nil
}

// snapshotLook is how long nothing may come before it is looked whether anything is left to come: the end of
// a log may have records that are not delivered.
const snapshotLook = 100 * time.Millisecond

// snapshotHash tells keys apart: with 128 bits two keys that share one do not happen.
type snapshotHash [2]uint64

// snapshotPart is what is known of a partition.
type snapshotPart struct {
	high   int64                  // high-water mark when the snapshot began
	seen   int64                  // offset behind the last message that came in this reading
	end    int64                  // offset behind the last one that is wanted of this reading
	newest map[snapshotHash]int64 // offset of the newest message of each key, unless that is a tombstone
	over   bool                   // nothing more is wanted of this reading
}

// snapshotSubscription carries a subscription with LastPerKey: it reads the topic once to learn which
// messages are the newest, and again to deliver them and go on. All but the fields that mu guards is the
// loop's.
type snapshotSubscription struct {
	bus     Backend
	topic   string
	options SubscribeOptions
	parts   map[int32]*snapshotPart
	keys    int
	seeds   [2]maphash.Seed
	open    int        // partitions that are not over in this reading
	learned bool       // the first reading is done
	live    bool       // the snapshot is done
	early   []*Message // that came in the second reading and are not of it; they are due once live

	looking context.Context // of the waits for messages, with an end of its own
	stop    context.CancelFunc
	moved   bool // something has come since looking began

	mu     sync.Mutex // guards the following
	inner  SubscriptionBackend
	closed bool
}

// openSnapshot begins a snapshot.
func (b *Bus) openSnapshot(topic string, o SubscribeOptions) (SubscriptionBackend, error) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	info, err := b.backend.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	s := &snapshotSubscription{bus: b.backend, topic: topic, options: o, parts: map[int32]*snapshotPart{},
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	if s.options.LastPerKey.MaxKeys == 0 {
		keys := *o.LastPerKey
		keys.MaxKeys = DefaultSnapshotKeys
		s.options.LastPerKey = &keys
	}
	for _, p := range info.Partitions {
		switch {
		case errors.Is(p.Err, ErrNotLeader): // a bus of one node of several reads its own
			continue
		case p.Err != nil && p.HighWater == 0:
			return nil, p.Err
		}
		s.parts[p.Partition] = &snapshotPart{high: p.HighWater, newest: map[snapshotHash]int64{}}
	}
	s.inner, err = s.read()
	return s, err
}

// read opens a reading from the beginning. What no message is wanted of is over.
func (s *snapshotSubscription) read() (SubscriptionBackend, error) {
	o := s.options
	o.LastPerKey, o.From = nil, Earliest
	inner, err := s.bus.OpenSubscription(s.topic, o)
	if err != nil {
		return nil, err
	}
	s.open = 0
	for number, p := range s.parts {
		p.seen, p.over = 0, false
		if p.end = p.high; s.learned {
			p.end = 0
			for _, offset := range p.newest {
				p.end = max(p.end, offset+1)
			}
		}
		s.open++
		if p.end == 0 {
			s.finish(inner, number, p)
		}
	}
	return inner, nil
}

// finish wants nothing more of a partition in this reading.
func (s *snapshotSubscription) finish(inner SubscriptionBackend, number int32, p *snapshotPart) {
	p.over = true
	s.open--
	inner.Pause(number)
}

// current gives the subscription that is read, or says that this one is closed.
func (s *snapshotSubscription) current() (SubscriptionBackend, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, core.NewError(core.CodeClosed, "subscription to topic "+core.Quote(s.topic), nil)
	}
	return s.inner, nil
}

// Next implements SubscriptionBackend.
func (s *snapshotSubscription) Next(ctx context.Context, m *Message) error {
	for {
		inner, err := s.current()
		if err != nil {
			return err
		}
		if s.live && len(s.early) > 0 {
			return s.nextEarly(ctx, m)
		}
		if s.live {
			err := inner.Next(ctx, m)
			if err != nil {
				return err
			}
			if p := s.parts[m.Partition]; p == nil || m.Offset >= p.high {
				m.Snapshot = false
				return nil
			}
			continue // older than the newest of its key
		}
		if s.open == 0 {
			if err := s.turn(inner); err != nil {
				return err
			}
			continue
		}
		if err := s.step(ctx, inner, m); err != nil {
			return err
		}
		if p := s.parts[m.Partition]; s.learned && m.Topic != "" && p != nil && s.wanted(p, m) {
			m.Snapshot = true
			return nil
		}
	}
}

// hold keeps a message that was published after the snapshot began until that is done, and with it the rest
// of its partition. One comes before the pause where the newest message of a key has gone since the first
// reading, or none of the partition was wanted.
func (s *snapshotSubscription) hold(inner SubscriptionBackend, m *Message) {
	s.early = append(s.early, m.Clone())
	inner.Pause(m.Partition)
}

// nextEarly gives the first message that was held.
func (s *snapshotSubscription) nextEarly(ctx context.Context, m *Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sub := m.sub
	*m = *s.early[0]
	m.sub, m.Snapshot = sub, false
	s.early[0] = nil
	s.early = s.early[1:]
	return nil
}

// turn goes on from learning to delivering, or from delivering to being live.
func (s *snapshotSubscription) turn(inner SubscriptionBackend) error {
	if s.learned {
		s.live = true
		s.endLook()
		for number, p := range s.parts {
			p.newest = nil
			inner.Resume(number)
		}
		for _, m := range s.early {
			inner.Resume(m.Partition) // one that was not there when the snapshot began
		}
		if done := s.options.LastPerKey.Done; done != nil {
			done()
		}
		return nil
	}
	s.learned = true
	second, err := s.read()
	if err != nil {
		s.learned = false // the next call tries again
		return err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.inner = second
	}
	s.mu.Unlock()
	if closed {
		_ = second.Close() // the owner has closed the other one
		return core.NewError(core.CodeClosed, "subscription to topic "+core.Quote(s.topic), nil)
	}
	return inner.Close()
}

// step takes the next message of a reading, if one comes in time. m.Topic is empty if none is to be looked
// at.
func (s *snapshotSubscription) step(ctx context.Context, inner SubscriptionBackend, m *Message) error {
	if s.looking == nil {
		s.looking, s.stop = context.WithTimeout(ctx, snapshotLook)
		s.moved = false
	}
	m.Topic = ""
	err := inner.Next(s.looking, m)
	if err != nil {
		m.Topic = ""
		late := s.looking.Err() != nil
		s.endLook()
		if ctx.Err() != nil || !late || !ended(err) || errors.Is(err, ErrClosed) {
			return err
		}
		if s.moved {
			return nil
		}
		return s.look(ctx, inner)
	}
	s.moved = true
	p := s.parts[m.Partition]
	if s.learned && (p == nil || m.Offset >= p.high) {
		s.hold(inner, m)
	}
	if p == nil {
		m.Topic = "" // it was not there when the snapshot began
		return nil
	}
	p.seen = m.Offset + 1
	if !s.learned {
		err = s.learn(p, m)
	}
	if !p.over && p.seen >= p.end {
		s.finish(inner, m.Partition, p)
	}
	return err
}

func (s *snapshotSubscription) endLook() {
	if s.looking != nil {
		s.stop()
		s.looking = nil
	}
}

// look finds out whether partitions from which nothing comes have anything left.
func (s *snapshotSubscription) look(ctx context.Context, inner SubscriptionBackend) error {
	for number, p := range s.parts {
		if p.over {
			continue
		}
		run, err := s.bus.Peek(ctx, s.topic, PeekSlice{Partition: number, From: AtOffset(p.seen),
			To: AtOffset(p.end), Limit: 1, Scan: MaxPeekScanned, ValueBytes: 1})
		if err != nil {
			return err
		}
		if run.Done && len(run.Messages) == 0 {
			s.finish(inner, number, p)
		} else if len(run.Messages) == 0 { // a run may stop short of the end
			p.seen = max(p.seen, run.Next)
		}
	}
	return nil
}

// hash gives what a key is known by.
func (s *snapshotSubscription) hash(key []byte) snapshotHash {
	return snapshotHash{maphash.Bytes(s.seeds[0], key), maphash.Bytes(s.seeds[1], key)}
}

// learn notes a message of the first reading.
func (s *snapshotSubscription) learn(p *snapshotPart, m *Message) error {
	if m.Key == nil || m.Offset >= p.high {
		return nil
	}
	hash := s.hash(m.Key)
	if m.Value == nil {
		if _, known := p.newest[hash]; known {
			s.keys--
			delete(p.newest, hash)
		}
		return nil
	}
	if _, known := p.newest[hash]; !known {
		if s.keys++; s.keys > s.options.LastPerKey.MaxKeys {
			err := core.Errorf(core.CodeLimited, "subscribe to topic "+core.Quote(s.topic),
				"a snapshot of more than %d keys", s.options.LastPerKey.MaxKeys)
			err.Hint = "raise MaxKeys of LastPerKey (100 bytes of memory for each key), or read all messages"
			return err
		}
	}
	p.newest[hash] = m.Offset
	return nil
}

// wanted reports whether a message of the second reading belongs to the snapshot.
func (s *snapshotSubscription) wanted(p *snapshotPart, m *Message) bool {
	if m.Key == nil || m.Offset >= p.high {
		return false
	}
	newest, known := p.newest[s.hash(m.Key)]
	return known && newest == m.Offset
}

// NextBatch implements SubscriptionBackend.
func (s *snapshotSubscription) NextBatch(context.Context, *BatchRun) error {
	return core.Errorf(core.CodeUnsupported, "read batches of topic "+core.Quote(s.topic),
		"LastPerKey leaves messages out: use Messages")
}

// Ack implements SubscriptionBackend. Nothing is kept without a group.
func (s *snapshotSubscription) Ack(int32, int64) error { return nil }

// Commit implements SubscriptionBackend.
func (s *snapshotSubscription) Commit(context.Context) error {
	_, err := s.current()
	return err
}

// Pause implements SubscriptionBackend. It is for when the snapshot is done.
func (s *snapshotSubscription) Pause(partition int32) {
	if inner, err := s.current(); err == nil && s.live {
		inner.Pause(partition)
	}
}

// Resume implements SubscriptionBackend.
func (s *snapshotSubscription) Resume(partition int32) {
	if inner, err := s.current(); err == nil && s.live {
		inner.Resume(partition)
	}
}

// Close implements SubscriptionBackend.
func (s *snapshotSubscription) Close() error {
	s.mu.Lock()
	closed, inner := s.closed, s.inner
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	return inner.Close()
}

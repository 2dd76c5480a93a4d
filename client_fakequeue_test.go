package leat

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// fakeQueue is a queue group on a partition, with the policy of core and a clock that the test moves.
type fakeQueue struct {
	policy  *core.Queue
	members map[int64]*fakeQueueMember
}

type fakeQueueMember struct {
	id     int64
	stream *fakeStream
	out    chan func() error // what is to be sent; its room is never used up

	sent, credit uint64
	gone         bool
}

// fakeQueues are the queue groups of a fake cluster; guarded by its lock.
type fakeQueues struct {
	now     int64
	nextID  int64
	queues  map[string]map[*fakePart]*fakeQueue
	members map[int64]*fakeQueueMember
	config  core.QueueConfig
	acked   map[string]map[string]int // times a record was settled, by group
	reasons []string
	opened  []wire.QueueOpenBody
}

func (f *fakeCluster) queueOf(group string, p *fakePart, mode uint8) *fakeQueue {
	if f.queues.queues == nil {
		f.queues.queues = map[string]map[*fakePart]*fakeQueue{}
		f.queues.acked = map[string]map[string]int{}
		f.queues.members = map[int64]*fakeQueueMember{}
	}
	if f.queues.queues[group] == nil {
		f.queues.queues[group] = map[*fakePart]*fakeQueue{}
		f.queues.acked[group] = map[string]int{}
	}
	if f.queues.queues[group][p] == nil {
		cfg := f.queues.config
		cfg.Ordered = core.GroupMode(mode) == core.GroupKeyShared
		f.queues.queues[group][p] = &fakeQueue{policy: core.NewQueue(cfg, 0, 1, 1)}
	}
	return f.queues.queues[group][p]
}

// queue serves a queue stream by the rules of docs/protocol.md.
func (n *fakeNode) queue(s *fakeStream, h wire.Header, payload []byte) error {
	f := n.cluster
	var open wire.QueueOpenBody
	if err := wire.Unmarshal(wire.QueueOpen, payload, &open); err != nil {
		return err
	}
	f.mu.Lock()
	t := f.topics[open.Topic]
	f.queues.opened = append(f.queues.opened, open)
	f.mu.Unlock()
	if t == nil {
		return core.ErrTopicNotFound
	}
	f.mu.Lock()
	f.queues.nextID++
	m := &fakeQueueMember{id: f.queues.nextID, stream: s, credit: h.Arg, out: make(chan func() error, 1<<16)}
	mine := map[*fakePart]*fakeQueue{}
	for _, p := range t.parts {
		if f.placed(p.number) == n.id {
			mine[p] = f.queueOf(open.Group, p, open.Mode)
		}
	}
	f.queues.members[m.id] = m
	for p, q := range mine {
		f.stepLocked(open.Group, p, q, core.QueueInput{Kind: core.QueueReadable, Offset: p.end()})
		f.stepLocked(open.Group, p, q, core.QueueInput{Kind: core.QueueJoin, Member: m.id, Max: open.MaxHeld})
	}
	f.mu.Unlock()
	cfg := f.queues.config.WithDefaults()
	if err := s.json(wire.Header{Type: wire.QueueOpened}, wire.QueueOpenedBody{Member: fmt.Sprint("q", m.id),
		TopicID: t.id, Lease: int64(cfg.Lease), MaxUnsettled: cfg.MaxUnsettled}); err != nil {
		return err
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for send := range m.out {
			_ = send() // an error is that of the stream, which the reader sees
		}
	})
	left, err := n.queueFrames(s, m, t, &open, mine)
	f.mu.Lock()
	kind := core.QueueLost
	if left {
		kind = core.QueueLeave
	}
	for p, q := range mine {
		f.stepLocked(open.Group, p, q, core.QueueInput{Kind: kind, Member: m.id})
	}
	delete(f.queues.members, m.id)
	if !left {
		f.passLocked(2) // what it had may be tried again at once, by members that are there already, too
	}
	m.gone = true
	f.wake.Broadcast()
	f.mu.Unlock()
	if left {
		m.out <- func() error { return s.send(wire.Header{Type: wire.Left}, nil) }
	}
	close(m.out)
	writing.Wait()
	return err
}

func (n *fakeNode) queueFrames(s *fakeStream, m *fakeQueueMember, t *fakeTopic, open *wire.QueueOpenBody,
	mine map[*fakePart]*fakeQueue) (left bool, err error) {
	f := n.cluster
	var settled wire.Settlement
	for {
		h, payload, err := s.next()
		if err != nil {
			return false, err
		}
		switch h.Type {
		case wire.Credit:
			f.mu.Lock()
			m.credit = max(m.credit, h.Arg)
			f.wake.Broadcast()
			f.mu.Unlock()
		case wire.Commit:
			m.out <- func() error { return s.send(wire.Header{Type: wire.Committed, Arg: h.Arg}, nil) }
		case wire.Leave:
			return true, nil
		case wire.Settle:
			if err := wire.DecodeSettle(&h, payload, &settled); err != nil {
				return false, f.wrong("%w", err)
			}
			f.mu.Lock()
			if settled.Reason != "" {
				f.queues.reasons = append(f.queues.reasons, settled.Reason)
			}
			for _, e := range settled.Entries {
				p := t.parts[e.Partition]
				if mine[p] == nil {
					f.mu.Unlock()
					return false, f.wrong("SETTLE of partition %d, which is another node's", e.Partition)
				}
				kind := map[wire.SettleKind]core.QueueInputKind{wire.SettleAck: core.QueueAck,
					wire.SettleNack: core.QueueNack, wire.SettleReject: core.QueueReject,
					wire.SettleExtend: core.QueueExtend, wire.SettleNackBecause: core.QueueNack}[settled.Kind]
				f.stepLocked(open.Group, p, mine[p], core.QueueInput{Kind: kind, Member: m.id, Grant: e.Grant,
					Delay: settled.Delay})
			}
			f.mu.Unlock()
		default:
			return false, f.wrong("%v on a queue stream", h.Type)
		}
	}
}

// end is the log end of a partition. The lock must be held.
func (p *fakePart) end() int64 {
	if len(p.frames) == 0 {
		return p.start
	}
	return p.frames[len(p.frames)-1].next
}

// records gives time and bytes of each record of a partition. The lock must be held.
func (p *fakePart) records(offset int64) (time int64, record []byte) {
	for _, frame := range p.frames {
		if offset < frame.base || offset >= frame.next {
			continue
		}
		h := core.ParseFrameHeader(frame.bytes)
		rest := frame.bytes[core.FrameHeaderSize:h.Length]
		for at := frame.base; ; at++ {
			_, size, err := core.DecodeRecord(rest)
			if err != nil {
				panic(err)
			}
			if at == offset {
				return h.Time, rest[:size]
			}
			rest = rest[size:]
		}
	}
	panic(fmt.Sprint("no record ", offset))
}

// stepLocked steps a queue and sends what comes of it.
func (f *fakeCluster) stepLocked(group string, p *fakePart, q *fakeQueue, in core.QueueInput) {
	var out core.QueueEffects
	before := q.policy.Unsettled()
	q.policy.Step(&in, f.queues.now+1, &out)
	if in.Kind == core.QueueAck && q.policy.Unsettled() < before {
		for left := in.Grant.Left; left != 0; left &= left - 1 {
			f.queues.acked[group][fmt.Sprint(p.number, "/", in.Grant.Lo+int64(bits.TrailingZeros64(left)))]++
		}
	}
	for _, e := range out.List {
		m := f.queues.members[e.Member]
		switch e.Kind {
		case core.QueueDeliver:
			frame := p.grantFrame(&e)
			m.out <- func() error { return f.sendGrant(m, frame) }
		case core.QueueRead:
			keys := core.QueueInput{Kind: core.QueueKeys, Offset: e.Offset}
			for i := range int64(e.Count) {
				_, record := p.records(e.Offset + i)
				r, _, _ := core.DecodeRecord(record)
				keys.Keys = append(keys.Keys, core.KeyHash(r.Key))
			}
			f.stepLocked(group, p, q, keys)
		case core.QueueStale:
			if m != nil {
				entry := wire.QueueEntry{Partition: p.number, Grant: e.Grant}
				m.out <- func() error { return m.stream.send(wire.Header{Type: wire.Stale}, entry.Append(nil)) }
			}
		case core.QueueBury:
			f.stepLocked(group, p, q, core.QueueInput{Kind: core.QueueBuried, Grant: e.Grant})
		}
	}
}

// sendGrant sends a GRANT when there is credit.
func (f *fakeCluster) sendGrant(m *fakeQueueMember, frame []byte) error {
	f.mu.Lock()
	for m.sent >= m.credit && !m.gone {
		f.wake.Wait()
	}
	m.sent += uint64(len(frame))
	f.mu.Unlock()
	return m.stream.write(wire.Grant, frame)
}

// grantFrame is the GRANT of a delivery.
func (p *fakePart) grantFrame(e *core.QueueEffect) []byte {
	frame := wire.BeginGrant(nil)
	for left := e.Grant.Left; left != 0; left &= left - 1 {
		time, record := p.records(e.Grant.Lo + int64(bits.TrailingZeros64(left)))
		at := len(frame)
		frame = append(wire.BeginGrantRun(frame, time), record...)
		wire.EndGrantRun(frame, at, 1)
	}
	wire.EndGrant(frame, 0, &wire.GrantHead{Partition: p.number, Grant: e.Grant, Attempt: e.Attempt})
	return frame
}

// pass moves the clock of the queues.
func (f *fakeCluster) pass(nanoseconds int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passLocked(nanoseconds)
}

func (f *fakeCluster) passLocked(nanoseconds int64) {
	f.queues.now += nanoseconds
	for group, parts := range f.queues.queues {
		for p, q := range parts {
			f.stepLocked(group, p, q, core.QueueInput{Kind: core.QueueReadable, Offset: p.end()})
		}
	}
}

// sendAll sends a frame to every member of queue groups.
func (f *fakeCluster) sendAll(h wire.Header, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.queues.members {
		m.out <- func() error { return m.stream.send(h, payload) }
	}
}

// lagOf is what is not settled of a queue group.
func (f *fakeCluster) queueLag(group string) (lag int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.queues.queues[group] {
		lag += q.policy.Lag()
	}
	return lag
}

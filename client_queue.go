package leat

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// remoteQueue is the Backend of one Subscription of a queue group, plain or key-shared.
//
//	node ══ queueSource ──grants──▶ ready list ──▶ loop (Next)
//	  ◀═══════ writer ◀──settled── Ack, Nack, Reject, Extend
//
// It is a member on every node that has partitions of the topic, each with its share of what may be held. A
// grant is good for the stream it came on: when that ends, everything of it that is not settled is lost here,
// and the node hands it out again.
type remoteQueue struct {
	client  *client
	topic   *clientTopic
	options SubscribeOptions
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // sources

	// The following is owned by the loop.
	current *remoteGrant
	headers core.HeaderDecoder

	parked  atomic.Bool
	wake    chan struct{} // capacity 1
	changed atomic.Bool   // there is something in failures, or the subscription has ended
	closed  atomic.Bool
	once    sync.Once
	err     error // of Close

	mu       sync.Mutex // guards the following, sources and sessions
	moved    bool       // the loop took something or answered, since movedAt was set
	movedAt  int64
	sources  map[uint16]*queueSource
	ready    []*remoteGrant
	head     int
	failures []error // to be yielded once each
	ending   error   // why the loop ends, after it was told
	told     bool
	late     error // what of settling came to nothing since the last Commit
}

// openQueue opens a subscription of a queue group. It returns once every node has answered that can be
// reached, and one at least has.
func (c *client) openQueue(t *clientTopic, o SubscribeOptions) (SubscriptionBackend, error) {
	q := &remoteQueue{client: c, topic: t, options: o, wake: make(chan struct{}, 1),
		sources: map[uint16]*queueSource{}}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	if !c.keep(q) {
		q.cancel()
		return nil, c.closedError(t.op("subscribe to"))
	}
	if err := q.openAll(); err != nil {
		_ = q.Close() // says nothing that err does not
		return nil, err
	}
	return q, nil
}

// openAll starts the sources and waits for their first answers.
func (q *remoteQueue) openAll() error {
	q.mu.Lock()
	sources := q.startLocked()
	q.mu.Unlock()
	ctx, cancel := q.client.patient(q.client.ctx)
	defer cancel()
	open := 0
	for _, from := range sources {
		err := from.firstAnswer(ctx)
		if err == nil {
			open++
		} else if core.CodeOf(err) != core.CodeUnavailable {
			return err
		}
	}
	if open == 0 {
		return sources[0].unavailable()
	}
	return nil
}

// startLocked starts a source for each node that has partitions and has none yet, and gives those.
func (q *remoteQueue) startLocked() []*queueSource {
	var started []*queueSource
	nodes := q.topic.nodesOf()
	for _, node := range nodes {
		if q.sources[node] != nil || q.ctx.Err() != nil {
			continue
		}
		from := &queueSource{queue: q, node: q.client.node(node), opened: make(chan error, 1)}
		q.sources[node] = from
		started = append(started, from)
	}
	for _, from := range q.sources {
		from.window = max(subscriptionCredit/int64(len(q.sources)), creditLeast)
		from.share = int32(max(q.options.MaxHeld/len(q.sources), 1))
	}
	for _, from := range started {
		q.tasks.Go(from.run)
	}
	return started
}

// Next implements SubscriptionBackend.
func (q *remoteQueue) Next(ctx context.Context, m *Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if q.current == nil || q.current.wanted == 0 || q.changed.Load() {
		if err := q.advance(ctx); err != nil {
			return err
		}
	}
	if err := q.current.take(m, &q.headers); err != nil {
		q.current.wanted = 0 // the rest comes again when its lease is over
		q.current.waits.Store(false)
		return err
	}
	return nil
}

// advance makes a grant current, waiting until there is one.
func (q *remoteQueue) advance(ctx context.Context) error {
	for idle := 0; ; idle++ {
		found, err := q.look()
		if found || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if q.options.Spin || idle < loopYields {
			runtime.Gosched()
			continue
		}
		if err := q.sleep(ctx); err != nil {
			return err
		}
	}
}

// sleep waits until there may be something.
func (q *remoteQueue) sleep(ctx context.Context) error {
	q.parked.Store(true)
	defer q.parked.Store(false)
	if q.pending() {
		return nil
	}
	select {
	case <-q.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *remoteQueue) pending() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed.Load() || q.head < len(q.ready)
}

// rouse wakes the loop. What it is woken for was written before. A token may be left from before: loops look
// again.
func (q *remoteQueue) rouse() {
	if q.parked.Load() {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// look makes a grant current of which there is something to deliver, and gives the memory of those back that
// are used up: the last message points into the current one until then.
func (q *remoteQueue) look() (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changed.Load() {
		if err := q.takeFailureLocked(); err != nil {
			return false, err
		}
		if q.current != nil {
			q.current.session.recallLocked(q.current)
		}
	}
	for {
		g := q.current
		if g != nil && g.wanted != 0 {
			return true, nil
		}
		if g != nil {
			g.session.freedLocked(g)
			q.current = nil
		}
		if q.head == len(q.ready) {
			return false, nil
		}
		g = q.ready[q.head]
		q.ready[q.head] = nil
		if q.head++; q.head == len(q.ready) {
			q.ready, q.head = q.ready[:0], 0
		}
		g.session.handLocked(g)
		q.current = g
	}
}

// takeFailureLocked gives what the loop is to yield, or the reason for its end.
func (q *remoteQueue) takeFailureLocked() error {
	closed := core.NewError(core.CodeClosed, q.topic.op("subscription to"), nil)
	switch {
	case q.closed.Load():
		return closed
	case len(q.failures) > 0:
		err := q.failures[0]
		q.failures = q.failures[1:]
		return err
	case q.ending == nil:
		q.changed.Store(false)
		return nil
	case q.told:
		return closed
	}
	q.told = true
	return q.ending
}

// fail makes the loop yield err once.
func (q *remoteQueue) fail(err error) {
	q.mu.Lock()
	q.failures = append(q.failures, err)
	q.mu.Unlock()
	q.changed.Store(true)
	q.rouse()
}

// end makes the loop yield err once, and end.
func (q *remoteQueue) end(err error) {
	q.mu.Lock()
	if q.ending == nil {
		q.ending = core.NewError(core.CodeOf(err), q.topic.op("read"), err)
	}
	q.mu.Unlock()
	q.changed.Store(true)
	q.rouse()
}

// Close implements SubscriptionBackend: what was settled is told, then the member leaves every node.
func (q *remoteQueue) Close() error {
	q.once.Do(func() {
		q.closed.Store(true)
		q.changed.Store(true)
		q.rouse()
		q.err = q.leave()
		q.cancel()
		q.tasks.Wait()
		q.client.drop(q)
	})
	return q.err
}

// leave leaves every node where the member has a stream, and waits for the answers.
func (q *remoteQueue) leave() error {
	op := q.topic.op("leave the group on")
	q.mu.Lock()
	var sessions []*queueSession
	for _, from := range q.sources {
		if s := from.session; s != nil {
			s.leaving = true
			s.signalLocked()
			sessions = append(sessions, s)
		}
	}
	q.mu.Unlock()
	most := q.client.clock.NewTimer(closeWait)
	defer most.Stop()
	for _, s := range sessions {
		select {
		case <-s.ended:
		case <-most.C():
			return core.Errorf(core.CodeUnavailable, op, "no answer within %v", closeWait)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range sessions {
		if s.leftErr != nil {
			return s.leftErr
		}
		if !s.left && s.doubt {
			return core.Errorf(core.CodeUnavailable, op, "the last acks could not be told to the group")
		}
	}
	return nil
}

// NextBatch implements SubscriptionBackend.
func (q *remoteQueue) NextBatch(context.Context, *BatchRun) error {
	return core.Errorf(core.CodeUnsupported, q.topic.op("read batches of"),
		"a queue group answers for each message: use Messages")
}

// Ack implements SubscriptionBackend.
func (q *remoteQueue) Ack(int32, int64) error {
	return core.Errorf(core.CodeUnsupported, q.topic.op("ack on"),
		"a queue group answers for each message: use Message.Ack")
}

// Pause implements SubscriptionBackend. The members of a queue group have no partitions to pause.
func (q *remoteQueue) Pause(int32) {}

// Resume implements SubscriptionBackend.
func (q *remoteQueue) Resume(int32) {}

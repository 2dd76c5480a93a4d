package leat

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

const (
	closeWait          = 10 * time.Second        // how long closing drains before it gives up
	unreachableDefault = 1800 * time.Millisecond // so that the answer is there within 2 s
)

// dialFunc makes a connection to one address. Closing ctx afterwards does not end the connection.
type dialFunc func(ctx context.Context, address string) (transport.Conn, error)

// client is the Backend that speaks the protocol of docs/protocol.md. It keeps one connection per node,
// made when somebody needs it.
//
//	Producer ── lane per node ──┐
//	Subscription ── source ─────┼── clientNode ── clientConn ══ node
//	admin, member ──────────────┘
type client struct {
	dial    dialFunc
	address string // as Dial got it, for errors
	seeds   []string
	options dialOptions
	clock   clock.Clock
	random  random

	callTopics callTopics

	ctx       context.Context // ends everything that runs
	cancel    context.CancelFunc
	tasks     sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
	done      chan struct{}

	mu        sync.Mutex // guards the following and the states of the nodes
	nodes     map[uint16]*clientNode
	topology  wire.MapBody
	changed   chan struct{} // closed and replaced when a connection came or went
	producers map[*remoteProducer]struct{}
	subs      map[clientSubscription]struct{}
	pulling   pulling
	closed    bool
}

var _ Backend = (*client)(nil)

// clientSubscription is a subscription of either kind, as Close knows it.
type clientSubscription interface{ Close() error }

// keep has s closed with the client; it reports false where that has closed.
func (c *client) keep(s clientSubscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.subs[s] = struct{}{}
	return true
}

// drop forgets a subscription that has closed.
func (c *client) drop(s clientSubscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subs, s)
}

// newClient makes a client that knows no node yet.
func newClient(address string, dial dialFunc, o dialOptions, seed uint64) *client {
	c := &client{
		dial: dial, address: address, options: o, clock: clock.System,
		done: make(chan struct{}), changed: make(chan struct{}),
		nodes: map[uint16]*clientNode{}, producers: map[*remoteProducer]struct{}{},
		subs: map[clientSubscription]struct{}{},
	}
	c.random.state = seed
	if c.options.unreachableAfter <= 0 {
		c.options.unreachableAfter = unreachableDefault
	}
	for _, one := range strings.Split(address, ",") {
		if one = strings.TrimSpace(one); one != "" {
			c.seeds = append(c.seeds, one)
		}
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// connect makes the first connection. Errors that trying again cannot help end it at once.
func (c *client) connect(ctx context.Context) error {
	op := "dial " + core.Quote(c.address)
	if len(c.seeds) == 0 {
		return core.Errorf(core.CodeInvalidConfig, op, "no address: want host:port, or several with commas")
	}
	for attempt, refusals := 0, 0; ; attempt++ {
		conn, err := c.race(ctx, c.seeds, attempt)
		if err == nil {
			c.adopt(conn)
			return nil
		}
		if refusals++; !refused(err) {
			refusals = 0
		}
		if ctx.Err() == nil && final(err) {
			return core.NewError(core.CodeOf(err), op, bare(err, core.CodeOf(err)))
		}
		if c.options.refusable && refusals == 2 || c.sleep(ctx, attempt) != nil {
			return core.NewError(core.CodeUnavailable, op, bare(err, core.CodeUnavailable))
		}
	}
}

// refused reports whether nothing listens at an address, by the word of its machine.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// bare gives the cause of an error about to be wrapped in another of the same code, which says the same.
func bare(err error, code core.Code) error {
	for {
		ours, ok := err.(*core.Error)
		if !ok || ours.Code != code || ours.Err == nil {
			return err
		}
		err = ours.Err
	}
}

// final reports whether trying to connect again is of no use.
func final(err error) bool {
	switch core.CodeOf(err) {
	case core.CodeUntrusted, core.CodeUnauthenticated, core.CodeDenied, core.CodeUnsupported,
		core.CodeInvalidConfig:
		return true
	}
	return false
}

// sleep waits before attempt+1, or gives the error of ctx.
func (c *client) sleep(ctx context.Context, attempt int) error {
	return clock.Sleep(ctx, c.clock, c.random.backoff(attempt))
}

// patient bounds ctx by what a call waits for a node that cannot be reached.
func (c *client) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.options.unreachableAfter)
}

// Close implements Backend. Producers drain while subscriptions leave; then the connections end.
func (c *client) Close() error {
	c.closeOnce.Do(func() {
		c.closeErr = c.close()
		close(c.done)
	})
	return c.closeErr
}

func (c *client) close() error {
	c.mu.Lock()
	c.closed = true
	producers, subs := c.producers, c.subs
	c.producers, c.subs = nil, nil
	c.mu.Unlock()
	var (
		closing sync.WaitGroup
		mu      sync.Mutex // guards errs
		errs    []error
	)
	closeOne := func(closeIt func() error) {
		closing.Go(func() {
			err := closeIt()
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	for p := range producers {
		closeOne(p.Close)
	}
	for s := range subs {
		closeOne(s.Close)
	}
	closing.Wait()
	c.cancel()
	c.mu.Lock()
	for _, n := range c.nodes {
		for conn := range n.conns {
			conn.conn.Close(0, "the client closes")
		}
	}
	c.broadcastLocked()
	c.mu.Unlock()
	c.tasks.Wait()
	return errors.Join(errs...)
}

// Done implements Backend.
func (c *client) Done() <-chan struct{} { return c.done }

// closedError is what calls on a closed bus get.
func (c *client) closedError(op string) error { return core.NewError(core.CodeClosed, op, nil) }

// broadcastLocked wakes whoever waits for a connection.
func (c *client) broadcastLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// goTask runs f on a goroutine that Close waits for, unless the client has closed.
func (c *client) goTask(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.goTaskLocked(f)
}

func (c *client) goTaskLocked(f func()) bool {
	if c.ctx.Err() != nil {
		return false
	}
	c.tasks.Go(f)
	return true
}

// random gives jitter and ids. Its quality matters for ids, so its seed comes from the system.
type random struct {
	mu    sync.Mutex
	state uint64
}

// next is splitmix64 (Steele, Lea and Flood 2014).
func (r *random) next() uint64 {
	r.mu.Lock()
	r.state += 0x9E3779B97F4A7C15
	z := r.state
	r.mu.Unlock()
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// id gives a number above 0 of 63 bits.
func (r *random) id() int64 {
	for {
		if id := int64(r.next() >> 1); id > 0 {
			return id
		}
	}
}

const (
	backoffMin = 10 * time.Millisecond
	backoffMax = 2 * time.Second
)

// backoff gives the pause after the given attempt, from 0: a random part of a bound that doubles, so that
// the clients of a node that was restarted do not come back at once.
func (r *random) backoff(attempt int) time.Duration {
	bound := backoffMin << min(attempt, 8)
	return time.Duration(r.next() % uint64(min(bound, backoffMax)))
}
